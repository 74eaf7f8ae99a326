"""Decisions, driven by generated histories: random, duplicated, reordered and missing events."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.core.jobs import ASKED, GOOD, NOW, PATCH, POLICY, check, opened, review, snapshot
from windlass.core import events
from windlass.core.ci import GATE_CONTEXT
from windlass.core.effects import MAIN_LINE, Order
from windlass.core.findings import FindingRef
from windlass.core.job import Job, Outcome, Reason, State, TestRun, Verification
from windlass.core.policy import Limits, Policy
from windlass.core.roles import parse_workflow
from windlass.core.transition import Transition
from windlass.core.workflow import ASKED_AGAIN, decide

BAD = Verification(
    command="pytest",
    base=TestRun(status="passed"),
    head=TestRun(status="failed", failed_tests=("t",)),
    red_to_green=False,
)
BRANCH = "b" * 40


class Drive:
    """Applies transitions and answers orders as a well-behaved outside would."""

    def __init__(self, policy: Policy = POLICY, **changes: Any) -> None:
        self.now = NOW
        self.log: list[Order] = []
        self.orders: dict[int, Order] = {}
        first = opened(policy, **changes)
        self.job = first.job
        self.take(first)

    def take(self, transition: Transition) -> Transition:
        for order in transition.orders:
            assert order.seq not in self.orders
            self.orders[order.seq] = order
            self.log.append(order)
        self.job = transition.job
        return transition

    def hear(self, event: events.Event) -> Transition:
        return self.take(decide(self.job, event, self.job.policy, self.now))

    def last(self, kind: str) -> Order:
        return next(order for order in reversed(self.log) if order.effect.kind == kind)

    def count(self, kind: str) -> int:
        return sum(order.effect.kind == kind for order in self.log)

    def observe(self, **changes: Any) -> Transition:
        seq = self.job.observing_seq
        if seq is None:
            self.hear(events.PullRequestTouched(what="test"))
            seq = self.job.observing_seq
        assert seq is not None
        return self.hear(events.PullRequestObserved(seq=seq, pull=snapshot(self.job, **changes)))

    def to_pull(self, head: str = "h" * 40) -> None:
        work = self.last("CreateBranch")
        self.hear(events.BranchCreated(seq=work.seq, base_sha=BRANCH, branch_sha=BRANCH))
        self.run_to_pull(head)

    def run_to_pull(self, head: str) -> None:
        seq = self.last("StartRun").seq
        assert self.job.run_id is not None
        self.hear(events.RunStarted(seq=seq, run_id=self.job.run_id))
        self.hear(events.RunFinished(seq=seq, run_id=self.job.run_id, outcome=Outcome.COMPLETED, patch=PATCH))
        self.hear(events.PatchVerified(seq=self.last("VerifyPatch").seq, verification=GOOD))
        self.hear(events.PatchPushed(seq=self.last("PushPatch").seq, head_sha=head, tree_sha=PATCH.tree_sha))
        seq = self.last("OpenPullRequest").seq
        self.hear(events.PullRequestOpened(seq=seq, number=1, url="http://f/1", title="t"))


def test_the_whole_way_to_an_approved_merge() -> None:
    drive = Drive()
    assert drive.job.state is State.QUEUED
    drive.to_pull()
    assert drive.job.state is State.CHECKING
    drive.observe(checks=(check(""),))
    assert drive.job.state is State.CHECKING
    drive.observe()
    assert drive.job.state is State.REVIEWING
    gate = drive.last("SetCommitStatus").effect
    assert (gate.context, gate.state) == (GATE_CONTEXT, "pending")
    drive.hear(events.EffectDone(seq=drive.job.gate_seq or -1, effect="SetCommitStatus"))
    drive.observe(reviews=(review(),))
    assert drive.last("SetCommitStatus").effect.state == "success"
    drive.observe(reviews=(review(),), is_merged=True, state="closed", merged_by="rita", merge_commit_sha="m" * 40)
    assert drive.job.state is State.MERGED
    assert drive.job.deadline_at_ms is None
    assert drive.job.approval is not None
    assert drive.job.approval.by == "rita"


def test_no_check_is_not_a_pass_and_has_its_own_deadline() -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(checks=())
    assert drive.job.state is State.CHECKING
    for _ in range(2):
        drive.now = (drive.job.deadline_at_ms or 0) + 1
        drive.hear(events.DeadlinePassed(deadline_at_ms=drive.job.deadline_at_ms or 0))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.CI_NOT_STARTED)
    drive.observe()
    assert drive.job.state is State.REVIEWING, "once the checks are there and green the job goes on"


def test_a_missing_required_check_is_not_green() -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(required=("tests", "lint"))
    assert drive.job.state is State.CHECKING


def test_red_on_the_base_spends_no_agent_attempt() -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(checks=(check("failure"),), base_checks=(check("failure", number=9),))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.CI_RED_ON_BASE)
    assert drive.count("StartRun") == 1
    assert drive.count("RerunChecks") == 0


def test_a_red_check_is_run_again_once_then_mended_then_a_person_is_asked() -> None:
    drive = Drive(Policy(limits=Limits(ci_fix_rounds=1, checks_quiet_s=0)))
    drive.to_pull()
    drive.observe(checks=(check("failure"),))
    assert drive.count("RerunChecks") == 1
    drive.observe(checks=(check("failure"),))
    assert drive.job.state is State.CHECKING, "the try that is being repeated does not count again"
    drive.observe(checks=(check("failure", at_ms=2),))
    assert drive.job.state is State.QUEUED
    run = drive.last("StartRun").effect
    assert run.purpose == "fix_ci"
    assert run.start_sha == "h" * 40
    drive.run_to_pull("f" * 40)
    drive.observe(checks=(check("failure", at_ms=3),))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.CI_FAILED)
    assert drive.job.budgets.agent_attempts == 0


def test_action_required_asks_a_person() -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(checks=(check("action_required"),))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.CI_ACTION_REQUIRED)


def test_failing_tests_with_the_change_are_tried_again_with_the_log() -> None:
    drive = Drive(Policy(limits=Limits(agent_attempts=2)))
    drive.hear(events.BranchCreated(seq=0, base_sha=BRANCH, branch_sha=BRANCH))
    for attempt in (1, 2):
        seq = drive.last("StartRun").seq
        drive.hear(events.RunFinished(seq=seq, run_id=drive.job.run_id or "", outcome=Outcome.COMPLETED, patch=PATCH))
        drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=BAD))
        assert drive.job.budgets.agent_attempts == attempt
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.TESTS_FAILED)
    assert "t" in drive.last("StartRun").effect.feedback
    assert drive.count("PushPatch") == 0


def test_a_pushed_head_voids_the_approval_and_the_agent_leaves_it_alone() -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(reviews=(review(),))
    assert drive.job.approval is not None
    drive.observe(head_sha="x" * 40, reviews=(review(),), checks=(check("failure"),))
    assert drive.job.approval is None
    assert drive.job.is_human_driven
    drive.observe(head_sha="x" * 40, checks=(check("failure", at_ms=2),))
    assert drive.count("StartRun") == 1


def test_merged_without_an_approval_is_never_done() -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(is_merged=True, state="closed", merged_by="root", reviews=(review(sha="0" * 40),))
    assert (drive.job.state, drive.job.reason) == (State.CLOSED, Reason.MERGED_WITHOUT_APPROVAL)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"by": "olga"}, False),
        ({"by": "windlass-bot"}, False),
        ({"is_human": False}, False),
        ({"permission": "read"}, False),
        ({"sha": "0" * 40}, False),
        ({"state": "commented"}, False),
    ],
)
def test_whose_approval_counts(changes: dict[str, Any], counts: bool) -> None:
    drive = Drive()
    drive.to_pull()
    drive.observe(reviews=(review(**changes),))
    assert (drive.job.approval is not None) is counts


def test_a_request_for_changes_goes_back_to_the_agent_within_its_budget() -> None:
    drive = Drive(Policy(limits=Limits(review_rounds=1, checks_quiet_s=0)))
    drive.to_pull()
    drive.observe(reviews=(review("changes_requested", body="no globals"),))
    assert drive.last("StartRun").effect.purpose == "address_review"
    assert "no globals" in drive.last("StartRun").effect.feedback
    drive.run_to_pull("n" * 40)
    drive.observe(reviews=(review("changes_requested", sha="n" * 40, number=2),))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.CHANGES_REQUESTED)


def test_infrastructure_failures_spend_revivals_only() -> None:
    drive = Drive(Policy(limits=Limits(revivals=2)))
    for _ in range(3):
        seq = drive.last("CreateBranch").seq
        drive.hear(
            events.EffectFailed(
                seq=seq, effect="CreateBranch", code="unavailable", message="502", is_transient=True, retry_after_s=90
            )
        )
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.INFRASTRUCTURE)
    assert drive.job.budgets.agent_attempts == 0
    assert drive.last("CreateBranch").delay_s >= 90


def test_a_refused_push_keeps_the_patch_and_asks_a_person() -> None:
    drive = Drive()
    drive.hear(events.BranchCreated(seq=0, base_sha=BRANCH, branch_sha=BRANCH))
    seq = drive.last("StartRun").seq
    drive.hear(events.RunFinished(seq=seq, run_id=drive.job.run_id or "", outcome=Outcome.COMPLETED, patch=PATCH))
    drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=GOOD))
    seq = drive.last("PushPatch").seq
    failed = events.EffectFailed(seq=seq, effect="PushPatch", code="push_refused", message="no", is_transient=False)
    drive.hear(failed)
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.PUSH_REFUSED)
    assert drive.job.patch == PATCH


def test_stopping_kills_the_run_and_leaves_no_branch() -> None:
    drive = Drive()
    drive.hear(events.BranchCreated(seq=0, base_sha=BRANCH, branch_sha=BRANCH))
    run_id = drive.job.run_id
    drive.hear(events.StopRequested(by="olga"))
    assert drive.job.state is State.CANCELLED
    assert drive.last("StopRun").effect.run_id == run_id
    assert drive.last("Abandon").effect.branch == "ai-7"


def test_asking_again_hands_branch_and_pull_request_over() -> None:
    drive = Drive()
    drive.to_pull()
    drive.hear(events.IssueWithdrawn(how=ASKED_AGAIN))
    assert (drive.job.state, drive.job.reason) == (State.CANCELLED, Reason.ASKED_AGAIN)
    assert drive.count("Abandon") == 0


def test_closing_the_issue_by_the_merge_does_not_cancel_the_job() -> None:
    drive = Drive()
    drive.to_pull()
    drive.hear(events.IssueWithdrawn(how="closed"))
    assert drive.job.state is State.CHECKING


def test_a_long_detail_and_hostile_names_stay_plain() -> None:
    drive = Drive()
    failed = events.EffectFailed(
        seq=0, effect="CreateBranch", code="branch_not_ours", message="@team \x00" * 500, is_transient=False
    )
    drive.hear(failed)
    body = drive.last("UpdateStatusComment").effect.body if drive.count("UpdateStatusComment") else ""
    assert drive.job.reason is Reason.BRANCH_NOT_OURS
    assert "@team" not in body


HEADS = [c * 40 for c in "hfnxz"]
PATCHES = [dataclasses.replace(PATCH, digest=c * 64, tree_sha=c * 40) for c in "0123456789"]
REVIEWERS = {"parallel": ["reviewer", {"role": "reviewer", "agent": "codex"}]}
WORKFLOWS: list[list[Any]] = [
    ["coder"],
    ["coder", "reviewer", "tester"],
    [{"role": "coder", "candidates": 3}, REVIEWERS],
    ["tester", "coder", REVIEWERS, {"role": "coder", "agent": "codex"}, "reviewer"],
]


class History(RuleBasedStateMachine):
    """Any events in any order, answers late, doubled or never: the promises hold after each step."""

    @initialize(rounds=st.integers(0, 2), attempts=st.integers(1, 3), workflow=st.sampled_from(WORKFLOWS))
    def begin(self, rounds: int, attempts: int, workflow: list[Any]) -> None:
        limits = Limits(
            ci_fix_rounds=rounds,
            agent_attempts=attempts,
            review_rounds=rounds,
            rework_rounds=rounds,
            revivals=2,
            checks_quiet_s=0,
        )
        self.drive = Drive(Policy(limits=limits, workflow=parse_workflow(workflow)))
        self.finals: list[Job] = []
        self.voided: set[int] = set()

    def hear(self, event: events.Event) -> None:
        before = self.drive.job
        transition = self.drive.hear(event)
        again = decide(before, event, before.policy, self.drive.now)
        assert again == transition, "deciding twice on the same gives the same"
        self.voided |= set(transition.voided)
        if before.is_terminal:
            assert transition.job.state is before.state
            assert transition.job.reason is before.reason
            kinds = {order.effect.kind for order in transition.orders}
            assert not kinds & MAIN_LINE
            assert "Observe" not in kinds

    @rule(data=st.data(), late=st.booleans())
    def answer_an_order(self, data: st.DataObject, late: bool) -> None:
        orders = self.drive.log if late else self.drive.log[-4:]
        order = data.draw(st.sampled_from(orders))
        self.hear(self._answer(order, data))

    def _answer(self, order: Order, data: st.DataObject) -> events.Event:
        seq, kind = order.seq, order.effect.kind
        if data.draw(st.integers(0, 5)) == 0:
            return events.EffectFailed(
                seq=seq,
                effect=kind,
                code=data.draw(st.sampled_from(["internal", "push_refused", "branch_not_ours"])),
                message="m",
                is_transient=data.draw(st.booleans()),
            )
        match kind:
            case "CreateBranch":
                return events.BranchCreated(seq=seq, base_sha=BRANCH, branch_sha=BRANCH)
            case "StartRun":
                outcome = data.draw(st.sampled_from(Outcome))
                refusals = data.draw(st.sampled_from([(), ("no",)]))
                run_id = order.effect.run_id
                if data.draw(st.booleans()):
                    return events.RunStarted(seq=seq, run_id=run_id)
                if order.effect.is_read_only:
                    marks = data.draw(st.lists(st.sampled_from("abc"), max_size=2))
                    found = tuple(FindingRef(mark=m, severity="major", path="a.py", line=1) for m in marks)
                    return events.RunFinished(seq=seq, run_id=run_id, outcome=outcome, findings=found)
                patch = data.draw(st.sampled_from([*PATCHES, PATCH, None]))
                return events.RunFinished(seq=seq, run_id=run_id, outcome=outcome, patch=patch, refusals=refusals)
            case "VerifyPatch":
                return events.PatchVerified(seq=seq, verification=data.draw(st.sampled_from([GOOD, BAD])))
            case "PushPatch":
                return events.PatchPushed(seq=seq, head_sha=data.draw(st.sampled_from(HEADS[:3])), tree_sha="e" * 40)
            case "OpenPullRequest":
                return events.PullRequestOpened(seq=seq, number=1, url="u", title="t")
            case "Observe":
                return events.PullRequestObserved(seq=seq, pull=self._pull(data))
            case _:
                return events.EffectDone(seq=seq, effect=kind)

    def _pull(self, data: st.DataObject) -> events.PullSnapshot:
        head = data.draw(st.sampled_from([self.drive.job.head_sha or HEADS[0], *HEADS]))
        conclusion = data.draw(st.sampled_from(["success", "failure", "", "action_required"]))
        merged = data.draw(st.integers(0, 9)) == 0
        reviews = tuple(
            review(
                data.draw(st.sampled_from(["approved", "changes_requested", "commented", "dismissed"])),
                by=data.draw(st.sampled_from(["rita", "olga", "windlass-bot"])),
                sha=data.draw(st.sampled_from([head, HEADS[3]])),
                number=data.draw(st.integers(1, 6)),
            )
            for _ in range(data.draw(st.integers(0, 2)))
        )
        return snapshot(
            self.drive.job,
            head_sha=head,
            checks=data.draw(st.sampled_from([(), (check(conclusion, at_ms=data.draw(st.integers(1, 3))),)])),
            reviews=reviews,
            is_merged=merged,
            state="closed" if merged or data.draw(st.integers(0, 14)) == 0 else "open",
            is_mergeable=data.draw(st.sampled_from([True, None, False])),
        )

    @rule()
    def touch(self) -> None:
        self.hear(events.PullRequestTouched(what="check_run.completed"))

    @rule(early=st.booleans())
    def deadline(self, early: bool) -> None:
        at_ms = self.drive.job.deadline_at_ms
        if at_ms is not None:
            if not early:
                self.drive.now = max(self.drive.now, at_ms)
            self.hear(events.DeadlinePassed(deadline_at_ms=at_ms))

    @rule(step_s=st.integers(1, 100_000))
    def time_passes(self, step_s: int) -> None:
        self.drive.now += step_s * 1000

    @rule(how=st.sampled_from(["closed", "unlabelled", "deleted", ASKED_AGAIN]), odds=st.integers(0, 9))
    def withdraw(self, how: str, odds: int) -> None:
        if odds == 0:
            self.hear(events.IssueWithdrawn(how=how))

    @rule(odds=st.integers(0, 9))
    def stop(self, odds: int) -> None:
        if odds == 0:
            self.hear(events.StopRequested(by="olga"))

    @precondition(lambda self: hasattr(self, "drive"))
    @rule()
    def asked_meanwhile(self) -> None:
        self.hear(dataclasses.replace(ASKED, epoch="e2"))

    @invariant()
    def never_stuck_without_a_deadline(self) -> None:
        if hasattr(self, "drive"):
            assert (self.drive.job.deadline_at_ms is None) is self.drive.job.is_terminal

    @invariant()
    def only_one_branch_and_one_pull_request(self) -> None:
        if hasattr(self, "drive"):
            assert self.drive.job.branch == "ai-7"
            branches = {o.effect.branch for o in self.drive.log if o.effect.kind in {"CreateBranch", "PushPatch"}}
            assert branches <= {"ai-7"}
            pulls = {o.effect.pull_number for o in self.drive.log if o.effect.kind == "Observe"}
            assert pulls <= {1}

    @invariant()
    def merged_only_with_an_approval_of_the_head(self) -> None:
        if hasattr(self, "drive") and self.drive.job.state is State.MERGED:
            approval = self.drive.job.approval
            assert approval is not None
            assert approval.head_sha == self.drive.job.head_sha
            assert approval.by == "rita", "not the requester, not a committer"

    @invariant()
    def the_agent_is_paid_within_its_budgets(self) -> None:
        if hasattr(self, "drive"):
            limits = self.drive.job.policy.limits
            workflow = self.drive.job.policy.workflow
            per_step = max(sum(member.candidates for member in step.members) for step in workflow)
            rounds = 1 + limits.ci_fix_rounds + limits.review_rounds + limits.rework_rounds
            steps = rounds * len(workflow) + limits.agent_attempts
            assert self.drive.count("StartRun") <= steps * per_step + limits.revivals

    @invariant()
    def what_waits_is_the_work_that_was_ordered(self) -> None:
        if hasattr(self, "drive") and self.drive.job.work is not None:
            work = self.drive.job.work
            assert self.drive.orders[work.seq].effect.kind == work.kind
            assert work.seq not in self.voided

    @invariant()
    def a_crew_is_one_writer_or_readers_and_nobody_is_forgotten(self) -> None:
        if not hasattr(self, "drive"):
            return
        job = self.drive.job
        out = [member for member in job.crew if member.is_out]
        assert not {member.seq for member in out} & self.voided
        assert all(self.drive.orders[member.seq].effect.run_id == member.run_id for member in out)
        assert bool(out) is (job.work is not None and job.work.kind == "StartRun")
        assert len({member.role for member in out}) <= 1
        if any(member.role != "reviewer" for member in out):
            step = job.policy.workflow[job.step]
            assert len(step.members) == 1
            assert len(out) <= step.members[0].candidates
        assert not (job.is_terminal or job.state is State.ESCALATED) or not out


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
