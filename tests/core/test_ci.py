"""The verdict over a commit's checks: a table of GitHub's cases, and what may never turn it."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core import ci
from windlass.core.ci import CiVerdict
from windlass.core.events import Check, PullSnapshot

CONCLUSIONS = (
    "success",
    "failure",
    "neutral",
    "skipped",
    "cancelled",
    "timed_out",
    "action_required",
    "stale",
    "error",
)
BAD = ("failure", "cancelled", "timed_out", "stale", "error", "startup_failure")


def check(name: str, conclusion: str = "success", number: int = 1, source: str = "check_run") -> Check:
    status = "completed" if conclusion else "in_progress"
    return Check(name=name, source=source, status=status, conclusion=conclusion, id=number, completed_at_ms=number)


def pull(*checks: Check, required: tuple[str, ...] | None = None, base: tuple[Check, ...] = ()) -> PullSnapshot:
    return PullSnapshot(
        number=1,
        state="open",
        is_merged=False,
        head_sha="h",
        base_ref="main",
        base_sha="b",
        required=required,
        checks=checks,
        base_checks=base,
    )


@pytest.mark.parametrize(
    ("checks", "required", "verdict"),
    [
        ((), None, "none"),
        ((), ("a",), "none"),
        ((check(ci.GATE_CONTEXT), check(ci.REPORT_CHECK)), None, "none"),
        ((check(ci.GATE_CONTEXT, ""),), (ci.GATE_CONTEXT,), "none"),
        ((check("a"),), None, "green"),
        ((check("a"),), (), "green"),
        ((check("a"),), (ci.GATE_CONTEXT,), "green"),
        ((check("a", "neutral"), check("b", "skipped")), None, "green"),
        ((check("a", ""),), None, "pending"),
        ((check("a"), check("b", "")), None, "pending"),
        ((check("a"), check("b", "")), ("a",), "green"),
        ((check("a"),), ("a", "b"), "pending"),
        ((check("a"), check("b", "failure")), None, "red"),
        ((check("a"), check("b", "failure")), ("a",), "green"),
        ((check("a", "failure"), check("b", "")), None, "red"),
        ((check("a", "action_required"),), None, "action_required"),
        ((check("a", "failure"), check("b", "action_required")), ("a",), "action_required"),
        ((check("a"), check("a", "failure", 2)), ("a",), "red"),
        ((check("a"), check("a", "", 2)), ("a",), "pending"),
        ((check("a", "success", source="status"),), ("a",), "green"),
        *(((check("a", bad),), None, "red") for bad in BAD),
        *(((check("a", bad),), ("a",), "red") for bad in BAD),
    ],
)
def test_the_verdict(checks: tuple[Check, ...], required: tuple[str, ...] | None, verdict: str) -> None:
    assert ci.read(pull(*checks, required=required)).verdict == verdict


def test_before_it_has_been_quiet_only_required_checks_make_it_green() -> None:
    assert ci.read(pull(check("a")), is_quiet=False).verdict is CiVerdict.PENDING
    assert ci.read(pull(check("a"), required=("a",)), is_quiet=False).verdict is CiVerdict.GREEN
    assert ci.read(pull(check("a", "failure")), is_quiet=False).verdict is CiVerdict.RED


def test_a_try_that_is_repeated_is_waited_for_until_its_next_try_reports() -> None:
    first = check("a", "failure", 1)
    marks = (ci.mark(first),)
    again = ci.read(pull(first), rerun_marks=marks)
    assert (again.verdict, again.waiting_for) == (CiVerdict.PENDING, ("a",))
    next_try = dataclasses.replace(first, completed_at_ms=9)
    assert ci.read(pull(next_try), rerun_marks=marks).verdict is CiVerdict.RED
    mended = dataclasses.replace(next_try, conclusion="success")
    assert ci.read(pull(mended), rerun_marks=marks).verdict is CiVerdict.GREEN


def test_what_is_waited_for_is_named() -> None:
    reading = ci.read(pull(check("a", ""), required=("a", "b", ci.GATE_CONTEXT)))
    assert reading.waiting_for == ("a", "b")


@pytest.mark.parametrize(
    ("failed", "base", "is_red"),
    [
        ((check("a", "failure"),), (check("a", "failure"),), True),
        ((check("a", "failure"),), (check("a"),), False),
        ((check("a", "failure"),), (check("a", ""),), False),
        ((check("a", "failure"),), (), False),
        ((check("a", "failure"), check("b", "failure")), (check("a", "failure"),), False),
        ((), (check("a", "failure"),), False),
        ((check(ci.GATE_CONTEXT, "failure"),), (check(ci.GATE_CONTEXT, "failure"),), False),
    ],
)
def test_red_on_the_base(failed: tuple[Check, ...], base: tuple[Check, ...], is_red: bool) -> None:
    assert ci.is_red_on_base(failed, pull(*failed, base=base)) is is_red


names = st.sampled_from(["a", "b", "c", "d"])
any_check = st.builds(
    check, names, st.sampled_from(["", *CONCLUSIONS]), st.integers(1, 3), st.sampled_from(["check_run", "status"])
)
pulls = st.builds(
    lambda checks, required: pull(*checks, required=required),
    st.lists(any_check, max_size=5),
    st.none() | st.lists(names | st.just(ci.GATE_CONTEXT), max_size=3, unique=True).map(tuple),
)
ours = st.builds(check, st.sampled_from([ci.GATE_CONTEXT, ci.REPORT_CHECK]), st.sampled_from(["", *CONCLUSIONS]))


@given(found=pulls, own=st.lists(ours, min_size=1, max_size=3), seed=st.integers(0, 99), quiet=st.booleans())
def test_our_own_gate_and_report_never_change_the_verdict(
    found: PullSnapshot, own: list[Check], seed: int, quiet: bool
) -> None:
    mixed = [*found.checks, *own]
    random.Random(seed).shuffle(mixed)
    more = dataclasses.replace(found, checks=tuple(mixed))
    before, after = ci.read(found, is_quiet=quiet), ci.read(more, is_quiet=quiet)
    assert after.verdict is before.verdict
    assert set(after.failed) == set(before.failed)
    assert set(after.waiting_for) == set(before.waiting_for)


@given(found=pulls, extra=st.builds(check, names, st.sampled_from(BAD), st.just(9)), quiet=st.booleans())
def test_one_more_failing_check_never_makes_it_better(found: PullSnapshot, extra: Check, quiet: bool) -> None:
    before = ci.read(found, is_quiet=quiet).verdict
    after = ci.read(dataclasses.replace(found, checks=(*found.checks, extra)), is_quiet=quiet).verdict
    if before is not CiVerdict.GREEN:
        assert after is not CiVerdict.GREEN
    if before is CiVerdict.RED:
        assert after is CiVerdict.RED
    if before is CiVerdict.ACTION_REQUIRED:
        assert after is CiVerdict.ACTION_REQUIRED
    required = [name for name in found.required or () if name != ci.GATE_CONTEXT]
    if not required or extra.name in required:
        assert after in {CiVerdict.RED, CiVerdict.ACTION_REQUIRED}


@given(found=pulls, seed=st.integers(0, 99))
def test_green_means_that_everything_that_counts_is_there_and_good(found: PullSnapshot, seed: int) -> None:
    reading = ci.read(found)
    shuffled = list(found.checks)
    random.Random(seed).shuffle(shuffled)
    assert ci.read(dataclasses.replace(found, checks=tuple(shuffled))).verdict is reading.verdict
    if reading.verdict is CiVerdict.GREEN:
        required = [name for name in found.required or () if name != ci.GATE_CONTEXT]
        counted = [c for c in found.checks if not required or c.name in required]
        assert counted
        assert {c.name for c in counted} >= set(required)
        assert all(c.status == "completed" and c.conclusion in {"success", "neutral", "skipped"} for c in counted)
