"""A mirror of a repository made on the spot: real git, real adapter, no forge."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from windlass.adapters.git import GitRepositories
from windlass.adapters.prompts import JinjaPrompts
from windlass.core.job import IssueSnapshot, TaskType
from windlass.core.prompt import Prompt, PromptRequest
from windlass.ports import GitCredential
from windlass.wiring.parts import TEMPLATES

NAME = "acme/shop"
_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@dataclass(frozen=True, slots=True)
class Mirror:
    """A repository at `work` and its mirror."""

    work: Path
    repositories: GitRepositories

    async def commit(self, files: Mapping[str, str | bytes | None], message: str = "work") -> str:
        """Write files (None: remove), commit them, fetch; the commit's id."""
        if not (self.work / ".git").exists():
            self.work.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "-b", "main")
        for path, content in files.items():
            place = self.work / path
            if content is None:
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        credential = GitCredential(url=self.work.as_uri())
        return (await self.repositories.fetch(NAME, credential, ["main"]))["main"]

    async def tell(self, sha: str, title: str = "It is wrong", body: str = "", **changes: object) -> Prompt:
        """The prompt for an issue at a commit."""
        given: dict[str, object] = {
            "repository": NAME,
            "issue": IssueSnapshot(number=7, title=title, body=body, author="eve"),
            "task_type": TaskType.BUGFIX,
            "start_sha": sha,
            "base_sha": sha,
        }
        request = PromptRequest(**(given | changes))  # type: ignore[arg-type]
        return await JinjaPrompts(self.repositories, TEMPLATES).render(request)

    def git(self, *args: str) -> str:
        """A user's plain git in the repository."""
        done = subprocess.run(["git", *args], cwd=self.work, env=_ENV, capture_output=True, text=True, check=True)
        return done.stdout.strip()


def mirror_at(place: Path) -> Mirror:
    """An empty one."""
    return Mirror(place / "work", GitRepositories(place / "mirrors", allow_file=True, timeout_s=60))


def outside_fences(text: str) -> str:
    """What a prompt says itself: everything that is not between fences."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if fence:
            fence = "" if line == fence else fence
        elif len(ticks) >= 3:
            fence = ticks
        else:
            lines.append(line)
    assert not fence, "a fence is open at the end"
    return "\n".join(lines)
