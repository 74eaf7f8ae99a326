"""The bytes of a policy file: over the operator's defaults, or refused by name and at once, however they were made."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Refused
from windlass.core.policy import Limits, Policy
from windlass.engine.intake import parse_policy

OPERATORS = Policy(
    label="ours", agent="codex", may_requester_approve=True, limits=Limits(agent_attempts=9, review_rounds=8)
)


def test_what_the_file_leaves_out_is_the_operators() -> None:
    data = b"label: theirs\nlimits:\n  agent_attempts: 3\n"
    policy = parse_policy(data, OPERATORS)
    limits = dataclasses.replace(OPERATORS.limits, agent_attempts=3)
    digest = hashlib.sha256(data).hexdigest()
    assert policy == dataclasses.replace(OPERATORS, label="theirs", limits=limits, digest=digest)


@pytest.mark.parametrize("data", [b"", b"\n", b"# nothing\n", b"---\n", b"{}", b"version: 1"])
def test_an_empty_file_is_the_operators_policy(data: bytes) -> None:
    policy = parse_policy(data, OPERATORS)
    assert policy == dataclasses.replace(OPERATORS, digest=hashlib.sha256(data).hexdigest())


def test_a_file_can_take_back_what_the_operator_allows() -> None:
    assert parse_policy(b"may_requester_approve: false\nlabel: AI-Ready\n", OPERATORS).may_requester_approve is False
    assert parse_policy(b"label: AI-Ready\n", OPERATORS).label == "AI-Ready", "a default that is written down counts"


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k0: v}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join(['*' + before] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP = "[" * 60_000


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"label: [", "not YAML"),
        (b"a: b: c", "not YAML"),
        (b"\t- x", "not YAML"),
        (b"\xff\xfe", "not YAML"),
        (b"label: x\x00", "not YAML"),
        (b"a: 1\n---\nb: 2\n", "not YAML"),
        (b"- a\n- b\n", "the policy"),
        (b"just words", "the policy"),
        (b"label: !!python/object/apply:os.system ['true']", "not YAML"),
        (b"label: 2001-99-99", "not YAML"),
        (b"label: !!bool x", "not YAML"),
        (b"label: !!int ''", "not YAML"),
        (b"label: !!timestamp x", "not YAML"),
        (b"? [a]\n: b", "not YAML"),
        (b"limits: {job_s: " + b"9" * 5000 + b"}", "not YAML"),
        (b"labels: x", "unknown key labels"),
        (b"limits: {jobs: 1}", "unknown key limits.jobs"),
        (b"label: 2001-01-01", "label"),
        (b"limits: {job_s: .inf}", "limits.job_s"),
        (b"x: &a 1\ny: *a", "alias"),
        (BOMB.encode(), "alias"),
        (MERGE_BOMB.encode(), "alias"),
        (b"a: &a [*a]", "alias"),
        (DEEP.encode(), "nested too deep"),
        (DEEP.replace("[", "{a: ")[:60_000].encode(), "nested too deep"),
        (("- " * 30_000).encode(), "nested too deep"),
        (b"x" * 70_000, "70000 bytes"),
    ],
)
def test_what_is_wrong_is_refused_by_name(data: bytes, named: str) -> None:
    with pytest.raises(Refused, match=named.replace(".", r"\.")) as caught:
        parse_policy(data, Policy())
    assert caught.value.code == "bad_policy"
    assert caught.value.hint
    assert len(caught.value.message) < 500
    assert "\n" not in caught.value.message


@given(data=st.binary(max_size=60) | st.text("a:- {}[]&*!|>'\"\n\t#%@`,0129_.~<", max_size=60).map(str.encode))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    try:
        policy = parse_policy(data, Policy())
    except Refused as refused:
        assert refused.code == "bad_policy"  # noqa: PT017 both ends are fine
    else:
        assert policy.digest == hashlib.sha256(data).hexdigest()
        assert yaml.safe_load(data.decode()) is None or isinstance(yaml.safe_load(data.decode()), dict)
