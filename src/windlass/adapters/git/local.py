"""A user's own repository on this machine: copied in bare, and given one branch back.

Rule: the source is only read; its configuration, hooks and work tree decide nothing, and nothing of the caller's
`GIT_*` environment is used. Giving back adds objects and moves one `ai-<n>` branch forward, never another ref, HEAD,
the index or a file of the work tree. Refuses histories that are not complete, and branches that are not ours.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from windlass.adapters.git.mirror import init_bare
from windlass.adapters.git.names import checked_branch, checked_job_branch
from windlass.adapters.git.process import Call, Git
from windlass.adapters.git.remote import SAFE_SERVER
from windlass.core.errors import Broken, Conflict, Failed, NotFound, Refused
from windlass.core.patch_guard import shown

_FILES_ONLY = (("protocol.file.allow", "always"),)
_FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--refmap=",
    f"--upload-pack={SAFE_SERVER} upload-pack",
)


@dataclass(frozen=True, slots=True)
class _Source:
    """A repository as git found it: its shared git directory and what HEAD says."""

    git: Git
    start: Path
    common: Path

    async def ask(self, *args: str) -> str | None:
        """One line, or None when git says no."""
        ran = await self.git.run(Call(args=args, cwd=self.start, codes=None))
        return ran.text if ran.code == 0 else None


async def import_repository(source: Path, destination: Path, *, base: str = "", timeout_s: float = 600.0) -> str:
    """Make `destination` a bare copy of all branches of `source`; the branch to start from (HEAD's, or `base`).

    `source` may be a work tree, a directory in one, a linked work tree, or a bare repository. `destination` must not
    exist or be empty. Raises Refused: not_a_repository, repository_not_trusted, empty_repository, detached_head,
    base_missing, shallow_repository, partial_clone, unsupported_object_format, destination_not_empty; Failed
    (git_failed); Unavailable (git_timeout).
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise _refused("the destination is not empty", "give a new directory", "destination_not_empty")
    async with _tools(timeout_s) as git:
        found = await _open(git, source)
        branch = await _start_branch(found, base)
        await _whole(found)
        destination.parent.mkdir(parents=True, exist_ok=True)
        await _copy(git, found.common, destination.absolute(), branch)
    return branch


async def fetch_branch_into(source_repo: Path, bare: Path, branch: str, *, timeout_s: float = 600.0) -> str:
    """Bring `branch` (`ai-<n>`) from `bare` into the user's repository at `source_repo`; its tip.

    Only `refs/heads/<branch>` changes, and only forward. Raises Refused: bad_branch, not_a_repository,
    branch_checked_out; Conflict (branch_exists) when the user has another branch of that name or it just moved;
    NotFound (branch_missing) when `bare` has no such branch.
    """
    ref = f"refs/heads/{checked_job_branch(branch)}"
    async with _tools(timeout_s) as git:
        new = await _tip(git, bare, ref)
        if new is None:
            raise NotFound(f"there is no branch {branch} to fetch", hint="wait for the job", code="branch_missing")
        found = await _open(git, source_repo)
        old = await _tip(git, found.common, ref)
        if old == new:
            return new
        await _refuse_checked_out(found, ref, branch)
        objects = (*_FETCH, str(bare.absolute()), ref)
        await git.run(Call(args=objects, git_dir=found.common, settings=_FILES_ONLY))
        await _refuse_backwards(found, branch, old, new)
        await _move(found, ref, old, new)
    return new


@asynccontextmanager
async def _tools(timeout_s: float) -> AsyncIterator[Git]:
    home = Path(tempfile.mkdtemp(prefix="windlass-git-"))
    try:
        yield Git(home=home, timeout_s=timeout_s)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _open(git: Git, source: Path) -> _Source:
    if not source.is_dir():
        raise _refused(f"{shown(str(source))} is not a directory", "give a git repository", "not_a_repository")
    start = source.absolute()
    args = ("rev-parse", "--path-format=absolute", "--git-common-dir")
    ran = await git.run(Call(args=args, cwd=start, codes=None))
    if "dubious ownership" in ran.err:
        hint = "run as the owner of the repository, or clone it"
        raise _refused(f"{shown(str(source))} belongs to another user", hint, "repository_not_trusted")
    if ran.code:
        hint = "run `git init` and commit first, or give another directory"
        raise _refused(f"{shown(str(source))} is not in a git repository", hint, "not_a_repository")
    return _Source(git, start, Path(ran.text))


async def _start_branch(found: _Source, base: str) -> str:
    branches = (await found.ask("for-each-ref", "--count=20", "--format=%(refname)", "refs/heads")) or ""
    names = [line.removeprefix("refs/heads/") for line in branches.splitlines()]
    head = await found.ask("symbolic-ref", "--quiet", "HEAD")
    has_commit = await found.ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}") is not None
    if not names and not has_commit:
        raise _refused("the repository has no commits", "commit something first", "empty_repository")
    if base:
        return await _existing(found, checked_branch(base), names)
    if head is None or not head.startswith("refs/heads/"):
        hint = f"name the branch to start from with --base ({_some(names)})"
        raise _refused("HEAD is detached: no branch is checked out", hint, "detached_head")
    return await _existing(found, checked_branch(head.removeprefix("refs/heads/")), names)


async def _existing(found: _Source, branch: str, names: list[str]) -> str:
    if await found.ask("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}") is None:
        hint = f"choose one that exists ({_some(names)})"
        raise _refused(f"there is no local branch {shown(branch)}", hint, "base_missing")
    return branch


def _some(names: list[str]) -> str:
    return ", ".join(shown(name) for name in names[:5]) or "there is no local branch yet: git switch -c main"


async def _whole(found: _Source) -> None:
    if (found.common / "shallow").exists():
        raise _refused("the repository is a shallow clone", "run `git fetch --unshallow` in it", "shallow_repository")
    if await found.ask("rev-parse", "--show-object-format") != "sha1":
        hint = "forges take SHA-1 repositories only"
        raise _refused("the repository uses another object format than SHA-1", hint, "unsupported_object_format")
    pattern = r"^(extensions\.partialclone|remote\..*\.promisor)$"
    args = ("config", "--file", str(found.common / "config"), "--no-includes", "--get-regexp", pattern)
    if await found.ask(*args):
        raise _refused("the repository is a partial clone", "make a full clone of it", "partial_clone")


async def _copy(git: Git, common: Path, destination: Path, branch: str) -> None:
    """All branches into a fresh bare repository, which appears complete or not at all."""
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=destination.parent))
    try:
        await init_bare(git, fresh)
        everything = (*_FETCH, str(common), "+refs/heads/*:refs/heads/*")
        await git.run(Call(args=everything, git_dir=fresh, settings=_FILES_ONLY))
        await git.run(Call(args=("symbolic-ref", "HEAD", f"refs/heads/{branch}"), git_dir=fresh))
        fresh.rename(destination)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


async def _tip(git: Git, git_dir: Path, ref: str) -> str | None:
    args = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    ran = await git.run(Call(args=args, git_dir=git_dir.absolute(), codes=None))
    return ran.text if ran.code == 0 else None


async def _refuse_checked_out(found: _Source, ref: str, branch: str) -> None:
    trees = await found.git.run(Call(args=("worktree", "list", "--porcelain"), git_dir=found.common))
    head = await found.git.run(Call(args=("symbolic-ref", "--quiet", "HEAD"), git_dir=found.common, codes=None))
    if f"branch {ref}" in trees.text.splitlines() or head.text == ref:
        hint = "switch to another branch in your repository, then fetch again"
        raise _refused(f"{branch} is checked out in your repository", hint, "branch_checked_out")


async def _refuse_backwards(found: _Source, branch: str, old: str | None, new: str) -> None:
    if old is None:
        return
    args = ("merge-base", "--is-ancestor", old, new)
    ran = await found.git.run(Call(args=args, git_dir=found.common, codes=frozenset({0, 1})))
    if ran.code:
        hint = f"rename or delete it: git branch -m {branch} <another name>"
        raise Conflict(f"your repository has another branch {branch}", hint=hint, code="branch_exists")


async def _move(found: _Source, ref: str, old: str | None, new: str) -> None:
    """Set the one ref, from where it was seen."""
    if await _tip(found.git, found.common, new) != new:
        raise Broken("the fetched commit did not arrive", hint="check the disk and git", code="object_missing")
    message = "fetched from windlass"
    args = ("update-ref", "-m", message, ref, new, old or "0" * 40)
    env = {"GIT_COMMITTER_NAME": "Windlass", "GIT_COMMITTER_EMAIL": "windlass@localhost"}
    try:
        await found.git.run(Call(args=args, git_dir=found.common, env=env))
    except Failed as error:
        raise Conflict(
            f"the branch could not be set: {error.message}", hint="try again", code="branch_exists"
        ) from None


def _refused(message: str, hint: str, code: str) -> Refused:
    return Refused(message, hint=hint, code=code)
