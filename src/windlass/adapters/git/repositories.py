"""Fills the `Repositories` port with the git command line.

Rule: all that is known of repositories lies in bare mirrors below one root that only Windlass writes; an agent's
directory is data. Refuses repository names, branches, ids and URLs that are not exactly of the expected shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from windlass.adapters.git import history, names, remote, trees
from windlass.adapters.git.collect import Bench, collect
from windlass.adapters.git.mirror import ensure_mirror, held, scratch, sweep_scratch
from windlass.adapters.git.process import Git
from windlass.adapters.git.walk import Caps
from windlass.core.errors import Broken, Failed
from windlass.core.job import PatchRef
from windlass.core.patch_guard import REGULAR_MODES
from windlass.core.policy import Policy
from windlass.ports import Collected, CommitInfo, GitCredential


class GitRepositories:
    """One bare mirror per repository under `root`; safe for many tasks, event loops and processes at once.

    `author` is the committer of every commit, (name, e-mail address). `timeout_s` bounds each git command, and the
    wait for a mirror's lock. `allow_file` lets `file:///…` URLs be used, for repositories that this machine's owner
    imported.
    """

    def __init__(
        self,
        root: Path,
        *,
        author: tuple[str, str] = ("Windlass", "windlass@localhost"),
        timeout_s: float = 600.0,
        allow_file: bool = False,
        caps: Caps | None = None,
    ) -> None:
        self._root = root.absolute()
        self._author = author
        self._allow_file = allow_file
        self._caps = caps or Caps()
        home = self._root / ".home"
        home.mkdir(parents=True, exist_ok=True)
        self._git = Git(home=home, timeout_s=timeout_s)
        sweep_scratch(self._root)

    async def fetch(self, repo: str, credential: GitCredential, branches: Sequence[str]) -> Mapping[str, str]:
        """Branch → tip for the branches that exist. Raises Refused, NotFound, Forbidden, Unavailable, Failed."""
        at = remote.door(credential, allow_file=self._allow_file)
        mirror = await self._mirror(repo)
        async with held(mirror, timeout_s=self._git.timeout_s):
            return await remote.fetch(self._git, mirror, at, branches)

    async def is_ancestor(self, repo: str, ancestor: str, descendant: str) -> bool:
        """Whether `ancestor` is reachable from `descendant`. Raises NotFound when the mirror lacks one."""
        return await trees.is_ancestor(self._git, await self._mirror(repo), ancestor, descendant)

    async def read_file(self, repo: str, sha: str, path: str) -> bytes | None:
        """A regular file's bytes, or None. Raises NotFound (object_missing), Refused (file_too_large)."""
        return await trees.read_file(self._git, await self._mirror(repo), sha, path)

    async def list_files(self, repo: str, sha: str) -> tuple[str, ...]:
        """All paths of regular files, in git's order; paths that are not UTF-8 are left out."""
        mirror = await self._mirror(repo)
        tree = await trees.require(self._git, mirror, sha)
        entries = await trees.leaves(self._git, mirror, tree)
        return tuple(path for path, entry in entries.items() if entry.mode in REGULAR_MODES and _is_text(path))

    async def read_files(self, repo: str, sha: str, paths: Sequence[str], *, largest: int) -> Mapping[str, bytes]:
        """Regular files by path, in one go. Raises NotFound (object_missing)."""
        mirror = await self._mirror(repo)
        return await history.read_files(self._git, mirror, sha, paths, largest)

    async def search_files(self, repo: str, sha: str, words: Sequence[str]) -> Mapping[str, int]:
        """Path → lines with one of the words. Raises NotFound (object_missing), Refused (bad_word), Unavailable."""
        return await history.search_files(self._git, await self._mirror(repo), sha, words)

    async def recent_commits(self, repo: str, sha: str, paths: Sequence[str], limit: int) -> tuple[CommitInfo, ...]:
        """The newest commits on these paths. Raises NotFound (object_missing), Unavailable (git_timeout)."""
        return await history.recent_commits(self._git, await self._mirror(repo), sha, paths, limit)

    async def materialise(self, repo: str, treeish: str, directory: Path) -> None:
        """Plain files of a tree. Raises Refused (directory_not_empty), NotFound (object_missing)."""
        mirror = await self._mirror(repo)
        with scratch(self._root) as place:
            await trees.materialise(self._git, mirror, treeish, directory, place / "index")

    async def collect(
        self, repo: str, start_sha: str, directory: Path, *, policy: Policy, noise: Sequence[str] = ()
    ) -> Collected:
        """Take a directory in as a change. `noise`: patterns as in `core.patch_guard`.

        Raises Refused (workspace_missing, bad_noise), NotFound (object_missing), Broken.
        """
        mirror = await self._mirror(repo)
        with scratch(self._root) as place:
            bench = Bench(git=self._git, mirror=mirror, place=place)
            return await collect(bench, start_sha, directory, policy=policy, noise=noise, caps=self._caps)

    async def restore(self, repo: str, patch: PatchRef, diff: bytes) -> str:
        """The patched tree's id. Raises Broken (patch_mismatch), NotFound (object_missing)."""
        mirror = await self._mirror(repo)
        start = await trees.require(self._git, mirror, patch.start_sha)
        if hashlib.sha256(diff).hexdigest() == patch.digest and await trees.has(self._git, mirror, patch.tree_sha):
            return patch.tree_sha  # the very diff that this tree was collected with: both ids name their content
        with scratch(self._root) as place:
            try:
                tree = await trees.apply_diff(self._git, mirror, start, diff, place / "index")
            except Failed as error:
                raise _mismatch(f"does not apply: {error.message}") from None
        if tree != patch.tree_sha:
            raise _mismatch(f"makes tree {tree}, not {patch.tree_sha}")
        return tree

    async def graft(self, repo: str, base: str, other: str, paths: Sequence[str]) -> str:
        """The tree of `base` with `paths` as in `other`. Raises NotFound (object_missing)."""
        mirror = await self._mirror(repo)
        base_tree = await trees.require(self._git, mirror, base)
        if not paths:
            return base_tree
        theirs = await trees.leaves(self._git, mirror, await trees.require(self._git, mirror, other))
        ours = await trees.leaves(self._git, mirror, base_tree)
        edits = {path: (found.mode, found.sha) for path in paths if (found := theirs.get(path)) is not None}
        edits |= {path: ("0", "0" * 40) for path in paths if path not in theirs and path in ours}
        with scratch(self._root) as place:
            return await trees.write_tree(self._git, mirror, base_tree, edits, place / "index")

    async def changed_paths(self, repo: str, before: str, after: str) -> tuple[str, ...]:
        """What differs, by path. Raises NotFound (object_missing)."""
        mirror = await self._mirror(repo)
        trees_ = [await trees.require(self._git, mirror, treeish) for treeish in (before, after)]
        return tuple(found.path for found in await trees.differences(self._git, mirror, *trees_))

    async def commit(
        self, repo: str, *, tree_sha: str, parent_sha: str, message: str, author: tuple[str, str], at_ms: int
    ) -> str:
        """The commit's id; the same arguments give the same id. Raises Refused (bad_commit), NotFound."""
        new = trees.NewCommit(
            tree_sha=tree_sha,
            parent_sha=parent_sha,
            message=message,
            author=author,
            committer=self._author,
            at_ms=at_ms,
        )
        return await trees.commit(self._git, await self._mirror(repo), new)

    async def push(self, repo: str, credential: GitCredential, *, sha: str, branch: str, expected_sha: str) -> None:
        """Move `refs/heads/<branch>`; `expected_sha` '' means that there is no such branch yet.

        Raises Conflict (branch_moved), Refused (push_refused, bad_branch), Forbidden, NotFound, Unavailable, Failed.
        """
        names.checked_job_branch(branch)
        at = remote.door(credential, allow_file=self._allow_file)
        mirror = await self._mirror(repo)
        await trees.require(self._git, mirror, sha, kind="commit")
        await remote.push(self._git, mirror, at, sha=sha, branch=branch, expected_sha=expected_sha)

    async def committers(self, repo: str, base_sha: str, head_sha: str) -> tuple[str, ...]:
        """Names and e-mail addresses of authors and committers of base..head, each once. Raises NotFound."""
        return await trees.committers(self._git, await self._mirror(repo), base_sha, head_sha)

    async def _mirror(self, repo: str) -> Path:
        return await ensure_mirror(self._git, names.mirror_path(self._root, repo))


def _mismatch(why: str) -> Broken:
    hint = "the kept change or its record was altered; do not publish it"
    return Broken(f"the kept change {why}", hint=hint, code="patch_mismatch")


def _is_text(path: str) -> bool:
    return not any("\udc80" <= c <= "\udcff" for c in path)
