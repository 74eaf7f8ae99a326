"""Bare repositories among ordinary files."""

from __future__ import annotations

import pytest

from windlass.core.bare_repository import touched_heads

STORE = ("a/HEAD", "a/config", "a/objects/x", "a/refs/heads/y")


@pytest.mark.parametrize("changed", STORE)
def test_whatever_changes_in_one_it_is_found(changed: str) -> None:
    assert touched_heads({*STORE, "b"}, [changed]) == ("a/HEAD",)


def test_one_that_lies_there_untouched_is_not_the_agents() -> None:
    assert touched_heads({*STORE, "b/c"}, ["b/c"]) == ()


def test_its_parts_may_come_in_any_case_and_from_elsewhere() -> None:
    assert touched_heads({"head", "Objects/x", "REFS/y"}, ["head"]) == ("head",)
    assert touched_heads({"x/HEAD", "x/commondir"}, ["x/commondir"]) == ("x/HEAD",)


def test_a_page_called_head_is_none() -> None:
    assert touched_heads({"HEAD", "objects/x", "a/refs/y"}, ["HEAD"]) == ()
    assert touched_heads({"objects/x", "refs/y"}, ["refs/y"]) == ()
