"""The repository's rules: every key, every wrong value with the key's name, and values made to hurt."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Refused
from windlass.core.policy import Limits, Policy, parse


def test_an_absent_file_means_the_defaults() -> None:
    assert parse(None) == Policy() == parse({})
    assert parse(None, digest="d").digest == "d"


def test_every_key_can_be_set() -> None:
    document: dict[str, Any] = {
        "version": 1,
        "label": "robots",
        "base": "develop",
        "agent": "codex",
        "test_command": "make test",
        "requesters": ["write", "read"],
        "approver_permissions": ["admin"],
        "may_requester_approve": True,
        "allow_paths": ["ci/**"],
        "protect_paths": ["secrets/**"],
        "require_red_to_green": True,
        "pull_labels": ["x"],
        "agents": {"coder": "claude-code", "reviewer": "codex"},
        "setup_command": "npm ci",
        "reviewers": ["ada"],
        "workflow": ["coder", {"parallel": ["reviewer", {"role": "reviewer", "agent": "codex"}]}, "tester"],
        "limits": {"agent_attempts": 5, "checks_quiet_s": 0},
    }
    policy = parse(document, digest="d")
    assert set(document) - {"version"} == {f.name for f in dataclasses.fields(Policy)} - {"digest"}
    for name in set(document) - {"version", "limits", "workflow"}:
        wanted = tuple(document[name]) if isinstance(document[name], list) else document[name]
        assert getattr(policy, name) == wanted
    assert policy.limits == Limits(agent_attempts=5, checks_quiet_s=0)
    assert [[(m.role, m.agent) for m in step.members] for step in policy.workflow] == [
        [("coder", "")],
        [("reviewer", ""), ("reviewer", "codex")],
        [("tester", "")],
    ]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "the policy"),
        ("text", "the policy"),
        (0, "the policy"),
        ({1: 2}, "the policy"),
        ({"labels": "x"}, "labels"),
        ({"version": 2}, "version"),
        ({"label": ""}, "label"),
        ({"label": "x" * 51}, "label"),
        ({"label": 3}, "label"),
        ({"agent": None}, "agent"),
        ({"test_command": "a\x00b"}, "test_command"),
        ({"test_command": "x" * 4001}, "test_command"),
        ({"may_requester_approve": "yes"}, "may_requester_approve"),
        ({"may_requester_approve": 1}, "may_requester_approve"),
        ({"requesters": "write"}, "requesters"),
        ({"requesters": ["owner"]}, "requesters"),
        ({"approver_permissions": []}, "approver_permissions"),
        ({"pull_labels": [""]}, "pull_labels"),
        ({"pull_labels": [1]}, "pull_labels"),
        ({"limits": None}, "limits"),
        ({"limits": []}, "limits"),
        ({"limits": {"attempts": 1}}, "limits.attempts"),
        ({"limits": {"agent_attempts": 0}}, "limits.agent_attempts"),
        ({"limits": {"agent_attempts": 21}}, "limits.agent_attempts"),
        ({"limits": {"agent_attempts": True}}, "limits.agent_attempts"),
        ({"limits": {"agent_attempts": 1.0}}, "limits.agent_attempts"),
        ({"limits": {"job_s": 0}}, "limits.job_s"),
        ({"limits": {"job_s": 31_536_001}}, "limits.job_s"),
        ({"limits": {"checks_quiet_s": -1}}, "limits.checks_quiet_s"),
    ],
)
def test_what_is_wrong_is_refused_by_name(document: object, named: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(document)
    assert caught.value.code == "bad_policy"
    assert named in caught.value.message
    assert caught.value.hint


def test_a_value_of_references_to_itself_is_named_in_few_words() -> None:
    value: Any = ["lol"] * 9
    for _ in range(12):
        value = [value] * 9
    endless: list[Any] = []
    endless.append(endless)
    for document in ({"label": value}, {"limits": {"job_s": value}}, value, {"requesters": value}, {"label": endless}):
        with pytest.raises(Refused) as caught:
            parse(document)
        assert len(caught.value.message) < 500


@given(key=st.text(min_size=1, max_size=300).filter(lambda k: k not in {f.name for f in dataclasses.fields(Policy)}))
def test_unknown_keys_are_refused_in_one_line(key: str) -> None:
    if key in {"limits", "version"}:
        return
    with pytest.raises(Refused, match="unknown key") as caught:
        parse({key: 1})
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from([f.name for f in dataclasses.fields(Policy)] + ["version"]) | st.text(max_size=5)


@given(document=values | st.dictionaries(keys, values, max_size=4))
def test_any_document_is_a_policy_or_refused(document: object) -> None:
    try:
        policy = parse(document)
    except Refused as refused:
        error = refused
    else:
        assert 1 <= policy.limits.agent_attempts <= 20
        assert policy.approver_permissions
        return
    assert error.code == "bad_policy"
    assert "\n" not in error.message
    assert len(error.message) < 500
