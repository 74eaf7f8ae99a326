"""One run as a directory: who holds it, whether it was started, what came of it.

Whether a run is alive is a lock, not a number: the shim holds `alive` locked as long as it lives, the kernel lets go
of it whatever happens, and no reused process id can pretend. A process id is used only to signal, and only together
with the start time the kernel knows for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from windlass.adapters.runners.shim.files import write_json
from windlass.adapters.runners.shim.tree import stat_fields
from windlass.core.errors import NotFound
from windlass.core.run_ids import insist_on_run_id
from windlass.ports import RunResult

STARTER_POLL_S = 0.01
ABANDONED_S = 5.0  # a starter says whose a directory is within milliseconds of making it


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run. `at` is private to Windlass; nothing in it is visible inside the sandbox."""

    at: Path

    @classmethod
    def of(cls, root: Path, run_id: str) -> Self:
        """Where run `run_id` is or would be below `root`. Refused when the id could mean another place."""
        insist_on_run_id(run_id)
        return cls(root / run_id)

    @classmethod
    def known(cls, root: Path, run_id: str) -> Self:
        """The same for a run that is there; NotFound otherwise."""
        run = cls.of(root, run_id)
        if not run.at.is_dir():
            raise NotFound(f"no run {run_id}", code="run_unknown", hint="start it first")
        return run

    @property
    def output(self) -> Path:
        """What the run printed."""
        return self.at / "output"

    @property
    def was_started(self) -> bool:
        """Whether the command of this run may have begun."""
        return (self.at / "started.json").exists() or (self.at / "result.json").exists()

    @contextmanager
    def held(self) -> Iterator[int | None]:
        """The lock, as a descriptor that a shim may inherit; None when a shim holds it. Waits for other starters."""
        fd = os.open(self.at / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if self.was_started:
                        yield None
                        return
                    time.sleep(STARTER_POLL_S)
                else:
                    yield fd
                    return
        finally:
            os.close(fd)

    def try_hold(self) -> int | None:
        """The lock as a descriptor that the caller closes; None when somebody holds the run. Never waits."""
        fd = os.open(self.at / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def is_alive(self) -> bool:
        """Whether somebody holds the run: its shim, or for a moment its starter."""
        try:
            fd = os.open(self.at / "alive", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(fd)

    def owner(self) -> dict[str, Any]:
        """`instance` and `groups` (directories) of the run; {} when it was never written."""
        return _read(self.at / "owner.json")

    def is_abandoned(self) -> bool:
        """Whether its starter died before it said whose run this is: nothing of it has run, nor ever will."""
        if self.owner() or self.is_alive():
            return False
        try:
            return time.time() - self.at.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:
            return False

    def read(self, name: str) -> dict[str, Any]:
        """One of our JSON files; {} when it is not there or not whole."""
        return _read(self.at / name)

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write one of our JSON files, all or nothing."""
        write_json(str(self.at / name), value)

    def result(self) -> RunResult | None:
        """How it ended, once that is written."""
        found = _read(self.at / "result.json")
        return RunResult(**found, output=self.output) if found else None

    def shim(self) -> int | None:
        """A pidfd of the living (or not yet collected) shim; the caller closes it. None when it has gone."""
        started = _read(self.at / "started.json")
        if not started:
            return None
        try:
            fd = os.pidfd_open(started["pid"])
        except OSError:
            return None
        fields = stat_fields(started["pid"])
        if len(fields) > 19 and int(fields[19]) == started["start_ticks"]:
            return fd
        os.close(fd)
        return None

    def signal(self, number: signal.Signals) -> None:
        """Signal the shim and nobody else."""
        fd = self.shim()
        if fd is None:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, number)
        os.close(fd)

    def remove(self) -> None:
        """Take the directory away, its name first, so that a half removed run is never met again."""
        grave = self.at.with_name(f".gone-{os.getpid()}-{time.monotonic_ns()}")
        with suppress(FileNotFoundError):
            self.at.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)


def unwanted(root: Path, instance: str, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, RunDirectory]]:
    """The runs of an instance below `root` that nobody wants, by id; what killed starts and removals left goes.

    What a start left without an owner goes as well when it is not wanted, whoever made it: it never was a run.
    """
    for grave in root.glob(".gone-*"):
        shutil.rmtree(grave, ignore_errors=True)
    for path in sorted(path for path in root.iterdir() if path.is_dir()):
        run = RunDirectory(path)
        owner = run.owner()
        run_id = str(owner.get("id", path.name))
        if owner.get("instance") == instance and not is_wanted(run_id):
            yield run_id, run
        elif run.is_abandoned() and not is_wanted(run_id):
            run.remove()


def marked(mark: str) -> set[int]:
    """Processes other than this one that carry a run's mark in their environment, wherever they have gone."""
    wanted = f"WINDLASS_RUN={mark}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
