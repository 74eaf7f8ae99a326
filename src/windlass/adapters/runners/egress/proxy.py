"""One run's proxy: squid and, in front of it, socat with a Unix socket, both detached so that they outlive Windlass.

Everything about it is in its directory; a process that comes later finds it there. Whose processes they are is told by
process id together with start time, and by a mark in their environment for the moment before that is written down.
Refused: a machine without the two programs. Nothing else of the machine listens for the run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from windlass.adapters.runners.egress.allowing import AllowList, configuration
from windlass.adapters.runners.rundir import RunDirectory, marked
from windlass.adapters.runners.shim.tree import stat_fields
from windlass.core.errors import Refused, Unavailable

SOCKET, LOG, WORDS, STATE = "egress.sock", "access.log", "words.log", "proxy.json"
PATHS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
USERS = ("proxy", "squid", "nobody")
START_S, END_S, TRIES = 20.0, 5.0, 5
PAUSE_S = 0.01
LOG_BLOCKS = (64 << 20) // 512
# A flood of refused requests must not fill the disk: at that size the proxy ends, and with it the way out. In the run's
# directory, because a socket's path has 108 bytes at most and a state directory's may be long.
BOOT = f'cd "$1" || exit 1; shift; ulimit -f {LOG_BLOCKS}; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the two programs are."""

    squid: str
    socat: str


def programs() -> Programs:
    """Raises Refused (no_egress)."""
    found = {name: shutil.which(name, path=PATHS) for name in ("squid", "socat")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise Refused(
            f"the proxy that holds a run to its hosts is not here: no {' and no '.join(missing)}",
            code="no_egress",
            hint="install squid and socat, or give the agent the machine's whole network (needs_network: true)",
        )
    return Programs(squid=str(found["squid"]), socat=str(found["socat"]))


class Proxy:
    """The proxy in one directory. `mark` stands in its processes' environment, to be found by whoever clears up."""

    def __init__(self, at: Path, *, mark: str) -> None:
        self.at = at
        self._mark = mark
        self._children: list[int] = []

    @property
    def socket(self) -> Path:
        """What the run's inlet leads to; in a directory of its own, for all of that is shown to the sandbox."""
        return self.at / "door" / SOCKET

    @property
    def log(self) -> Path:
        """Its access log."""
        return self.at / LOG

    def start(self, allowed: AllowList) -> None:
        """Have it listen. Raises Refused (no_egress), Unavailable (egress_down)."""
        found = programs()
        self._lay_out()
        for _ in range(TRIES):
            port = _free_port()
            user = _user()
            (self.at / "squid.conf").write_text(configuration(allowed, port=port, user=user))
            squid = self._spawn([found.squid, "-N", "-f", str(self.at / "squid.conf")])
            self._keep([squid])
            if self._until_open(squid, port):
                break
            self.end()
        else:
            raise Unavailable("the egress proxy does not start", code="egress_down", hint=self._last_words())
        listen = f"UNIX-LISTEN:door/{SOCKET},fork,mode=0666,unlink-early"
        door = self._spawn([found.socat, "-t", "86400", listen, f"TCP4:127.0.0.1:{port}"])
        self._keep([squid, door])
        until = time.monotonic() + START_S
        while not self.socket.is_socket():
            if time.monotonic() > until or not _is_alive(*_identity(door)):
                raise Unavailable("the egress proxy's door does not open", code="egress_down", hint=self._last_words())
            time.sleep(PAUSE_S)

    def is_alive(self) -> bool:
        """Whether both processes are there."""
        known = self._known()
        return len(known) == 2 and all(_is_alive(pid, ticks) for pid, ticks in known)

    def end(self) -> None:
        """End it; what is open is cut and told in the log. Idempotent."""
        for pid, ticks in self._known():
            _signal(pid, ticks, signal.SIGTERM)
        until = time.monotonic() + END_S
        while any(_is_alive(pid, ticks) for pid, ticks in self._known()) and time.monotonic() < until:
            self._collect()
            time.sleep(PAUSE_S)
        for pid, ticks in self._known():
            _signal(pid, ticks, signal.SIGKILL)
        for pid in marked(self._mark):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._collect()

    def _lay_out(self) -> None:
        self.at.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.at.chmod(0o711)
        door = self.socket.parent
        door.mkdir(mode=0o755, exist_ok=True)
        door.chmod(0o755)
        self.socket.unlink(missing_ok=True)
        owner = _owner()
        for path in (self.log, self.at / WORDS):
            path.touch(mode=0o600)
            if owner is not None:
                os.chown(path, owner, -1)

    def _spawn(self, argv: Sequence[str]) -> int:
        # Opened here, for the state directory is shut to squid's user.
        logs = [os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC) for path in (self.log, self.at / WORDS)]
        try:
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", BOOT, "egress", str(self.at), *argv],
                {"PATH": PATHS, "LANG": "C.UTF-8", "WINDLASS_RUN": self._mark},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, logs[0], 1),
                    (os.POSIX_SPAWN_DUP2, logs[1], 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=[signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP],
            )
        finally:
            for log in logs:
                os.close(log)
        self._children.append(pid)
        return pid

    def _keep(self, pids: Sequence[int]) -> None:
        RunDirectory(self.at).write(STATE, {"processes": [_identity(pid) for pid in pids]})

    def _known(self) -> list[tuple[int, int]]:
        return [(pid, ticks) for pid, ticks in RunDirectory(self.at).read(STATE).get("processes", ())]

    def _until_open(self, pid: int, port: int) -> bool:
        """Whether it listens; False when it ended, for instance because somebody took its port."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if not _is_alive(*_identity(pid)):
                self._collect()
                return False
            if _listens(pid, port):
                return True
            time.sleep(PAUSE_S)
        return False

    def _collect(self) -> None:
        for pid in tuple(self._children):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.remove(pid)

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = (self.at / WORDS).read_text("utf-8", "replace").strip().splitlines()
            told = [line for line in lines if "FATAL" in line or "ERROR" in line] or lines
            if told:
                return told[-1][-200:]
        return "see whether squid can be run"


def _user() -> str:
    """Who squid becomes; '' when it stays who we are."""
    return next((name for name in USERS if _uid(name) is not None), "nobody") if os.geteuid() == 0 else ""


def _owner() -> int | None:
    return _uid(_user()) if os.geteuid() == 0 else None


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(pid: int, port: int) -> bool:
    """Whether this very process listens there. Another one may have taken the port, a proxy with another list even."""
    wanted = f" 0100007F:{port:04X} 00000000:0000 0A "
    with suppress(OSError):
        lines = [line for line in Path("/proc/net/tcp").read_text().splitlines() if wanted in line]
        held = {f"socket:[{line.split()[9]}]" for line in lines}
        return any(_leads_to(path) in held for path in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _leads_to(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _identity(pid: int) -> tuple[int, int]:
    """(process id, start time): together nobody else's."""
    fields = stat_fields(pid)
    return pid, int(fields[19]) if len(fields) > 19 else -1


def _is_alive(pid: int, ticks: int) -> bool:
    fields = stat_fields(pid)
    return len(fields) > 19 and int(fields[19]) == ticks and fields[0] != "Z"


def _signal(pid: int, ticks: int, number: signal.Signals) -> None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    if _is_alive(pid, ticks):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, number)
    os.close(fd)
