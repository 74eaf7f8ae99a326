"""Octokit, GitHub's own client, goes the way of an App on localforge, and every exchange conforms."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.localforge.conftest import REPO, Desk

PACKAGES = ("@octokit/rest@22.0.1", "@octokit/auth-app@8.3.1")


@pytest.fixture(scope="session")
def octokit_modules() -> Path:
    """Where Octokit is installed: a cache outside the repository, filled once."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "windlass-tests" / "octokit"
    if not (home / "node_modules" / "@octokit" / "auth-app").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}\n')
        argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
        done = subprocess.run(argv, cwd=home, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install Octokit here: {done.stderr.strip()[-200:]}")
    return home


@pytest.mark.needs("node")
async def test_the_way_of_an_app(octokit_modules: Path, desk: Desk) -> None:
    app = desk.forge.create_app()
    await desk.branch("ai-1")
    owner, _, repo = REPO.partition("/")
    forge = {
        "modules": str(octokit_modules),
        "baseUrl": desk.forge.api_url,
        "appId": app.app_id,
        "installationId": app.installation_id,
        "privateKey": app.private_key_pem,
        "owner": owner,
        "repo": repo,
    }
    script = Path(__file__).with_name("octokit.mjs")
    process = await asyncio.create_subprocess_exec(
        "node", str(script), env={**os.environ, "FORGE": json.dumps(forge)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out) == {
        "app": "windlass",
        "duplicate": 422,
        "run": "neutral",
        "issues": ["From Octokit", "PR"],
        "unchanged": 304,
        "files": ["new.txt"],
    }
