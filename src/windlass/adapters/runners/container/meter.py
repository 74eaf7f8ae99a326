"""What a container uses: processor time, peak memory, bytes sent, and whether memory ran out.

The kernel's own counts. Where the engine makes control groups by name, the run's containers stand in one group of
ours, which still knows everything after they are gone. Elsewhere the container's own group is looked at while it
lives, the last look a moment before its end. Podman's word on memory that ran out is not enough: it may say no after a
kill by the kernel.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from windlass.adapters.runners.shim.files import get, number

ROOT = Path("/sys/fs/cgroup")
EVENTS = ("memory.oom_control", "memory.events")
REMOVE_S = 2.0


def group_name(*parts: str) -> str:
    """The group of one run, at the top of every hierarchy."""
    return "/windlass-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


class Meter:
    """The counts of one run. `group`: its group, '' where the engine places containers itself."""

    def __init__(self, group: str, *, counts_network: bool) -> None:
        self._group = group
        self._counts_network = counts_network
        self.cpu_s = 0.0
        self.peak_bytes = 0
        self.bytes_out: int | None = None
        self.is_out_of_memory = False
        self.saw_something = False

    def look(self, pid: int, container: str = "") -> None:
        """Take the counts; `pid` is the first process of the container of this id, 0 when it is over."""
        own = f"/proc/{pid}/cgroup" if pid else ""
        for place in self._places("memory", own, container):
            self._look_at_memory(place)
        for place in self._places("cpuacct", own, container):
            self._look_at_time(place)
        if self._counts_network and pid:
            sent = _sent_bytes(pid)
            self.bytes_out = max(self.bytes_out or 0, sent) if sent is not None else self.bytes_out

    def take(self, cpu_s: float, memory_bytes: int) -> None:
        """Counts that the engine gave."""
        self.cpu_s, self.peak_bytes = max(self.cpu_s, cpu_s), max(self.peak_bytes, memory_bytes)

    def members(self) -> set[int]:
        """The processes in the run's own group; none where the engine places containers itself."""
        tops = (ROOT / "memory", ROOT) if self._group else ()
        lists = [path for top in tops for path in (top / self._group[1:]).rglob("cgroup.procs")]
        return {int(pid) for path in lists for pid in get(str(path)).split()}

    def _places(self, controller: str, own: str, container: str) -> Iterator[Path]:
        """The group of the run, else the container's own; one that it shares with others says nothing of it."""
        if self._group:
            places = (top / self._group[1:] for top in (ROOT / controller, ROOT))
            yield from (place for place in places if place.is_dir())
            return
        for line in get(own).splitlines() if own else ():
            _, controllers, path = line.split(":", 2)
            if container and container in path and (controller in controllers.split(",") or not controllers):
                yield (ROOT / controller if controllers else ROOT) / path.lstrip("/")

    def _look_at_memory(self, at: Path) -> None:
        peak = max(number(str(at / name)) for name in ("memory.max_usage_in_bytes", "memory.peak", "memory.current"))
        self.peak_bytes = max(self.peak_bytes, peak)
        inner = [path for path in at.glob("*") if path.is_dir()]  # version 1 counts kills where they happened only
        events = "".join(get(str(path / name)) for path in (at, *inner) for name in EVENTS)
        self.is_out_of_memory = self.is_out_of_memory or re.search(r"^oom_kill [1-9]", events, re.MULTILINE) is not None
        self.saw_something = self.saw_something or peak > 0

    def _look_at_time(self, at: Path) -> None:
        spent = number(str(at / "cpuacct.usage")) / 1e9
        told = dict(line.split() for line in get(str(at / "cpu.stat")).splitlines() if len(line.split()) == 2)
        self.cpu_s = max(self.cpu_s, spent, int(told.get("usage_usec", 0)) / 1e6)


def remove_groups(group: str) -> None:
    """Take a run's group away, with what the engine made in it; only empty ones go, and only ours."""
    if not group.startswith("/windlass-"):
        return
    until = time.monotonic() + REMOVE_S
    while left := [at for top in (ROOT, *ROOT.glob("*")) if (at := top / group[1:]).is_dir()]:
        for at in left:
            for folder, _, _ in os.walk(at, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
        if time.monotonic() > until:
            return
        time.sleep(0.002)


def _sent_bytes(pid: int) -> int | None:
    """Bytes that left the container's network by any interface but its loopback."""
    lines = [line.split(":", 1) for line in get(f"/proc/{pid}/net/dev").splitlines() if ":" in line]
    if not lines:
        return None
    return sum(int(counts.split()[8]) for name, counts in lines if name.strip() != "lo")
