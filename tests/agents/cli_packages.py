"""Real agents' command lines from npm, at pinned versions, kept in a cache outside the repository."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {
    "codex": "@openai/codex@0.169.0",
    "claude-code": "@anthropic-ai/claude-code@2.1.330",
    "qwen": "@qwen-code/qwen-code@0.15.10",
}
INSTALL_TIMEOUT_S = 300


def installed(agent: str) -> Path:
    """The npm prefix that holds an agent; skips the test with the reason where npm cannot bring it."""
    package = PACKAGES[agent]
    prefix = _cache() / package.replace("/", "-").removeprefix("@")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with (prefix.parent / f"{prefix.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes must not install over one another
        if not (prefix / "complete").exists():
            shutil.rmtree(prefix, ignore_errors=True)
            _install(package, prefix)
            (prefix / "complete").touch()
    return prefix


def _cache() -> Path:
    given = os.environ.get("WINDLASS_TEST_AGENT_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else home / "windlass-tests" / "agents"


def _install(package: str, prefix: Path) -> None:
    argv = ["npm", "install", "--prefix", str(prefix), "--no-audit", "--no-fund", "--loglevel=error", package]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm cannot install {package}: {error}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        pytest.skip(f"npm cannot install {package}: {lines[-1][:200]}")
