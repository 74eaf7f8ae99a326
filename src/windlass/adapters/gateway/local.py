"""The gateway as Windlass sees it; fills `ports.ModelGateway`.

It starts the gateway's process when the first run needs it, finds one that lives already, starts it again when it was
killed, and brings it the real keys. What a run used is read from the run's file, so it is known whether or not the
process lives. Refused: an upstream that would show the key on a network, and a protocol that nobody knows.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from windlass import __version__
from windlass.adapters.gateway import books
from windlass.adapters.gateway.books import KEY_PREFIX, Head
from windlass.adapters.gateway.options import UPSTREAMS, GatewayOptions
from windlass.adapters.gateway.places import places_of
from windlass.adapters.gateway.upstream import checked
from windlass.core.agent_events import Usage
from windlass.core.errors import Refused, Unavailable
from windlass.ports import Admission, Grant, Inlet

PORTS = (20_000, 30_000)  # on the run's own loopback; different for most runs, because without a sandbox it is shared
PACKAGES = Path(__file__).resolve().parents[3]
BOOT = "import sys; sys.path.append(sys.argv[1]); from windlass.adapters.gateway.process import main; sys.exit(main())"
START_S = 30.0
ANSWER_S = 15.0
PAUSE_S = 0.02
PIPE_BYTES = 4096
FORGOTTEN_S = 900.0  # a run that the runner does not know after so long was never started


@dataclass(slots=True)
class _Line:
    """A connection to the gateway's process."""

    socket: socket.socket
    rest: bytearray = field(default_factory=bytearray)

    def ask(self, **asked: Any) -> dict[str, Any]:
        """One question, one answer. Raises OSError when the other side is gone."""
        self.socket.sendall(json.dumps(asked).encode() + b"\n")
        while b"\n" not in self.rest:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            self.rest += data
        line, _, rest = self.rest.partition(b"\n")
        self.rest = rest
        answer: dict[str, Any] = json.loads(line)
        return answer


class LocalGateway:
    """One gateway below `root`. `keys` are the real keys by the names of their settings, for a second life."""

    def __init__(
        self, root: Path, options: GatewayOptions | None = None, keys: Mapping[str, str] | None = None
    ) -> None:
        self._places = places_of(root)
        self._options = options or GatewayOptions()
        self._keys = dict(keys or {})
        self._of_runs: dict[str, str] = {}
        told = json.dumps({**self._options.told(), "version": __version__, "code": str(PACKAGES)}, sort_keys=True)
        self._identity = hashlib.sha256(told.encode()).hexdigest()
        self._mutex = threading.Lock()
        self._line: _Line | None = None
        self._child = 0
        self._has_left = False

    # ------------------------------------------------------------------ the port

    def admit(self, run_id: str, grant: Grant) -> Admission:
        """Open the way for a run, or give what was given before. Raises Refused (gateway_unusable), Unavailable."""
        head = self._head(run_id, grant)
        key = self._own_key(run_id)
        self._of_runs[run_id] = grant.key
        self._ask(do="open", head=asdict(head), key=grant.key)
        port = PORTS[0] + int(head.key_sha256[:8], 16) % (PORTS[1] - PORTS[0])
        inlet = Inlet(port=port, socket=self._places.door)
        return Admission(inlet=inlet, base_url=f"http://127.0.0.1:{port}", key=key)

    def usage(self, run_id: str) -> Usage | None:
        """What the run has used so far; None when it never asked."""
        book = self._book(run_id)
        return book.account.usage() if book else None

    def refusal(self, run_id: str) -> str | None:
        """Why the run was refused a call for money, the first time; None when it was never admitted."""
        book = self._book(run_id)
        return book.account.refusal if book else None

    def close(self, run_id: str) -> None:
        """The run's key is worth nothing any more."""
        self._of_runs.pop(run_id, None)
        if not self._told(do="close", run=run_id) and (book := self._book(run_id)):
            book.close()

    def forget(self, run_id: str) -> None:
        """Remove every trace of a run."""
        self._of_runs.pop(run_id, None)
        if not self._told(do="forget", run=run_id):
            books.path_of(self._places.runs, run_id).unlink(missing_ok=True)

    # ------------------------------------------------------------------ its life

    def tend(self, is_known: Callable[[str], bool] = lambda _: True) -> None:
        """Forget the runs that nobody knows; have the gateway live while one is open. Raises Unavailable."""
        is_open = False
        for path in sorted(self._places.runs.glob("*.jsonl")):
            with suppress(OSError, ValueError):
                book = books.load(path)
                if not is_known(book.head.run) and time.time() - path.stat().st_mtime > FORGOTTEN_S:
                    self.forget(book.head.run)
                else:
                    is_open = is_open or not book.account.is_closed
        if is_open or self._places.is_alive():
            self._ask(do="hello")
        self._collect()

    def stop(self) -> None:
        """Leave for good. The gateway ends when no run is open and no other Windlass is there."""
        with self._mutex:
            self._has_left = True
            line, self._line = self._line, None
            is_ending = False
            if line is not None:
                with suppress(OSError, ValueError):
                    is_ending = bool(line.ask(do="leave").get("ends"))
                line.socket.close()
            if is_ending:
                self._until(lambda: not self._places.is_alive())
        if not self._places.is_alive():
            self._places.clear()
        self._collect()

    # ------------------------------------------------------------------ inside

    def _head(self, run_id: str, grant: Grant) -> Head:
        if grant.protocol not in UPSTREAMS:
            hint = f"there are {', '.join(sorted(UPSTREAMS))}"
            raise Refused(f"the gateway does not speak {grant.protocol[:40]!r}", code="gateway_unusable", hint=hint)
        if not grant.key:
            raise Refused("there is no key to keep", code="gateway_unusable", hint="give the agent's key")
        books.path_of(self._places.runs, run_id)
        asked = None if grant.cost_limit_usd is None else Decimal(str(grant.cost_limit_usd))
        limit = min((usd for usd in (asked, self._options.run_limit_usd) if usd is not None), default=None)
        return Head(
            run=run_id,
            key_sha256=hashlib.sha256(self._own_key(run_id).encode()).hexdigest(),
            protocol=grant.protocol,
            upstream=checked(grant.upstream, allows_http=self._options.allows_http),
            limit_usd=None if limit is None else str(limit),
            label=next((label for label, key in self._keys.items() if key == grant.key), ""),
        )

    def _own_key(self, run_id: str) -> str:
        """The run's own key: always the same for the same run, and told by nothing but our secret."""
        self._places.make()
        path = self._places.secret
        if not path.exists():
            _put_secret(path)
        return KEY_PREFIX + hmac.new(path.read_bytes(), run_id.encode(), hashlib.sha256).hexdigest()[:48]

    def _book(self, run_id: str) -> books.Book | None:
        try:
            return books.load(books.path_of(self._places.runs, run_id))
        except (OSError, ValueError):
            return None

    def _ask(self, **asked: Any) -> None:
        """Have the gateway do something, starting it when there is none. Raises Unavailable, Refused."""
        with self._mutex:
            try:
                answer = self._connected().ask(**asked)
            except (OSError, ValueError):
                self._hang_up()
                answer = self._asked_again(asked)
        if answer.get("is_passing"):
            raise _unavailable(answer["error"])
        if not answer["ok"]:
            raise Refused(f"the model gateway says no: {answer['error']}", code="gateway_unusable", hint="see its log")

    def _asked_again(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._connected().ask(**asked)
        except (OSError, ValueError) as error:
            self._hang_up()
            raise _unavailable(str(error) or "it broke off") from None

    def _told(self, **asked: Any) -> bool:
        """Have a gateway that lives do something; False when none lives. Who has left leaves it to the next one."""
        if self._has_left:
            return True
        with suppress(Unavailable):
            if self._places.is_alive():
                self._ask(**asked)
                return True
        return False

    def _connected(self) -> _Line:
        """The connection, to a gateway of this build and these settings, with the keys in its hand."""
        if self._has_left:
            raise _unavailable("this Windlass is stopping")
        if self._line is None:
            self._places.make()
            with self._starting():
                line = self._found()
                told = line.ask(do="hello") if line else {}
                if line is not None and told.get("identity") != self._identity:
                    line.ask(do="end")
                    line.socket.close()
                    self._until(lambda: not self._places.is_alive())
                    line = None
                self._line = line or self._started()
            self._line.ask(do="keys", keys=self._keys, of_runs=self._of_runs)
        return self._line

    def _found(self) -> _Line | None:
        """A connection to one that lives; one that is only just starting or ending is waited for."""
        until = time.monotonic() + START_S
        while self._places.is_alive() and time.monotonic() < until:
            with suppress(OSError):
                return self._dialled()
            time.sleep(PAUSE_S)
        return None

    def _started(self) -> _Line:
        given = {**self._options.told(), "root": str(self._places.root), "identity": self._identity}
        given |= {"keys": self._keys, "of_runs": self._of_runs}
        self._collect()
        pid = self._child = _spawned(self._places.log, json.dumps(given).encode())
        self._until(lambda: _has_ended(pid) or self._answers())
        try:
            return self._dialled()
        except OSError:
            raise _unavailable(self._last_words()) from None

    def _answers(self) -> bool:
        try:
            self._dialled().socket.close()
        except OSError:
            return False
        return True

    def _dialled(self) -> _Line:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.settimeout(ANSWER_S)
            found.connect(str(self._places.control))
        except OSError:
            found.close()
            raise
        return _Line(found)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One process at a time looks and starts."""
        fd = os.open(self._places.starting, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _until(self, is_done: Callable[[], bool]) -> None:
        until = time.monotonic() + START_S
        while not is_done() and time.monotonic() < until:
            time.sleep(PAUSE_S)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.socket.close()
            self._line = None

    def _collect(self) -> None:
        """Take a gateway of ours that ended off the process table."""
        if self._child and _has_ended(self._child):
            with suppress(ChildProcessError):
                os.waitpid(self._child, os.WNOHANG)
            self._child = 0

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._places.log.read_text("utf-8", "replace").strip().splitlines()
            return lines[-1][:200] if lines else "it does not answer"
        return "it does not answer"


def _spawned(log_file: Path, given: bytes) -> int:
    """The gateway's process, in a session of its own; its settings come by a pipe that nobody else can read."""
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    ours, theirs = os.pipe()
    try:
        moves = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((ours, 0), (log, 1), (log, 2))]
        argv = [sys.executable, "-I", "-B", "-c", BOOT, str(PACKAGES), "windlass-model-gateway"]
        pid = os.posix_spawn(sys.executable, argv, {"LANG": "C.UTF-8"}, file_actions=moves, setsid=True, setsigmask=())
        with suppress(BrokenPipeError):
            for at in range(0, len(given), PIPE_BYTES):
                os.write(theirs, given[at : at + PIPE_BYTES])
    finally:
        for fd in (log, ours, theirs):
            os.close(fd)
    return pid


def _has_ended(pid: int) -> bool:
    """Whether a child of ours is dead; it stays on the process table."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _put_secret(path: Path) -> None:
    """32 random bytes, whole or not at all; another process may be as quick."""
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(32))
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()


def _unavailable(why: str) -> Unavailable:
    return Unavailable(f"the model gateway does not work: {why}", code="gateway_down", retry_after_s=5)
