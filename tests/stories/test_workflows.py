"""Whole jobs with several roles: what is handed on, who may write, who is chosen, where findings lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stories.harness import FILES, MEND, WAIT, town
from windlass.config import AgentSettings
from windlass.core.job import Reason, State

pytestmark = pytest.mark.timeout(240)

DESK = "windlass-desk/windsurf-output.txt"
# The first time something is wrong; the second time it is not.
REVIEW = f"""
if touch answer.txt 2>/dev/null; then echo 13 > answer.txt; fi
echo 13 > answer.txt 2>/dev/null && echo COULD-WRITE
grep -q 'Make it clear' windsurf-instructions.txt && echo HAS-SEEN-OWN-FINDING
verdict='[{{"path": "note.txt", "line": 0, "severity": "major", "text": "Make it clear why."}}]'
test -e note.txt && verdict='[{{"path": "note.txt", "line": 1, "severity": "minor", "text": "Could be @longer."}}]'
printf '# Verdict\\n\\n```json\\n%s\\n```\\n\\nWORK-COMPLETED\\n' "$verdict" > {DESK}
"""
CODE = "echo 42 > answer.txt; grep -q 'Make it clear why' windsurf-instructions.txt && echo because > note.txt; true"
TEST = "mkdir -p tests; echo 'test -e answer.txt' > tests/more.sh"
NOTHING = f"printf '```json\\n[]\\n```\\n\\nWORK-COMPLETED\\n' > {DESK}"


def policy(*workflow: Any, **limits: int) -> dict[str, Any]:
    return {"test_command": "sh tests/check.sh", "workflow": list(workflow), "limits": {"checks_quiet_s": 0, **limits}}


def role(name: str, agent: str, **more: Any) -> dict[str, Any]:
    return {"role": name, "agent": agent, **more}


@pytest.mark.needs("bubblewrap")
async def test_coder_reviewer_and_tester_with_a_round_of_rework(tmp_path: Path) -> None:
    rules = policy("coder", role("reviewer", "critic"), role("tester", "prover"))
    async with town(tmp_path, agent=CODE, agents={"critic": REVIEW, "prover": TEST}, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, State.REVIEWING)
        runs = here.windlass.store.runs(job.id)
        assert [run.role for run in runs] == ["coder", "reviewer", "coder", "reviewer", "tester"]
        assert [run.step for run in runs] == [0, 1, 0, 1, 2]
        assert [run.purpose for run in runs] == ["implement", "review", "address_findings", "review", "test"]
        assert {run.outcome for run in runs} == {"completed"}
        assert here.content(job, "answer.txt") == "42\n", "a reviewer's own changes go nowhere"
        assert here.content(job, "note.txt") == "because\n"
        assert here.content(job, "tests/more.sh") == "test -e answer.txt\n"
        assert "windlass-desk" not in here.git("ls-tree", "-r", "--name-only", str(job.head_sha))
        told = here.prompts(job)
        assert "+42" in told[1], "the reviewer is shown the change"
        assert "Make it clear why." in told[2]
        assert "Make it clear" not in told[3], "reviewers are not told what was said before"
        (pull,) = here.pulls(job.branch)
        assert "minor, `note.txt:1`: Could be @\u200blonger." in pull.body
        assert "Make it clear why" not in pull.body
        details = (await here.call("GET", f"/api/v1/jobs/{job.id}")).json()
        assert [len(run["findings"]) for run in details["runs"]] == [0, 1, 0, 1, 0]
        logs = json.dumps((await here.call("GET", f"/api/v1/jobs/{job.id}/logs?limit=1000")).json())
        assert "COULD-WRITE" not in logs
        assert "HAS-SEEN-OWN-FINDING" not in logs
        await here.approve_and_merge(job)


async def test_of_several_candidates_the_tests_choose(tmp_path: Path) -> None:
    # Each run has a name of its own; exactly one of the three finds the answer.
    agent = "case $WINDLASS_RUN in *-r2) echo 42 > answer.txt;; *) echo 43 > answer.txt; echo $PPID > why;; esac"
    rules = policy(role("coder", "", candidates=3))
    async with town(tmp_path, agent=agent, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, State.REVIEWING)
        runs = here.windlass.store.runs(job.id)
        assert sorted(run.candidate for run in runs) == [0, 1, 2]
        assert here.content(job, "answer.txt") == "42\n"
        assert len(here.pulls(job.branch)) == 1
        chosen = next(run for run in runs if run.id.endswith("-r2"))
        assert job.patch is not None
        assert chosen.patch_digest == job.patch.digest


async def test_a_tester_that_changes_the_code_is_refused(tmp_path: Path) -> None:
    rules = policy("coder", role("tester", "prover"), agent_attempts=1)
    agents = {"prover": "echo 'test -e answer.txt' > tests/more.sh; echo 44 > answer.txt"}
    async with town(tmp_path, agent=MEND, agents=agents, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, State.ESCALATED)
        assert job.reason is Reason.PATCH_REFUSED
        assert "a tester may change tests only" in job.detail
        assert here.pulls(job.branch) == []


async def test_a_review_that_cannot_be_read_is_no_review(tmp_path: Path) -> None:
    rules = policy("coder", role("reviewer", "critic"), agent_attempts=1)
    agents = {"critic": "echo '# All fine, merge it' > windlass-desk/windsurf-output.txt; echo WORK-COMPLETED"}
    async with town(tmp_path, agent=MEND, agents=agents, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, State.ESCALATED)
        assert job.reason is Reason.AGENT_INCOMPLETE
        assert here.pulls(job.branch) == []


async def test_reviewers_at_work_outlive_a_restart(tmp_path: Path) -> None:
    waiting = "until [ -e windlass-desk/go ]; do sleep 0.02; done; " + NOTHING
    rules = policy("coder", {"parallel": [role("reviewer", "critic"), role("reviewer", "other")]})
    async with town(tmp_path, agent=MEND, agents={"critic": waiting, "other": waiting}, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, when=lambda job: job.step == 1 and len(job.crew) == 2)
        desks = [
            here.settings.state_dir / "workspaces" / member.run_id / "workspace" / "windlass-desk"
            for member in job.crew
        ]
        await here.until_true(lambda: all(desk.exists() for desk in desks))
        await here.until_true(lambda: all(here.windlass.outside.runner.is_known(one.run_id) for one in job.crew))
        await here.restart()
        for desk in desks:
            (desk / "go").touch()
        job = await here.until(number, State.REVIEWING)
        runs = here.windlass.store.runs(job.id)
        assert [run.role for run in runs] == ["coder", "reviewer", "reviewer"], "nobody was paid twice"
        assert {run.outcome for run in runs} == {"completed"}


async def test_stopping_ends_every_candidate(tmp_path: Path) -> None:
    rules = policy(role("coder", "", candidates=2))
    async with town(tmp_path, agent=WAIT + MEND, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, State.RUNNING)
        await here.until_true(lambda: all(here.windlass.outside.runner.is_known(one.run_id) for one in job.crew))
        answer = await here.call("POST", "/stop-job", job=job.id, reason="enough", requested_by="rita")
        assert answer.is_success, answer.text
        await here.until(number, State.CANCELLED)
        await here.until_true(lambda: not here.processes())
        await here.until_true(lambda: here.tip(job.branch) is None)


async def test_a_workspace_is_set_up_before_agents_and_tests(tmp_path: Path) -> None:
    rules = {
        **policy("coder", role("reviewer", "critic")),
        "setup_command": "mkdir -p kept; echo ready > kept/state; env > kept/env",
        "test_command": "sh kept/state 2>/dev/null; grep -q ready kept/state && sh tests/check.sh",
        "agents": {"reviewer": "critic"},
    }
    files = {**FILES, ".gitignore": "/kept/\n"}
    coder = AgentSettings(command="grep -q ready kept/state && " + MEND, environment={"AGENT_KEY": "abcdefghijkl"})
    agents = {"critic": "grep -q ready kept/state && " + NOTHING}
    async with town(tmp_path, agent=coder, agents=agents, policy=rules, files=files) as here:
        number = await here.ask()
        job = await here.until(number, State.REVIEWING)
        assert job.verification is not None
        assert job.verification.red_to_green
        assert "kept" not in here.git("ls-tree", "-r", "--name-only", str(job.head_sha))


async def test_a_set_up_that_fails_is_told_and_no_agent_is_paid(tmp_path: Path) -> None:
    rules = {**policy("coder", revivals=0), "setup_command": "echo 'no such package'; exit 3"}
    async with town(tmp_path, agent=MEND, policy=rules) as here:
        number = await here.ask()
        job = await here.until(number, State.ESCALATED)
        assert job.reason is Reason.INFRASTRUCTURE
        assert "the set-up command fails (exit code 3): no such package" in job.detail
        assert here.outcomes(job) == []
