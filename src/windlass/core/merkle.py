"""The hash tree of the ledger: leaf and node hashes, roots, inclusion and consistency proofs (RFC 6962, RFC 9162).

Keeps the rule that one log has one root per size, whoever computes it. Refuses to guess: a proof with a hash too
many, a hash too few or a hash of another length proves nothing. All hashes are SHA-256, 32 bytes.

A proof is first a list of ranges of leaves (`inclusion_ranges`, `consistency_ranges`), so that whoever keeps only
roots of whole blocks in memory can still make one without holding every leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_LEAF = b"\x00"
_NODE = b"\x01"

Range = tuple[int, int]


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data), RFC 6962 section 2.1."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), RFC 6962 section 2.1."""
    return hashlib.sha256(_NODE + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order; of the empty tree, SHA-256 of nothing."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        # An odd last one moves up unchanged, which gives the same root as the RFC's recursive split.
        above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


class Tree:
    """An append-only tree that remembers only the roots of its perfect parts: O(log n) memory, append and root."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        carry, rest = leaf, self.size
        while rest & 1:
            carry = node_hash(self._peaks.pop(), carry)
            rest >>= 1
        self._peaks.append(carry)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """The root at the present size."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def inclusion_ranges(index: int, size: int) -> tuple[Range, ...]:
    """The ranges [start, end) whose roots prove leaf `index` in a tree of `size`, from the leaf's sibling upwards."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return tuple(reversed(found))


def consistency_ranges(old_size: int, size: int) -> tuple[Range, ...]:
    """The ranges whose roots prove that the tree of `old_size` is a prefix of the tree of `size` (RFC 6962, 2.1.2)."""
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {old_size} is no prefix of a tree of {size}")
    if old_size in (0, size):
        return ()
    found: list[Range] = []
    start, end, is_whole = 0, size, True
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, is_whole = middle, False
    if not is_whole:
        found.append((start, end))
    return tuple(reversed(found))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes that prove leaf `index` in the tree over `leaves` (leaf hashes)."""
    return tuple(root_of(leaves[start:end]) for start, end in inclusion_ranges(index, len(leaves)))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """The hashes that prove that the first `old_size` of `leaves` are a prefix of them all."""
    return tuple(root_of(leaves[start:end]) for start, end in consistency_ranges(old_size, len(leaves)))


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` is leaf `index` of the tree of `size` with `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `size` only adds to the tree of `old_size` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= size or not _are_hashes((old_root, root, *proof)):
        return False
    if old_size == size:
        return not proof and old_root == root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    # A perfect old tree is its own first proof hash, and is therefore not sent.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    return bool(path) and _climb(old_size - 1, size - 1, path) == (old_root, root)


def _climb(at: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return (old, new) if last == 0 else None


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
