"""The log's hash tree over a store: roots of any part of it, without holding all leaves.

Keeps the rule that what was read once is not read differently later: roots of whole blocks stay in memory. Refuses
(Broken) a store that gives fewer leaves than it said it had. Memory: 32 bytes and a little for every 256 entries.
"""

from __future__ import annotations

from windlass.core.errors import Broken
from windlass.core.merkle import Range, Tree, root_of
from windlass.ports import Store

BLOCK = 256
_READ = 64 * BLOCK
_CACHED_BLOCKS = 64


class Leaves:
    """The leaves of one log, as far as they have been taken in. Not safe for several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tree = Tree()
        self._blocks: list[bytes] = []
        self._tail: list[bytes] = []
        self._cache: dict[int, list[bytes]] = {}

    @property
    def size(self) -> int:
        """How many leaves have been taken in."""
        return self._tree.size

    def root(self) -> bytes:
        """The root over all of them, 32 bytes."""
        return self._tree.root()

    def grow(self, size: int) -> None:
        """Take in leaves up to `size`."""
        while self.size < size:
            for leaf in self._read(self.size, min(size, self.size + _READ)):
                self._tree.append(leaf)
                self._tail.append(leaf)
                if len(self._tail) == BLOCK:
                    self._blocks.append(root_of(self._tail))
                    self._tail = []

    def root_of(self, part: Range) -> bytes:
        """The root of the leaves [start, end): a subtree of the log's tree, so `start` is where such a one begins."""
        start, end = part
        first, last = start // BLOCK, end // BLOCK
        if start % BLOCK:
            return root_of(self._block(first)[start % BLOCK : start % BLOCK + end - start])
        roots = self._blocks[first:last]
        if end % BLOCK:
            roots.append(root_of(self._block(last)[: end % BLOCK]))
        return root_of(roots)

    def _block(self, number: int) -> list[bytes]:
        if number == len(self._blocks):
            return self._tail
        if number not in self._cache:
            if len(self._cache) >= _CACHED_BLOCKS:
                self._cache.clear()
            self._cache[number] = self._read(number * BLOCK, (number + 1) * BLOCK)
        return self._cache[number]

    def _read(self, start: int, end: int) -> list[bytes]:
        leaves = self._store.leaf_hashes(start, end)
        if len(leaves) != end - start:
            raise Broken(
                f"the log has a gap between entries {start} and {end}",
                hint="stop, keep a copy of the database, and compare it with a backup",
                code="ledger_broken",
            )
        return leaves
