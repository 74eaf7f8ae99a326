"""What in an agent's directory is not part of the change.

Rule: noise is left as it was at the start, tracked or not; what the start tree's own `.gitignore` files ignore is left
out when it is not tracked. The agent's edits to `.gitignore` never decide about its own change. Refuses git's pathspec
magic: noise is written in the pattern language of `core.patch_guard`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from windlass.adapters.git import trees
from windlass.adapters.git.process import Call, Git
from windlass.adapters.git.walk import Seen
from windlass.core.errors import Refused
from windlass.core.patch_guard import REGULAR_MODES, path_refusal

# What tools leave behind in any repository, ignored or not; only where it is not tracked.
LEFTOVERS = (
    "__pycache__/",
    "*.pyc",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".DS_Store",
    "/.git",
)


def checked_noise(noise: Sequence[str]) -> tuple[str, ...]:
    """The patterns. Raises Refused (bad_noise) on pathspec magic and negation, which would be misread."""
    for pattern in noise:
        if pattern.startswith((":", "!")) or not pattern.strip("/"):
            raise Refused(f"noise {pattern!r} is not a pattern", hint="write it as in .gitignore", code="bad_noise")
    return tuple(noise)


class StartIgnores:
    """The `.gitignore` files of the start tree, alone in a directory of ours, for git to judge paths by."""

    def __init__(self, git: Git, mirror: Path, place: Path) -> None:
        self._git = git
        self._mirror = mirror
        self._tree = place / "ignores"
        self._index = place / "ignores.index"

    async def prepare(self, entries: Mapping[str, trees.Entry]) -> None:
        """Write the files out."""
        self._tree.mkdir()
        rules = {path: entry.sha for path, entry in entries.items() if _is_rule_file(path, entry)}
        contents = await trees.blobs(self._git, self._mirror, list(rules.values())) if rules else {}
        for path, sha in rules.items():
            (self._tree / path).parent.mkdir(parents=True, exist_ok=True)
            (self._tree / path).write_bytes(contents[sha])

    async def ignored(self, candidates: Sequence[Seen]) -> set[str]:
        """Which of these untracked entries the start tree ignores."""
        if not candidates:
            return set()
        # "./" keeps a name from being read as pathspec magic (check-ignore knows no literal ones); a slash at the
        # end says that it is a directory, because in our own tree there is none to look at.
        asked = {f"./{seen.path}{'/' if seen.is_directory else ''}": seen.path for seen in candidates}
        stdin = b"".join(os.fsencode(path) + b"\0" for path in asked)
        args = ("check-ignore", "--no-index", "-z", "--stdin")
        call = Call(
            args=args,
            git_dir=self._mirror,
            work_tree=self._tree,
            cwd=self._tree,
            index=self._index,
            stdin=stdin,
            env={"GIT_LITERAL_PATHSPECS": "0"},
            codes=frozenset({0, 1}),
        )
        out = (await self._git.run(call)).out
        return {asked[os.fsdecode(path)] for path in out.split(b"\0")[:-1]}


def _is_rule_file(path: str, entry: trees.Entry) -> bool:
    is_named = path == ".gitignore" or path.endswith("/.gitignore")
    return is_named and entry.mode in REGULAR_MODES and entry.size < 1_000_000 and not path_refusal(path)
