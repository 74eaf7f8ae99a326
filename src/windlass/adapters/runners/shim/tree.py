"""The processes of a run: who they are, what they use, and how all of them are killed.

No process gets away: a daemon's orphans come back to us (we are their subreaper), and where there is a control group
its list of members is read too.
"""
# ruff: noqa: PTH102, PTH106, PTH118, PTH208 - pathlib doubles the time this takes to start

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time

from windlass.adapters.runners.shim.files import Spec, get, number, put
from windlass.adapters.runners.shim.space import Space

KILL_S = 15.0


class Use:
    """What the tree uses, and whether it is too much: by its control group, else by adding up /proc; and the disk."""

    def __init__(self, spec: Spec) -> None:
        self._groups: list[Spec] = spec["cgroups"]
        self._memory: int = spec["memory_bytes"]
        self._processes: int = spec["processes"]
        self._counts = spec["counts_by_hand"]
        self._space = Space(spec.get("disk"), lambda: descendants(os.getpid()) | self.members())
        self.peak_bytes = 0

    def make_groups(self) -> None:
        for group in self._groups:
            with contextlib.suppress(FileExistsError):
                os.mkdir(group["dir"])
            for name, value in group["limits"].items():
                put(os.path.join(group["dir"], name), str(value))

    def join_groups(self) -> None:
        for group in self._groups:
            put(os.path.join(group["dir"], "cgroup.procs"), "0")

    def members(self) -> set[int]:
        found: set[int] = set()
        for group in self._groups:
            found.update(int(pid) for pid in get(os.path.join(group["dir"], "cgroup.procs")).split())
        return found - {0, os.getpid()}

    def over(self) -> str:
        """What it uses too much of, or ''. Memory and processes only where no control group holds the limit for us."""
        if self._counts:
            tree = descendants(os.getpid())
            resident = sum(resident_bytes(pid) for pid in tree)
            self.peak_bytes = max(self.peak_bytes, resident)
            if resident > self._memory:
                return f"it uses more than {self._memory} bytes of memory"
            if len(tree) > self._processes:
                return f"it has more than {self._processes} processes"
        return self._space.over()

    def measure(self) -> tuple[float, int]:
        """(processor seconds, peak bytes) of everything that ran."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu, peak = used.ru_utime + used.ru_stime, max(self.peak_bytes, used.ru_maxrss * 1024)
        for group in self._groups:
            peak = max([peak, *(number(os.path.join(group["dir"], name)) for name in group["peaks"])])
        return cpu, peak

    def remove_groups(self) -> None:
        for group in self._groups:
            for _ in range(100):
                try:
                    os.rmdir(group["dir"])
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                else:
                    break


def stat_fields(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on (the name before them may hold anything)."""
    return get(f"/proc/{pid}/stat").rpartition(")")[2].split()


def descendants(root: int) -> set[int]:
    """Every living process below `root`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = stat_fields(name) if name.isdigit() else []
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(int(name))
    found: set[int] = set()
    queue = list(children.get(root, ()))
    while queue:
        pid = queue.pop()
        found.add(pid)
        queue += children.get(pid, ())
    return found


def resident_bytes(pid: int) -> int:
    fields = get(f"/proc/{pid}/statm").split()
    return int(fields[1]) * resource.getpagesize() if len(fields) > 1 else 0


def reap(child: int, status: int | None) -> tuple[int | None, bool]:
    """Collect what has ended: (the child's status once known, whether any child is left)."""
    while True:
        try:
            pid, seen = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, False
        if pid == 0:
            return status, True
        if pid == child:
            status = seen


def kill_all(child: int, status: int | None, use: Use) -> int | None:
    """Kill every process of the run until none is left; the child's wait status."""
    until = time.monotonic() + KILL_S
    while time.monotonic() < until:
        tree = descendants(os.getpid()) | use.members()
        for number_ in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that nothing forks away
            for pid in tree:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number_)
        status, has_more = reap(child, status)
        if not has_more and not tree:
            break
        time.sleep(0.002)
    return status
