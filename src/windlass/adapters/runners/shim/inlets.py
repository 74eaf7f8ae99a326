"""A run's ways out: ports on its own loopback, joined outside to Unix sockets that nothing inside can see.

The run's first process opens the ports inside its network, hands the listening sockets out over an inherited pair, and
becomes the command (`OPENER`); a child of the shim accepts on them and carries bytes. So no forwarder stands inside to
be killed or spoken through, the command's exit code, signals and input stay its own, and a socket outside may be made
anew by its owner while the run goes on. It refuses nothing and looks at no byte: whoever owns the socket does.
"""
# ruff: noqa: PTH119, PTH120 - pathlib doubles the time this takes to start
# `_socket` and not `socket`, which takes longer to load than all the rest of the shim.

from __future__ import annotations

import _socket
import os
import select
import signal
import struct
import time

from windlass.adapters.runners.shim.files import Spec
from windlass.adapters.runners.shim.launch import WAY_FD, die_with

Socket = _socket.socket
MAX_PAIRS = 256
BUFFER_BYTES = 1 << 16
BACKLOG = 128
PATIENCE_S = 5.0  # how long a connection waits for a socket outside that is not there or full
RETRY_S = 0.05
MAX_INLETS = 16

# argv: the pair's descriptor, ports joined by commas, the command. What Python changed in the process is undone: a
# signal it ignores, and the locale that it may have put into the environment.
OPENER = """\
import os, sys, _signal, _socket as s
try:
    ways = []
    for port in sys.argv[2].split(","):
        way = s.socket(s.AF_INET, s.SOCK_STREAM)
        way.setsockopt(s.SOL_SOCKET, s.SO_REUSEADDR, 1)
        way.bind(("127.0.0.1", int(port)))
        way.listen(128)
        ways.append(way)
    pair = s.socket(s.AF_UNIX, s.SOCK_SEQPACKET, 0, int(sys.argv[1]))
    numbers = b"".join(way.fileno().to_bytes(4, sys.byteorder) for way in ways)
    pair.sendmsg([b"."], [(s.SOL_SOCKET, s.SCM_RIGHTS, numbers)])
    pair.close()
    port = ""
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    given = open("/proc/self/environ", "rb").read().split(b"\\0")
    os.execvpe(sys.argv[3], sys.argv[3:], dict(one.partition(b"=")[::2] for one in given if one))
except (OSError, OverflowError) as error:
    what = "open port " + port + " for" if port else "start"
    os.write(2, ("windlass: cannot %s %s: %s\\n" % (what, sys.argv[3], error)).encode("utf-8", "replace"))
    sys.exit(127)
"""


def joined_pair() -> tuple[Socket, Socket]:
    """Two ends over which descriptors can be handed; closed at the next program that is started."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return ours, theirs


def opened(ports: list[int]) -> list[Socket]:
    """Listening sockets on this machine's loopback; for a run without a sandbox. Raises OSError."""
    ways = []
    for port in ports:
        way = Socket(_socket.AF_INET, _socket.SOCK_STREAM)
        way.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        way.bind(("127.0.0.1", port))
        way.listen(BACKLOG)
        ways.append(way)
    return ways


def start_relay(spec: Spec, pair: Socket | None, output: int) -> None:
    """Fork the process that carries the run's bytes; it says on `output` why it had to give up.

    `pair`: where the listening sockets come from; None when they are to be opened here. Raises OSError for a port
    that cannot be had.
    """
    ways = None if pair is not None else opened([port for port, _ in spec["inlets"]])
    shim = os.getpid()
    if os.fork():
        for way in ways or ():
            way.close()
        return
    try:
        die_with(shim)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 2)
        if pair is not None:
            ways = received(pair)
        keep_only([way.fileno() for way in ways or ()])
        if ways:
            Relay(ways, [path for _, path in spec["inlets"]]).run()
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the shim's own code after a fork
        os.write(2, f"windlass: the run's ways out are closed: {error!r}\n".encode(errors="replace"))
    finally:
        os._exit(0)


def received(pair: Socket) -> list[Socket]:
    """The listening sockets that the run's first process opened; none when it could not.

    One message is read and no other: whatever inside still holds the pair's other end speaks to nobody.
    """
    space = _socket.CMSG_SPACE(MAX_INLETS * 4)
    _, told, _, _ = pair.recvmsg(1, space)
    pair.close()
    numbers = [struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4]) for _, _, data in told]
    return [Socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, number) for group in numbers for number in group]


def keep_only(numbers: list[int]) -> None:
    """Close every other descriptor, the run's lock among them."""
    start = WAY_FD
    for number in sorted(numbers):
        os.closerange(start, number)
        start = number + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


class Pair:
    """Two joined connections. `held[i]` waits to be written to `ends[i]`; nothing is read before it is written."""

    def __init__(self, near: Socket, far: Socket) -> None:
        self.ends = (near, far)
        self.held = [b"", b""]
        self.is_read_out = [False, False]

    def wants(self, end: int) -> int:
        """What to wait for at one end; 0: nothing, now."""
        reads = not self.is_read_out[end] and not self.held[1 - end]
        return (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if self.held[end] else 0)

    def move(self, end: int) -> None:
        """Carry what can be carried, half-closes included. Raises OSError when a side is gone."""
        other = 1 - end
        self._write(end)
        if self.is_read_out[end] or self.held[other]:
            return
        try:
            data = self.ends[end].recv(BUFFER_BYTES)
        except BlockingIOError:
            return
        if data:
            self.held[other] = data
        else:
            self.is_read_out[end] = True
        self._write(other)

    def is_over(self) -> bool:
        return all(self.is_read_out) and not any(self.held)

    def _write(self, end: int) -> None:
        if self.held[end]:
            try:
                self.held[end] = self.held[end][self.ends[end].send(self.held[end]) :]
            except BlockingIOError:
                return
        if not self.held[end] and self.is_read_out[1 - end]:
            self.ends[end].shutdown(_socket.SHUT_WR)


class Relay:
    """Accepts on `ways` and joins each connection to the Unix socket of the same place in `paths`."""

    def __init__(self, ways: list[Socket], paths: list[str], *, patience_s: float = PATIENCE_S) -> None:
        self._paths = {way.fileno(): path for way, path in zip(ways, paths, strict=True)}
        self._ways = {way.fileno(): way for way in ways}
        self._poll = select.epoll()
        self._pairs: dict[int, tuple[Pair, int]] = {}
        self._masks: dict[int, int] = {}
        self._waiting: list[tuple[Socket, str, float]] = []
        self._patience_s = patience_s
        for way in ways:
            way.setblocking(False)

    def run(self) -> None:
        """Until killed."""
        while True:
            self.step()

    def step(self, timeout_s: float = -1) -> None:
        """Wait for something to happen, and deal with it."""
        self._listen()
        for number, _ in self._poll.poll(RETRY_S if self._waiting else timeout_s):
            if number in self._ways:
                self._accept(number)
            elif number in self._pairs:
                self._move(*self._pairs[number])
        self._join()

    def _listen(self) -> None:
        has_room = len(self._pairs) // 2 + len(self._waiting) < MAX_PAIRS
        for number in self._ways:
            self._watch(number, select.EPOLLIN if has_room else 0)

    def _accept(self, number: int) -> None:
        try:
            accepted, _ = self._ways[number]._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        near = Socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, accepted)
        near.setblocking(False)
        near.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._waiting.append((near, self._paths[number], time.monotonic() + self._patience_s))

    def _join(self) -> None:
        """Connect whoever waits to the outside; who waited too long is let go."""
        waiting, self._waiting = self._waiting, []
        for near, path, until in waiting:
            far = Socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            far.setblocking(False)
            try:
                os.chdir(os.path.dirname(path))  # a socket's address may not be longer than 107 bytes
                far.connect(os.path.basename(path))
            except OSError:
                far.close()
                if time.monotonic() < until:
                    self._waiting.append((near, path, until))
                else:
                    near.close()
                continue
            pair = Pair(near, far)
            for end in (0, 1):
                self._pairs[pair.ends[end].fileno()] = (pair, end)
            self._attend(pair)

    def _move(self, pair: Pair, end: int) -> None:
        try:
            pair.move(end)
        except OSError:
            self._close(pair)
            return
        if pair.is_over():
            self._close(pair)
        else:
            self._attend(pair)

    def _attend(self, pair: Pair) -> None:
        for end in (0, 1):
            self._watch(pair.ends[end].fileno(), pair.wants(end))

    def _close(self, pair: Pair) -> None:
        for one in pair.ends:
            number = one.fileno()
            self._watch(number, 0)
            self._pairs.pop(number, None)
            one.close()

    def _watch(self, number: int, mask: int) -> None:
        """Wait for `mask` there; not at all for 0, or a hang-up would be told without end."""
        had = self._masks.get(number, 0)
        if mask == had:
            return
        if not mask:
            self._poll.unregister(number)
            del self._masks[number]
            return
        if had:
            self._poll.modify(number, mask)
        else:
            self._poll.register(number, mask)
        self._masks[number] = mask
