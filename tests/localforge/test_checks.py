"""The forge's CI really runs the repository's commands, once per head, and misbehaves only when told to."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.localforge.conformance import ForgeMaker
from tests.localforge.conftest import REPO, Desk, furnish
from windlass.localforge import CheckMode, CiResult, SubprocessCi


async def test_the_command_runs_in_a_clean_checkout_of_the_head(desk: Desk) -> None:
    desk.forge.set_checks(REPO, {"good": "ls -A; cat new.txt", "bad": "echo oops >&2; exit 3"})
    await desk.branch("ai-1", {"new.txt": b"hello from the head\n"})
    good, bad = sorted(await desk.green("ai-1"), key=lambda run: str(run["name"]), reverse=True)
    assert (good["conclusion"], bad["conclusion"]) == ("success", "failure")
    assert good["output"]["text"].splitlines() == ["README.md", "new.txt", "src", "hello from the head"]
    assert bad["output"]["text"] == "oops\n"
    assert "exit code 3" in bad["output"]["title"]
    (suite,) = (await desk.call("eve", "GET /commits/ai-1/check-suites"))["check_suites"]
    assert (suite["status"], suite["conclusion"], suite["head_branch"]) == ("completed", "failure", "ai-1")


async def test_a_branch_on_an_old_commit_is_not_checked_until_a_pull_request_is(desk: Desk) -> None:
    sha = desk.forge.refs(REPO)["refs/heads/main"]
    await desk.call("bob", "POST /git/refs", {"ref": "refs/heads/ai-1", "sha": sha}, expect=201)
    assert (await desk.call("eve", "GET /commits/ai-1/check-suites"))["total_count"] == 0
    await desk.branch("ai-1")
    first = await desk.green("ai-1")
    await desk.call("bob", "POST /pulls", {"title": "x", "head": "ai-1", "base": "main"}, expect=201)
    assert await desk.green("ai-1") == [run | {"pull_requests": again["pull_requests"]} for run, again in
                                        zip(first, await desk.green("ai-1"), strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "status", "conclusion"),
    [
        ("never_starts", "queued", None),
        ("hangs", "in_progress", None),
        ("action_required", "completed", "action_required"),
        ("lost", "completed", "cancelled"),
        ("flaky", "completed", "failure"),
    ],
)
async def test_checks_that_misbehave(desk: Desk, mode: CheckMode, status: str, conclusion: str | None) -> None:
    desk.forge.set_check_mode(REPO, "tests", mode)
    await desk.branch("ai-1")
    async with asyncio.timeout(10):
        while True:
            (run,) = (await desk.call("eve", "GET /commits/ai-1/check-runs"))["check_runs"]
            if run["status"] == status:
                break
            await asyncio.sleep(0.01)
    assert run["conclusion"] == conclusion


async def test_a_flaky_check_passes_the_second_time(desk: Desk) -> None:
    desk.forge.set_check_mode(REPO, "tests", "flaky")
    await desk.branch("ai-1")
    (first,) = await desk.green("ai-1")
    repo = desk.forge.site.repository(REPO)
    await desk.forge.hub.checks.again(repo, repo.runs[first["id"]])
    (second,) = await desk.green("ai-1")
    assert (first["conclusion"], second["conclusion"]) == ("failure", "success")
    assert (await desk.call("eve", "GET /commits/ai-1/check-runs?filter=all"))["total_count"] == 2


async def test_a_check_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    result = await SubprocessCi(timeout_s=0.3).run("x", tmp_path, "echo $$; sleep 60 & wait")
    assert result.exit_code == 124
    group = int(result.output.split()[0])
    for _ in range(100):  # init may take a moment to reap the children
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the check's children are still there")


async def test_a_long_log_is_cut_and_stripped(desk: Desk) -> None:
    desk.forge.set_checks(REPO, {"tests": r"yes line | head -c 200000; printf '\033[31mred\033[0m\a\n'"})
    await desk.branch("ai-1")
    (run,) = await desk.green("ai-1")
    text = run["output"]["text"]
    assert len(text) == 60_000
    assert text.endswith("line\nred\n")


class Confined:
    """A runner of one's own."""

    async def run(self, run_id: str, workspace: Path, command: str) -> CiResult:
        assert (workspace / "README.md").exists()
        return CiResult(exit_code=0, output=f"{run_id.partition('-')[0]}: {command}", duration_s=0.5)


async def test_the_runner_can_be_another(conforming_forge: ForgeMaker, source: Path) -> None:
    desk = furnish(await conforming_forge(ci=Confined()), source)
    await desk.branch("ai-1")
    (run,) = await desk.green("ai-1")
    assert (run["output"]["text"], run["output"]["title"]) == ("ci: cat README.md", "Passed after 0.5 s")
