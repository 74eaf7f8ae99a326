"""Looking for things in a mirror: many files at once, words in files, commits on paths.

Rule: read only, with time limits of its own, because nothing that is decided hangs on it. Refuses words that are not
plain identifiers; paths are literal (GIT_LITERAL_PATHSPECS).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from windlass.adapters.git import trees
from windlass.adapters.git.process import Call, Git
from windlass.core.errors import Refused
from windlass.core.patch_guard import REGULAR_MODES
from windlass.ports import CommitInfo

SEARCH_TIMEOUT_S = 20.0
LOG_TIMEOUT_S = 10.0
MOST_BYTES = 64 << 20
MOST_WORDS = 50
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


async def read_files(git: Git, mirror: Path, sha: str, paths: Sequence[str], largest: int) -> dict[str, bytes]:
    """Regular files of at most `largest` bytes, in the order of `paths`, at most MOST_BYTES together."""
    if not paths:
        return {}
    entries = await trees.leaves(git, mirror, await trees.require(git, mirror, sha))
    wanted: dict[str, str] = {}
    room = MOST_BYTES
    for path in dict.fromkeys(paths):
        entry = entries.get(path)
        if entry is None or entry.mode not in REGULAR_MODES or not 0 <= entry.size <= min(largest, room):
            continue
        room -= entry.size
        wanted[path] = entry.sha
    contents = await trees.blobs(git, mirror, list(wanted.values())) if wanted else {}
    return {path: contents[blob] for path, blob in wanted.items()}


async def search_files(git: Git, mirror: Path, sha: str, words: Sequence[str]) -> dict[str, int]:
    """Path → number of lines with one of the words, binary files left out."""
    if any(not _WORD.fullmatch(word) for word in words) or len(words) > MOST_WORDS:
        raise Refused("only plain identifiers are searched for", hint=f"at most {MOST_WORDS} words", code="bad_word")
    tree = await trees.require(git, mirror, sha)
    if not words:
        return {}
    flags = ("-I", "-F", "-w", "-c", "-z", "--full-name", "--no-color", "--no-textconv")
    args = ("grep", *flags, *(arg for word in words for arg in ("-e", word)), tree)
    call = Call(args=args, git_dir=mirror, codes=frozenset({0, 1}), timeout_s=SEARCH_TIMEOUT_S)
    found: dict[str, int] = {}
    # Each entry is `<tree>:<path>`, NUL, the number, line feed; a path may hold line feeds, a number may not.
    for match in re.finditer(rb"([^\0]+)\0([0-9]+)\n", (await git.run(call)).out):
        path = os.fsdecode(match[1].partition(b":")[2])
        found[path] = int(match[2])
    return found


async def recent_commits(git: Git, mirror: Path, sha: str, paths: Sequence[str], limit: int) -> tuple[CommitInfo, ...]:
    """Newest first, without merges."""
    commit = await trees.require(git, mirror, sha, kind="commit")
    if not paths or limit < 1:
        return ()
    shape = "--format=%H%x00%ct%x00%s"
    args = (
        "log",
        "-z",
        f"--max-count={limit}",
        "--no-merges",
        "--no-show-signature",
        "--no-color",
        shape,
        commit,
        "--",
    )
    call = Call(args=(*args, *paths), git_dir=mirror, timeout_s=LOG_TIMEOUT_S)
    fields = (await git.run(call)).out.decode("utf-8", "replace").split("\0")
    found = zip(fields[0::3], fields[1::3], fields[2::3], strict=False)
    return tuple(CommitInfo(sha=one, committed_at_ms=int(at) * 1000, subject=words) for one, at, words in found)
