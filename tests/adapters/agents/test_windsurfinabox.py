"""The Windsurf driver with the project's own entrypoint, from a checkout that the environment names; else skipped.

Everything is the original's but the editor: its script, its workflow, its window manager's settings, its waits of about
40 seconds. The first run makes a root file system of some 540 MB, kept in the cache directory.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.adapters.agents.boxed import KEY, TASK, Box
from tests.support.podman import Podman
from tests.support.windsurf import CHECKOUT, ORIGINAL, original, why_no_original

from windlass.adapters.agents import exchange
from windlass.adapters.agents.windsurf import WORKFLOW, private_of
from windlass.core.job import Outcome

pytestmark = [
    pytest.mark.skipif(bool(why_no_original()), reason=why_no_original()),
    pytest.mark.needs("podman"),
    pytest.mark.timeout(900),
]
Boxes = Callable[[str], Awaitable[Box]]
BUILD = Path(__file__).parents[3] / "deploy" / "images" / "windsurf" / "build"


@pytest.fixture
async def box(tmp_path: Path, podman: Podman) -> AsyncIterator[Boxes]:
    """Makes a run whose editor acts in one way; the start deadline leaves room for the image's own waits."""
    async with AsyncExitStack() as stack:

        async def make(act: str) -> Box:
            made = Box.make(tmp_path, podman, original(podman), act, start_s=75, total_s=400)
            stack.push_async_callback(made.close)
            return made

        yield make
    assert podman.names() == []


async def test_the_editor_gets_the_keys_and_its_work_comes_back(box: Boxes) -> None:
    run = await box("normal")
    (run.task.workspace / exchange.REPORT).write_text("[2026-01-01T00:00:00Z] WORK-COMPLETED\n")
    await run.start()
    report = await run.end()
    assert report.outcome is Outcome.COMPLETED, report.detail
    assert run.is_mended
    keys = run.recorded("keys").replace("\r", "\n")
    assert "\x10token\n" + KEY + "\n" in keys, "control and shift and P, then the token as one word"
    assert keys.endswith("\x0c/entry-workflow\n")
    assert f"Read the task: {TASK}" in report.report
    assert run.result is not None
    assert KEY not in run.result.output.read_text()
    assert (run.task.workspace / WORKFLOW).read_bytes() == _checkout("src/workflows/entry-workflow.md")
    pictures = {path.name for path in (private_of(run.task) / "screenshots").iterdir()}
    assert {"screenshot-1.png", "screenshot-2.png", "screenshot-3.png"} <= pictures


async def test_an_early_mention_ends_the_original_too(box: Boxes) -> None:
    run = await box("early")
    await run.start()
    report = await run.end()
    assert run.result is not None
    assert (run.result.ended, run.result.exit_code) == ("exited", 0)
    assert report.outcome is Outcome.INCOMPLETE
    assert not run.is_mended


async def test_a_replaced_report_keeps_the_original_running_and_is_seen(box: Boxes) -> None:
    run = await box("replaced")
    await run.start()
    report = await run.end()
    assert run.result is not None
    assert (run.result.ended, report.outcome) == ("ending", Outcome.COMPLETED)


async def test_a_start_that_hangs_once_is_made_again_in_the_same_container(box: Boxes) -> None:
    run = await box("deaf-once")
    await run.start()
    report = await run.end()
    assert report.outcome is Outcome.COMPLETED, report.detail
    assert run.recorded("starts").count("started") == 2


async def test_a_dead_editor_is_the_infrastructures_fault(box: Boxes) -> None:
    run = await box("dead")
    await run.start()
    report = await run.end()
    assert report.outcome is Outcome.INFRA_ERROR
    assert "did not begin" in report.detail


async def test_without_a_token_the_original_says_so(box: Boxes) -> None:
    run = await box("normal")
    await run.start(env={"HOME": "/home/ubuntu"})
    report = await run.end()
    assert report.outcome is Outcome.INFRA_ERROR
    assert "WINDSURF_TOKEN needs to be passed" in report.detail


async def test_a_clone_that_cannot_be_written_to_ends_the_original(box: Boxes) -> None:
    run = await box("normal")
    await run.start(is_read_only=True)
    report = await run.end()
    assert report.outcome is Outcome.INFRA_ERROR
    assert "mkdir: cannot create directory" in report.detail


def test_the_build_script_takes_this_commit_and_tells_its_engine_so(tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase $1 in image) echo {"ab" * 32} ;; run) echo 1.2.3 ;; esac\n'
    )
    engine.chmod(0o755)
    source = {"WINDSURFINABOX": Path(os.environ[CHECKOUT]).absolute().as_uri(), "CONTAINER_ENGINE": str(engine)}
    environment = {**os.environ, **source}
    done = subprocess.run([BUILD, ORIGINAL], check=False, cwd=tmp_path, env=environment, text=True, capture_output=True)
    if "does not hand out commit" in done.stderr:
        pytest.skip("the checkout has not this commit")
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.glob("*.image.json")
    told = json.loads(record.read_text())
    assert (told["image"], told["editor"]) == (f"sha256:{'ab' * 32}", "1.2.3")
    assert (tmp_path / "calls").read_text().startswith(f"build --tag {ORIGINAL} ")


def _checkout(name: str) -> bytes:
    return (Path(os.environ[CHECKOUT]) / name).read_bytes()
