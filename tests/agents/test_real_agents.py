"""Real agents take a real issue to a pull request: the whole engine, the sandbox, and a scripted model on loopback.

They reach the model through the gateway, without a network and without the real key; one case has the key by
environment, because that has to work too where an agent knows no way to a gateway.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.agents.cli_packages import PACKAGES, installed
from tests.agents.model_server import INPUT_TOKENS, OUTPUT_TOKENS, ScriptedModel, scripted_model
from tests.stories.harness import MEND, Town, town
from windlass.adapters.gateway import LocalGateway
from windlass.adapters.runners.process import ProcessRunner
from windlass.config import AgentSettings, Settings
from windlass.core.job import IssueSnapshot, Job, Outcome, State
from windlass.ports import AgentReport, AgentTask, Deadlines
from windlass.wiring.agents import agents_of

pytestmark = [pytest.mark.needs("node"), pytest.mark.needs("bubblewrap"), pytest.mark.timeout(400)]
CLOSING = "# Correct the answer\n\nThe answer is 42 now, as the check asks for."


@dataclass(frozen=True, kw_only=True)
class Case:
    """One agent: where its key goes, and how its model's address ends."""

    key: str
    path: str = ""
    model: str = "scripted"


CASES = {
    "codex": Case(key="CODEX_API_KEY", path="/v1"),
    "claude-code": Case(key="ANTHROPIC_API_KEY", model="claude-sonnet-4-5"),
    "qwen": Case(key="OPENAI_API_KEY", path="/v1"),
}
# What an agent leaves behind to be looked at: everything that it could have found the real key in.
SEARCH = (
    "env > /tmp/found; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline >> /tmp/found 2>/dev/null; "
    "grep -rsh . /tmp/home >> /tmp/found; cat /tmp/found | tr '\\0' '\\n' > found.txt; "
    "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'; echo $? > code.txt"
)


def settings(agent: str, url: str, key: str, **more: Any) -> AgentSettings:
    case = CASES[agent]
    return AgentSettings(
        preset=agent,
        reads=(installed(agent),),
        secrets={case.key: key},
        **{"model": case.model, "upstream": url and url + case.path, **more},
    )


@pytest.mark.parametrize("agent", sorted(PACKAGES))
async def test_a_real_agent_takes_an_issue_to_a_pull_request(tmp_path: Path, agent: str) -> None:
    key = f"sk-{secrets.token_hex(20)}"
    with scripted_model(MEND, CLOSING) as model:
        async with town(tmp_path, agent=settings(agent, model.url, key)) as here:
            number = await here.ask("The answer is wrong", "The answer shall be 42.")
            job = await here.until(number, State.REVIEWING, timeout_s=90)
            judge(here, job, agent)
            heard(model, key)
            assert key in here.hidden(), "the audit at the end looks for the key everywhere"


async def test_one_real_agent_reviews_what_another_wrote(tmp_path: Path) -> None:
    """Codex codes, Claude Code reads: it tries to write, cannot, and says what it found in its last words."""
    found = [{"path": "answer.txt", "line": 1, "severity": "minor", "text": "No newline policy is stated."}]
    verdict = f"# It is right\n\n```json\n{json.dumps(found)}\n```"
    spoil = "echo 13 > answer.txt; cat answer.txt > windlass-desk/seen"
    rules = {"workflow": ["coder", {"role": "reviewer", "agent": "critic"}]}
    with scripted_model(MEND, CLOSING) as model, scripted_model(spoil, verdict) as critic:
        coder = settings("codex", model.url, f"sk-{secrets.token_hex(20)}")
        agents = {"critic": settings("claude-code", critic.url, f"sk-{secrets.token_hex(20)}")}
        async with town(tmp_path, agent=coder, agents=agents, policy=rules) as here:
            job = await here.until(await here.ask(), State.REVIEWING, timeout_s=90)
            assert here.outcomes(job) == ["completed", "completed"]
            assert here.content(job, "answer.txt") == "42\n"
            (pull,) = here.pulls(job.branch)
            assert "- minor, `answer.txt:1`: No newline policy is stated." in pull.body
            assert [run.model_access for run in here.windlass.store.runs(job.id)] == ["gateway", "gateway"]
            told = json.dumps([request.body for request in critic.requests])
            assert "+42" in told, "the reviewer is shown the change"
            assert "Read-only file system" in told, "its shell says why it could not write"


def judge(here: Town, job: Job, agent: str) -> None:
    case = CASES[agent]
    assert here.outcomes(job) == ["completed"]
    changed = here.git("diff-tree", "-r", "--name-only", "--no-commit-id", str(job.head_sha)).split()
    assert changed == ["answer.txt"], "the agent left something beside its work"
    assert here.content(job, "answer.txt") == "42\n"
    pull = here.pulls("ai-1")[0]
    assert "Correct the answer" in pull.title
    (run,) = here.windlass.store.runs(job.id)
    report = here.windlass.outside.blobs.get(run.report_digest).decode()
    assert report.startswith(CLOSING)
    assert "## Steps" in report
    assert run.model == case.model, "as the provider answered, also where the agent names none"
    (used,) = rows(here, "select * from usage")
    facts = (used["run_id"], used["model"], used["input_tokens"], used["output_tokens"], used["cost_microusd"])
    cost = 1200 if agent == "claude-code" else None
    assert facts == (run.id, case.model, 2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS, cost)
    assert [row["name"] for row in rows(here, "select name from model_versions")] == [case.model]


def heard(model: ScriptedModel, key: str) -> None:
    """The key was used, at the model's door and nowhere in what the model was told."""
    asked = [request for request in model.requests if request.body.get("model")]
    assert len(asked) == 2
    assert all(any(key in value for value in request.headers.values()) for request in asked)
    assert not any("wlk_" in value for request in asked for value in request.headers.values())
    assert key not in json.dumps([request.body for request in model.requests])
    assert "The answer shall be 42." in json.dumps(asked[0].body)


def rows(here: Town, query: str) -> list[Mapping[str, Any]]:
    with here.windlass.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


async def tried(tmp_path: Path, agent: str, given: AgentSettings, **limits: Any) -> tuple[AgentReport, Path]:
    """One agent at work in the sandbox, without the engine around it: its report, and its directory."""
    gateway = LocalGateway(tmp_path / "gateway")
    made = agents_of(Settings(agents={"it": given}), gateway)["it"]
    runner = ProcessRunner(tmp_path / "runs", instance="mine")
    (tmp_path / "work").mkdir()
    issue = IssueSnapshot(number=1, title="T", body="", author="a")
    patience = Deadlines(start_s=60, idle_s=60, total_s=90)
    task = AgentTask(
        run_id="r1", workspace=tmp_path / "work", prompt="Do it.", issue=issue, deadlines=patience, **limits
    )
    try:
        await runner.start(made.spec(task))
        report = made.conclude(task, await runner.wait("r1"))
    finally:
        await runner.discard("r1")
        made.discard("r1")
        gateway.stop()
    return report, tmp_path / "work"


@pytest.mark.parametrize("agent", sorted(PACKAGES))
async def test_the_real_key_is_nowhere_to_be_found(tmp_path: Path, agent: str) -> None:
    """The agent looks at its environment, at every process it can see, in its home, and for the model itself."""
    key = f"sk-{secrets.token_hex(20)}"
    with scripted_model("", CLOSING) as model:
        model.command = SEARCH.replace("{port}", model.url.rpartition(":")[2])
        report, work = await tried(tmp_path, agent, settings(agent, model.url, key))
    found = (work / "found.txt").read_text("utf-8", "replace")
    assert (report.outcome, report.model_access) == (Outcome.COMPLETED, "gateway")
    assert "wlk_" in found, "it looked where its own key is"
    assert key not in found
    assert (work / "code.txt").read_text() == "1\n", "there is no network"


async def test_a_key_by_environment_works_and_is_told(tmp_path: Path) -> None:
    key = f"sk-{secrets.token_hex(20)}"
    with scripted_model("env > found.txt", CLOSING) as model:
        environment = {"ANTHROPIC_BASE_URL": model.url}
        given = settings("claude-code", "", key, gateway=False, needs_network=True, environment=environment)
        report, work = await tried(tmp_path, "claude-code", given)
    assert (report.outcome, report.model_access) == (Outcome.COMPLETED, "environment")
    assert report.usage is not None
    assert report.usage.input_tokens == 2 * INPUT_TOKENS
    assert key in (work / "found.txt").read_text()


@pytest.mark.parametrize("agent", sorted(PACKAGES))
async def test_an_agent_whose_money_is_used_up_ends_soon_and_says_why(tmp_path: Path, agent: str) -> None:
    with scripted_model("true", CLOSING) as model:
        given = settings(agent, model.url, f"sk-{secrets.token_hex(20)}", model="gpt-4o")
        report, _ = await tried(tmp_path, agent, given, cost_limit_usd=0.000001)
    assert report.outcome is Outcome.INCOMPLETE
    assert "the model gateway said no: the run's money budget is used up" in report.detail
    assert model.requests == []


async def test_a_refused_key_is_no_fault_of_the_agent(tmp_path: Path) -> None:
    """Qwen Code says success with exit code 0 when its model answers that the key is wrong."""
    with scripted_model(MEND, CLOSING, refuses=True) as model:
        agent = settings("qwen", model.url, "sk-wrong-" + secrets.token_hex(8))
        async with town(tmp_path, agent=agent, policy={"limits": {"revivals": 0}}) as here:
            job = await here.until(await here.ask(), State.ESCALATED, State.FAILED, timeout_s=60)
            assert set(here.outcomes(job)) == {"infra_error"}
            assert job.budgets.agent_attempts <= 1
            assert "401" in here.windlass.store.runs(job.id)[0].detail
