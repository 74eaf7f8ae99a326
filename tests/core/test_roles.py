"""Workflows in a policy: what is understood, and what is refused with its key."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.core.errors import Refused
from windlass.core.roles import STRAIGHT, coder_before, first_coder, has_coded, parse_workflow


def test_names_and_mappings_mean_the_same() -> None:
    assert parse_workflow(["coder"]) == parse_workflow([{"role": "coder"}]) == STRAIGHT


def test_places_in_a_workflow() -> None:
    workflow = parse_workflow(["tester", "coder", "reviewer", {"role": "coder", "agent": "x"}, "reviewer"])
    assert [coder_before(workflow, at) for at in range(5)] == [None, None, 1, 1, 3]
    assert first_coder(workflow) == 1
    assert [has_coded(workflow, at) for at in range(5)] == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ([], "workflow"),
        (None, "workflow"),
        ("coder", "workflow"),
        (["coder"] * 11, "workflow"),
        (["tester"], "workflow"),
        (["reviewer", "coder"], "workflow.0.role"),
        (["coder", "boss"], "workflow.1.role"),
        (["coder", 3], "workflow.1"),
        ([{"agent": "x"}], "workflow.0.role"),
        ([{"role": "coder", "agnet": "x"}], "workflow.0.agnet"),
        ([{"role": "coder", "agent": 1}], "workflow.0.agent"),
        ([{"role": "coder", "candidates": 0}], "workflow.0.candidates"),
        ([{"role": "coder", "candidates": 9}], "workflow.0.candidates"),
        ([{"role": "coder", "candidates": True}], "workflow.0.candidates"),
        (["coder", {"role": "tester", "candidates": 2}], "workflow.1.candidates"),
        (["coder", {"parallel": []}], "workflow.1.parallel"),
        (["coder", {"parallel": ["reviewer"] * 9}], "workflow.1.parallel"),
        (["coder", {"parallel": ["tester", "reviewer"]}], "workflow.1.parallel.0.role"),
        (["coder", {"parallel": ["reviewer"], "agent": "x"}], "workflow.1.agent"),
        (["coder", {"parallel": [{"parallel": ["reviewer"]}]}], "workflow.1.parallel.0.parallel"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(document: Any, key: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_workflow(document)
    assert caught.value.code == "bad_policy"
    assert f"{key} in the policy" in caught.value.message
    assert caught.value.hint
