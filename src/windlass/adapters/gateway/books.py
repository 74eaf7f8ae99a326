"""The runs' accounts on disk: one file per run, a line for each thing that happened, appended before it counts.

A killed gateway forgets nothing that it had promised: a call is sent on only after its estimate stands in the file. A
last line that was cut is passed over, because what it announced was not done. No key stands in a file, only the SHA-256
of the run's own one and the name of the setting that holds the real one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from windlass.adapters.gateway.account import Account, Bill, replayed
from windlass.core.run_ids import insist_on_run_id

KEY_PREFIX = "wlk_"  # by which a run's own key is known wherever it turns up


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a run was granted, without any key. `label` names the setting that the real key is in, '' when none is."""

    run: str
    key_sha256: str
    protocol: str
    upstream: str
    limit_usd: str | None = None
    label: str = ""


class Book:
    """One run's file, open for writing by the one process that holds the gateway's lock."""

    def __init__(self, path: Path, head: Head, account: Account) -> None:
        self.path = path
        self.head = head
        self.account = account

    def hold(self, usd: Decimal | None) -> int:
        """Hold an estimate; the call's number. Raises OSError, and then nothing is held."""
        entry = self.account.hold(usd)
        self._append(entry)
        return int(entry["hold"])

    def settle(self, call: int, bill: Bill) -> None:
        """Replace a call's estimate by what it came to."""
        self._append(self.account.settle(call, bill))

    def release(self, call: int) -> None:
        """A call that never cost anything."""
        self._append({"release": call})

    def refuse(self, why: str) -> None:
        """Keep why a call was refused for money; the first time only, because a run may ask without end."""
        if not self.account.refusal:
            self._append({"refused": why})

    def close(self, *, is_closed: bool = True) -> None:
        """The run's key is worth nothing from now on, or again something."""
        if self.account.is_closed != is_closed:
            self._append({"closed": is_closed})

    def sync(self) -> None:
        """Have what was written survive a loss of power too."""
        with suppress(OSError):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def _append(self, entry: Mapping[str, Any]) -> None:
        write(self.path, entry)
        self.account.apply(entry)


def path_of(runs: Path, run_id: str) -> Path:
    """Where a run's file is. Raises Refused for what is not a run's id."""
    insist_on_run_id(run_id)
    return runs / f"{run_id}.jsonl"


def create(runs: Path, head: Head) -> Book:
    """A new run's file, whole or not at all."""
    path = path_of(runs, head.run)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    write(fresh, asdict(head))
    fresh.rename(path)
    return load(path)


def load(path: Path) -> Book:
    """A run's file as it is. Raises OSError, ValueError when it is not one."""
    lines = _lines(path)
    try:
        head = Head(**next(lines))
    except (StopIteration, TypeError) as error:
        raise ValueError(f"{path} has no first line") from error
    limit = None if head.limit_usd is None else Decimal(head.limit_usd)
    return Book(path, head, replayed(limit, lines))


def load_all(runs: Path) -> Iterator[Book]:
    """Every run that can be read."""
    for path in sorted(runs.glob("*.jsonl")):
        with suppress(OSError, ValueError):
            yield load(path)


def write(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one line in one piece."""
    data = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data  # a line that a kill cut stays by itself
        if os.write(fd, data) != len(data):
            raise OSError(f"{path} could not be written to its end")
    finally:
        os.close(fd)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n"):
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
