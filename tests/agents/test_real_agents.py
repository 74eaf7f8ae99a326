"""Real agents take a real issue to a pull request: the whole engine, the sandbox, and a scripted model on loopback."""

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
from windlass.config import AgentSettings
from windlass.core.job import Job, State

pytestmark = [pytest.mark.needs("node"), pytest.mark.needs("bubblewrap"), pytest.mark.timeout(400)]
CLOSING = "# Correct the answer\n\nThe answer is 42 now, as the check asks for."


@dataclass(frozen=True, kw_only=True)
class Case:
    """How one agent is pointed at the scripted model. `{url}` in the texts is the model's address."""

    key: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str]
    model: str = "scripted"
    reported_model: str
    cost_microusd: int | None = None


CASES = {
    "codex": Case(
        key="CODEX_API_KEY",
        arguments=(
            *("-c", "model_provider=local", "-c", "model_providers.local.name=local"),
            *("-c", "model_providers.local.base_url={url}/v1", "-c", "model_providers.local.wire_api=responses"),
            *("-c", "model_providers.local.env_key=CODEX_API_KEY"),
        ),
        environment={},
        reported_model="",
    ),
    "claude-code": Case(
        key="ANTHROPIC_API_KEY",
        environment={"ANTHROPIC_BASE_URL": "{url}"},
        model="claude-sonnet-4-5",
        reported_model="claude-sonnet-4-5",
        cost_microusd=1200,
    ),
    "qwen": Case(key="OPENAI_API_KEY", environment={"OPENAI_BASE_URL": "{url}/v1"}, reported_model="scripted"),
}


def settings(agent: str, url: str, key: str) -> AgentSettings:
    case = CASES[agent]
    return AgentSettings(
        preset=agent,
        model=case.model,
        reads=(installed(agent),),
        arguments=tuple(text.replace("{url}", url) for text in case.arguments),
        environment={name: text.replace("{url}", url) for name, text in case.environment.items()},
        secrets={case.key: key},
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
    assert run.model == case.reported_model
    (used,) = rows(here, "select * from usage")
    facts = (used["run_id"], used["model"], used["input_tokens"], used["output_tokens"], used["cost_microusd"])
    assert facts == (run.id, case.reported_model, 2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS, case.cost_microusd)
    models = [row["name"] for row in rows(here, "select name from model_versions")]
    assert models == ([case.reported_model] if case.reported_model else [])


def heard(model: ScriptedModel, key: str) -> None:
    """The key was used, at the model's door and nowhere in what the model was told."""
    asked = [request for request in model.requests if request.body.get("model")]
    assert len(asked) == 2
    assert all(any(key in value for value in request.headers.values()) for request in asked)
    assert key not in json.dumps([request.body for request in model.requests])
    assert "The answer shall be 42." in json.dumps(asked[0].body)


def rows(here: Town, query: str) -> list[Mapping[str, Any]]:
    with here.windlass.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


async def test_a_refused_key_is_no_fault_of_the_agent(tmp_path: Path) -> None:
    """Qwen Code says success with exit code 0 when its model answers that the key is wrong."""
    with scripted_model(MEND, CLOSING, refuses=True) as model:
        agent = settings("qwen", model.url, "sk-wrong-" + secrets.token_hex(8))
        async with town(tmp_path, agent=agent, policy={"limits": {"revivals": 0}}) as here:
            job = await here.until(await here.ask(), State.ESCALATED, State.FAILED, timeout_s=60)
            assert set(here.outcomes(job)) == {"infra_error"}
            assert job.budgets.agent_attempts <= 1
            assert "401" in here.windlass.store.runs(job.id)[0].detail
