"""What goes on the ledger is plain JSON without floats and long texts, the same for the same value."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.jobs import ASKED, GOOD, PATCH, opened
from windlass.core.job import State
from windlass.core.records import LONGEST_TEXT, digest, plain

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(list(State)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


@given(value=plain_values)
def test_everything_becomes_json_without_floats_and_stays_as_it_is(value: Any) -> None:
    made = plain(value)
    assert json.loads(json.dumps(made)) == made
    assert not [leaf for leaf in leaves(made) if isinstance(leaf, float)]
    assert plain(made) == made


@given(text=st.text(st.characters(), min_size=LONGEST_TEXT - 2, max_size=LONGEST_TEXT + 2))
def test_long_texts_leave_only_their_digest(text: str) -> None:
    made = plain({"body": text})["body"]
    if len(text) <= LONGEST_TEXT:
        assert made == text
    else:
        raw = text.encode("utf-8", "surrogatepass")
        assert made == {"sha256": hashlib.sha256(raw).hexdigest(), "length": len(raw)}


def test_our_dataclasses_are_told_field_by_field() -> None:
    made = plain(ASKED)
    assert made["issue"]["number"] == 7
    assert made["task_type"] is None
    assert plain(GOOD)["base"]["duration_s"] == "0.000"
    assert plain(PATCH)["files"] == ["calc.py", "test_calc.py"]
    assert plain(opened().job)["state"] == "queued"


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), State, dataclasses])
def test_what_has_no_plain_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no plain form"):
        plain({"x": value})


def test_a_digest_is_sha256() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
