"""Whole jobs whose agent asks its model through the gateway, while parts of Windlass are killed or restarted."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.adapters.gateway.desk import gateway_pid
from tests.adapters.gateway.provider import Provider, chunks, events, provider
from tests.support.podman import AIRLOCK_IMAGE, PYTHON_IMAGE, Podman
from windlass.config import AgentSettings
from windlass.core.job import Job, State

from .harness import Town, town

pytestmark = pytest.mark.needs("bubblewrap")
KEY = "sk-real-0123456789abcdef"
RESULT = {"type": "result", "subtype": "success", "is_error": False, "result": "# Right\n\nDone.", "num_turns": 2}
# An agent like Qwen Code: asks, begins to wait, asks again when it is let go, trying again while nobody answers.
AGENT = """\
import json, os, pathlib, sys, time, urllib.error, urllib.request
def ask():
    body = json.dumps({"model": "gpt-4o", "stream": True, "max_tokens": 500}).encode()
    asked = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body)
    asked.add_header("Authorization", "Bearer " + os.environ["OPENAI_API_KEY"])
    for _ in range(200):
        try:
            return urllib.request.urlopen(asked).read()
        except urllib.error.HTTPError as error:
            sys.exit(error.read().decode())
        except OSError:
            time.sleep(0.1)
ask()
pathlib.Path("first").touch()
while not os.path.exists("go"):
    time.sleep(0.02)
ask()
os.remove("first"), os.remove("go")
pathlib.Path("answer.txt").write_text("42\\n")
print(json.dumps(RESULT))
"""


def agent(model: Provider, image: str = "") -> AgentSettings:
    command = ("python3", "-c", AGENT.replace("RESULT", repr(RESULT)))
    return AgentSettings(
        preset="qwen",
        command=command,
        upstream=f"{model.url}/v1",
        secrets={"OPENAI_API_KEY": KEY},
        gateway=True,
        image=image,
    )


async def asked_once(here: Town) -> Job:
    job = await here.until(await here.ask(), State.RUNNING, when=lambda job: job.run_id)
    await here.until_true((here.workspace(job) / "first").exists)
    return job


def used(here: Town) -> list[dict[str, Any]]:
    with here.windlass.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text("select * from usage")).mappings()]


def gateway_root(here: Town) -> Path:
    return here.settings.state_dir / "gateway"


@pytest.mark.parametrize("killed", ["the engine", "the gateway", "both"])
async def test_a_kill_in_the_middle_neither_forgets_nor_doubles_what_was_used(tmp_path: Path, killed: str) -> None:
    with provider() as model:
        model.answer = lambda heard: events(*chunks())
        async with town(tmp_path, agent=agent(model)) as here:
            job = await asked_once(here)
            if killed != "the engine":
                os.kill(gateway_pid(gateway_root(here)), signal.SIGKILL)
            if killed != "the gateway":
                await here.restart()
            here.let_go(job)
            job = await here.until(1, State.REVIEWING)
            assert here.outcomes(job) == ["completed"], here.windlass.store.runs(job.id)
            (row,) = used(here)
            facts = (row["model"], row["input_tokens"], row["output_tokens"], row["cost_microusd"])
            assert facts == ("gpt-4o-2024-11-20", 2000, 400, 8000)
            finished = [e.event for e in here.windlass.store.events(job.id) if e.event.kind == "RunFinished"]
            assert [getattr(event, "model_access", "") for event in finished] == ["gateway"]
            assert len(model.heard) == 2
        assert gateway_pid(gateway_root(here), is_needed=False) == 0, "it goes with the last Windlass"


@pytest.mark.needs("podman")
async def test_an_agent_in_a_container_reaches_its_model_too(tmp_path: Path, podman: Podman) -> None:
    """Also when the gateway is killed in between: its socket is made anew in the directory that is shown inside."""
    podman.need(PYTHON_IMAGE)
    podman.need(AIRLOCK_IMAGE)
    with provider() as model:
        model.answer = lambda heard: events(*chunks())
        settings = agent(model, PYTHON_IMAGE)
        async with town(tmp_path, agent=settings, sandbox={"engine": podman.address}) as here:
            job = await asked_once(here)
            os.kill(gateway_pid(gateway_root(here)), signal.SIGKILL)
            here.let_go(job)
            job = await here.until(1, State.REVIEWING)
            assert here.outcomes(job) == ["completed"], here.windlass.store.runs(job.id)
            (row,) = used(here)
            assert (row["input_tokens"], row["cost_microusd"]) == (2000, 8000)
    assert podman.names() == []


async def test_a_stopped_runs_key_is_worth_nothing_and_its_account_is_gone(tmp_path: Path) -> None:
    with provider() as model:
        model.answer = lambda heard: events(*chunks())
        async with town(tmp_path, agent=agent(model)) as here:
            job = await asked_once(here)
            await here.call("POST", "/stop-job", job=job.id, reason="enough", requested_by="rita")
            await here.until(1, State.CANCELLED)
            await here.until_true(lambda: not list((gateway_root(here) / "runs").glob("*")))


async def test_a_run_ends_where_its_money_does(tmp_path: Path) -> None:
    """There is room for one call (2,100 tokens read, 500 written, at the dearest tier: $0.017), not for one more."""
    with provider() as model:
        model.answer = lambda heard: events(*chunks())
        limits = {"agent_attempts": 1, "revivals": 0, "run_cost_cents": 2}
        async with town(tmp_path, agent=agent(model), policy={"limits": limits}) as here:
            job = await asked_once(here)
            here.let_go(job)
            job = await here.until(1, State.ESCALATED)
            (run,) = here.windlass.store.runs(job.id)
            assert run.outcome == "incomplete"
            assert "the run's money budget is used up" in run.detail
            (row,) = used(here)
            assert row["cost_microusd"] == 4000
            assert [heard.path for heard in model.heard] == ["/v1/chat/completions"]
