"""Whole jobs with Windsurf in its image: the stand-in image, a real engine, and the audit that ends every story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from tests.stories.harness import FILES, REPOSITORY, town
from tests.support.podman import Podman
from tests.support.windsurf import stand_in
from windlass.config import AgentSettings
from windlass.core.job import Reason, State

pytestmark = pytest.mark.needs("podman")
TOKEN = "sk-ws-01-" + "aZ9_" * 8
OWN = {
    "windsurf-output.txt": "[2026-01-01T00:00:00Z] WORK-COMPLETED\n",
    ".windsurf/workflows/entry-workflow.md": "The project's own.\n",
}


def windsurf(tmp_path: Path, podman: Podman, act: str) -> dict[str, Any]:
    """What a town needs for it: an entry without hosts to reach, a prepared profile, a token."""
    entry = {"name": "boxed", "kind": "windsurf", "image": stand_in(podman), "secrets": ["WINDSURF_TOKEN"]}
    places = {"entries": tmp_path / "entries", "profile": tmp_path / "profile" / "User"}
    for place in places.values():
        place.mkdir(parents=True)
    (places["entries"] / "boxed.yaml").write_text(yaml.safe_dump(entry))
    (places["profile"] / "act").write_text(act)
    agent = AgentSettings(
        preset="boxed", profile=places["profile"].parent, secrets={"WINDSURF_TOKEN": SecretStr(TOKEN)}
    )
    return {"agent": agent, "agents_dir": places["entries"], "sandbox": {"engine": podman.address}}


async def test_from_the_label_to_the_merge(tmp_path: Path, podman: Podman) -> None:
    async with town(tmp_path, files={**FILES, **OWN}, **windsurf(tmp_path, podman, "normal")) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert here.outcomes(job) == ["completed"]
        assert here.git("diff", "--name-only", "main", str(job.head_sha)) == "answer.txt\n"
        for path, text in OWN.items():
            assert here.content(job, path) == text
        body = str(here.pulls("ai-1")[0].body)
        assert "Mended what the task names." in body
        assert TOKEN in here.hidden(), "so the audit looks for it"
        run = here.windlass.store.runs(job.id)[0]
        assert run.model == ""
        assert run.log_digest
        await here.approve_and_merge(job)
    assert podman.names() == []


@pytest.mark.parametrize(
    ("act", "reason"), [("idle-handed", Reason.NO_CHANGE), ("early", Reason.AGENT_INCOMPLETE)], ids=["nothing", "early"]
)
async def test_a_job_that_comes_to_nothing_is_escalated(
    tmp_path: Path, podman: Podman, act: str, reason: Reason
) -> None:
    policy = {"limits": {"agent_attempts": 1}}
    async with town(tmp_path, policy=policy, **windsurf(tmp_path, podman, act)) as here:
        base = here.forge.refs(REPOSITORY)["refs/heads/main"]
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is reason
        assert here.tip("ai-1") == base
    assert podman.names() == []
