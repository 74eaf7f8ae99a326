"""One bare repository: every git command the forge runs, and a memory of what cannot change.

Refs are remembered and re-read after each push, because nobody else writes here; commits and differences are
remembered because they are immutable. Commands run with a clean environment, no hooks but ours, no system or user
configuration, and never in a checked-out directory that somebody else wrote.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from windlass.core.errors import Failed, Refused
from windlass.localforge.gitdata import Commit, Entry, FileChange, parse_commit, parse_entries, parse_raw, split_patch

ZERO: Final = "0" * 40
_REMEMBERED: Final = 4096
_K = TypeVar("_K")
_V = TypeVar("_V")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What git sees of this process's environment: only where programs are."""
    out = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }
    out.update(extra or {})
    return out


class Git:
    """The bare repository at `path`. `refs` maps full ref names to object ids."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refs: dict[str, str] = {}
        self._commits: dict[str, Commit] = {}
        self._changes: dict[tuple[str, str], tuple[FileChange, ...]] = {}
        self._logs: dict[tuple[str, str], tuple[str, ...]] = {}
        self._bases: dict[tuple[str, str], str | None] = {}

    # ---------------------------------------------------------------- running git

    def run_now(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """Run git and wait, blocking. Raises Failed (code git_failed)."""
        done = subprocess.run(
            ["git", "-C", str(self.path), *args],
            input=stdin,
            capture_output=True,
            env=clean_environment(env),
            check=False,
        )
        return _output(args, done.returncode, done.stdout, done.stderr)

    async def run(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """Run git without blocking the loop. Raises Failed (code git_failed)."""
        process = await asyncio.create_subprocess_exec(
            "git",
            "-C",
            str(self.path),
            *args,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(env),
        )
        out, err = await process.communicate(stdin or None)
        return _output(args, process.returncode or 0, out, err)

    # ---------------------------------------------------------------- refs

    def reload_refs(self) -> None:
        """Read all refs from disk."""
        self._take_refs(self.run_now("for-each-ref", "--format=%(objectname) %(refname)"))

    async def refresh_refs(self) -> None:
        """Read all refs from disk without blocking the loop."""
        self._take_refs(await self.run("for-each-ref", "--format=%(objectname) %(refname)"))

    def _take_refs(self, listing: bytes) -> None:
        lines = [line.split(" ", 1) for line in listing.decode(errors="replace").splitlines()]
        self.refs = {name: sha for sha, name in lines}

    def branch(self, name: str) -> str | None:
        """The tip of a branch, or None."""
        return self.refs.get(f"refs/heads/{name}")

    def branches(self) -> dict[str, str]:
        """Branch name → tip, in order of name."""
        return {name[11:]: sha for name, sha in sorted(self.refs.items()) if name.startswith("refs/heads/")}

    async def set_ref(self, ref: str, new: str, old: str) -> bool:
        """Move a ref from `old` (ZERO: it must not be there) to `new`; False when it is elsewhere."""
        if self.refs.get(ref, ZERO) != old:
            return False
        try:
            await self.run("update-ref", "--no-deref", ref, new, old)
        except Failed:
            await self.refresh_refs()
            return False
        self.refs[ref] = new
        return True

    async def drop_ref(self, ref: str) -> None:
        """Delete a ref that is there."""
        await self.run("update-ref", "--no-deref", "-d", ref)
        self.refs.pop(ref, None)

    async def resolve(self, name: str) -> str | None:
        """The commit that a branch, tag, full ref or (abbreviated) id names, or None."""
        for ref in (f"refs/heads/{name}", f"refs/tags/{name}", f"refs/{name}", name):
            if ref in self.refs and ref.startswith("refs/heads/"):
                return self.refs[ref]
        if name in self._commits:
            return name
        if not name or name.startswith("-") or any(char in name for char in " ~^:?*[\\\n\0@{"):
            return None
        try:
            found = await self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except Failed:
            return None
        return found.decode().strip()

    # ---------------------------------------------------------------- objects

    async def commit(self, sha: str) -> Commit:
        """One commit by its full id. Raises Failed when it is not here."""
        known = self._commits.get(sha)
        if known is None:
            known = parse_commit(sha, await self.run("cat-file", "commit", sha))
            _remember(self._commits, sha, known)
        return known

    async def has_commit(self, sha: str) -> bool:
        """Whether a full id names a commit that is here."""
        try:
            await self.commit(sha)
        except Failed:
            return False
        return True

    async def entries(self, treeish: str, path: str) -> tuple[Entry, ...]:
        """What `path` is at a commit: one entry for a file, its content for a directory, nothing when absent."""
        listing = await self.run("--literal-pathspecs", "ls-tree", "-z", "-l", treeish, "--", path or ".")
        return parse_entries(listing)

    async def blob(self, sha: str) -> bytes:
        """A blob's bytes."""
        return await self.run("cat-file", "blob", sha)

    # ---------------------------------------------------------------- history

    async def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor, or None."""
        key = (one, other)
        if key not in self._bases:
            try:
                found = (await self.run("merge-base", one, other)).decode().split()
            except Failed:
                found = []
            _remember(self._bases, key, found[0] if found else None)
        return self._bases[key]

    async def log(self, base: str, head: str) -> tuple[str, ...]:
        """Ids of the commits in base..head, oldest first."""
        key = (base, head)
        if key not in self._logs:
            listing = await self.run("rev-list", "--reverse", "--topo-order", f"{base}..{head}")
            _remember(self._logs, key, tuple(listing.decode().split()))
        return self._logs[key]

    async def changes(self, base: str, head: str) -> tuple[FileChange, ...]:
        """What differs between two commits or trees, file by file, with patches."""
        key = (base, head)
        if key not in self._changes:
            listing, patch = await asyncio.gather(
                self.run("diff-tree", "-r", "-M", "-z", "--raw", "--full-index", base, head), self.diff(base, head)
            )
            _remember(self._changes, key, parse_raw(listing, split_patch(patch)))
        return self._changes[key]

    async def diff(self, base: str, head: str) -> bytes:
        """The unified diff between two commits or trees."""
        flags = ("--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
        return await self.run("-c", "core.quotePath=true", "diff-tree", "-r", "-M", "-p", *flags, base, head)

    async def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `ancestor` is reachable from `descendant`."""
        return ancestor == descendant or await self.merge_base(ancestor, descendant) == ancestor

    # ---------------------------------------------------------------- writing

    async def merged_tree(self, ours: str, theirs: str) -> str | None:
        """The tree of a clean merge, or None when they conflict or are unrelated."""
        try:
            return (await self.run("merge-tree", "--write-tree", ours, theirs)).decode().split("\n", 1)[0]
        except Failed:
            return None

    async def write_commit(
        self, tree: str, parents: Sequence[str], message: str, *, author: tuple[str, str], at_ms: int
    ) -> str:
        """A commit by plumbing; its id."""
        name, email = author
        env = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": f"{at_ms // 1000} +0000"}
        env |= {
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": email,
            "GIT_COMMITTER_DATE": f"{at_ms // 1000} +0000",
        }
        flags = [flag for parent in parents for flag in ("-p", parent)]
        return (await self.run("commit-tree", *flags, tree, stdin=message.encode(), env=env)).decode().strip()

    async def tree_with(self, start: str | None, files: Mapping[str, bytes | None]) -> str:
        """The tree of `start` with some files written (None: deleted); its id."""
        with tempfile.TemporaryDirectory() as scratch:
            env = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            if start is not None:
                await self.run("read-tree", start, env=env)
            for path, content in files.items():
                await self._stage(path, content, env)
            return (await self.run("write-tree", env=env)).decode().strip()

    async def _stage(self, path: str, content: bytes | None, env: Mapping[str, str]) -> None:
        if content is None:
            await self.run("update-index", "--force-remove", "-z", "--stdin", stdin=path.encode() + b"\0", env=env)
            return
        sha = (await self.run("hash-object", "-w", "--stdin", stdin=content)).decode().strip()
        line = f"100644 {sha}\t{path}".encode() + b"\0"
        await self.run("update-index", "--add", "-z", "--index-info", stdin=line, env=env)

    async def check_out(self, sha: str, directory: Path) -> None:
        """Write the tree of a commit into an empty directory: plain files, no `.git`."""
        with tempfile.TemporaryDirectory() as scratch:
            env = {"GIT_INDEX_FILE": str(Path(scratch) / "index"), "GIT_DIR": str(self.path)}
            env["GIT_WORK_TREE"] = str(directory)
            await self.run("read-tree", sha, env=env)
            await self.run("checkout-index", "--all", "--force", env=env)


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    if len(memory) >= _REMEMBERED:
        memory.pop(next(iter(memory)))
    memory[key] = value


def _output(args: Sequence[str], code: int, out: bytes, err: bytes) -> bytes:
    if code != 0:
        said = err.decode(errors="replace").strip().replace("\n", "; ")[:300]
        raise Failed(f"git {args[0]} failed with {code}: {said}", hint="see git's message", code="git_failed")
    return out


def import_repository(path: Path, source: Path | None, default_branch: str) -> Git:
    """Make the bare repository at `path`, with all branches of `source` when there is one. Blocking.

    Raises Refused (code bad_source) when `source` is no git repository.
    """
    path.mkdir(parents=True, exist_ok=True)
    git = Git(path)
    git.run_now("init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}", ".")
    if source is not None:
        try:
            refspecs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            safe = ("-c", f"safe.directory={source.resolve()}", "-c", f"safe.directory={source.resolve()}/.git")
            git.run_now(*safe, "fetch", "--quiet", "--no-auto-gc", str(source.resolve()), *refspecs)
        except Failed as error:
            raise Refused(
                f"cannot import {source}: {error.message}", hint="give a git repository", code="bad_source"
            ) from error
    git.reload_refs()
    return git
