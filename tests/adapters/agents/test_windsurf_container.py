"""The Windsurf driver with real containers, on a stand-in image that keeps the original's contract and its traps."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.adapters.agents.boxed import KEY, TASK, Box
from tests.support.podman import Podman
from tests.support.windsurf import stand_in

from windlass.adapters.agents import exchange
from windlass.adapters.agents.windsurf import SCREENSHOTS, WORKFLOW, private_of
from windlass.core.job import Outcome
from windlass.ports import Ending

pytestmark = pytest.mark.needs("podman")
Boxes = Callable[..., Awaitable[Box]]


@pytest.fixture
async def box(tmp_path: Path, podman: Podman) -> AsyncIterator[Boxes]:
    """Makes a run whose editor acts in one way, not started; removed at the end with its container."""
    async with AsyncExitStack() as stack:

        async def make(act: str, **deadlines: float) -> Box:
            made = Box.make(tmp_path, podman, stand_in(podman), act, **deadlines)
            stack.push_async_callback(made.close)
            return made

        yield make
    assert podman.names() == []


async def test_a_normal_run(box: Boxes) -> None:
    run = await box("normal")
    await run.start()
    report = await run.end()
    assert (report.outcome, report.detail) == (Outcome.COMPLETED, "")
    assert run.is_mended
    assert run.recorded("keys") == f"{KEY} \n/entry-workflow\n", "the token arrives as one word"
    assert f"Read the task: {TASK}" in report.report
    assert exchange.MARKER not in report.report
    assert run.result is not None
    assert run.result.image_digest.startswith("sha256:")
    assert KEY not in run.result.output.read_text()
    assert (run.task.workspace / WORKFLOW).exists()
    assert sorted(path.name for path in run.prepared.iterdir()) == ["User"], "the operator's profile is not touched"
    pictures = private_of(run.task) / Path(SCREENSHOTS).name
    assert [path.name for path in pictures.iterdir()] == ["screenshot-1.png"]
    assert (pictures / "screenshot-1.png").stat().st_uid in {1000, os.geteuid()}


async def test_a_stale_report_does_not_end_a_run(box: Boxes) -> None:
    run = await box("normal")
    (run.task.workspace / exchange.REPORT).write_text("[2026-01-01T00:00:00Z] WORK-COMPLETED\n")
    await run.start()
    report = await run.end()
    assert report.outcome is Outcome.COMPLETED
    assert run.is_mended
    assert "2026-01-01T00:00:00Z" not in report.report


async def test_a_reader_reports_at_its_desk(box: Boxes) -> None:
    run = await box("normal")
    run.task = replace(run.task, is_read_only=True)
    await run.start()
    report = await run.end()
    assert report.outcome is Outcome.COMPLETED
    assert f"Read the task: {TASK}" in report.report
    assert (run.task.workspace / exchange.DESK / exchange.REPORT).is_file()


async def test_without_a_token_the_image_ends_with_1_and_the_infrastructure_is_at_fault(box: Boxes) -> None:
    run = await box("normal")
    await run.start(env={"HOME": "/home/ubuntu"})
    report = await run.end()
    assert run.result is not None
    assert (run.result.ended, run.result.exit_code) == ("exited", 1)
    assert report.outcome is Outcome.INFRA_ERROR
    assert "there is no WINDSURF_TOKEN in the environment" in report.detail


async def test_a_clone_that_cannot_be_written_to_is_the_infrastructures_fault(box: Boxes) -> None:
    run = await box("normal")
    await run.start(is_read_only=True)
    report = await run.end()
    assert report.outcome is Outcome.INFRA_ERROR
    assert "cannot create directory" in report.detail


async def test_an_early_mention_of_the_marker_ends_the_image_and_is_not_taken_for_the_end(box: Boxes) -> None:
    run = await box("early")
    await run.start()
    report = await run.end()
    assert run.result is not None
    assert (run.result.ended, run.result.exit_code) == ("exited", 0)
    assert report.outcome is Outcome.INCOMPLETE
    assert not run.is_mended


async def test_a_report_that_was_replaced_is_seen_though_the_image_never_ends(box: Boxes) -> None:
    run = await box("replaced")
    await run.start(ending=Ending(file=exchange.REPORT, pattern=exchange.CLOSING, grace_s=0.5))
    report = await run.end()
    assert run.result is not None
    assert run.result.ended == "ending"
    assert report.outcome is Outcome.COMPLETED
    assert run.is_mended


@pytest.mark.parametrize("act", ["dead", "deaf"])
async def test_an_editor_that_never_begins_is_started_twice_and_then_the_infrastructures_fault(
    box: Boxes, act: str
) -> None:
    run = await box(act, start_s=3)
    await run.start()
    report = await run.end()
    assert run.result is not None
    assert (run.result.ended, run.result.deadline) == ("timed_out", "start")
    assert report.outcome is Outcome.INFRA_ERROR
    assert "did not begin" in report.detail
    assert run.recorded("starts").count("started") == 2


async def test_a_start_that_hangs_once_costs_nothing_but_time(box: Boxes) -> None:
    run = await box("deaf-once", start_s=8)
    await run.start()
    report = await run.end()
    assert report.outcome is Outcome.COMPLETED
    assert run.recorded("starts").count("started") == 2
    assert run.is_mended


async def test_a_question_that_nobody_answers_is_timed_out(box: Boxes) -> None:
    run = await box("asks", idle_s=1)
    await run.start()
    report = await run.end()
    assert run.result is not None
    assert (run.result.ended, run.result.deadline) == ("timed_out", "idle")
    assert report.outcome is Outcome.TIMED_OUT
    assert "click" in report.detail


async def test_a_container_that_ignores_sigterm_is_killed(box: Boxes, podman: Podman) -> None:
    run = await box("asks")
    await run.start()
    while not (run.task.workspace / exchange.REPORT).exists():
        await asyncio.sleep(0.02)
    (name,) = podman.names()
    podman.cli("kill", "--signal", "TERM", name)
    assert podman.cli("inspect", "--format", "{{.State.Status}}", name).strip() == "running"
    await run.runner.stop("r1")
    assert podman.names() == []
    assert (await run.end()).outcome is Outcome.CANCELLED
