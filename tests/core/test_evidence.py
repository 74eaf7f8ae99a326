"""Canonical JSON against the rfc8785 package; records sealed, read back, and refused when they are not right."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from windlass.core import canonical, evidence
from windlass.core.errors import Refused

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
PLACE: dict[str, Any] = {"id": "r1", "job_id": "job-1", "job_seq": 0, "at_ms": 1_767_225_600_123}


@given(VALUES)
def test_canonical_bytes_are_those_of_rfc8785(value: Any) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(VALUES)
def test_what_was_written_is_read_back(value: Any) -> None:
    assert canonical.decode(canonical.encode(value)) == value


def test_keys_are_sorted_by_utf16_code_units() -> None:
    value = {"\U0001f600": 1, "\ufb33": 2, "é": 3, "\r": 4, "1": 5}
    assert list(json.loads(canonical.encode(value))) == ["\r", "1", "é", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        2**53,
        -(2**53),
        {1: 2},
        b"x",
        {"a": {1}},
        "\ud800",
        {"\udfff": 1},
        pytest.param(object(), id="object"),
    ],
    ids=repr,
)
def test_what_has_no_one_form_is_refused(value: Any) -> None:
    with pytest.raises(Refused) as caught:
        canonical.encode({"value": value} if isinstance(value, dict) else value)
    assert caught.value.code == "not_canonical"


def test_deep_nesting_is_refused_both_ways() -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Refused):
        canonical.encode(deep)
    with pytest.raises(Refused):
        canonical.decode(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "data",
    [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b"1.0", b"1e3", b"-0", b"NaN", b'"\\u0041"', b"\xff", b"", b"1 "],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        canonical.decode(data)


def test_a_sealed_record_has_these_exact_bytes() -> None:
    body, leaf = evidence.seal("decision", {"why": ["asked"]}, **PLACE)
    assert body == (
        b'{"at":"2026-01-01T00:00:00.123Z","data":{"why":["asked"]},"id":"r1","job":"job-1","job_seq":0,'
        b'"kind":"decision","schema":"windlass.dev/record/v1"}'
    )
    assert leaf == hashlib.sha256(b"\x00" + body).digest()


@given(st.dictionaries(TEXTS, VALUES, max_size=3))
def test_sealed_records_are_read_back(data: dict[str, Any]) -> None:
    record = evidence.parse(evidence.seal("decision", data, **PLACE)[0])
    assert (record.id, record.job, record.job_seq, record.kind, record.data) == ("r1", "job-1", 0, "decision", data)


def test_unknown_kinds_and_half_a_place_are_refused() -> None:
    with pytest.raises(Refused, match="no kind of record"):
        evidence.seal("gossip", {}, **PLACE)
    with pytest.raises(Refused, match="or neither"):
        evidence.seal("decision", {}, **{**PLACE, "job_id": None})


def test_large_lists_give_way_to_their_hash() -> None:
    checks = [{"name": f"check {number}", "conclusion": "success"} for number in range(3000)]
    data = {"outcome": {"pull": {"head_sha": "c" * 40, "checks": checks, "committers": ["ada"]}}}
    body, _ = evidence.seal("decision", data, **PLACE)
    pull = evidence.parse(body).data["outcome"]["pull"]
    assert pull["head_sha"] == "c" * 40
    assert pull["committers"] == ["ada"]
    assert pull["checks"] == {
        "sha256": hashlib.sha256(rfc8785.dumps(checks)).hexdigest(),
        "items": 3000,
        "bytes": len(rfc8785.dumps(checks)),
    }


@given(st.lists(st.integers(1, 30_000), min_size=3, max_size=8))
def test_whatever_lists_there_are_the_record_fits(sizes: list[int]) -> None:
    data = {f"list {at}": ["x" * size] for at, size in enumerate(sizes)}
    body, _ = evidence.seal("decision", data, **PLACE)
    assert len(body) <= evidence.MAX_RECORD_BYTES
    told = evidence.parse(body).data
    if sum(sizes) < 60_000:
        assert told == data


def test_a_large_text_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        evidence.seal("decision", {"text": "x" * evidence.MAX_RECORD_BYTES}, **PLACE)
    assert caught.value.code == "record_too_large"


GOOD = json.loads(evidence.seal("decision", {}, **PLACE)[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "windlass.dev/record/v2"},
        {"extra": 1},
        {"id": ""},
        {"id": 5},
        {"job": None},
        {"job_seq": None},
        {"job_seq": -1},
        {"job_seq": True},
        {"job_seq": "0"},
        {"job": ""},
        {"kind": "gossip"},
        {"kind": ["decision"]},
        {"at": "2026-01-01T00:00:00Z"},
        {"at": "2026-02-30T00:00:00.000Z"},
        {"at": 5},
        {"data": []},
        {"data": None},
    ],
    ids=str,
)
def test_malformed_records_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        evidence.parse(rfc8785.dumps({**GOOD, **changes}))
    assert caught.value.code == "malformed_record"


def test_blobs_are_named_at_any_depth_and_only_in_their_fields() -> None:
    one, two, three = "1" * 64, "2" * 64, "3" * 64
    data = {"patch": {"digest": one}, "runs": [{"log_digest": two}], "policy_sha256": three, "report_digest": ""}
    assert sorted(evidence.blob_digests(data)) == [one, two]


def test_half_characters_in_hostile_text_do_not_stop_a_record() -> None:
    body, _ = evidence.seal("decision", {"title": "a\ud800b", "k\udc00": ["\ud83d\ude00"]}, **PLACE)
    assert evidence.parse(body).data == {"title": "a\ufffdb", "k\ufffd": ["\U0001f600"]}


def test_a_float_is_still_refused() -> None:
    with pytest.raises(Refused) as caught:
        evidence.seal("decision", {"cost": 1.5, "title": "\ud800"}, **PLACE)
    assert caught.value.code == "not_canonical"
