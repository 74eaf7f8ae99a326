"""Webhooks come twice, late, in any order and after the end: still one job, one branch, one pull request."""

from __future__ import annotations

from pathlib import Path

from tests.stories.harness import LABEL, MEND, REPOSITORY, WAIT, town
from windlass.core.job import Reason, State


async def test_redelivered_webhooks_start_nothing_twice_during_the_job_nor_after_it(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url, agent=WAIT + MEND) as here:
        job = await here.at_work(await here.ask())
        await here.redeliver(5)
        here.let_go(job)
        job = await here.until(1, State.REVIEWING)
        job = await here.approve_and_merge(job)
        await here.quiet()
        history = len(here.windlass.store.records(job.id))
        await here.redeliver(5, "issues", "pull_request")
        assert [j.id for j in here.jobs()] == [job.id]
        assert here.job(1).state is State.MERGED
        assert len(here.windlass.store.records(job.id)) == history
        assert len(here.pulls("ai-1")) == 1
        assert here.outcomes(job) == ["completed"]


async def test_a_burst_of_opened_labelled_and_edited_in_random_order_opens_one_job(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url) as here:
        here.forge.faults.change({"reorder": 1.0, "reorder_window_s": 0.4, "duplicate": 0.5})
        numbers = [await here.ask(f"Wrong answer {turn}") for turn in range(3)]
        for number in numbers:
            for turn in range(3):
                answer = await here.say("rita", "PATCH", f"/issues/{number}", title=f"Still wrong {turn}")
                assert answer.is_success
        for number in numbers:
            await here.until(number, State.REVIEWING)
        await here.quiet()
        assert sorted(job.issue.number for job in here.jobs()) == numbers
        assert all(len(here.pulls(f"ai-{number}")) == 1 for number in numbers)


async def test_a_label_that_comes_off_and_on_while_the_agent_works_leaves_one_live_job(tmp_path: Path) -> None:
    async with town(tmp_path, agent=WAIT + MEND) as here:
        first = await here.at_work(await here.ask())
        here.forge.remove_label(REPOSITORY, 1, LABEL, "rita")
        here.forge.add_label(REPOSITORY, 1, LABEL, "rita")
        await here.quiet()
        job = await here.at_work(1)
        here.let_go(job)
        await here.until(1, State.REVIEWING)
        others = [j for j in here.jobs() if j.id != job.id]
        assert all(j.id == first.id and j.state is State.CANCELLED for j in others)
        assert len(here.pulls("ai-1")) == 1


async def test_a_label_that_comes_off_for_good_stops_the_agent_and_leaves_no_branch(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url, agent="sleep 100") as here:
        await here.at_work(await here.ask())
        assert here.tip("ai-1")
        here.forge.remove_label(REPOSITORY, 1, LABEL, "rita")
        job = await here.until(1, State.CANCELLED)
        await here.quiet()
        assert job.reason is Reason.ISSUE_WITHDRAWN
        assert here.tip("ai-1") is None
        assert "unlabelled" in here.comments(1)[0]
        here.forge.add_label(REPOSITORY, 1, LABEL, "rita")
        again = await here.until(1, State.RUNNING, may_end=True)
        assert again.id != job.id
        here.forge.close_issue(REPOSITORY, 1, "rita")
        await here.until(1, State.CANCELLED)
        await here.quiet()
        assert here.tip("ai-1") is None


async def test_a_label_that_comes_off_while_the_job_waits_for_a_slot_leaves_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, agent=WAIT + MEND, slots=1) as here:
        first = await here.at_work(await here.ask())
        waiting = await here.ask("Second in the queue")
        await here.until(waiting, State.QUEUED, when=lambda job: job.base_sha)
        here.forge.remove_label(REPOSITORY, waiting, LABEL, "rita")
        await here.until(waiting, State.CANCELLED)
        here.let_go(first)
        await here.until(1, State.REVIEWING)
        await here.quiet()
        assert here.tip(f"ai-{waiting}") is None
        assert here.outcomes(here.job(waiting)) == []


async def test_a_label_that_is_on_for_a_moment_only_leaves_no_branch(tmp_path: Path) -> None:
    async with town(tmp_path, agent="sleep 100") as here:
        for _ in range(3):
            number = await here.ask()
            here.forge.remove_label(REPOSITORY, number, LABEL, "rita")
        slow = await here.ask()
        await here.until(slow)
        here.forge.remove_label(REPOSITORY, slow, LABEL, "rita")
        await here.until(slow, State.CANCELLED)
        await here.quiet()
        assert [ref for ref in here.forge.refs(REPOSITORY) if "ai-" in ref] == []


async def test_a_pull_request_that_is_closed_closes_the_job_and_its_branch_stays_the_persons(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert (await here.say("max", "PATCH", f"/pulls/{job.pull_number}", state="closed")).is_success
        job = await here.until(1, State.CLOSED)
        assert job.reason is Reason.PULL_REQUEST_CLOSED
        await here.redeliver()
        assert here.job(1).id == job.id


async def test_who_may_not_ask_gets_no_job_and_the_refusal_is_on_record(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        number = here.forge.open_issue(REPOSITORY, "guest", "Give me the keys", "please")
        here.forge.add_label(REPOSITORY, number, LABEL, "guest")
        await here.until_true(lambda: [r for r in here.windlass.store.records() if r.kind == "refusal"])
        await here.redeliver(2)
        assert here.jobs() == ()
        assert len([r for r in here.windlass.store.records() if r.kind == "refusal"]) == 1
        assert here.tip(f"ai-{number}") is None
