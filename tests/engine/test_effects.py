"""Carrying out one order: tried again for a while, answered once, taken back when the job was stopped meanwhile."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from tests.core.jobs import GOOD, PATCH
from tests.engine.test_loop import Faulty
from tests.engine.world import BASE, World, asked

from windlass.core import events
from windlass.core.errors import Failed, Forbidden, Refused, Unavailable
from windlass.core.job import Job, State
from windlass.core.job import Outcome as RunOutcome
from windlass.engine import effects
from windlass.engine.effects import Executor


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "_FIRST_PAUSE_S", 0.001)


def answer(world: World, job: Job, seq: int) -> events.Event:
    """What came of an order."""
    found = [e.event for e in world.store.events(job.id) if getattr(e.event, "seq", None) == seq]
    assert len(found) == 1
    return found[0]


def seq_of(world: World, job: Job, kind: str) -> int:
    return [e.order.seq for e in world.store.effects(job.id) if e.order.effect.kind == kind][-1]


async def carry_out(world: World, job: Job, kind: str) -> int:
    seq = seq_of(world, job, kind)
    await Executor(world.outside, world.door).carry_out(job.id, seq)
    return seq


async def test_an_order_is_done_and_answered(small: World) -> None:
    job = small.ask()
    seq = await carry_out(small, job, "CreateBranch")
    assert small.forge.refs["ai-7"] == BASE
    assert answer(small, job, seq) == events.BranchCreated(seq=seq, base_sha=BASE, branch_sha=BASE)
    assert small.store.effects(job.id)[seq].status == "done"


async def test_a_done_order_is_not_done_again(small: World) -> None:
    job = small.ask()
    await carry_out(small, job, "CreateBranch")
    await carry_out(small, job, "CreateBranch")
    assert small.forge.count("create_ref") == 1


async def test_an_unknown_order_is_nothing(small: World) -> None:
    await Executor(small.outside, small.door).carry_out("nobody", 3)
    assert small.forge.calls == []


@pytest.mark.parametrize("times", [1, 4])
async def test_the_forge_may_fail_for_now_a_few_times(small: World, times: int) -> None:
    job = small.ask()
    small.forge.trouble["create_ref"] = [Unavailable("502")] * times
    seq = await carry_out(small, job, "CreateBranch")
    assert isinstance(answer(small, job, seq), events.BranchCreated)
    assert small.forge.count("create_ref") == times + 1


async def test_after_that_the_job_decides_when_to_try_again(small: World) -> None:
    job = small.ask()
    small.forge.trouble["create_ref"] = [Unavailable("502")] * 5
    seq = await carry_out(small, job, "CreateBranch")
    failed = answer(small, job, seq)
    assert isinstance(failed, events.EffectFailed)
    assert (failed.effect, failed.code, failed.is_transient) == ("CreateBranch", "unavailable", True)
    assert seq_of(small, job, "CreateBranch") > seq, "it was ordered again"
    assert small.now(job).budgets.revivals == 1


async def test_a_short_wait_that_was_asked_for_is_waited_and_a_long_one_is_given_back(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(effects.asyncio, "sleep", sleep)
    job = small.ask()
    small.forge.trouble["credential"] = [
        Unavailable("limit", retry_after_s=3.0),
        Unavailable("limit", retry_after_s=7200.0),
    ]
    seq = await carry_out(small, job, "CreateBranch")
    waits = [pause for pause in pauses if pause > 0]
    assert len(waits) == 1
    assert 3.0 * 0.8 <= waits[0] <= 3.0 * 1.3
    failed = answer(small, job, seq)
    assert isinstance(failed, events.EffectFailed)
    assert failed.retry_after_s == 7200.0
    again = small.store.effects(job.id)[seq_of(small, job, "CreateBranch")]
    assert again.order.delay_s >= 7200.0


@pytest.mark.parametrize(
    "error", [Refused("no", code="branch_not_ours"), Forbidden("no"), Failed("never"), Failed("x", code="push_refused")]
)
async def test_a_no_is_not_tried_again(small: World, error: Exception) -> None:
    job = small.ask()
    small.forge.trouble["create_ref"] = [error] * 3
    failed = answer(small, job, await carry_out(small, job, "CreateBranch"))
    assert isinstance(failed, events.EffectFailed)
    assert not failed.is_transient
    assert failed.code == error.code  # type: ignore[attr-defined]
    assert small.forge.count("create_ref") == 1


async def test_an_error_nobody_foresaw_is_reported_as_transient_without_secrets(
    small: World, caplog: pytest.LogCaptureFixture
) -> None:
    small.outside = dataclasses.replace(
        small.outside, settings=dataclasses.replace(small.outside.settings, secrets=("hunter2-hunter2",))
    )
    job = small.ask()
    small.forge.trouble["create_ref"] = [ZeroDivisionError("token hunter2-hunter2")]
    failed = answer(small, job, await carry_out(small, job, "CreateBranch"))
    assert isinstance(failed, events.EffectFailed)
    assert (failed.code, failed.is_transient) == ("internal", True)
    assert failed.message == "ZeroDivisionError: token [redacted]"
    assert "failed unexpectedly" in caplog.text


# ------------------------------------------------------------ the store goes away


class Away:
    """A store that does not answer chosen calls for a number of times."""

    def __init__(self, world: World, **times: int) -> None:
        self._store, self.left = world.store, times

    def __getattr__(self, name: str) -> Any:
        if self.left.get(name, 0) > 0:
            self.left[name] -= 1
            raise Unavailable("the database is away")
        return getattr(self._store, name)


@pytest.mark.parametrize("call", ["claim_effect", "job", "is_current", "transaction"])
async def test_an_outage_of_the_store_loses_no_answer_and_repeats_no_work(small: World, call: str) -> None:
    job = small.ask()
    away = Away(small, **{call: 3})
    small.outside = dataclasses.replace(small.outside, store=away)  # type: ignore[type-var]
    small.door._store = away  # type: ignore[assignment]
    seq = await carry_out(small, job, "CreateBranch")
    assert away.left[call] == 0
    assert isinstance(answer(small, job, seq), events.BranchCreated)
    assert small.forge.count("create_ref") == 1


async def test_an_answer_waits_for_a_store_whose_commits_fail(small: World) -> None:
    job = small.ask()
    seq = seq_of(small, job, "CreateBranch")
    small.door._store = Faulty(small.store, "commit", Unavailable("away"))  # type: ignore[assignment]
    task = asyncio.create_task(Executor(small.outside, small.door).carry_out(job.id, seq))
    while small.forge.count("create_ref") == 0:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)
    assert not task.done()
    small.door._store = small.store
    await asyncio.wait_for(task, 10)
    assert isinstance(answer(small, job, seq), events.BranchCreated)


# ------------------------------------------------------------ overtaken


def stop(world: World, job: Job) -> None:
    world.door.handle(events.StopRequested(by="rita"), job_id=job.id, dedup=f"stop:{job.id}")


async def test_a_claim_that_was_replaced_says_nothing(small: World) -> None:
    job = small.ask()
    seq = seq_of(small, job, "UpdateStatusComment")
    small.forge.meanwhile["upsert_comment"] = lambda: small.store.claim_effect(job.id, seq)
    await Executor(small.outside, small.door).carry_out(job.id, seq)
    assert not [e for e in small.store.events(job.id) if getattr(e.event, "seq", None) == seq]
    assert small.store.effects(job.id)[seq].status == "ordered", "whoever holds the newer claim answers"
    await Executor(small.outside, small.door).carry_out(job.id, seq)
    assert isinstance(answer(small, job, seq), events.EffectDone)


async def test_an_overtaken_claim_does_not_write_at_all(small: World) -> None:
    job = small.ask()
    small.forge.trouble["credential"] = [Unavailable("502")]
    seq = seq_of(small, job, "CreateBranch")
    executor = Executor(small.outside, small.door)
    original = small.forge.credential

    async def stop_then_fail(repo: str, *, write: bool) -> Any:
        small.forge.credential = original  # type: ignore[method-assign]
        await asyncio.to_thread(stop, small, job)
        return await original(repo, write=write)

    small.forge.credential = stop_then_fail  # type: ignore[method-assign]
    await executor.carry_out(job.id, seq)
    assert small.forge.count("create_ref") == 0
    assert small.store.effects(job.id)[seq].status == "void"


async def test_a_branch_made_for_a_job_that_was_stopped_meanwhile_is_deleted(small: World) -> None:
    job = small.ask()
    small.forge.meanwhile["create_ref"] = lambda: stop(small, job)
    await carry_out(small, job, "CreateBranch")
    assert "ai-7" not in small.forge.refs
    assert small.now(job).state is State.CANCELLED
    await carry_out(small, job, "Abandon")
    assert "ai-7" not in small.forge.refs


async def test_a_branch_that_a_newer_job_uses_is_left_alone(small: World) -> None:
    job = small.ask()

    def stop_and_ask_again() -> None:
        stop(small, job)
        small.door.request(asked(epoch="e-new"), job.policy)

    small.forge.meanwhile["create_ref"] = stop_and_ask_again
    await carry_out(small, job, "CreateBranch")
    assert small.forge.refs["ai-7"] == BASE
    assert small.forge.count("delete_ref") == 0


def to_push(world: World) -> Job:
    job = world.ask()
    world.forge.refs["ai-7"] = BASE
    digest = world.blobs.put(b"diff")
    patch = dataclasses.replace(PATCH, digest=digest)
    found: list[events.Event] = [
        events.BranchCreated(seq=seq_of(world, job, "CreateBranch"), base_sha=BASE, branch_sha=BASE)
    ]
    world.door.handle(found[0], job_id=job.id, dedup="b")
    run = seq_of(world, job, "StartRun")
    run_id = world.now(job).run_id or ""
    done = events.RunFinished(seq=run, run_id=run_id, outcome=RunOutcome.COMPLETED, patch=patch)
    world.door.handle(done, job_id=job.id, dedup="r")
    verified = events.PatchVerified(seq=seq_of(world, job, "VerifyPatch"), verification=GOOD)
    world.door.handle(verified, job_id=job.id, dedup="v")
    return world.now(job)


async def test_a_push_and_a_pull_request(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    assert small.forge.refs["ai-7"] == "c" * 40
    await carry_out(small, job, "OpenPullRequest")
    now = small.now(job)
    assert (now.state, now.pull_number) == (State.CHECKING, 100)
    assert set(small.forge.pulls[100].labels) == set(now.policy.pull_labels)
    await carry_out(small, job, "SetCommitStatus")
    assert small.forge.statuses == [("c" * 40, "windlass/human-approval", "pending")]


async def test_a_push_for_a_job_that_was_stopped_meanwhile_leaves_no_branch(small: World) -> None:
    job = to_push(small)

    def stop_and_clean_up() -> None:
        stop(small, job)
        asyncio.run(carry_out(small, job, "Abandon"))

    small.repositories.after_push = stop_and_clean_up
    await carry_out(small, job, "PushPatch")
    assert "ai-7" not in small.forge.refs


async def test_a_push_for_a_stopped_job_leaves_a_newer_jobs_branch_alone(small: World) -> None:
    job = to_push(small)

    def stop_and_ask_again() -> None:
        stop(small, job)
        small.door.request(asked(epoch="e-new"), job.policy)

    small.repositories.after_push = stop_and_ask_again
    await carry_out(small, job, "PushPatch")
    assert small.forge.refs["ai-7"] == "c" * 40


async def test_a_branch_that_somebody_moved_is_not_overwritten(small: World) -> None:
    job = to_push(small)
    small.forge.refs["ai-7"] = "e" * 40
    failed = answer(small, job, await carry_out(small, job, "PushPatch"))
    assert isinstance(failed, events.EffectFailed)
    assert failed.code == "head_moved"
    assert small.forge.refs["ai-7"] == "e" * 40
    assert small.now(job).state is State.ESCALATED


async def test_a_pull_request_for_a_job_that_was_stopped_meanwhile_is_closed(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    small.forge.meanwhile["create_pull"] = lambda: stop(small, job)
    await carry_out(small, job, "OpenPullRequest")
    assert small.forge.pulls[100].state == "closed"
    assert small.now(job).pull_number is None
    await carry_out(small, job, "Abandon")
    assert "ai-7" not in small.forge.refs


async def test_our_open_pull_request_is_adopted_and_a_strangers_refused(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    await small.forge.create_pull("acme/shop", head="ai-7", base="main", title="old", body="old")
    seq = await carry_out(small, job, "OpenPullRequest")
    opened = answer(small, job, seq)
    assert isinstance(opened, events.PullRequestOpened)
    assert opened.adopted
    assert small.forge.pulls[100].title == "Crash"
    assert len(small.forge.pulls) == 1


async def test_a_strangers_pull_request_from_our_branch_is_not_taken_over(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    pull = await small.forge.create_pull("acme/shop", head="ai-7", base="main", title="old", body="old")
    small.forge.pulls[pull.number] = dataclasses.replace(pull, author="eve")
    failed = answer(small, job, await carry_out(small, job, "OpenPullRequest"))
    assert isinstance(failed, events.EffectFailed)
    assert failed.code == "pull_request_not_ours"
    assert small.forge.pulls[100].title == "old"


async def test_a_strangers_branch_is_not_taken_over(small: World) -> None:
    small.forge.refs["ai-7"] = "e" * 40
    job = small.ask()
    failed = answer(small, job, await carry_out(small, job, "CreateBranch"))
    assert isinstance(failed, events.EffectFailed)
    assert failed.code == "branch_not_ours"
    assert small.forge.refs["ai-7"] == "e" * 40


async def test_an_empty_repository_ends_the_job_with_a_reason(small: World) -> None:
    del small.forge.refs["main"]
    job = small.ask()
    await carry_out(small, job, "CreateBranch")
    now = small.now(job)
    assert (now.state, now.reason) == (State.FAILED, "repository_unusable")


async def test_cleaning_up_touches_only_what_is_ours(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    small.forge.refs["ai-7"] = "e" * 40
    stop(small, job)
    await carry_out(small, job, "Abandon")
    assert small.forge.refs["ai-7"] == "e" * 40, "somebody built on it"


async def test_clean_up_that_fails_for_now_is_ordered_again(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    stop(small, job)
    small.forge.trouble["ref"] = [Unavailable("502")] * 5
    first = await carry_out(small, job, "Abandon")
    assert seq_of(small, job, "Abandon") > first
    await carry_out(small, job, "Abandon")
    assert "ai-7" not in small.forge.refs


async def test_reviews_are_cut_and_masked_before_they_are_kept(small: World) -> None:
    small.outside = dataclasses.replace(
        small.outside, settings=dataclasses.replace(small.outside.settings, secrets=("hunter2-hunter2",))
    )
    job = to_push(small)
    await carry_out(small, job, "PushPatch")
    await carry_out(small, job, "OpenPullRequest")
    review = events.Review(
        id=1,
        reviewer="ada",
        is_human=True,
        state="commented",
        commit_sha="c" * 40,
        submitted_at_ms=1,
        permission="admin",
        body="hunter2-hunter2 " + "x" * 10_000,
    )
    small.forge.snapshots[100] = events.PullSnapshot(
        number=100,
        state="open",
        is_merged=False,
        head_sha="c" * 40,
        base_ref="main",
        base_sha=BASE,
        reviews=(review,),
    )
    observed = answer(small, job, await carry_out(small, job, "Observe"))
    assert isinstance(observed, events.PullRequestObserved)
    assert observed.pull.reviews[0].body.startswith("[redacted] xxx")
    assert len(observed.pull.reviews[0].body) <= 4_000


async def test_a_person_is_told(small: World) -> None:
    small.forge.refs["ai-7"] = "e" * 40
    job = small.ask()
    await carry_out(small, job, "CreateBranch")
    await carry_out(small, job, "Notify")
    assert small.notifier.sent[0][0] == "acme/shop#7 needs a person"
