"""Repair: deadlines, lost webhooks, lost orders, leftovers; one thing that cannot be repaired holds no other up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.test_loop import open_pull
from tests.engine.world import REPO, World, asked

from windlass.core.errors import Broken, Forbidden, NotFound, Refused, Unavailable
from windlass.core.events import EffectFailed
from windlass.core.job import Reason, State
from windlass.core.policy import Limits, Policy
from windlass.engine.intake import POLICY_PATH
from windlass.engine.loop import Place
from windlass.engine.reconcile import Reconciler
from windlass.ports import Labelling


class FakeOrders:
    """Durable execution as the reconciler sees it: `lost` names what nobody will carry out."""

    def __init__(self) -> None:
        self.lost: set[tuple[str, int]] = set()
        self.again_calls: list[tuple[str, int, Place]] = []

    def is_lost(self, job_id: str, seq: int) -> bool:
        return (job_id, seq) in self.lost

    def again(self, job_id: str, seq: int, place: Place) -> None:
        self.again_calls.append((job_id, seq, place))
        self.lost.discard((job_id, seq))


def repairer(world: World, orders: FakeOrders | None = None) -> Reconciler:
    return Reconciler(
        world.store,
        world.forge,
        world.runner,  # type: ignore[arg-type]
        world.clock,
        world.door,
        world.intake,
        orders or FakeOrders(),
        world.workspaces,
    )


def poison(world: World, job_id: str, error: Exception) -> None:
    """Every decision on this job fails."""
    original = world.door.handle

    def handle(event: Any, *, job_id: str, dedup: str) -> Any:
        if job_id == poisoned:
            raise error
        return original(event, job_id=job_id, dedup=dedup)

    poisoned = job_id
    world.door.handle = handle  # type: ignore[method-assign]


# ------------------------------------------------------------ deadlines


def test_deadlines_are_brought_once_they_passed(both: World) -> None:
    job = both.ask()
    repair = repairer(both)
    assert repair.deadlines() == 0
    assert job.deadline_at_ms is not None
    both.clock.now = job.deadline_at_ms
    assert repair.deadlines() == 1
    now = both.now(job)
    assert (now.state, now.reason) == (State.ESCALATED, Reason.WALL_CLOCK)
    assert repair.deadlines() == 0, "the new deadline is later"


def test_two_replicas_bring_a_deadline_once(both: World) -> None:
    job = both.ask()
    assert job.deadline_at_ms is not None
    both.clock.now = job.deadline_at_ms
    due = both.store.due_jobs(both.clock.now, 10)
    repairer(both).deadlines()
    both.store.due_jobs = lambda *_: due  # type: ignore[method-assign]
    repairer(both).deadlines()
    assert [e.event.kind for e in both.store.events(job.id)].count("DeadlinePassed") == 1


@pytest.mark.parametrize("error", [Broken("its snapshot is not ours"), KeyError("a fault")])
def test_a_job_that_cannot_be_decided_on_holds_no_other_up(small: World, error: Exception) -> None:
    bad, good = small.ask(1), small.ask(2)
    small.clock.now = (good.deadline_at_ms or 0) + 1
    poison(small, bad.id, error)
    assert repairer(small).deadlines() == 2
    assert small.now(good).state is State.ESCALATED
    assert small.now(bad).state is State.QUEUED


def test_a_store_that_is_away_ends_the_pass(small: World) -> None:
    job = small.ask()
    small.clock.now = job.deadline_at_ms or 0
    poison(small, job.id, Unavailable("away"))
    with pytest.raises(Unavailable):
        repairer(small).deadlines()


# ------------------------------------------------------------ looks


def test_every_open_pull_request_gets_its_turn(both: World) -> None:
    jobs = [open_pull(both, both.ask(number)) for number in range(1, 6)]
    both.ask(9)
    repair = repairer(both)
    looked = [repair.look_again(2, 60.0) for _ in range(3)]
    assert looked == [2, 2, 1]
    assert all(both.now(job).observing_seq is not None for job in jobs)
    assert repair.look_again(2, 60.0) == 2, "and from the beginning"
    observes = [e for job in jobs for e in both.store.effects(job.id) if e.order.effect.kind == "Observe"]
    assert len(observes) == 5, "once in a period, whoever asks"


def test_nothing_to_look_at(small: World) -> None:
    assert repairer(small).look_again(10, 60.0) == 0


def test_a_pull_request_that_cannot_be_decided_on_holds_no_other_up(small: World) -> None:
    jobs = [open_pull(small, small.ask(number)) for number in (1, 2)]
    poison(small, jobs[0].id, RuntimeError("a fault"))
    assert repairer(small).look_again(10, 60.0) == 2
    assert small.now(jobs[1]).observing_seq is not None


# ------------------------------------------------------------ issues


async def test_labelled_issues_that_no_webhook_told_of_get_their_job_once(small: World) -> None:
    small.file_issue(1)
    small.file_issue(2)
    small.file_issue(3, label="other")
    small.file_issue(4, state="closed")
    repair = repairer(small)
    assert await repair.issues() == 2
    assert {job.issue.number for job in small.store.jobs()} == {1, 2}
    assert await repair.issues() == 0, "their jobs are under way"


async def test_a_finished_job_whose_label_stayed_is_not_started_again(small: World) -> None:
    small.file_issue(1)
    repair = repairer(small)
    await repair.issues()
    job = small.store.jobs()[0]
    await small.intake.stop(job.id, by="ops", why="", key="s")
    await repair.issues()
    assert len(small.store.jobs()) == 1
    small.forge.labels[1] = Labelling(id="again", by="rita", by_is_bot=False, at_ms=2)
    await repair.issues()
    assert len(small.store.jobs()) == 2, "but a new labelling is a new request"


async def test_one_repository_or_issue_that_refuses_holds_no_other_up(small: World) -> None:
    small.forge.full_names |= {"a/broken": "a/broken", "b/gone": "b/gone"}
    small.forge.full_names = dict(sorted(small.forge.full_names.items()))
    small.file_issue(1)
    small.file_issue(2)
    original = small.forge.repository

    async def repository(repo: str) -> Any:
        if repo == "a/broken":
            raise Refused("broken")
        if repo == "b/gone":
            raise NotFound("gone")
        return await original(repo)

    small.forge.repository = repository  # type: ignore[method-assign]
    small.forge.trouble["permission"] = [Forbidden("one of them")]
    assert await repairer(small).issues() == 1
    assert len(small.store.jobs()) == 1


async def test_a_broken_policy_file_is_said_and_nothing_is_started(
    small: World, caplog: pytest.LogCaptureFixture
) -> None:
    small.file_issue(1)
    small.forge.files[POLICY_PATH] = b"label: ["
    assert await repairer(small).issues() == 0
    assert "cannot be looked at" in caplog.text
    assert small.store.jobs() == ()


async def test_an_outage_of_the_forge_ends_the_pass(small: World) -> None:
    small.file_issue(1)
    small.forge.trouble["labelled_issues"] = [Unavailable("limit", retry_after_s=60)]
    with pytest.raises(Unavailable):
        await repairer(small).issues()


async def test_labels_that_went_without_a_word_stop_their_jobs(small: World) -> None:
    for number in (1, 2, 3):
        small.file_issue(number)
    repair = repairer(small)
    await repair.issues()
    small.file_issue(1, label="other")
    small.forge.trouble["issue"] = [Forbidden("one of them")]
    assert await repair.look_at_withdrawn() == 2
    small.forge.trouble.clear()
    await repair.look_at_withdrawn()
    states = {job.issue.number: job.state for job in small.store.jobs()}
    assert states == {1: State.CANCELLED, 2: State.QUEUED, 3: State.QUEUED}


# ------------------------------------------------------------ orders


def test_lost_orders_are_put_back_where_they_belong(both: World) -> None:
    job, orders = both.ask(), FakeOrders()
    repair = repairer(both, orders)
    orders.lost = {(job.id, 0)}
    assert repair.orders(5.0) == 0, "not while it is young"
    both.clock.now += 5_001
    assert repair.orders(5.0) == 1
    [(job_id, seq, place)] = orders.again_calls
    assert (job_id, seq, place.queue, place.partition) == (job.id, 0, "light", REPO)
    assert repair.orders(5.0) == 0


def test_an_order_that_waits_on_purpose_is_not_lost(small: World) -> None:
    policy = Policy(limits=Limits(revivals=3))
    handled = small.door.request(asked(), policy)
    assert handled.job is not None
    failed = EffectFailed(seq=0, effect="CreateBranch", code="x", message="m", is_transient=True, retry_after_s=3600.0)
    small.door.handle(failed, job_id=handled.job.id, dedup="f")
    orders = FakeOrders()
    open_seqs = {e.order.seq for e in small.store.effects(handled.job.id) if e.status == "ordered"}
    orders.lost = {(handled.job.id, seq) for seq in open_seqs}
    delayed = [e.order.seq for e in small.store.effects(handled.job.id) if e.order.delay_s >= 3600]
    small.clock.now += 60_000
    repairer(small, orders).orders(5.0)
    assert {seq for _, seq, _ in orders.again_calls} == open_seqs - set(delayed)
    small.clock.now += 3_600_000
    repairer(small, orders).orders(5.0)
    assert {seq for _, seq, _ in orders.again_calls} == open_seqs


def test_an_order_that_was_carried_out_since_it_was_listed_is_not_lost(small: World) -> None:
    job = small.ask()

    class Slow(FakeOrders):
        """The order is done between the listing and the question; then its workflow has ended, as a lost one has."""

        def is_lost(self, job_id: str, seq: int) -> bool:
            done = EffectFailed(seq=seq, effect="CreateBranch", code="x", message="m", is_transient=False)
            small.door.handle(done, job_id=job_id, dedup=f"done:{seq}")
            return True

    orders = Slow()
    small.clock.now += 5_001
    assert repairer(small, orders).orders(5.0) == 0
    assert small.store.effects(job.id)[0].status == "failed"
    assert orders.again_calls == []


# ------------------------------------------------------------ deliveries and leftovers


async def test_what_the_forge_could_not_deliver_is_asked_for_once(small: World) -> None:
    repair = repairer(small)
    small.forge.undelivered = ["d1", "d2"]
    small.forge.trouble["redeliver"] = [Unavailable("502")]
    with pytest.raises(Unavailable):
        await repair.deliveries(3600)
    assert await repair.deliveries(3600) == 2
    small.forge.undelivered = ["d1", "d2", "d3"]
    assert await repair.deliveries(3600) == 1
    assert [a for n, a in small.forge.calls if n == "redeliver"] == [("d1",), ("d1",), ("d2",), ("d3",)]
    since = next(a for n, a in small.forge.calls if n == "failed_deliveries")
    assert since == (small.clock.now - 3_600_000,)


async def test_sandboxes_and_workspaces_of_closed_orders_go_and_no_others(small: World) -> None:
    job = small.ask()
    wanted, gone = f"{job.id}-r0", f"{job.id}-r77"
    test_run = f"{job.id}-t0-base"
    small.runner.runs = {wanted, gone, test_run, "nonsense", f"{job.id}-rx"}
    for name in (wanted, gone, test_run, "nonsense"):
        (small.workspaces / name).mkdir()
        (small.workspaces / name / "file").write_text("x")
    killed = await repairer(small).reap()
    assert set(killed) == {gone, "nonsense", f"{job.id}-rx"}
    assert {path.name for path in small.workspaces.iterdir()} == {wanted, test_run}
    with small.store.transaction() as tx:
        tx.close_order(job.id, 0, "done")
    assert set(await repairer(small).reap()) == {wanted, test_run}
    assert list(small.workspaces.iterdir()) == []


async def test_passes_may_run_side_by_side(small: World) -> None:
    for number in range(1, 6):
        small.file_issue(number)
    passes = [repairer(small) for _ in range(3)]
    await asyncio.gather(*(one.issues() for one in passes))
    assert len(small.store.jobs()) == 5
