"""A forge made of plain bare repositories, and a Windlass side that fetches from it by file URLs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from windlass.adapters.git import Caps, GitRepositories
from windlass.core.policy import Policy
from windlass.ports import Collected, GitCredential

REPO = "acme/app"
ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Cy",
    "GIT_COMMITTER_EMAIL": "cy@example.org",
}


def sh_git(where: Path, *args: str, stdin: bytes = b"") -> str:
    """A user's plain git, for setting scenes."""
    done = subprocess.run(["git", *args], cwd=where, env=ENV, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Put files into a directory."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def make_repository(work: Path, files: Mapping[str, str | bytes], branch: str = "main") -> str:
    """A repository with one commit; its id."""
    work.mkdir(parents=True, exist_ok=True)
    sh_git(work, "init", "-q", "-b", branch)
    write(work, files)
    sh_git(work, "add", "-A", "-f")
    sh_git(work, "commit", "-q", "--allow-empty", "-m", "first")
    return sh_git(work, "rev-parse", "HEAD")


@dataclass
class Scene:
    """One repository on the forge, its mirror on our side, and workspaces made from it."""

    root: Path
    repos: GitRepositories
    start: str = ""
    policy: Policy = field(default_factory=Policy)
    workspaces: int = 0

    @property
    def work(self) -> Path:
        return self.root / "user"

    @property
    def remote(self) -> Path:
        return self.root / "forge.git"

    @property
    def mirror(self) -> Path:
        return self.root / "mirrors" / f"{REPO}.git"

    @property
    def credential(self) -> GitCredential:
        return GitCredential(url=f"file://{self.remote}")

    async def begin(self, files: Mapping[str, str | bytes], *, prepared: bool = False) -> Path:
        """Make the repository, fetch it, and hand out a workspace."""
        if not prepared:
            make_repository(self.work, files)
        sh_git(self.root, "clone", "-q", "--bare", str(self.work), str(self.remote))
        self.start = (await self.repos.fetch(REPO, self.credential, ["main"]))["main"]
        return await self.workspace()

    async def workspace(self) -> Path:
        """A fresh directory with the start tree."""
        self.workspaces += 1
        place = self.root / f"ws{self.workspaces}"
        await self.repos.materialise(REPO, self.start, place)
        return place

    async def collect(self, place: Path, *noise: str) -> Collected:
        """Take it in."""
        return await self.repos.collect(REPO, self.start, place, policy=self.policy, noise=noise)

    def tree(self, sha: str) -> dict[str, str]:
        """Path → mode and id, by an independent git."""
        out = sh_git(self.mirror, "-c", "core.quotePath=false", "ls-tree", "-r", sha)
        return {line.split("\t", 1)[1]: line.split("\t", 1)[0] for line in out.splitlines()}


@pytest.fixture
def scene(tmp_path: Path, git_binary: str) -> Scene:
    caps = Caps(entries=3000, changed_files=200, changed_bytes=25_000_000)
    return Scene(tmp_path, GitRepositories(tmp_path / "mirrors", allow_file=True, timeout_s=60, caps=caps))
