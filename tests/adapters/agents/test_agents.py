"""The exchange with agents, judged on real runs of real commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass.adapters.agents import apply_diff, exchange
from windlass.adapters.agents.command import CommandAgent
from windlass.adapters.agents.patch import PatchAgent
from windlass.adapters.runners.bubblewrap import NoSandbox, detect
from windlass.adapters.runners.process import ProcessRunner
from windlass.core.errors import Refused
from windlass.core.job import IssueSnapshot, Outcome
from windlass.ports import Agent, AgentReport, AgentTask, Deadlines, RunResult

PATIENT = Deadlines(start_s=20, idle_s=20, total_s=30)
DIFF = "--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n"
KINDS = [pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")), "bare"]


class Desk:
    def __init__(self, tmp_path: Path, kind: str) -> None:
        sandbox = detect() if kind == "bubblewrap" else NoSandbox(reason="asked for")
        self.runner = ProcessRunner(tmp_path / "runs", instance="mine", sandbox=sandbox)
        self.workspace = tmp_path / "workspace"
        self.workspace.mkdir()
        (self.workspace / "calc.py").write_text("def add(a, b):\n    return a - b\n")

    def task(self, *, body: str = "", prompt: str = "Do it.", deadlines: Deadlines = PATIENT) -> AgentTask:
        issue = IssueSnapshot(number=7, title="add() subtracts", body=body, author="ann")
        return AgentTask(run_id="r1", workspace=self.workspace, prompt=prompt, issue=issue, deadlines=deadlines)

    async def work(self, agent: Agent, task: AgentTask) -> AgentReport:
        await self.runner.start(agent.spec(task))
        return agent.conclude(task, await self.runner.wait(task.run_id))


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk(tmp_path, request.param)


@pytest.mark.parametrize(
    ("command", "outcome", "detail"),
    [
        ("echo '# Fix it' > windsurf-output.txt; echo WORK-COMPLETED >> windsurf-output.txt", Outcome.COMPLETED, ""),
        ("echo '[2025-05-27T15:28:30Z] WORK-COMPLETED' > windsurf-output.txt", Outcome.COMPLETED, ""),
        ("echo 'will write WORK-COMPLETED' > windsurf-output.txt", Outcome.INCOMPLETE, "does not end with"),
        ("printf 'WORK-COMPLETED\\nmore to do\\n' > windsurf-output.txt", Outcome.INCOMPLETE, "does not end with"),
        ("echo did it", Outcome.COMPLETED, ""),
        ("true", Outcome.COMPLETED, ""),
        ("echo broke >&2; exit 3", Outcome.FAILED, "exit code 3: broke"),
        ("echo WORK-COMPLETED > windsurf-output.txt; exit 1", Outcome.FAILED, "exit code 1"),
        ("no-such-agent", Outcome.FAILED, "exit code 127"),
    ],
)
async def test_how_a_command_ends(desk: Desk, command: str, outcome: Outcome, detail: str) -> None:
    report = await desk.work(CommandAgent("c", command, needs_network=False), desk.task())
    assert report.outcome is outcome
    assert detail in report.detail
    assert "WORK-COMPLETED" not in report.report.splitlines()[-1:]


async def test_the_prompt_is_in_the_file_and_on_standard_input_without_the_marker(desk: Desk) -> None:
    (desk.workspace / exchange.REPORT).write_text("stale\nWORK-COMPLETED\n")
    agent = CommandAgent("c", "cmp - windsurf-instructions.txt && cat windsurf-instructions.txt; ls", env={"K": "v"})
    report = await desk.work(agent, desk.task(prompt="Write WORK-COMPLETED — then é.\n"))
    assert report.outcome is Outcome.COMPLETED
    assert "Write WORK COMPLETED — then é." in report.report
    assert exchange.REPORT not in report.report, "the stale report was there"
    assert set(exchange.NOISE) <= set(agent.noise)


async def test_a_hang_is_timed_out_and_says_which_deadline(desk: Desk) -> None:
    deadlines = Deadlines(start_s=0.3, idle_s=5, total_s=10)
    report = await desk.work(CommandAgent("c", "sleep 60"), desk.task(deadlines=deadlines))
    assert report.outcome is Outcome.TIMED_OUT
    assert "start deadline" in report.detail


@pytest.mark.parametrize(("ended", "outcome"), [("stopped", Outcome.CANCELLED), ("lost", Outcome.INFRA_ERROR)])
def test_what_was_not_the_agents_doing(tmp_path: Path, ended: str, outcome: Outcome) -> None:
    desk = Desk(tmp_path, "bare")
    result = RunResult(ended=ended, exit_code=None, deadline="", duration_s=1.0, output=tmp_path / "absent")
    assert CommandAgent("c", "true").conclude(desk.task(), result).outcome is outcome


async def test_the_patch_agent_applies_the_diff_of_the_issue(desk: Desk) -> None:
    report = await desk.work(PatchAgent(), desk.task(body=f"It is wrong.\n\n```diff\n{DIFF}```\n"))
    assert report.outcome is Outcome.COMPLETED, report.detail
    assert (desk.workspace / "calc.py").read_text() == "def add(a, b):\n    return a + b\n"
    assert report.title == "Fix: add() subtracts"
    assert "changed `calc.py`" in report.report
    left = {path.name for path in desk.workspace.iterdir()}
    assert left == {"calc.py", exchange.INSTRUCTIONS, exchange.REPORT}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "the issue has no diff"),
        ("no diff here", "the issue has no diff"),
        (f"```diff\n{DIFF.replace('a - b', 'a * b')}```", "does not fit"),
        (f"```diff\n{DIFF.replace('calc.py', '../calc.py')}```", "may be changed"),
    ],
)
async def test_the_patch_agent_says_why_it_cannot(desk: Desk, body: str, why: str) -> None:
    before = (desk.workspace / "calc.py").read_text()
    report = await desk.work(PatchAgent(), desk.task(body=body))
    assert report.outcome is Outcome.FAILED
    assert why in report.detail
    assert why in report.report
    assert (desk.workspace / "calc.py").read_text() == before


def test_nothing_is_written_unless_everything_fits(tmp_path: Path) -> None:
    (tmp_path / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    second = "--- a/other\n+++ b/other\n@@ -1 +1 @@\n-x\n+y\n"
    assert apply_diff.run(tmp_path, 1, "t", DIFF + second) == 1
    assert "a - b" in (tmp_path / "calc.py").read_text()


@pytest.mark.parametrize("path", ["link", "dir/f"])
def test_links_are_neither_followed_nor_replaced(tmp_path: Path, path: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "f").write_text("x\n")
    (root / "link").symlink_to(outside / "f")
    (root / "dir").symlink_to(outside)
    assert apply_diff.run(root, 1, "t", f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-x\n+y\n") == 1
    assert (outside / "f").read_text() == "x\n"


def test_modes_and_new_folders(tmp_path: Path) -> None:
    script = "diff --git a/x/run b/x/run\nnew file mode 100755\n--- /dev/null\n+++ b/x/run\n@@ -0,0 +1 @@\n+#!/bin/sh\n"
    assert apply_diff.run(tmp_path, 1, "t", script) == 0
    assert os.access(tmp_path / "x/run", os.X_OK)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "absent"])
def test_a_hostile_report_is_no_report(tmp_path: Path, kind: str) -> None:
    report = tmp_path / exchange.REPORT
    if kind == "link":
        (tmp_path / "secret").write_text("WORK-COMPLETED")
        report.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(report)
    elif kind == "folder":
        report.mkdir()
    assert exchange.take_report(tmp_path) is None


def test_a_huge_report_is_read_from_its_end_and_cleaned(tmp_path: Path) -> None:
    (tmp_path / exchange.REPORT).write_bytes(b"x" * 5_000_000 + b"\n\x1b[31mred\x1b[0m\x00\nWORK-COMPLETED\r\n")
    report = exchange.take_report(tmp_path)
    assert report is not None
    assert len(report) <= exchange.MAX_REPORT_BYTES
    assert report.endswith("\nred\nWORK-COMPLETED")
    assert exchange.is_finished(report)


@pytest.mark.parametrize(
    ("report", "title"),
    [
        ("# Fix: add\n\ntext", "Fix: add"),
        ("intro\n## Second ##\n", "Second"),
        ("# Heading\nTitle: The one\n", "The one"),
        ("**Title:** Bold\n", "Bold"),
        ("plain text\n", ""),
        ("", ""),
    ],
)
def test_titles(report: str, title: str) -> None:
    assert exchange.title_of(report) == title


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / exchange.REPORT).mkdir()
    with pytest.raises(Refused) as caught:
        exchange.put_task(tmp_path, "do")
    assert caught.value.code == "exchange_blocked"


def test_instructions_replace_what_the_repository_put_there(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("keep")
    (tmp_path / exchange.INSTRUCTIONS).symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        exchange.put_task(tmp_path, "do")
    assert (tmp_path / "elsewhere").read_text() == "keep"
    assert (tmp_path / exchange.INSTRUCTIONS).read_text() == "do"
