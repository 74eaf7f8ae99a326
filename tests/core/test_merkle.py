"""The hash tree against its definition, against published roots, and against every small lie."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core import merkle

# The eight leaves of the Certificate Transparency reference tests, and the root over the first n of them.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(str(number).encode()) for number in range(130)]


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    assert merkle.root_of([merkle.leaf_hash(leaf) for leaf in CT_LEAVES[:size]]).hex() == CT_ROOTS[size - 1]


def test_the_empty_tree_has_the_root_of_nothing() -> None:
    assert merkle.root_of([]) == merkle.Tree().root() == hashlib.sha256(b"").digest()


def test_roots_follow_the_definition_at_every_size_however_they_are_made() -> None:
    tree = merkle.Tree()
    for size in range(len(LEAVES) + 1):
        assert tree.size == size
        assert tree.root() == merkle.root_of(LEAVES[:size]) == defined_root(LEAVES[:size])
        if size < len(LEAVES):
            tree.append(LEAVES[size])


def test_every_leaf_of_every_small_tree_is_provable() -> None:
    for size in range(1, 66):
        root = merkle.root_of(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(LEAVES[:size], index)
            assert merkle.is_included(LEAVES[index], index, size, proof, root)
            assert len(proof) <= (size - 1).bit_length()


def test_every_small_tree_is_a_provable_prefix_of_every_larger_one() -> None:
    for size in range(66):
        root = merkle.root_of(LEAVES[:size])
        for old in range(size + 1):
            old_root = merkle.root_of(LEAVES[:old])
            proof = merkle.consistency_proof(LEAVES[:size], old)
            assert merkle.is_consistent(old, old_root, size, root, proof)


@given(data=st.data(), size=st.integers(2, 130))
def test_an_inclusion_proof_holds_for_nothing_else(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = merkle.root_of(LEAVES[:size])
    proof = list(merkle.inclusion_proof(LEAVES[:size], index))
    other = data.draw(st.integers(0, size - 1).filter(lambda other: other != index))
    leaf = LEAVES[index]
    assert not merkle.is_included(LEAVES[other], index, size, proof, root)
    assert not merkle.is_included(leaf, other, size, proof, root)
    assert not merkle.is_included(leaf, index, size, proof, merkle.root_of(LEAVES[: size - 1]))
    assert not merkle.is_included(leaf, index, size, [*proof, leaf], root)
    assert not merkle.is_included(leaf, index, size, proof[:-1], root)
    at = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    assert not merkle.is_included(leaf, index, size, [*proof[:at], flipped, *proof[at + 1 :]], root)
    assert not merkle.is_included(leaf, index, size, [*proof[:at], proof[at][:31], *proof[at + 1 :]], root)


@given(data=st.data(), size=st.integers(3, 130))
def test_a_consistency_proof_holds_for_nothing_else(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    root, old_root = merkle.root_of(LEAVES[:size]), merkle.root_of(LEAVES[:old])
    proof = list(merkle.consistency_proof(LEAVES[:size], old))
    forged = merkle.root_of([*LEAVES[: old - 1], LEAVES[-1] if old - 1 != 129 else LEAVES[0]])
    assert not merkle.is_consistent(old, forged, size, root, proof)
    assert not merkle.is_consistent(old, old_root, size, forged, proof)
    assert not merkle.is_consistent(old, old_root, size, root, proof[:-1])
    assert not merkle.is_consistent(old, old_root, size, root, [*proof, root])
    at = data.draw(st.integers(0, len(proof) - 1))
    flipped = proof[at][:-1] + bytes([proof[at][-1] ^ 0x80])
    assert not merkle.is_consistent(old, old_root, size, root, [*proof[:at], flipped, *proof[at + 1 :]])


def test_impossible_places_are_refused() -> None:
    root = merkle.root_of(LEAVES[:4])
    assert not merkle.is_included(LEAVES[0], 4, 4, (), root)
    assert not merkle.is_included(LEAVES[0], -1, 4, (), root)
    assert not merkle.is_included(LEAVES[0], 0, 0, (), LEAVES[0])
    assert not merkle.is_consistent(5, root, 4, root, ())
    assert not merkle.is_consistent(4, root, 4, LEAVES[0], ())
    assert not merkle.is_consistent(0, root, 4, root, ())
    with pytest.raises(ValueError, match="not in a tree"):
        merkle.inclusion_ranges(4, 4)
    with pytest.raises(ValueError, match="no prefix"):
        merkle.consistency_ranges(5, 4)
