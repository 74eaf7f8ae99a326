"""Re-read a whole log from its store and say whether it holds together.

Keeps the rule that a check trusts nothing it can compute: leaf hashes, roots and numbers are made anew from the
stored bytes. Refuses nothing; what does not fit becomes one line of the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from windlass.core import notes
from windlass.core.errors import Refused
from windlass.core.evidence import parse, rfc3339
from windlass.core.merkle import Tree, leaf_hash
from windlass.core.notes import VerifyKey, VerifySignature
from windlass.ports import Store, StoredRecord

_PAGE = 1000
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReport:
    """What came of re-reading everything: `size` leaves with `root` (hex), and how many checkpoints were checked."""

    is_sound: bool
    problems: tuple[str, ...]
    size: int
    root: str
    checkpoints: int


def recheck(store: Store, keys: Sequence[VerifyKey], verify: VerifySignature, origin: str) -> LedgerReport:
    """Every record's bytes, its leaf, its numbers; the root and the signature of every kept checkpoint.

    Memory does not grow with the log, but for one number per job.
    """
    size = store.ledger_size()
    check = _Recheck(keys, verify, origin)
    checkpoints = _checkpoints(store)
    upcoming = next(checkpoints, None)
    for record in _sequenced(store, size):
        while upcoming is not None and upcoming[0] <= check.tree.size:
            check.checkpoint(*upcoming)
            upcoming = next(checkpoints, None)
        check.record(record)
    if check.tree.size != size:
        check.say(f"the log should have {size} entries, and {check.tree.size} can be read")
    while upcoming is not None:
        # A checkpoint may be newer than the size that was read at the start: then it is of no concern here.
        if upcoming[0] <= check.tree.size or store.ledger_size() < upcoming[0]:
            check.checkpoint(*upcoming)
        upcoming = next(checkpoints, None)
    return LedgerReport(
        is_sound=not check.problems,
        problems=tuple(check.problems),
        size=check.tree.size,
        root=check.tree.root().hex(),
        checkpoints=check.checkpoints,
    )


class _Recheck:
    def __init__(self, keys: Sequence[VerifyKey], verify: VerifySignature, origin: str) -> None:
        self.tree = Tree()
        self.problems: list[str] = []
        self.checkpoints = 0
        self._keys = keys
        self._verify = verify
        self._origin = origin
        self._next_seq: dict[str, int] = {}

    def say(self, problem: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)

    def record(self, record: StoredRecord) -> None:
        at = self.tree.size
        leaf = leaf_hash(record.body)
        self.tree.append(leaf)
        if record.leaf_index != at:
            self.say(f"entry {at}: its index is {record.leaf_index}")
        if record.leaf_hash != leaf:
            self.say(f"entry {at}: its bytes do not have the stored hash")
        try:
            told = parse(record.body)
        except Refused as error:
            self.say(f"entry {at}: {error.message}")
            return
        columns = (record.id, record.job_id, record.job_seq, record.kind, rfc3339(record.at_ms))
        if (told.id, told.job, told.job_seq, told.kind, told.at) != columns:
            self.say(f"entry {at}: the table says other things than the bytes")
        if told.job is not None:
            expected = self._next_seq.get(told.job, 0)
            if told.job_seq != expected:
                self.say(f"entry {at}: record {told.job_seq} of job {told.job}, where {expected} should be")
            self._next_seq[told.job] = max(expected, told.job_seq or 0) + 1

    def checkpoint(self, size: int, text: str) -> None:
        self.checkpoints += 1
        try:
            note = notes.parse_note(text)
            head = notes.parse_checkpoint(note.text)
        except Refused as error:
            self.say(f"checkpoint of {size}: {error.message}")
            return
        if not notes.signers(note, self._keys, self._verify):
            self.say(f"checkpoint of {size}: not signed by a known key")
        if (head.origin, head.size) != (self._origin, size):
            self.say(f"checkpoint of {size}: it is of {head.size} entries of {head.origin}")
        elif size != self.tree.size:
            self.say(f"checkpoint of {size}: the log has only {self.tree.size} entries")
        elif head.root != self.tree.root():
            self.say(f"checkpoint of {size}: the entries do not lead to its root")


def _sequenced(store: Store, size: int) -> Iterator[StoredRecord]:
    after = -1
    while after < size - 1:
        page = store.records(after=after, limit=_PAGE)
        for record in page:
            if record.leaf_index is None or not after < record.leaf_index < size:
                return
            after = record.leaf_index
            yield record
        if not page:
            return


def _checkpoints(store: Store) -> Iterator[tuple[int, str]]:
    after = -1
    while page := store.checkpoints(after=after, limit=_PAGE):
        yield from page
        after = page[-1][0]
