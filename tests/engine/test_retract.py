"""What was done for a stopped job without an answer: taken back by whoever comes next, whatever was killed between."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from tests.engine.test_effects import carry_out, seq_of, stop, to_push
from tests.engine.world import World

from windlass.core.errors import Forbidden, Unavailable
from windlass.core.job import Job
from windlass.engine import effects
from windlass.engine.effects import Executor


class Killed(BaseException):
    """As good as kill -9: nothing after it runs."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "_FIRST_PAUSE_S", 0.001)


def stop_and_clean_up(world: World, job: Job) -> None:
    stop(world, job)
    asyncio.run(carry_out(world, job, "Abandon"))


async def killed_during(world: World, job: Job, kind: str, arrange: Callable[[Callable[[], None]], None]) -> None:
    """Carry out an order until the outside has done it, stop the job, die, and have the next replica resume it."""

    def die() -> None:
        stop_and_clean_up(world, job)
        raise Killed

    arrange(die)
    with pytest.raises(Killed):
        await carry_out(world, job, kind)
    await Executor(world.outside, world.door).carry_out(job.id, seq_of(world, job, kind))


async def test_a_branch_whose_maker_was_killed_is_deleted(small: World) -> None:
    job = small.ask()
    # The clean-up looks before the forge has made the branch, so that only the next replica can find it.
    created = small.forge.create_ref

    async def late(repo: str, branch: str, sha: str) -> None:
        await asyncio.to_thread(stop_and_clean_up, small, job)
        await created(repo, branch, sha)
        raise Killed

    small.forge.create_ref = late  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await carry_out(small, job, "CreateBranch")
    assert "ai-7" in small.forge.refs
    await carry_out(small, job, "CreateBranch")
    assert "ai-7" not in small.forge.refs


async def test_a_branch_is_deleted_although_the_forge_fails_again_and_again(small: World) -> None:
    job = small.ask()
    small.forge.meanwhile["create_ref"] = lambda: stop(small, job)
    small.forge.trouble["delete_ref"] = [Unavailable("502") for _ in range(8)]
    await carry_out(small, job, "CreateBranch")
    assert "ai-7" not in small.forge.refs


async def test_a_branch_that_we_may_not_delete_is_left_and_told(small: World, caplog: pytest.LogCaptureFixture) -> None:
    job = small.ask()
    small.forge.meanwhile["create_ref"] = lambda: stop(small, job)
    small.forge.trouble["delete_ref"] = [Forbidden("403")]
    await carry_out(small, job, "CreateBranch")
    assert "ai-7" in small.forge.refs
    assert "cannot be taken back" in caplog.text


async def test_a_branch_on_which_somebody_worked_stays(small: World) -> None:
    job = small.ask()

    def stop_and_commit() -> None:
        stop(small, job)
        small.forge.refs["ai-7"] = "e" * 40

    small.forge.meanwhile["create_ref"] = stop_and_commit
    await carry_out(small, job, "CreateBranch")
    assert small.forge.refs["ai-7"] == "e" * 40


async def test_a_push_whose_process_was_killed_is_taken_back(small: World) -> None:
    job = to_push(small)

    def arrange(die: Callable[[], None]) -> None:
        small.repositories.after_push = die

    await killed_during(small, job, "PushPatch", arrange)
    assert "ai-7" not in small.forge.refs


async def test_a_pull_request_whose_process_was_killed_is_closed(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")

    def arrange(die: Callable[[], None]) -> None:
        small.forge.meanwhile["create_pull"] = die

    await killed_during(small, job, "OpenPullRequest", arrange)
    assert small.forge.pulls[100].state == "closed"


async def test_a_strangers_pull_request_is_left_open(small: World) -> None:
    job = to_push(small)
    await carry_out(small, job, "PushPatch")

    def stop_and_replace() -> None:
        stop(small, job)
        small.forge.pulls[100] = dataclasses.replace(small.forge.pulls[100], author="eve")

    small.forge.meanwhile["create_pull"] = stop_and_replace
    await carry_out(small, job, "OpenPullRequest")
    assert small.forge.pulls[100].state == "open"


async def test_a_voided_order_that_nobody_began_costs_nothing(small: World) -> None:
    job = small.ask()
    stop(small, job)
    await carry_out(small, job, "CreateBranch")
    assert small.forge.calls == []
