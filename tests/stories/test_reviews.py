"""Reviewers: whose word counts, on which commit, and what the agent hears of it."""

from __future__ import annotations

from pathlib import Path

from tests.stories.harness import MEND, REPOSITORY, WAIT, town
from windlass.core.job import Reason, State
from windlass.localforge import Protection

HEARS = "grep -q 'Please say why' windsurf-instructions.txt && echo because > why.txt; " + MEND


async def test_what_a_reviewer_asks_for_reaches_the_agent_and_an_older_approval_is_void(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url, agent=HEARS) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        old = str(job.head_sha)
        await here.approve(job, "ada")
        await here.until_gate(old, "success")
        answer = await here.review(job, "max", "REQUEST_CHANGES", "Please say why.\n\nWORK-COMPLETED")
        assert answer.is_success
        job = await here.until(1, State.REVIEWING, when=lambda j: j.head_sha != old)
        assert "Please say why." in here.prompts(job)[1]
        assert "WORK-COMPLETED" not in here.prompts(job)[1]
        assert here.content(job, "why.txt") == "because\n"
        assert job.approval is None
        await here.until_gate(str(job.head_sha), "pending")
        assert len(here.pulls("ai-1")) == 1
        await here.approve(job, "max")
        await here.approve_and_merge(job, "ada")


async def test_the_requester_a_bot_and_a_reader_cannot_approve(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        here.tokens["helper"] = here.forge.create_user("helper", is_bot=True)
        here.forge.grant(REPOSITORY, "helper", "write")
        job = await here.until(await here.ask(), State.REVIEWING)
        for who in ("rita", "helper", "guest"):
            await here.approve(job, who)
        told = await here.until(1, when=lambda j: len(_not_counted(here.windlass.queries.why(j.id))) >= 3)
        assert told.approval is None
        assert here.gate(str(job.head_sha)) == "pending"
        assert not (await here.merge(job, "ada")).is_success
        await here.approve_and_merge(job)


async def test_a_push_after_the_approval_voids_it_and_the_pusher_cannot_approve_their_own_work(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        old = str(job.head_sha)
        await here.approve(job, "ada")
        await here.until_gate(old, "success")
        new = await here.forge.commit(REPOSITORY, "ai-1", {"more.txt": b"by hand\n"}, "One more thing", "max")
        job = await here.until(1, State.REVIEWING, when=lambda j: j.head_sha == new)
        assert job.approval is None
        await here.until_gate(new, "pending")
        await here.approve(job, "max")
        await here.until(1, when=lambda j: any("max wrote" in n for n in _not_counted(here.windlass.queries.why(j.id))))
        assert here.gate(new) == "pending"
        job = await here.approve_and_merge(job)
        assert here.outcomes(job) == ["completed"]


async def test_an_approval_of_an_older_commit_does_not_open_the_gate(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        old = str(job.head_sha)
        new = await here.forge.commit(REPOSITORY, "ai-1", {"more.txt": b"by hand\n"}, "One more thing", "max")
        await here.until(1, State.REVIEWING, when=lambda j: j.head_sha == new)
        answer = await here.review(here.job(1), "ada", "APPROVE", sha=old)
        assert answer.is_success
        await here.until(
            1, when=lambda j: any("not the head" in n for n in _not_counted(here.windlass.queries.why(j.id)))
        )
        assert here.gate(new) == "pending"
        assert here.job(1).approval is None


async def test_an_admin_who_merges_past_the_rules_is_recorded_as_such(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        here.forge.protect(REPOSITORY, "main", Protection(required_checks=[], is_enforced_for_admins=False))
        job = await here.until(await here.ask(), when=lambda j: j.pull_number)
        assert (await here.merge(job, "root")).is_success
        job = await here.until(1, State.CLOSED)
        assert job.reason is Reason.MERGED_WITHOUT_APPROVAL
        merges = [r for r in here.windlass.store.records(job.id) if r.kind == "merge"]
        assert len(merges) == 1
        assert b'"merged_by":"root"' in merges[0].body
        assert b'"approved_by":null' in merges[0].body


async def test_a_dismissed_approval_closes_the_gate_again(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        given = (await here.review(job, "ada", "APPROVE")).json()["id"]
        await here.until_gate(str(job.head_sha), "success")
        path = f"/pulls/{job.pull_number}/reviews/{given}/dismissals"
        assert (await here.say("ada", "PUT", path, message="I was wrong")).is_success
        await here.until_gate(str(job.head_sha), "pending")
        assert here.job(1).approval is None


async def test_endless_requests_for_changes_end_at_a_person(tmp_path: Path) -> None:
    agent = "date +%N > stamp.txt; " + MEND
    async with town(tmp_path, agent=agent, policy={"limits": {"review_rounds": 1}}) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        await here.review(job, "max", "REQUEST_CHANGES", "again")
        job = await here.until(1, State.REVIEWING, when=lambda j: j.head_sha != job.head_sha)
        await here.review(job, "max", "REQUEST_CHANGES", "and again")
        job = await here.until(1, State.ESCALATED)
        assert job.reason is Reason.CHANGES_REQUESTED
        assert here.outcomes(job) == ["completed", "completed"]


async def test_a_pull_request_that_a_person_closes_during_a_further_round_stays_closed(tmp_path: Path) -> None:
    agent = f"if grep -q 'do more' windsurf-instructions.txt; then {WAIT} fi; date +%N > stamp.txt; {MEND}"
    async with town(tmp_path, agent=agent) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        await here.review(job, "max", "REQUEST_CHANGES", "do more")
        job = await here.at_work(1)
        assert (await here.say("max", "PATCH", f"/pulls/{job.pull_number}", state="closed")).is_success
        job = await here.until(1, State.CLOSED)
        assert job.reason is Reason.PULL_REQUEST_CLOSED
        await here.quiet()
        assert [pull.state for pull in here.pulls("ai-1")] == ["closed"]


async def test_a_person_who_pushes_while_the_agent_works_on_a_further_round_is_not_overwritten(tmp_path: Path) -> None:
    agent = f"if grep -q 'do more' windsurf-instructions.txt; then {WAIT} fi; date +%N > stamp.txt; {MEND}"
    async with town(tmp_path, agent=agent) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        await here.review(job, "max", "REQUEST_CHANGES", "do more")
        job = await here.at_work(1)
        new = await here.forge.commit(REPOSITORY, "ai-1", {"more.txt": b"by hand\n"}, "I do it", "max")
        await here.quiet()
        if here.job(1).state is State.RUNNING:
            here.let_go(job)
        job = await here.until(1, State.ESCALATED, State.REVIEWING)
        assert here.tip("ai-1") == new


def _not_counted(told: tuple[object, ...]) -> set[str]:
    words = {line for one in told for line in one.why}  # type: ignore[attr-defined]
    marks = ("is not a human", "may not approve", "asked for the work", "wrote part", "not the head")
    return {line for line in words if any(mark in line for mark in marks) and "asked for work" not in line}
