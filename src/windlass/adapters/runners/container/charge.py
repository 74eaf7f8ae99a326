"""What a process must know to see a container through that another process started: a file of the run directory.

Nothing secret is in it: environment and standard input are the engine's and the container's business.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from windlass.adapters.runners.rundir import RunDirectory
from windlass.ports import Ending, RunSpec

FILE, STARTED, REMOVED = "charge.json", "started.json", "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One container and how it is to be held. `sidecar`: a second container that goes with it, or ''."""

    name: str
    sidecar: str
    group: str
    image: str
    network: str
    workdir: str
    start_s: float
    idle_s: float
    total_s: float
    watch: tuple[str, ...]
    is_watch_only: bool
    output_bytes: int
    memory_bytes: int
    start_tries: int
    ending: tuple[str, str, float] | None
    disk_bytes: int = 0
    disk_files: int = 0

    @classmethod
    def of(cls, spec: RunSpec, **names: str) -> Self:
        """From a spec; `names` are the fields that the spec does not tell."""
        ending = spec.ending
        return cls(
            workdir=str(spec.workdir),
            start_s=spec.deadlines.start_s,
            idle_s=spec.deadlines.idle_s,
            total_s=spec.deadlines.total_s,
            watch=tuple(str(spec.workdir / name) for name in spec.watch),
            is_watch_only=spec.is_watch_only,
            output_bytes=spec.limits.output_bytes,
            memory_bytes=spec.limits.memory_bytes,
            disk_bytes=spec.limits.disk_bytes,
            disk_files=spec.limits.disk_files,
            start_tries=spec.start_tries,
            ending=(ending.file, ending.pattern, ending.grace_s) if ending else None,
            **names,
        )

    @classmethod
    def read(cls, run: RunDirectory) -> Self | None:
        """The one that was written, or None."""
        found = run.read(FILE)
        if not found:
            return None
        told = {**found, "watch": tuple(found["watch"]), "ending": tuple(found["ending"]) if found["ending"] else None}
        return cls(**told)

    def write(self, run: RunDirectory) -> None:
        """Keep it for whoever comes after us."""
        run.write(FILE, asdict(self))

    def life(self) -> dict[str, Any]:
        """As the shim's `Life` wants it."""
        told = {"watch": list(self.watch), "is_watch_only": self.is_watch_only}
        return {"start_s": self.start_s, "idle_s": self.idle_s, "total_s": self.total_s, **told}

    def disk(self) -> dict[str, Any]:
        """As the shim's `Space` wants it."""
        return {"path": self.workdir, "bytes": self.disk_bytes, "files": self.disk_files}

    def as_ending(self) -> Ending | None:
        """What ends the run besides its process."""
        return Ending(file=self.ending[0], pattern=self.ending[1], grace_s=self.ending[2]) if self.ending else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """When the command was begun, first and last. Wall-clock seconds: they must hold over a restart."""

    first_at_s: float
    last_at_s: float
    tries: int

    @classmethod
    def now(cls, before: Beginning | None) -> Beginning:
        """Of one more try."""
        at_s = time.time()
        if before is None:
            return cls(first_at_s=at_s, last_at_s=at_s, tries=1)
        return cls(first_at_s=before.first_at_s, last_at_s=at_s, tries=before.tries + 1)

    @classmethod
    def read(cls, run: RunDirectory) -> Beginning | None:
        """The one on disk, or None."""
        found = run.read(STARTED)
        return cls(**found) if found else None

    def write(self, run: RunDirectory) -> None:
        """Before the engine is told to start: from now on the command may have begun."""
        run.write(STARTED, asdict(self))

    def elapsed_s(self) -> float:
        """Seconds since the first try; a clock that was set back counts as none."""
        return max(0.0, time.time() - self.first_at_s)

    def since_last_s(self) -> float:
        """Seconds since the last try."""
        return max(0.0, time.time() - self.last_at_s)


def silence_s(files: Sequence[Path]) -> float | None:
    """Seconds since the last of these files grew, by their own times; None when nothing is in any of them."""
    found = []
    for path in files:
        with suppress(OSError):
            seen = path.lstat()
            found += [seen.st_mtime] if seen.st_size else []
    return max(0.0, time.time() - max(found)) if found else None
