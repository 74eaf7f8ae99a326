"""Findings: out of a hostile report only what fits the schema, kept and told apart."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core import findings
from windlass.core.errors import Broken, Refused
from windlass.core.findings import SCHEMA, Finding

ONE = {"path": "a.py", "line": 3, "severity": "major", "text": "off by one"}
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)


def report(document: Any) -> str:
    return f"# Verdict\n\nText.\n\n```json\n{json.dumps(document)}\n```\n"


def test_the_last_block_counts() -> None:
    text = report([]) + "\nor rather\n\n" + report([ONE]) + "\nDone."
    assert findings.read(text) == (Finding(**ONE),)  # type: ignore[arg-type]
    assert findings.read(report([])) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Fine\n\nNothing found.",
        "```json\n[1,\n```\n",
        "```json\n" + "[" * 100_000 + "\n```\n",
        "```\n[]\n```\n",
        "  ```json\n[]\n",
        report({"findings": []}),
        report([ONE] * 101),
        report(["x"]),
        report([{**ONE, "status": "approved"}]),
        report([{key: value for key, value in ONE.items() if key != "line"}]),
        report([{**ONE, "line": -1}]),
        report([{**ONE, "line": True}]),
        report([{**ONE, "line": "3"}]),
        report([{**ONE, "severity": "fatal"}]),
        report([{**ONE, "path": None}]),
        report([{**ONE, "path": "a\nb"}]),
        report([{**ONE, "text": ""}]),
        report([{**ONE, "text": "x" * 4001}]),
    ],
)
def test_what_does_not_fit_is_no_review(text: str) -> None:
    with pytest.raises(Refused) as caught:
        findings.read(text)
    assert caught.value.code == "bad_findings"


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "path": texts | st.none(),
                "line": st.integers(-2, 5) | st.booleans(),
                "severity": st.sampled_from([*findings.SEVERITIES, "x"]),
                "text": texts,
            },
            optional={"more": st.just(1)},
        ),
        max_size=4,
    )
)
def test_the_reader_and_the_published_schema_agree(document: list[dict[str, Any]]) -> None:
    fits = jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
    try:
        found = findings.read(report(document))
    except Refused:
        assert not fits
    else:
        assert fits
        assert findings.decode(findings.encode(found)) == found


def test_kept_findings_that_are_not_ours_are_broken() -> None:
    for data in (b"", b"{}", b"[1]", b"\xff"):
        with pytest.raises(Broken):
            findings.decode(data)


def test_a_mark_is_the_same_however_it_is_spelled() -> None:
    first = findings.reference(Finding(path="a.py", line=3, severity="major", text="Off by one!"))
    again = findings.reference(Finding(path="a.py", line=9, severity="blocker", text=" off  by\none"))
    other = findings.reference(Finding(path="b.py", line=3, severity="major", text="Off by one!"))
    assert first.mark == again.mark != other.mark


def test_what_was_mended_and_is_back_comes_back() -> None:
    assert findings.comes_back([["a", "b"], ["b"]], ["a"])
    assert not findings.comes_back([["a", "b"], ["b"]], ["b"])
    assert not findings.comes_back([], ["a"])
