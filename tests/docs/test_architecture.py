"""ARCHITECTURE.md against the code: rooms, states, transitions, the names of events and orders."""

from __future__ import annotations

import dataclasses
import random
import re
import typing
from pathlib import Path
from typing import Any

from tests.core.jobs import GOOD, PATCH, check, opened, review, snapshot

from windlass.core import effects, events
from windlass.core.effects import Effect, Order
from windlass.core.findings import FindingRef
from windlass.core.job import TERMINAL, Job, Outcome, State, TestRun, Verification
from windlass.core.policy import Limits, Policy
from windlass.core.roles import parse_workflow
from windlass.core.transition import Transition
from windlass.core.workflow import ASKED_AGAIN, decide

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
DIAGRAM = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", PAGE, re.DOTALL)
LIMITS = Limits(agent_attempts=2, ci_fix_rounds=1, review_rounds=1, flake_reruns=1, revivals=1, checks_quiet_s=0)
POLICIES = (Policy(limits=LIMITS), Policy(limits=LIMITS, workflow=parse_workflow(["coder", "reviewer", "tester"])))
FURTHER = frozenset({State.QUEUED, State.RUNNING, State.PUBLISHING})


def drawn() -> set[tuple[str, str]]:
    assert DIAGRAM
    return set(re.findall(r"^\s+(\S+) --> (\w+|\[\*\])", DIAGRAM[1], re.MULTILINE))


def test_the_diagram_shows_every_state_and_ends_where_jobs_end() -> None:
    arrows = drawn()
    assert {name for arrow in arrows for name in arrow} - {"[*]"} == {state.value for state in State}
    assert {source for source, target in arrows if target == "[*]"} == {state.value for state in TERMINAL}
    assert not {source for source, target in arrows if target != "[*]"} & {state.value for state in TERMINAL}
    assert {target for source, target in arrows if source == "[*]"} == {"queued"}


def test_the_diagram_shows_the_transitions_that_happen_and_no_others() -> None:
    inner = {arrow for arrow in drawn() if "[*]" not in arrow}
    happened: set[tuple[str, str]] = set()
    for seed in range(6000):
        happened |= Walk(random.Random(seed)).go()
        if seed > 300 and happened >= inner:
            break
    assert happened - inner == set(), "not drawn"
    assert inner - happened == set(), "drawn, and never seen"


class Walk:
    """One random history of a job."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now_ms = 1_800_000_000_000
        self.waiting: list[Order] = []
        self.policy = chance.choice(POLICIES)
        self.job: Job = self._take(opened(self.policy))

    def go(self) -> set[tuple[str, str]]:
        seen = set()
        for _ in range(60):
            before = self.job.state
            self.now_ms += self.chance.choice([10, 1000, 100_000])
            self.job = self._take(decide(self.job, self._event(), self.policy, self.now_ms))
            if self.job.state is not before:
                seen.add((before.value, self.job.state.value))
            if self.job.is_terminal:
                break
        return seen

    def _take(self, transition: Transition) -> Job:
        gone = {*transition.voided, *(seq for seq, _ in transition.closed)}
        self.waiting = [order for order in (*self.waiting, *transition.orders) if order.seq not in gone]
        return transition.job

    def _event(self) -> events.Event:
        odds = self.chance.random()
        if self.job.pull_number is not None and self.job.state in FURTHER and odds < 0.3:
            return self._ended_meanwhile()
        if odds < 0.02:
            return events.StopRequested(by="olga")
        if odds < 0.04:
            return events.IssueWithdrawn(how=self.chance.choice(["closed", ASKED_AGAIN]))
        if odds < 0.09 and self.job.deadline_at_ms is not None:
            self.now_ms = max(self.now_ms, self.job.deadline_at_ms)
            return events.DeadlinePassed(deadline_at_ms=self.job.deadline_at_ms)
        if odds < 0.25 or not self.waiting:
            return events.PullRequestTouched(what="test")
        order = self.chance.choice(self.waiting)
        if odds < 0.30:
            is_transient = self.chance.random() < 0.5
            code = self.chance.choice(["branch_not_ours", "head_moved", "repository_unusable", "refused"])
            failed = {"code": code, "message": "no", "is_transient": is_transient}
            return events.EffectFailed(seq=order.seq, effect=order.effect.kind, **failed)
        return self._answer(order.seq, order.effect)

    def _ended_meanwhile(self) -> events.Event:
        """Somebody merges or closes during a further round, and it is seen."""
        look = next((order for order in self.waiting if isinstance(order.effect, effects.Observe)), None)
        if look is None:
            return events.PullRequestTouched(what="test")
        ended = snapshot(self.job, is_merged=self.chance.random() < 0.6, state="closed")
        return events.PullRequestObserved(
            seq=look.seq, pull=dataclasses.replace(ended, reviews=(review(sha=ended.head_sha),))
        )

    def _answer(self, seq: int, effect: Effect) -> events.Event:
        sha = "".join(self.chance.choices("0123456789abcdef", k=40))
        match effect:
            case effects.CreateBranch():
                return events.BranchCreated(seq=seq, base_sha="b" * 40, branch_sha="b" * 40)
            case effects.StartRun() if self.chance.random() < 0.4:
                return events.RunStarted(seq=seq, run_id=effect.run_id)
            case effects.StartRun():
                outcome = self.chance.choice([Outcome.COMPLETED] * 4 + list(Outcome))
                patch = dataclasses.replace(PATCH, tree_sha=sha) if outcome is Outcome.COMPLETED else None
                if effect.is_read_only:
                    marks = self.chance.choice([(), (), (sha[:8],)])
                    found = tuple(FindingRef(mark=mark, severity="major", path="a", line=0) for mark in marks)
                    return events.RunFinished(seq=seq, run_id=effect.run_id, outcome=outcome, findings=found)
                return events.RunFinished(seq=seq, run_id=effect.run_id, outcome=outcome, patch=patch)
            case effects.VerifyPatch():
                bad = Verification(
                    command="x", base=TestRun(status="passed"), head=TestRun(status="failed"), red_to_green=False
                )
                return events.PatchVerified(seq=seq, verification=self.chance.choice([GOOD, GOOD, bad]))
            case effects.PushPatch():
                return events.PatchPushed(seq=seq, head_sha=sha, tree_sha="e" * 40)
            case effects.OpenPullRequest():
                return events.PullRequestOpened(seq=seq, number=1, url="u", title="t")
            case effects.Observe():
                return events.PullRequestObserved(seq=seq, pull=self._pull(sha))
            case _:
                return events.EffectDone(seq=seq, effect=effect.kind)

    def _pull(self, sha: str) -> events.PullSnapshot:
        pick = self.chance.choice
        pull = snapshot(self.job)
        if pick([True, False, False, False, False]):
            pull = dataclasses.replace(pull, head_sha=sha)
        changes: dict[str, Any] = {
            "checks": pick(
                [(check(),), (check(),), (check("failure", number=self.chance.randrange(9)),), (), (check(""),)]
            ),
            "is_mergeable": pick([True, True, True, False, None]),
            "reviews": pick([(), (review(sha=pull.head_sha, number=self.chance.randrange(99)),)]),
            "is_merged": pick([True, *[False] * 5]),
            "state": pick(["closed", *["open"] * 7]),
        }
        if pick([True, False, False, False]):
            changes["reviews"] = (review("changes_requested", sha=pull.head_sha, number=self.chance.randrange(999)),)
        return dataclasses.replace(pull, **changes)


def names_of(union: Any) -> set[str]:
    return {kind.__name__ for kind in typing.get_args(union)}


def test_the_journey_names_every_event_and_every_order() -> None:
    said = set(re.findall(r"`([A-Z]\w+)`", PAGE))
    assert names_of(events.Event) <= said
    assert names_of(effects.Effect) <= said
    assert said <= names_of(events.Event) | names_of(effects.Effect) | {"WINDLASS"}


def test_every_named_file_and_room_is_there() -> None:
    source = ROOT / "src" / "windlass"
    for name in re.findall(r"`((?:core|engine|adapters|faces|wiring)/[\w/.]*)`", PAGE):
        assert (source / name).exists(), name
    for name in re.findall(r"`windlass\.(\w+)`", PAGE):
        assert (source / name).exists() or (source / f"{name}.py").exists(), name
    modules = [path for path in source.rglob("*.py") if not path.stem.startswith("__")]
    rooms = {path.relative_to(source).parts[0].removesuffix(".py") for path in modules}
    assert rooms == set(re.findall(r"`windlass\.(\w+)`", PAGE))
