"""Runs process trees on this machine, inside bubblewrap where that works; fills `ports.Runner`.

Every run is a directory under `root` and a small program beside the command (the shim, see its room), which goes on
when Windlass is killed. A new process with the same root finds its runs again by id. It refuses ids that are not file
names, work directories that do not exist, and mounts that are not there; it never starts an id twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from windlass.adapters.runners import bubblewrap, cgroups
from windlass.adapters.runners.bubblewrap import NoSandbox, Sandbox
from windlass.adapters.runners.cgroups import ControlGroups
from windlass.adapters.runners.rundir import RunDirectory, marked, unwanted
from windlass.adapters.runners.shim.main import ALIVE_FD
from windlass.adapters.runners.shim.tree import stat_fields
from windlass.core.errors import Refused
from windlass.ports import RunResult, RunSpec

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PACKAGES = Path(__file__).resolve().parents[3]
BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from windlass.adapters.runners.shim.main import main; main(sys.argv[2])"
)
NICE = 5
STOP_S = 20.0
POLL_S = (0.01, 0.25)
NOT_ENDED: Final[dict[str, Any]] = {"exit_code": None, "deadline": "", "duration_s": 0.0}


class ProcessRunner:
    """Process trees of one Windlass instance. Several processes may share `root` if they share `instance`.

    `system_reads`: what every run may read besides the system's own directories (default: the Python that runs
    Windlass). `sandbox`, `groups`: found out by trying when not given.

    The commands' PATH is: `bin` of mounted virtual environments, then the system's, with the `bin` of the Python that
    runs Windlass behind it, or before it if pytest is installed there: then `python3 -m pytest` of a repository
    works without further ado, and production installs (no pytest) do not shadow the system's Python.
    """

    def __init__(
        self,
        root: Path,
        *,
        instance: str,
        system_reads: Sequence[Path] | None = None,
        sandbox: Sandbox | NoSandbox | None = None,
        groups: ControlGroups | None = None,
    ) -> None:
        self._root = root.absolute()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._instance = instance
        self._reads = tuple(bubblewrap.own_python() if system_reads is None else system_reads)
        self._sandbox = bubblewrap.detect() if sandbox is None else sandbox
        self._groups = cgroups.detect() if groups is None else groups
        self._children: set[int] = set()

    # -------------------------------------------------------------- the port

    async def start(self, spec: RunSpec) -> bool:
        """Start, or adopt; True when it was started now.

        Raises Refused: run_id_invalid, workdir_missing, mount_missing, inlet_unusable, agent_unusable (an image).
        """
        return await asyncio.to_thread(self._start, spec)

    def is_known(self, run_id: str) -> bool:
        """Whether a run was started under this id and not discarded."""
        return RunDirectory.of(self._root, run_id).was_started

    def output(self, run_id: str) -> Path:
        """The file with what the run has printed so far; it appears with the first process."""
        return RunDirectory.of(self._root, run_id).output

    async def wait(self, run_id: str) -> RunResult:
        """Until it ends; costs one file descriptor. Raises NotFound (run_unknown)."""
        run = RunDirectory.known(self._root, run_id)
        pause_s, longest_s = POLL_S
        while True:
            found = run.result()
            if found is not None:
                self._collect()
                return found
            if not run.is_alive():
                return await asyncio.to_thread(self._end, run, "lost")
            if not await _gone(run):
                await asyncio.sleep(pause_s)
                pause_s = min(longest_s, pause_s * 1.5)

    async def stop(self, run_id: str) -> None:
        """Kill everything under this id and wait until it is dead; a result that exists stays as it is."""
        await asyncio.to_thread(self._stop, RunDirectory.of(self._root, run_id))

    async def discard(self, run_id: str) -> None:
        """Stop, and remove every trace."""
        run = RunDirectory.of(self._root, run_id)
        await asyncio.to_thread(self._stop, run)
        await asyncio.to_thread(run.remove)

    async def reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """Discard the runs of our instance that nobody wants; the ids of those that were still alive."""
        return await asyncio.to_thread(self._reap, is_wanted)

    def isolation(self, run_id: str = "") -> str:  # noqa: ARG002 - all runs are held alike
        """What holds the agent, in one line."""
        held = "control groups" if self._groups.holds_both else "limits counted by the runner, no control groups"
        if isinstance(self._sandbox, Sandbox):
            is_open = not (self._sandbox.can_forbid_namespaces or self._sandbox.filters_calls)
            more = ", nested namespaces allowed" if is_open else ""
            more += "" if self._sandbox.filters_calls else ", system calls not filtered"
            return f"bubblewrap {self._sandbox.version}, {held}{more}"
        return f"NO SANDBOX ({self._sandbox.reason}), {held}"

    def notice(self) -> str:
        """What people must be told before they trust this runner with an agent; '' when there is nothing."""
        if isinstance(self._sandbox, Sandbox):
            return ""
        return (
            f"Agents and tests run WITHOUT a sandbox: {self._sandbox.reason}. They can read and change everything that "
            "this user can, and reach the network. Install bubblewrap and allow unprivileged user namespaces."
        )

    @property
    def _filters_calls(self) -> bool:
        return isinstance(self._sandbox, Sandbox) and self._sandbox.filters_calls

    # -------------------------------------------------------------- starting

    def _start(self, spec: RunSpec) -> bool:
        self._collect()
        run = RunDirectory.of(self._root, spec.id)
        if spec.image:
            hint = "set up a container engine, or choose an agent without an image"
            raise Refused(f"{spec.image} is an image, and there are no containers", code="agent_unusable", hint=hint)
        if not spec.workdir.is_dir():
            raise Refused(f"no work directory {spec.workdir}", code="workdir_missing", hint="make it before the start")
        bubblewrap.readable(spec.reads)
        bubblewrap.check_inlets(spec.inlets)
        run.at.mkdir(mode=0o700, exist_ok=True)
        with run.held() as lock:
            if lock is None or run.was_started:
                return False
            self._write(run, spec)
            self._spawn(run, lock)
        return True

    def _write(self, run: RunDirectory, spec: RunSpec) -> None:
        groups = self._groups.plan(self._group_name(spec.id), spec.limits)
        run.write(
            "owner.json", {"instance": self._instance, "id": spec.id, "groups": [group["dir"] for group in groups]}
        )
        private = {"HOME": bubblewrap.HOME, "TMPDIR": "/tmp"}  # noqa: S108 - inside the sandbox
        argv = spec.argv
        if isinstance(self._sandbox, Sandbox):
            bubblewrap.write_etc(run.at / "etc")
            argv = bubblewrap.wrap(self._sandbox, spec, system_reads=self._reads, etc=run.at / "etc")
        else:
            private = {name: str(run.at / name.lower()) for name in private}
            for place in private.values():
                Path(place).mkdir(exist_ok=True)
        (run.at / "stdin").write_bytes(spec.stdin)
        run.write(
            "spec.json",
            {
                "argv": argv,
                "env": {**self._env(spec), **private, **spec.env, "WINDLASS_RUN": self._mark(spec.id)},
                "cwd": str(spec.workdir.resolve()),
                "start_s": spec.deadlines.start_s,
                "idle_s": spec.deadlines.idle_s,
                "total_s": spec.deadlines.total_s,
                "watch": [str(spec.workdir / name) for name in spec.watch],
                "output_bytes": spec.limits.output_bytes,
                "memory_bytes": spec.limits.memory_bytes,
                "processes": spec.limits.processes,
                "cgroups": groups,
                "disk": self._disk(spec),
                "counts_by_hand": not self._groups.holds_both,
                "rlimits": self._rlimits(spec),
                "nice": NICE,
                "inlets": [(inlet.port, str(inlet.socket.absolute())) for inlet in spec.inlets],
                "inlets_inside": isinstance(self._sandbox, Sandbox),
                "filter": str(run.at / "etc" / bubblewrap.FILTER) if self._filters_calls else "",
            },
        )

    def _spawn(self, run: RunDirectory, lock: int) -> None:
        log = os.open(run.at / "shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        copies = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((log, 1), (log, 2), (lock, ALIVE_FD))]
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", BOOT, str(PACKAGES), str(run.at)],
                {"LANG": "C.UTF-8"},
                file_actions=[*actions, *copies],
                setsid=True,
                setsigmask=(),
                setsigdef=[signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP],
            )
        finally:
            os.close(log)
        self._children.add(pid)

    def _env(self, spec: RunSpec) -> dict[str, str]:
        mounted = bubblewrap.programs_in(spec.reads)
        own = [path / "bin" for path in reversed(self._reads) if (path / "bin").is_dir()]
        has_pytest = any((path / "pytest").exists() for path in own)
        places = [*mounted, *own, *SYSTEM_PATH] if has_pytest else [*mounted, *SYSTEM_PATH, *own]
        return {"PATH": ":".join(map(str, places)), "LANG": "C.UTF-8", "TERM": "dumb", "USER": "agent"}

    def _disk(self, spec: RunSpec) -> Mapping[str, Any]:
        limits = spec.limits
        return {"path": str(spec.workdir.resolve()), "bytes": limits.disk_bytes, "files": limits.disk_files}

    def _rlimits(self, spec: RunSpec) -> Mapping[str, int]:
        limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": spec.limits.file_bytes}
        if spec.limits.cpu_s:
            limits["RLIMIT_CPU"] = spec.limits.cpu_s
        if not self._groups.memory:  # RLIMIT_AS would also count what runtimes only reserve
            limits["RLIMIT_DATA"] = spec.limits.memory_bytes
        if not self._groups.pids:  # counts the user's every thread on the machine, so add to those
            limits["RLIMIT_NPROC"] = _own_threads() + spec.limits.processes
        return limits

    # -------------------------------------------------------------- ending

    def _stop(self, run: RunDirectory) -> None:
        if not run.at.is_dir():
            return
        (run.at / "stop").touch()
        if run.is_alive():
            run.signal(signal.SIGTERM)
        until = time.monotonic() + STOP_S
        while run.is_alive() and time.monotonic() < until:
            time.sleep(POLL_S[0])
        if run.is_alive():
            run.signal(signal.SIGKILL)
        self._end(run, "stopped")
        self._collect()

    def _end(self, run: RunDirectory, ended: str) -> RunResult:
        """Write the result that the shim could not write, after killing what it could not kill."""
        missing = RunResult(ended=ended, output=run.output, **NOT_ENDED)
        if not run.at.is_dir():
            return missing
        with run.held() as lock:
            found = run.result()
            if found is not None or lock is None:
                return found or missing
            self._sweep(run)
            run.output.touch()
            printed = run.output.stat().st_size
            run.write("result.json", {"ended": ended, **NOT_ENDED, "output_bytes": printed})
        return RunResult(ended=ended, output=run.output, output_bytes=printed, **NOT_ENDED)

    def _sweep(self, run: RunDirectory) -> None:
        """Kill what a dead shim left: members of its groups, and whoever carries the run's mark in its environment."""
        owner = run.owner()
        mark = f"{owner.get('instance')}/{owner.get('id')}"
        until = time.monotonic() + STOP_S
        while owner and time.monotonic() < until:
            left = _group_members(owner["groups"]) | marked(mark)
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(POLL_S[0])
        for group in owner.get("groups", ()):
            with suppress(OSError):
                Path(group).rmdir()

    def _reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        killed = []
        for run_id, run in unwanted(self._root, self._instance, is_wanted):
            if run.is_alive():
                killed.append(run_id)
            self._stop(run)
            run.remove()
        self._collect()
        return tuple(killed)

    def _collect(self) -> None:
        """Take our own dead shims off the process table."""
        for pid in tuple(self._children):
            try:
                done, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done = pid
            if done:
                self._children.discard(pid)

    # -------------------------------------------------------------- names

    def _mark(self, run_id: str) -> str:
        return f"{self._instance}/{run_id}"

    def _group_name(self, run_id: str) -> str:
        return "windlass-" + hashlib.sha256(f"{self._root}\0{self._mark(run_id)}".encode()).hexdigest()[:24]


async def _gone(run: RunDirectory) -> bool:
    """Wait for the shim's end without polling; False when there is nobody to wait for (yet)."""
    fd = run.shim()
    if fd is None:
        return False
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return True


def _own_threads() -> int:
    if os.geteuid() == 0:
        return 0
    uid, count = os.geteuid(), 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError, IndexError):
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                count += int(stat_fields(entry.name)[17])
    return min(count, resource.getrlimit(resource.RLIMIT_NPROC)[1] & 0x7FFFFFFF)


def _group_members(groups: Sequence[str]) -> set[int]:
    found: set[int] = set()
    for group in groups:
        with suppress(OSError):
            found.update(map(int, (Path(group) / "cgroup.procs").read_text().split()))
    return found - {0}
