"""`windlass run` as people and scripts call it: exit codes, the JSON object, and a checkout that stays as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.stories.harness import FILES, MEND
from tests.support.podman import IMAGE, Podman

GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")
TEST = "sh tests/check.sh"


def git(repo: Path, *arguments: str) -> str:
    """What git says in the user's checkout."""
    return subprocess.run([*GIT, *arguments], cwd=repo, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A person's checkout, with work in progress in it."""
    there = tmp_path / "answers"
    for name, text in FILES.items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text(text)
    git(tmp_path, "init", "-q", str(there))
    git(there, "add", "-A")
    git(there, "commit", "-q", "-m", "Begin")
    git(there, "branch", "other")
    (there / "README.md").write_text("half written\n")
    (there / "scratch.txt").write_text("mine\n")
    return there


def run(repo: Path, issue: str, *options: str, environment: Mapping[str, str] | None = None) -> tuple[int, Any, str]:
    """Exit code, the JSON object of the last line, and what went to stderr."""
    file = repo.parent / "issue.md"
    file.write_text(issue)
    given = options if "--workdir" in options else (*options, "--workdir", str(repo.parent / "work"))
    command = [sys.executable, "-W", "ignore", "-m", "windlass", "run", "--repo", str(repo), "--issue", str(file)]
    done = subprocess.run(
        [*command, "--json", *given],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "HOME": str(repo.parent), **(environment or {})},
    )
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr
    return done.returncode, json.loads(lines[-1]), done.stderr


def snapshot(repo: Path) -> dict[str, object]:
    """Everything of a checkout that must stay: status, HEAD, configuration, hooks, refs, files."""
    hooks = sorted(path.name for path in (repo / ".git" / "hooks").iterdir())
    files = {str(path): path.read_bytes() for path in repo.rglob("*") if path.is_file() and ".git" not in path.parts}
    refs = [line for line in git(repo, "show-ref").splitlines() if "refs/heads/ai-" not in line]
    return {
        "status": git(repo, "status", "--porcelain"),
        "head": (repo / ".git" / "HEAD").read_text(),
        "config": (repo / ".git" / "config").read_bytes(),
        "hooks": hooks,
        "refs": refs,
        "files": files,
        "stash": git(repo, "stash", "list"),
    }


def test_a_finished_job_is_a_branch_in_the_checkout_and_nothing_else_changes(repo: Path, tmp_path: Path) -> None:
    before = snapshot(repo)
    code, said, _ = run(repo, "# Wrong answer\n\nIt is 42.", "--agent-command", MEND, "--test-command", TEST)
    assert code == 0
    assert set(said) >= {
        "job",
        "state",
        "reason",
        "branch",
        "base_sha",
        "head_sha",
        "pull_request",
        "ci",
        "verification",
        "evidence",
        "timings_s",
    }
    assert (said["state"], said["reason"], said["branch"]) == ("reviewing", None, "ai-1")
    assert said["base_sha"] == git(repo, "rev-parse", "main").strip()
    assert said["head_sha"] == git(repo, "rev-parse", "ai-1").strip()
    assert set(said["pull_request"]) == {"number", "title", "labels", "url"}
    assert said["pull_request"]["title"] == "Wrong answer"
    assert {"name": "tests", "conclusion": "success"} in said["ci"]
    found = said["verification"]
    assert (found["base"], found["head"], found["red_to_green"], found["weakened_tests"]) == (
        "failed",
        "passed",
        True,
        [],
    )
    assert Path(said["evidence"]["bundle"]).is_file()
    assert said["evidence"]["records"] > 10
    assert len(said["evidence"]["root"]) == 64
    assert all(value >= 0 for value in said["timings_s"].values())
    assert git(repo, "show", "ai-1:answer.txt") == "42\n"
    assert snapshot(repo) == before
    code, again, told = run(repo, "Once more", "--agent-command", MEND, "--workdir", str(tmp_path / "second"))
    assert (code, again["branch"]) == (0, "ai-2"), told
    assert git(repo, "rev-parse", "ai-1").strip() == said["head_sha"], "the first branch is as it was"


def test_with_approve_as_it_is_merged_in_the_local_forge_only(repo: Path, tmp_path: Path) -> None:
    before = snapshot(repo)
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "value").write_text("42\n")
    options = ("--agent-command", f"cp {extra}/value answer.txt", "--test-command", TEST, "--mount", str(extra))
    options += ("--approve-as", "ada", "--title", "Ask the mount", "--type", "refactor", "--base", "other")
    code, said, _ = run(repo, "Take it from the mount.", *options)
    assert (code, said["state"], said["pull_request"]["title"]) == (0, "merged", "Ask the mount")
    assert snapshot(repo) == before


def test_a_job_that_needs_a_person_exits_with_three_and_brings_no_branch(repo: Path) -> None:
    before = snapshot(repo)
    code, said, told = run(repo, "It is 42.", "--agent-command", "true", "--test-command", TEST)
    assert (code, said["state"], said["reason"]) == (3, "escalated", "no_change")
    assert "escalated (no_change" in told
    assert "ai-1" not in git(repo, "branch")
    assert said["evidence"]["records"] > 0
    assert snapshot(repo) == before


def _empty(repo: Path) -> tuple[str, ...]:
    git(repo.parent, "init", "-q", str(repo.parent / "fresh"))
    return ("--repo", str(repo.parent / "fresh"))


def _detached(repo: Path) -> tuple[str, ...]:
    git(repo, "checkout", "-q", "--detach")
    return ()


def test_a_branch_of_the_users_own_is_never_taken(repo: Path) -> None:
    git(repo, "stash", "-q")
    git(repo, "checkout", "-q", "-b", "ai-3")
    git(repo, "commit", "-q", "--allow-empty", "-m", "mine")
    mine = git(repo, "rev-parse", "ai-3")
    code, said, told = run(repo, "It is 42.", "--agent-command", MEND, "--test-command", TEST, "--base", "main")
    assert (code, said["branch"]) == (0, "ai-4"), told
    assert git(repo, "rev-parse", "ai-3") == mine


@pytest.mark.parametrize(
    ("prepare", "issue", "told"),
    [
        (lambda repo: ("--repo", str(repo.parent)), "x", "not in a git repository"),
        (lambda repo: ("--repo", str(repo / "absent")), "x", "does not exist"),
        (_empty, "x", "no commits"),
        (_detached, "x", "detached"),
        (lambda _repo: ("--base", "absent"), "x", "absent"),
        (lambda _repo: (), "  \n\n", "no text"),
        (lambda _repo: ("--agent", "nobody", "--agent-command", ""), "x", "nobody"),
        (lambda _repo: ("--mount", "/absent/path"), "x", "/absent/path"),
    ],
    ids=[
        "no repository",
        "no directory",
        "empty repository",
        "detached head",
        "missing base",
        "no text",
        "unknown agent",
        "missing mount",
    ],
)
def test_input_that_cannot_be_worked_with_is_refused_with_four_and_a_reason(
    repo: Path, prepare: Any, issue: str, told: str
) -> None:
    options = prepare(repo)
    before = snapshot(repo)
    code, said, stderr = run(repo, issue, "--agent-command", MEND, *options)
    assert code == 4, (said, stderr)
    assert said["state"] == "refused"
    assert told in said["message"] + said["hint"]
    assert stderr.strip().count("\n") == 0 or "Traceback" not in stderr
    assert snapshot(repo) == before


@pytest.mark.needs("podman")
def test_a_run_in_containers_of_an_image(repo: Path, podman: Podman) -> None:
    here_only = "test -d /home/agent &&"  # a path that only the image has
    options = ("--agent-command", f"{here_only} {MEND}", "--test-command", f"{here_only} {TEST}", "--image", IMAGE)
    code, found, said = run(repo, "Mend the answer", *options, environment={"DOCKER_HOST": podman.address})
    assert code == 0, said
    assert (found["state"], found["verification"]["red_to_green"]) == ("reviewing", True)
    assert git(repo, "show", f"{found['branch']}:answer.txt") == "42\n"
    assert podman.names() == []
