"""How things come in: stored in groups, never lost, read again from the forge, opened or withdrawn once."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from tests.engine.world import REPO, World

from windlass.core.errors import Forbidden, NotFound, Refused, Unavailable, WindlassError
from windlass.core.events import StopRequested
from windlass.core.hints import Ignored, IssueHint, PullHint, RepositoryHint
from windlass.core.job import Reason, State, TaskType
from windlass.engine.intake import POLICY_PATH, StartRequest
from windlass.ports import Delivery


def delivery(name: str, event: str = "issues", at_ms: int = 1) -> Delivery:
    return Delivery(id=name, event=event, body=b"{}", received_at_ms=at_ms)


class Slow:
    """A store whose commits of deliveries can be held back, counted and made to fail."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self.batches: list[int] = []
        self.errors: list[Exception] = []
        self.gate: Any = None

    def put_deliveries(self, deliveries: list[Delivery]) -> tuple[bool, ...]:
        self.batches.append(len(deliveries))
        if self.gate is not None:
            self.gate.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        return self._store.put_deliveries(deliveries)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def slow(world: World) -> Slow:
    world.intake._store = made = Slow(world)  # type: ignore[assignment]
    return made


def hear(world: World, *hints: Any) -> None:
    """What the next delivery means."""
    world.intake._translate = lambda _event, _body: hints


async def process(world: World) -> int:
    world.clock.now += 600_000
    return await world.intake.process_some("me")


def outcomes(opened: Any) -> list[tuple[str, str]]:
    rows = opened.rows("select id, outcome, error, processed_at_ms from deliveries order by id")
    return [(r["id"], r["outcome"] if r["processed_at_ms"] else f"waits: {r['error']}") for r in rows]


# ------------------------------------------------------------ receiving


async def test_calls_that_come_together_share_few_commits(both: World) -> None:
    store = slow(both)
    results = await asyncio.gather(*(both.intake.receive(delivery(f"d{n % 150}")) for n in range(200)))
    assert sum(results) == 150
    assert sum(store.batches) == 200
    assert len(store.batches) < 20
    assert both.intake.arrived.is_set()
    assert len(both.store.claim_deliveries("me", 500, 1000, 2)) == 150


async def test_a_store_that_is_away_is_told_to_everybody_who_waits_and_only_to_them(small: World) -> None:
    store = slow(small)
    for error in (Unavailable("away"), RuntimeError("a fault of ours")):
        store.errors = [error]
        first = await asyncio.gather(
            *(small.intake.receive(delivery(f"{error}{n}")) for n in range(20)), return_exceptions=True
        )
        assert first == [error] * 20
        assert await small.intake.receive(delivery(f"later {error}"))


async def test_one_that_cannot_be_stored_does_not_take_the_others_with_it(small: World) -> None:
    names = ["good", "", "fine", "bad\x00id"]
    answers = await asyncio.gather(*(small.intake.receive(delivery(n)) for n in names), return_exceptions=True)
    assert answers[0] is True
    assert answers[2] is True
    assert [type(a) for a in (answers[1], answers[3])] == [Refused, Refused]
    found = small.store.claim_deliveries("me", 10, 1000, 2)
    assert sorted(one.id for one in found) == ["fine", "good"]


async def test_a_caller_who_went_away_keeps_nobody_from_being_answered(small: World) -> None:
    first = asyncio.create_task(small.intake.receive(delivery("a")))
    second = asyncio.create_task(small.intake.receive(delivery("b")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert len(small.store.claim_deliveries("me", 10, 1000, 2)) == 2, "it was sent, so it is kept"


# ------------------------------------------------------------ processing


async def test_a_delivery_becomes_what_it_hints_at(both: World, opened: Any) -> None:
    both.file_issue()
    hear(both, IssueHint(repository=REPO, number=7, action="labeled"), Ignored(why="no matter"))
    await both.intake.receive(delivery("d1"))
    assert await process(both) == 1
    job = both.store.latest_job(REPO, 7)
    assert job is not None
    assert outcomes(opened) == [("d1", f"job {job.id} opened; ignored: no matter")]
    assert await process(both) == 0


async def test_the_same_issue_from_many_deliveries_is_one_job(both: World) -> None:
    both.file_issue()
    hear(both, IssueHint(repository=REPO, number=7, action="labeled"))
    for number in range(5):
        await both.intake.receive(delivery(f"d{number}"))
    await process(both)
    assert len(both.store.jobs()) == 1


@pytest.mark.parametrize("error", [Unavailable("502", retry_after_s=900.0), RuntimeError("a fault"), KeyError("x")])
async def test_a_delivery_that_cannot_be_processed_stays_and_is_tried_later(
    both: World, opened: Any, error: Exception
) -> None:
    both.file_issue()
    hear(both, IssueHint(repository=REPO, number=7, action="labeled"))
    both.forge.trouble["issue"] = [error]
    await both.intake.receive(delivery("d1"))
    assert await process(both) == 1
    assert outcomes(opened)[0][1].startswith(f"waits: {type(error).__name__}")
    assert await both.intake.process_some("me") == 0, "not at once"
    if isinstance(error, Unavailable):
        both.clock.now += 800_000
        assert await both.intake.process_some("me") == 0, "not before the forge allows"
        both.clock.now += 200_000
    else:
        both.clock.now += 600_000
    assert await both.intake.process_some("me") == 1
    assert "opened" in outcomes(opened)[0][1]


async def test_what_is_refused_is_done_with_and_says_why(both: World, opened: Any) -> None:
    def refuse(_event: str, _body: bytes) -> Any:
        raise Refused("no action", code="bad_webhook")

    both.intake._translate = refuse
    await both.intake.receive(delivery("d1"))
    await process(both)
    assert outcomes(opened) == [("d1", "refused: no action")]


async def test_a_delivery_held_by_a_replica_that_died_is_taken_over_when_its_lease_ends(both: World) -> None:
    hear(both, Ignored(why="x"))
    await both.intake.receive(delivery("d1"))
    both.store.claim_deliveries("dead", 10, 120_000, both.clock.now)
    assert await both.intake.process_some("me") == 0
    both.clock.now += 120_001
    assert await both.intake.process_some("me") == 1


async def test_hints_at_pull_requests_touch_the_jobs_they_concern(small: World) -> None:
    job = small.ask()
    changed = dataclasses.replace(small.now(job), state=State.CHECKING, work=None, pull_number=4, head_sha="h" * 40)
    with small.store.transaction() as tx:
        tx.lock_job(job.id)
        tx.save_job(changed)
    hear(small, PullHint(repository=REPO, number=4, branch="", sha="", what="check_run.completed"))
    await small.intake.receive(delivery("d1"))
    await process(small)
    assert small.now(job).observing_seq is not None
    before = small.store.events(job.id)
    hear(small, PullHint(repository=REPO, number=5, branch="other", sha="e" * 40, what="push"))
    await small.intake.receive(delivery("d2"))
    await process(small)
    assert small.store.events(job.id) == before


async def test_a_repository_is_learnt(small: World) -> None:
    hear(small, RepositoryHint(repository=REPO, what="installation.created"))
    await small.intake.receive(delivery("d1"))
    await process(small)
    assert small.store.repositories() == (REPO,)


# ------------------------------------------------------------ looking at issues


async def look(world: World, key: str = "k") -> str:
    return await world.intake.look_at_issue(REPO, 7, key=key)


async def test_a_labelled_issue_opens_a_job_once(small: World) -> None:
    small.file_issue()
    assert "opened" in await look(small)
    assert await look(small) == "known already"
    job = small.store.latest_job(REPO, 7)
    assert job is not None
    assert (job.requested_by, job.epoch, job.base_ref) == ("rita", "label7", "main")


@pytest.mark.parametrize(
    ("by", "permission", "is_bot", "may"),
    [
        ("rita", "admin", False, True),
        ("rita", "triage", False, True),
        ("rita", "read", False, False),
        ("rita", "none", False, False),
        ("robot", "write", True, False),
    ],
)
async def test_who_may_ask(small: World, by: str, permission: str, is_bot: bool, may: bool) -> None:
    small.file_issue(by=by)
    small.forge.permissions[by] = permission
    small.forge.labels[7] = dataclasses.replace(small.forge.labels[7], by_is_bot=is_bot)
    said = await look(small)
    assert ("opened" in said) is may
    assert (small.store.latest_job(REPO, 7) is not None) is may
    assert may or [r.kind for r in small.store.records()] == ["refusal"]


@pytest.mark.parametrize(
    ("change", "how"),
    [({"state": "closed"}, "closed"), ({"label": "other"}, "unlabelled")],
)
async def test_an_issue_that_does_not_ask_any_more_stops_its_job(
    small: World, change: dict[str, str], how: str
) -> None:
    small.file_issue()
    await look(small)
    small.file_issue(**change)
    job = small.store.latest_job(REPO, 7)
    assert job is not None
    assert await look(small) == f"{how}: {job.id}"
    now = small.now(job)
    assert (now.state, now.reason) == (State.CANCELLED, Reason.ISSUE_WITHDRAWN)
    assert await look(small) == f"{how}: no job"


async def test_a_deleted_issue_stops_its_job(small: World) -> None:
    small.file_issue()
    await look(small)
    small.forge.issues.clear()
    assert (await look(small)).startswith("deleted")


async def test_the_label_off_and_on_again_is_a_new_request(small: World) -> None:
    small.file_issue()
    await look(small)
    small.file_issue(label="other")
    await look(small, "off")
    small.file_issue()
    small.forge.labels[7] = dataclasses.replace(small.forge.labels[7], id="label-again")
    assert "opened" in await look(small, "on")
    assert len(small.store.jobs()) == 2


async def test_a_pull_request_with_the_label_is_no_request(small: World) -> None:
    small.file_issue()
    small.forge.issues[7] = dataclasses.replace(small.forge.issues[7], is_pull_request=True)
    assert await look(small) == "a pull request, not an issue"
    assert small.store.jobs() == ()


async def test_a_policy_file_broken_since_does_not_hold_a_stop_up(small: World) -> None:
    small.file_issue()
    await look(small)
    small.forge.files[POLICY_PATH] = b"label: ["
    small.file_issue(state="closed")
    assert (await look(small)).startswith("closed: ")
    assert await look(small) == "closed: no job"


async def test_a_broken_policy_opens_a_job_that_has_failed_and_says_why(small: World) -> None:
    small.file_issue()
    small.forge.files[POLICY_PATH] = b"labels: x\n"
    await look(small)
    (job,) = small.store.jobs()
    assert (job.state, job.reason) == (State.FAILED, Reason.REPOSITORY_UNUSABLE)
    assert "unknown key labels" in job.detail


async def test_the_policy_of_the_default_branch_counts(small: World) -> None:
    small.forge.files[POLICY_PATH] = b"label: robots\nbase: develop\nagent: codex\nlimits: {agent_attempts: 7}\n"
    small.file_issue(label="robots")
    await look(small)
    job = small.store.latest_job(REPO, 7)
    assert job is not None
    assert (job.base_ref, job.agent, job.policy.limits.agent_attempts) == ("develop", "codex", 7)
    assert len(job.policy.digest) == 64
    assert job.policy.limits.checks_quiet_s == 0, "the operator's default stays where the file says nothing"


# ------------------------------------------------------------ requests


def request(**changes: Any) -> StartRequest:
    made = StartRequest(repository=REPO, issue=7, requested_by="ops", idempotency_key="k1")
    return dataclasses.replace(made, **changes)


async def test_start_opens_a_job_and_again_gives_the_same(small: World) -> None:
    small.file_issue(label="none")
    first = await small.intake.start(request(agent="codex", task_type=TaskType.REFACTOR))
    assert first.is_opened
    assert first.job is not None
    assert (first.job.agent, first.job.task_type, first.job.requested_by) == ("codex", "refactor", "ops")
    again = await small.intake.start(request())
    assert again.job is not None
    assert (again.job.id, again.is_new, again.is_opened) == (first.job.id, False, False)


async def test_the_same_request_after_the_job_ended_gives_that_job_and_starts_no_other(small: World) -> None:
    small.file_issue(label="none")
    first = await small.intake.start(request())
    assert first.job is not None
    await small.intake.stop(first.job.id, by="ops", why="", key="s")
    again = await small.intake.start(request())
    assert again.job is not None
    assert (again.job.id, again.job.state, again.is_opened) == (first.job.id, State.CANCELLED, False)
    other = await small.intake.start(request(idempotency_key="k2"))
    assert other.is_opened


async def test_a_repository_in_another_spelling_is_the_same_repository(small: World) -> None:
    small.file_issue()
    await look(small)
    handled = await small.intake.start(request(repository="ACME/Shop"))
    assert not handled.is_opened
    assert len(small.store.jobs()) == 1
    assert handled.job is not None
    assert handled.job.repository == REPO


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"is_pull_request": True}, "a pull request"), ({"state": "closed"}, "closed")],
)
async def test_start_on_what_is_no_open_issue_is_refused(small: World, changes: dict[str, Any], named: str) -> None:
    small.file_issue()
    small.forge.issues[7] = dataclasses.replace(small.forge.issues[7], **changes)
    with pytest.raises(Refused, match=named) as caught:
        await small.intake.start(request())
    assert caught.value.code == "bad_issue"


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("repository", NotFound("no")),
        ("issue", NotFound("no")),
        ("issue", Forbidden("no")),
        ("file", Unavailable("no")),
    ],
)
async def test_what_the_forge_says_is_passed_on(small: World, method: str, error: WindlassError) -> None:
    small.file_issue()
    small.forge.trouble[method] = [error]
    with pytest.raises(type(error)):
        await small.intake.start(request())
    assert small.store.jobs() == ()


async def test_stop_ends_a_job_once(small: World) -> None:
    small.file_issue()
    await look(small)
    job = small.store.latest_job(REPO, 7)
    assert job is not None
    first = await small.intake.stop(job.id, by="ops", why="enough", key="s")
    again = await small.intake.stop(job.id, by="ops", why="enough", key="s")
    assert (first.is_new, again.is_new) == (True, False)
    now = small.now(job)
    assert (now.state, now.detail) == (State.CANCELLED, "stopped by ops: enough")
    assert [e.event for e in small.store.events(job.id) if isinstance(e.event, StopRequested)] == [
        StopRequested(by="ops", why="enough")
    ]
    with pytest.raises(NotFound):
        await small.intake.stop("nobody", by="ops", why="", key="s")
