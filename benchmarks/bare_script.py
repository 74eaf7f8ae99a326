"""The peer of a whole job: the script that somebody would write in an afternoon.

It does the same git, HTTP and test calls one after the other, and keeps nothing: no record, no retry, no sandbox, no
idea of what happened when it is killed.
"""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the script needs to know. `api` is a client that is logged in at the forge's API and stays connected."""

    api: httpx.Client
    base_url: str
    token: str
    repository: str
    agent_command: str
    test_command: str

    def run(self, number: int) -> int:
        """Take one labelled issue to a pull request with its labels, comment and commit status; its number."""
        issue = self._may_start(number)
        branch = f"ai-{number}"
        with tempfile.TemporaryDirectory(prefix="bare-") as home:
            base, head = Path(home, "base"), Path(home, "head")
            self._git("clone", "--quiet", f"{self.base_url}/{self.repository}.git", str(head), cwd=Path(home))
            base_sha = self._git("rev-parse", "HEAD", cwd=head)
            self._post("/git/refs", {"ref": f"refs/heads/{branch}", "sha": base_sha})
            self._git("checkout", "--quiet", "-b", branch, cwd=head)
            subprocess.run(["sh", "-c", self.agent_command], cwd=head, check=True, capture_output=True)
            self._git("worktree", "add", "--quiet", "--detach", str(base), base_sha, cwd=head)
            for place in (base, head):
                subprocess.run(["sh", "-c", self.test_command], cwd=place, check=False, capture_output=True)
            self._git("commit", "--quiet", "--all", "-m", f"{issue['title']}\n\nCloses #{number}", cwd=head)
            self._git("push", "--quiet", "origin", branch, cwd=head)
            head_sha = self._git("rev-parse", "HEAD", cwd=head)
        return self._publish(issue, branch, head_sha)

    def _may_start(self, number: int) -> dict[str, Any]:
        self._get("")
        issue: dict[str, Any] = self._get(f"/issues/{number}")
        events = self._get(f"/issues/{number}/events")
        who = next(event["actor"]["login"] for event in reversed(events) if event["event"] == "labeled")
        level = self._get(f"/collaborators/{who}/permission")["permission"]
        if level not in {"admin", "write"}:
            raise PermissionError(who)
        return issue

    def _publish(self, issue: dict[str, Any], branch: str, head_sha: str) -> int:
        number = issue["number"]
        body = f"Closes #{number}\n\nThe tests were run."
        pull = self._post("/pulls", {"title": issue["title"], "body": body, "head": branch, "base": "main"})
        self._post(f"/issues/{pull['number']}/labels", {"labels": ["ai-generated"]})
        self._post(f"/issues/{number}/comments", {"body": f"#{pull['number']} is ready for review."})
        status = {"state": "pending", "context": "script/human-approval", "description": "waits for a person"}
        self._post(f"/statuses/{head_sha}", status)
        return int(pull["number"])

    def _get(self, path: str) -> Any:
        answer = self.api.get(f"/repos/{self.repository}{path}")
        answer.raise_for_status()
        return answer.json()

    def _post(self, path: str, data: dict[str, Any]) -> Any:
        answer = self.api.post(f"/repos/{self.repository}{path}", json=data)
        answer.raise_for_status()
        return answer.json()

    def _git(self, *arguments: str, cwd: Path) -> str:
        pair = base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
        env = {
            **os.environ,
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
            "GIT_CONFIG_KEY_1": "user.name",
            "GIT_CONFIG_VALUE_1": "Script",
            "GIT_CONFIG_KEY_2": "user.email",
            "GIT_CONFIG_VALUE_2": "script@localhost",
        }
        done = subprocess.run(["git", *arguments], cwd=cwd, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()
