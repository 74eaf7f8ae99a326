"""Steps of a workflow: who is put to work on what, what is handed on, and where findings lead."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.core.jobs import GOOD, PATCH
from tests.core.test_workflow import BAD, BRANCH, Drive
from windlass.core import events
from windlass.core.crew import _agent
from windlass.core.findings import FindingRef
from windlass.core.job import Outcome, PatchRef, Reason, State, TestRun, Verification
from windlass.core.policy import Limits, Policy
from windlass.core.roles import parse_workflow

LINE: list[Any] = ["coder", "reviewer", "tester"]


def patch(name: str, lines: int = 3) -> PatchRef:
    return dataclasses.replace(PATCH, digest=name * 64, tree_sha=name * 40, insertions=lines)


def found(*marks: str, severity: str = "major") -> tuple[FindingRef, ...]:
    return tuple(FindingRef(mark=mark, severity=severity, path="calc.py", line=1) for mark in marks)


class Play(Drive):
    """A job on a workflow, with the branch made."""

    def __init__(self, workflow: list[Any], **limits: int) -> None:
        super().__init__(Policy(workflow=parse_workflow(workflow), limits=Limits(checks_quiet_s=0, **limits)))
        self.hear(events.BranchCreated(seq=self.last("CreateBranch").seq, base_sha=BRANCH, branch_sha=BRANCH))

    def out(self) -> list[Any]:
        """The orders of the runs that are at work."""
        return [self.orders[member.seq].effect for member in self.job.crew if member.is_out]

    def done(self, number: int = 0, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> None:
        """One of those at work is done."""
        member = [member for member in self.job.crew if member.is_out][number]
        self.hear(events.RunStarted(seq=member.seq, run_id=member.run_id))
        self.hear(
            events.RunFinished(
                seq=member.seq, run_id=member.run_id, outcome=outcome, agent=f"a-{member.role}", **changes
            )
        )

    def wrote(self, change: PatchRef, verified: Verification = GOOD, number: int = 0) -> None:
        self.done(number, patch=change, report_digest="r" * 64, report_title="A title")
        if self.job.work is not None and self.job.work.kind == "VerifyPatch":
            self.tested(verified)

    def tested(self, verified: Verification = GOOD) -> None:
        self.hear(events.PatchVerified(seq=self.last("VerifyPatch").seq, verification=verified))

    def read(self, *marks: str, severity: str = "major", number: int = 0) -> None:
        digest = "f" * 64 if marks else ""
        self.done(number, findings=found(*marks, severity=severity), findings_digest=digest)


def test_each_step_is_handed_what_the_one_before_made() -> None:
    play = Play(LINE)
    (coder,) = play.out()
    assert (coder.role, coder.purpose, coder.handed, coder.is_read_only) == ("coder", "implement", None, False)
    play.wrote(patch("1"))
    (reviewer,) = play.out()
    assert (reviewer.role, reviewer.purpose, reviewer.handed, reviewer.is_read_only) == (
        "reviewer",
        "review",
        patch("1"),
        True,
    )
    play.read()
    (tester,) = play.out()
    assert (tester.role, tester.purpose, tester.handed, tester.is_read_only) == ("tester", "test", patch("1"), False)
    assert play.count("PushPatch") == 0
    play.wrote(patch("2"))
    pushed = play.last("PushPatch").effect
    assert pushed.patch == patch("2")
    assert pushed.agent == "a-coder, a-tester"
    assert pushed.title == "A title"
    assert play.job.state is State.PUBLISHING


def test_serious_findings_lead_back_to_the_coder_and_forward_again() -> None:
    play = Play(LINE)
    play.wrote(patch("1"))
    play.read("x")
    (coder,) = play.out()
    assert (coder.role, coder.purpose, coder.handed) == ("coder", "address_findings", patch("1"))
    assert coder.findings == ("f" * 64,)
    assert play.job.budgets.rework_rounds == 1
    play.wrote(patch("2"))
    assert [effect.role for effect in play.out()] == ["reviewer"]
    play.read()
    assert [effect.role for effect in play.out()] == ["tester"]
    assert play.job.remarks == ()


def test_minor_findings_are_told_and_stop_nobody() -> None:
    play = Play(["coder", "reviewer"])
    play.wrote(patch("1"))
    play.read("x", severity="minor")
    play.hear(events.PatchPushed(seq=play.last("PushPatch").seq, head_sha="h" * 40, tree_sha="1" * 40))
    opened = play.last("OpenPullRequest").effect
    assert opened.findings == ("f" * 64,)
    assert [(note.role, note.words) for note in opened.run_notes][-1] == ("reviewer", "1 finding(s), 0 serious")


def test_rework_has_a_bound() -> None:
    play = Play(["coder", "reviewer"], rework_rounds=2)
    for number, name in enumerate("123"):
        play.wrote(patch(name))
        play.read(f"finding {number}")
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.FINDINGS_OPEN)
    assert play.job.patch == patch("3"), "what was made is kept"


def test_a_coder_that_changes_nothing_about_it_is_not_asked_twice() -> None:
    play = Play(["coder", "reviewer"])
    play.wrote(patch("1"))
    play.read("x")
    play.wrote(patch("1"))
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.FINDINGS_OPEN)


def test_a_change_that_was_sent_back_before_is_a_circle() -> None:
    play = Play(["coder", "reviewer"], rework_rounds=5)
    play.wrote(patch("1"))
    play.read("x")
    play.wrote(patch("2"))
    play.read("y")
    play.wrote(patch("1"))
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.OSCILLATING)


def test_a_finding_that_comes_back_is_a_circle() -> None:
    play = Play(["coder", "reviewer"], rework_rounds=5)
    for name, mark in (("1", "x"), ("2", "y"), ("3", "x")):
        play.wrote(patch(name))
        play.read(mark)
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.OSCILLATING)


def test_the_same_findings_twice_are_for_a_person() -> None:
    play = Play(["coder", "reviewer"], rework_rounds=5)
    for name in "12":
        play.wrote(patch(name))
        play.read("x")
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.FINDINGS_OPEN)
    assert "the same findings" in play.job.detail


def test_reviewers_side_by_side_are_heard_together() -> None:
    play = Play(["coder", {"parallel": ["reviewer", {"role": "reviewer", "agent": "codex"}]}])
    play.wrote(patch("1"))
    assert [effect.agent for effect in play.out()] == ["", "codex"]
    play.read("x", number=1)
    assert len(play.out()) == 1, "the other one still reads"
    play.read(severity="major")
    (coder,) = play.out()
    assert coder.role == "coder"
    assert coder.findings == ("f" * 64,)


def test_a_reviewer_that_reports_nothing_that_can_be_read_is_tried_again() -> None:
    play = Play(["coder", "reviewer"], agent_attempts=2)
    play.wrote(patch("1"))
    play.done(outcome=Outcome.INCOMPLETE, detail="no json")
    (again,) = play.out()
    assert (again.role, again.handed, again.feedback) == ("reviewer", patch("1"), "no json")
    assert play.job.verification == GOOD
    play.done(outcome=Outcome.INCOMPLETE, detail="no json")
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.AGENT_INCOMPLETE)


def verdict(status: str, *, proven: bool = False, failed: tuple[str, ...] = ()) -> Verification:
    base = TestRun(status="failed", failed_tests=("t", "u", "v"))
    head = TestRun(status=status, failed_tests=failed)
    return Verification(command="x", base=base, head=head, red_to_green=proven)


def test_the_tests_choose_among_candidates() -> None:
    play = Play([{"role": "coder", "candidates": 4}])
    assert len({effect.run_id for effect in play.out()}) == 4
    assert [effect.number for effect in play.out()] == [0, 1, 2, 3]
    for name in "1234":
        play.done(patch=patch(name, lines=9 if name == "3" else 3), report_title=f"title {name}")
    verdicts = {"1": verdict("failed", failed=("new",)), "2": verdict("passed"), "3": verdict("passed", proven=True)}
    for _ in range(4):
        name = play.last("VerifyPatch").effect.patch.digest[0]
        play.tested(verdicts.get(name, verdict("passed", proven=True)))
    pushed = play.last("PushPatch").effect
    assert pushed.patch == patch("4"), "proven like the third, and smaller"
    assert pushed.title == "title 4"
    assert len(play.job.run_notes) == 1


def test_the_same_change_of_two_candidates_is_tested_once() -> None:
    play = Play([{"role": "coder", "candidates": 3}])
    play.done(outcome=Outcome.FAILED)
    play.done(patch=patch("1"))
    play.done(patch=patch("1"))
    play.tested()
    assert play.count("VerifyPatch") == 1
    assert play.last("PushPatch").effect.patch == patch("1")


def test_a_candidate_that_cannot_be_run_does_not_end_the_others() -> None:
    play = Play([{"role": "coder", "candidates": 2}])
    first = play.job.crew[0]
    play.hear(
        events.EffectFailed(seq=first.seq, effect="StartRun", code="agent_unusable", message="m", is_transient=False)
    )
    assert play.job.state is not State.ESCALATED
    play.wrote(patch("1"))
    assert play.last("PushPatch").effect.patch == patch("1")


def test_when_no_candidate_is_good_enough_one_more_is_tried() -> None:
    play = Play([{"role": "coder", "candidates": 2}], agent_attempts=2)
    play.done(patch=patch("1"))
    play.done(patch=patch("2"))
    play.tested(BAD)
    play.tested(BAD)
    (again,) = play.out()
    assert again.handed is None
    assert "t" in again.feedback


def test_a_lost_member_is_put_to_work_again_under_another_name() -> None:
    play = Play(["coder", {"parallel": ["reviewer", "reviewer"]}])
    play.wrote(patch("1"))
    before = {effect.run_id for effect in play.out()}
    play.done(outcome=Outcome.INFRA_ERROR, detail="lost")
    after = {effect.run_id for effect in play.out()}
    assert len(after) == 2
    assert len(before & after) == 1
    assert play.job.budgets.revivals == 1
    play.read()
    play.read()
    assert play.last("PushPatch").effect.patch == patch("1")


def test_stopping_kills_everybody_at_work() -> None:
    play = Play([{"role": "coder", "candidates": 3}])
    play.done(patch=patch("1"))
    out = {effect.run_id for effect in play.out()}
    play.hear(events.StopRequested(by="olga"))
    assert {order.effect.run_id for order in play.log if order.effect.kind == "StopRun"} == out
    assert play.job.state is State.CANCELLED


def test_tests_may_come_first_and_need_not_pass_then() -> None:
    play = Play(["tester", "coder"])
    assert [effect.purpose for effect in play.out()] == ["implement"]
    play.done(patch=patch("1"))
    assert play.count("VerifyPatch") == 0
    (coder,) = play.out()
    assert (coder.role, coder.purpose, coder.handed) == ("coder", "continue", patch("1"))
    play.wrote(patch("2"))
    assert play.last("PushPatch").effect.patch == patch("2")


def test_a_testers_red_tests_lead_back_to_the_coder() -> None:
    play = Play(["coder", "tester"], rework_rounds=1)
    play.wrote(patch("1"))
    play.wrote(patch("2"), BAD)
    (coder,) = play.out()
    assert (coder.role, coder.purpose, coder.handed) == ("coder", "address_findings", patch("2"))
    assert "t" in coder.feedback
    play.wrote(patch("3"))
    play.wrote(patch("4"))
    assert play.last("PushPatch").effect.patch == patch("4")


def test_a_tester_that_adds_nothing_holds_nobody_up() -> None:
    play = Play(["coder", "tester"])
    play.wrote(patch("1"))
    play.wrote(patch("1"))
    assert play.last("PushPatch").effect.patch == patch("1")


def test_mending_ci_begins_with_the_coder_and_is_reviewed_again() -> None:
    play = Play(["tester", "coder", "reviewer"], flake_reruns=0)
    play.done(patch=patch("1"))
    play.wrote(patch("2"))
    play.read()
    play.hear(events.PatchPushed(seq=play.last("PushPatch").seq, head_sha="h" * 40, tree_sha="2" * 40))
    play.hear(events.PullRequestOpened(seq=play.last("OpenPullRequest").seq, number=1, url="u", title="t"))
    checks = (events.Check(name="tests", source="status", status="completed", conclusion="failure", id=1),)
    play.observe(checks=checks)
    (coder,) = play.out()
    assert (coder.role, coder.purpose, coder.handed, coder.start_sha) == ("coder", "fix_ci", None, "h" * 40)
    play.wrote(patch("3"))
    assert [effect.role for effect in play.out()] == ["reviewer"]


@pytest.mark.parametrize(
    ("run", "job", "wanted"), [(50, 0, 500_000), (0, 90, 450_000), (10, 90, 100_000), (0, 0, None)]
)
def test_money_is_shared_by_those_at_work(run: int, job: int, wanted: int | None) -> None:
    play = Play([{"role": "coder", "candidates": 2}], run_cost_cents=run, job_cost_cents=job)
    assert [effect.cost_limit_microusd for effect in play.out()] == [wanted, wanted]


def test_when_the_money_is_spent_a_person_is_asked() -> None:
    play = Play(["coder", "reviewer"], job_cost_cents=50)
    play.done(patch=patch("1"), cost_microusd=500_000)
    play.tested()
    assert (play.job.state, play.job.reason) == (State.ESCALATED, Reason.MONEY)
    assert play.job.patch == patch("1")


def test_an_unknown_cost_is_counted_as_unknown() -> None:
    play = Play(["coder", "reviewer"], job_cost_cents=50)
    play.wrote(patch("1"))
    assert (play.job.budgets.cost_microusd, play.job.budgets.unpriced_runs) == (0, 1)
    assert [effect.cost_limit_microusd for effect in play.out()] == [500_000]


def test_which_agent_works_in_which_role() -> None:
    workflow = parse_workflow(["coder", {"role": "coder", "agent": "aider"}, "reviewer", "tester"])
    rules = Policy(workflow=workflow, agent="usual", agents={"coder": "claude-code", "reviewer": "codex"})

    def agents(asked: str) -> list[str]:
        play = Drive(rules, agent=asked)
        play.hear(events.BranchCreated(seq=play.last("CreateBranch").seq, base_sha=BRANCH, branch_sha=BRANCH))
        return [_agent(play.job, step.members[0]) for step in workflow]

    assert agents("") == ["claude-code", "aider", "codex", "usual"]
    assert agents("goose") == ["goose", "aider", "codex", "goose"]
