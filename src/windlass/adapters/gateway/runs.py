"""The runs that may use the gateway now, by the SHA-256 of their keys, and what is going on for each.

The real key of a run is only here, in memory. A gateway that was restarted knows its runs from their files, but not
their real keys until Windlass has brought them again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from windlass.adapters.gateway import books
from windlass.adapters.gateway.books import Book, Head
from windlass.adapters.gateway.dialects import DIALECTS, Dialect


@dataclass(slots=True, kw_only=True)
class OpenRun:
    """One run with an open account. `key` is the real one, '' until it is brought; `tasks` are its calls in flight."""

    book: Book
    dialect: Dialect
    key: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    large: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.book.head.run


class OpenRuns:
    """All of them. Used on one event loop only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_id: dict[str, OpenRun] = {}
        self._by_key: dict[str, OpenRun] = {}
        for book in books.load_all(folder):
            if not book.account.is_closed and book.head.protocol in DIALECTS:
                self._add(book, "")

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, presented: str) -> OpenRun | None:
        """The run that a key belongs to."""
        return self._by_key.get(hashlib.sha256(presented.encode("utf-8", "replace")).hexdigest()) if presented else None

    def open(self, head: Head, key: str) -> None:
        """Open a run, or bring its key again; what was granted first stays."""
        run = self._by_id.get(head.run)
        if run is None:
            path = books.path_of(self._folder, head.run)
            book = books.load(path) if path.exists() else books.create(self._folder, head)
            book.close(is_closed=False)
            run = self._add(book, key)
        run.key = key or run.key

    def bring(self, keys: Mapping[str, str], of_runs: Mapping[str, str]) -> None:
        """The real keys, by runs and by the names of their settings, for runs that have none."""
        for run in self._by_id.values():
            run.key = run.key or of_runs.get(run.id) or keys.get(run.book.head.label, "")

    def close(self, run_id: str) -> None:
        """End what is going on for a run; its key is worth nothing any more."""
        run = self._by_id.pop(run_id, None)
        if run is not None:
            self._by_key.pop(run.book.head.key_sha256, None)
            run.book.close()
            for task in run.tasks:
                task.cancel()

    def forget(self, run_id: str) -> None:
        """Remove every trace."""
        self.close(run_id)
        books.path_of(self._folder, run_id).unlink(missing_ok=True)

    def tasks(self) -> Iterator[asyncio.Task[None]]:
        """Every call in flight."""
        for run in self._by_id.values():
            yield from run.tasks

    def _add(self, book: Book, key: str) -> OpenRun:
        run = OpenRun(book=book, dialect=DIALECTS[book.head.protocol], key=key)
        self._by_id[run.id] = self._by_key[book.head.key_sha256] = run
        return run
