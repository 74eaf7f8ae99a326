"""From an agent's directory to a change in the mirror.

Rule: bytes are read by us (`survey`), hashed by us, and only then given to git as blobs; git never sees the directory.
What was built is read back and must be what we meant. What cannot be taken becomes a refusal, and everything else is
still kept: a refused change is not a lost one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from windlass.adapters.git import trees
from windlass.adapters.git.ignore import StartIgnores, checked_noise
from windlass.adapters.git.process import Call, Git
from windlass.adapters.git.survey import Survey
from windlass.adapters.git.walk import Caps
from windlass.core.errors import Broken
from windlass.core.job import PatchRef
from windlass.core.lock_files import MOST_BYTES
from windlass.core.patch_guard import Change, guard, is_attributes, is_read_closely, path_refusal, shorten
from windlass.core.policy import Policy
from windlass.ports import Collected

_NAMED_FILES = 1000
_ATTRIBUTES_BYTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where one change is built: git, the mirror, and a scratch directory of ours."""

    git: Git
    mirror: Path
    place: Path


async def collect(
    bench: Bench, start_sha: str, directory: Path, *, policy: Policy, noise: Sequence[str], caps: Caps
) -> Collected:
    """Take the directory in. Raises Refused (workspace_missing, bad_noise), NotFound (object_missing), Broken."""
    patterns = checked_noise(noise)
    start = await trees.require(bench.git, bench.mirror, start_sha)
    entries = await trees.leaves(bench.git, bench.mirror, start)
    contents = bench.place / "contents"
    contents.mkdir()
    survey = Survey(directory=directory, place=contents, entries=entries, noise=patterns, caps=caps)
    ignores = StartIgnores(bench.git, bench.mirror, bench.place)
    await ignores.prepare(entries)
    await survey.run(ignores)
    if not survey.is_complete:
        return Collected(patch=None, diff=b"", refusals=shorten(survey.refusals))
    changes = await _with_texts(bench, _changes(survey))
    patch, diff = await _build(bench, start_sha, start, changes)
    links = await _links(bench, survey)
    said = guard(changes, policy=policy, start_paths=entries, start_links=links, diff_bytes=len(diff))
    return Collected(patch=patch, diff=diff, refusals=shorten((*survey.refusals, *said)))


def _changes(survey: Survey) -> list[Change]:
    changed = [_change(survey, path) for path in (*survey.changed, *survey.gone())]
    return sorted(changed, key=lambda change: os.fsencode(change.path))


def _change(survey: Survey, path: str) -> Change:
    old, new = survey.entries.get(path), survey.changed.get(path)
    return Change(
        path=path,
        old_mode=old.mode if old else "",
        old_sha=old.sha if old else "",
        new_mode=survey.files[path].mode if new else "",
        new_sha=new.sha if new else "",
        size=new.size if new else 0,
        link_target=new.target if new else "",
    )


async def _with_texts(bench: Bench, changes: Iterable[Change]) -> list[Change]:
    """Changes of what the guard reads closely with their texts before and after."""
    return [await _texts(bench, c) if is_read_closely(c.path) else c for c in changes]


async def _texts(bench: Bench, change: Change) -> Change:
    old = await trees.blobs(bench.git, bench.mirror, [change.old_sha]) if change.old_sha else {}
    place = bench.place / "contents" / change.new_sha
    most = _ATTRIBUTES_BYTES if is_attributes(change.path) else MOST_BYTES
    new = place.read_bytes()[:most] if change.new_sha else b""
    before = old.get(change.old_sha, b"").decode("utf-8", "replace")
    return replace(change, old_text=before, new_text=new.decode("utf-8", "replace"))


async def _links(bench: Bench, survey: Survey) -> dict[str, str]:
    """The symbolic links of the start tree, path → target."""
    shas = trees.links_of(survey.entries)
    targets = await trees.blobs(bench.git, bench.mirror, list(shas.values())) if shas else {}
    return {path: os.fsdecode(targets[sha]) for path, sha in shas.items()}


async def _build(bench: Bench, start_sha: str, start: str, changes: Sequence[Change]) -> tuple[PatchRef | None, bytes]:
    """Store what can stand in a tree; the change and its diff, (None, b'') when nothing is left."""
    takeable = [change for change in changes if not path_refusal(change.path)]
    if not takeable:
        return None, b""
    await _store(bench, {change.new_sha for change in takeable if change.new_sha})
    edits = {c.path: (c.new_mode, c.new_sha) if c.new_mode else ("0", "0" * 40) for c in takeable}
    tree = await trees.write_tree(bench.git, bench.mirror, start, edits, bench.place / "build.index")
    await _check(bench, start, tree, edits)
    diff = await trees.diff(bench.git, bench.mirror, start, tree)
    insertions, deletions = await trees.line_counts(bench.git, bench.mirror, start, tree)
    patch = PatchRef(
        digest=hashlib.sha256(diff).hexdigest(),
        start_sha=start_sha,
        tree_sha=tree,
        files=tuple(change.path for change in takeable[:_NAMED_FILES]),
        insertions=insertions,
        deletions=deletions,
        size_bytes=len(diff),
    )
    return patch, diff


async def _store(bench: Bench, shas: Iterable[str]) -> None:
    """Give the bytes to git exactly as they are. Raises Broken when git's id is not ours."""
    wanted = sorted(shas)
    stdin = "".join(f"{bench.place / 'contents' / sha}\n" for sha in wanted).encode()
    if not wanted:
        return
    args = ("hash-object", "-w", "--no-filters", "--stdin-paths")
    ran = await bench.git.run(Call(args=args, git_dir=bench.mirror, stdin=stdin))
    if ran.text.split() != wanted:
        raise Broken("git stored other bytes than were read", hint="check the disk and git", code="blob_mismatch")


async def _check(bench: Bench, start: str, tree: str, edits: dict[str, tuple[str, str]]) -> None:
    """The tree differs from the start in exactly what was meant. Raises Broken (tree_mismatch)."""
    found = await trees.differences(bench.git, bench.mirror, start, tree)
    real = {d.path: ("0", "0" * 40) if d.new_mode == "000000" else (d.new_mode, d.new_sha) for d in found}
    if real != edits:
        raise Broken("the tree is not what was collected", hint="check the disk and git", code="tree_mismatch")
