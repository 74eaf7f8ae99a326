"""Control groups: the only honest limit on the memory and the processes of a whole tree.

Used where the kernel lets us (version 1 or 2, found by trying, never by reading a version). Where it does not, the
shim adds up /proc four times a second instead, and the runner's `isolation()` says so.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windlass.ports import SandboxLimits

V1 = {
    "memory": ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    "pids": ("pids.max", ""),
}
V2 = ("memory.max", "pids.max", "memory.peak")
PROBE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroups:
    """Where groups can be made: `memory` and `pids` are directories, the same one on version 2; '' means: cannot."""

    version: int = 0
    memory: str = ""
    pids: str = ""

    @property
    def holds_both(self) -> bool:
        """Whether memory and processes are both limited by the kernel."""
        return bool(self.memory and self.pids)

    def plan(self, name: str, limits: SandboxLimits) -> list[dict[str, Any]]:
        """What the shim makes for one run: directories, the limits to write, the files that tell the peak."""
        if self.version == 2 and self.memory:
            both = {"memory.max": limits.memory_bytes, "pids.max": limits.processes}
            return [{"dir": f"{self.memory}/{name}", "limits": both, "peaks": ["memory.peak"]}]
        plans = []
        if self.memory:
            limit, peak = V1["memory"]
            held = {limit: limits.memory_bytes}
            plans.append({"dir": f"{self.memory}/{name}", "limits": held, "peaks": [peak]})
        if self.pids:
            plans.append({"dir": f"{self.pids}/{name}", "limits": {"pids.max": limits.processes}, "peaks": []})
        return plans


def detect() -> ControlGroups:
    """Find where groups can be made, by making one and moving a process into it."""
    own = _own_groups()
    for mount, kind, _ in _mounts():
        if kind == "cgroup2":
            for parent in _candidates(mount, own.get("", "/"), climbs=True):
                if _works(parent, V2[:2]):
                    return ControlGroups(version=2, memory=parent, pids=parent)
    found = {}
    for mount, kind, options in _mounts():
        for controller, (limit, _) in V1.items():
            if kind == "cgroup" and controller in options:
                parents = _candidates(mount, own.get(controller, "/"), climbs=False)
                found[controller] = next((parent for parent in parents if _works(parent, (limit,))), "")
    return ControlGroups(version=1, memory=found.get("memory", ""), pids=found.get("pids", ""))


def _own_groups() -> dict[str, str]:
    groups: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update((controller, path) for controller in controllers.split(","))
    return groups


def _mounts() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, mount, kind, options, *_ = line.split()
            yield mount, kind, tuple(options.split(","))


def _candidates(mount: str, own: str, *, climbs: bool) -> list[str]:
    """Our own group first, so that limits above us hold; version 2 allows children only where no process sits."""
    places = [mount + own.rstrip("/")]
    if climbs:
        places.append(str(Path(places[0]).parent))
    return [place for place in dict.fromkeys([*places, mount]) if place.startswith(mount)]


def _works(parent: str, files: tuple[str, ...]) -> bool:
    group = Path(parent) / f"windlass-probe-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        join = 'echo 0 > "$1/cgroup.procs"'
        done = subprocess.run(
            ["/bin/sh", "-c", join, "sh", str(group)], check=False, capture_output=True, timeout=PROBE_TIMEOUT_S
        )
        return done.returncode == 0 and all(os.access(group / name, os.W_OK) for name in files)
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        with suppress(OSError):
            group.rmdir()
