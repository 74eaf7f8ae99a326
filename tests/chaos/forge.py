"""The forge of a chaos run: localforge as a process of its own, its people, and its own records at the end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.scripts import REPOSITORIES, files_of

REQUESTER, REVIEWER, SLUG, SECRET = "rita", "ada", "windlass", "secret-that-signs-the-chaos-webhooks"
FAULTS = {
    "drop": 0.15,
    "lose": 0.05,
    "duplicate": 0.2,
    "reorder": 0.2,
    "api_5xx": 0.05,
    "api_rate_limited": 0.005,
    "api_secondary": 0.005,
    "api_lost_response": 0.04,
    "git_push_5xx": 0.05,
    "git_push_lost_response": 0.05,
}
"""20% of deliveries get lost (a quarter of them without a trace), 20% come twice, 10% of calls and pushes fail."""


@dataclass(kw_only=True)
class ForgeProcess:
    """A running forge. `say` is a person's call, with all faults."""

    process: asyncio.subprocess.Process
    root: Path
    ready: Mapping[str, Any]
    client: httpx.AsyncClient = field(repr=False)

    @property
    def app(self) -> Mapping[str, Any]:
        """Our App: app_id, installation_id, private_key_pem."""
        found: Mapping[str, Any] = self.ready["apps"][SLUG]
        return found

    @property
    def api_url(self) -> str:
        """The REST address."""
        return str(self.ready["api_url"])

    async def say(self, person: str, method: str, repository: str, path: str, content: Any = None) -> httpx.Response:
        """One call as a person; `path` is below the repository."""
        headers = {"Authorization": f"Bearer {self.ready['tokens'][person]}"}
        url = f"{self.api_url}/repos/{repository}{path}"
        return await self.client.request(method, url, headers=headers, json=content)

    async def insist(self, person: str, method: str, repository: str, path: str, content: Any = None) -> httpx.Response:
        """The same until it is neither a failure nor a limit; for calls that may be made twice."""
        said = ""
        for _ in range(100):
            answer = await self.say(person, method, repository, path, content)
            if answer.status_code < 500 and answer.status_code not in {403, 429}:
                return answer
            said = f"{answer.status_code} {answer.text[:200]}"
            await asyncio.sleep(0.3)
        raise AssertionError(f"{method} {path} never got through: {said}")

    async def everything(self, repository: str, path: str) -> list[dict[str, Any]]:
        """All items of all pages."""
        found: list[dict[str, Any]] = []
        for page in range(1, 1000):
            glue = "&" if "?" in path else "?"
            answer = await self.insist(REVIEWER, "GET", repository, f"{path}{glue}per_page=100&page={page}")
            found += answer.json()
            if len(answer.json()) < 100:
                break
        return found

    async def faults(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Set the faults; how often each struck so far."""
        headers = {"Authorization": f"Bearer {self.ready['admin_token']}"}
        answer = await self.client.put(f"{self.ready['base_url']}/_localforge/faults", json=values, headers=headers)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()["counts"]
        return found

    async def stop(self) -> None:
        """End it as an operator would."""
        await self.client.aclose()
        self.process.terminate()
        await self.process.wait()


async def start_forge(root: Path, webhook_url: str, *, seed: int) -> ForgeProcess:
    """A forge with repositories, people, our App and its webhook; no faults yet."""
    root.mkdir(parents=True)
    config = root / "config.json"
    config.write_text(json.dumps(_config(root / "sources", webhook_url, seed)))
    log = (root / "forge.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "windlass.localforge", "--root", str(root / "state"), "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        start_new_session=True,
        limit=1 << 20,
    )
    log.close()
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line, (root / "forge.log").read_text()
    client = httpx.AsyncClient(timeout=60, trust_env=False)
    return ForgeProcess(process=process, root=root / "state", ready=json.loads(line), client=client)


def _config(sources: Path, webhook_url: str, seed: int) -> dict[str, Any]:
    everywhere = dict.fromkeys(REPOSITORIES, "write")
    repositories = [
        {
            "full_name": name,
            "source": str(_source(sources, name)),
            "checks": {"ci": "sh check.sh"},
            "required_checks": ["ci", "windlass/human-approval"],
        }
        for name in REPOSITORIES
    ]
    return {
        "users": [{"login": login, "grants": everywhere} for login in (REQUESTER, REVIEWER)],
        "repositories": repositories,
        "apps": [{"slug": SLUG, "owner": "acme"}],
        "webhooks": [{"url": webhook_url, "secret": SECRET}],
        "seed": seed,
    }


def _source(path: Path, repository: str) -> Path:
    path = path / repository.rpartition("/")[2]
    for name, text in files_of(repository).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    quiet = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*quiet, *arguments], cwd=path, check=True, capture_output=True)
    return path
