"""Whole jobs in containers: the agent, and the tests that Windlass runs on its change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.harness import MEND, WAIT, town
from tests.support.podman import IMAGE, Podman
from windlass.config import AgentSettings
from windlass.core.job import Reason, State

pytestmark = pytest.mark.needs("podman")


async def test_a_job_whose_agent_and_tests_run_in_containers(tmp_path: Path, podman: Podman) -> None:
    sandbox = {"runner": "container", "image": IMAGE, "engine": podman.address}
    # A path that only the image has shows where both ran; the sandbox of a process has no such home.
    here_only = "test -d /home/agent && "
    policy = {"test_command": f"{here_only} sh tests/check.sh"}
    async with town(tmp_path, agent=here_only + MEND, sandbox=sandbox, policy=policy) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert here.outcomes(job) == ["completed"]
        assert job.verification is not None
        assert (job.verification.base.status, job.verification.head.status) == ("failed", "passed")
        run = here.windlass.store.runs(job.id)[0]
        assert run.cpu_s > 0
        assert run.peak_memory_bytes > 0
        await here.approve_and_merge(job)
    assert podman.names() == []


async def test_one_agent_has_an_image_and_everything_else_none(tmp_path: Path, podman: Podman) -> None:
    agent = AgentSettings(command=f"test -d /home/agent && {MEND}", image=IMAGE)
    async with town(tmp_path, agent=agent, sandbox={"engine": podman.address}) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert here.outcomes(job) == ["completed"]
    assert podman.names() == []


async def test_a_restart_takes_an_agent_in_its_container_up_again(tmp_path: Path, podman: Podman) -> None:
    agent = AgentSettings(command=f"echo begun; {WAIT} {MEND}; echo done", image=IMAGE)
    async with town(tmp_path, agent=agent, sandbox={"engine": podman.address}) as here:
        number = await here.ask()
        job = await here.until(number, State.RUNNING)
        run = here.windlass.store.runs(job.id)[0].id
        await here.until_true(lambda: here.windlass.runner.output(run).exists(), 30.0, 0.05)
        await here.restart()
        workspace = here.settings.state_dir / "workspaces" / run / "workspace"
        (workspace / "go").touch()
        await here.until(number, State.REVIEWING)
        assert here.outcomes(here.job(number)) == ["completed"]
    assert podman.names() == []


async def test_an_image_that_is_not_there_is_told_to_people(tmp_path: Path, podman: Podman) -> None:
    agent = AgentSettings(command=MEND, image="localhost/not-there:1")
    async with town(tmp_path, agent=agent, sandbox={"engine": podman.address}) as here:
        job = await here.until(await here.ask(), State.ESCALATED, State.FAILED)
        assert "localhost/not-there:1 is not on this machine" in job.detail
        assert (job.state, job.reason) == (State.ESCALATED, Reason.INFRASTRUCTURE)


async def test_the_agent_that_applies_a_diff_stays_a_process(tmp_path: Path, podman: Podman) -> None:
    sandbox = {"runner": "container", "image": IMAGE, "engine": podman.address}
    diff = "```diff\n--- a/answer.txt\n+++ b/answer.txt\n@@ -1 +1 @@\n-41\n+42\n```\n"
    async with town(tmp_path, sandbox=sandbox, policy={"agent": "patch"}) as here:
        job = await here.until(await here.ask(body=diff), State.REVIEWING)
        assert here.outcomes(job) == ["completed"]
    assert podman.names() == []
