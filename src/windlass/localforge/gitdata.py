"""What git prints, as data: commits, tree entries, changed files. Pure functions over bytes.

Names and messages come from strangers: undecodable bytes are replaced, never refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

_STATUS: Final = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "C": "copied", "T": "changed"}
_PATCH_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who and when, as git keeps it."""

    name: str
    email: str
    at_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a tree. `kind`: blob, tree, commit; `size` in bytes for blobs."""

    mode: str
    kind: str
    sha: str
    size: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file of a difference. `patch` is None for binary and very large files."""

    path: str
    status: str
    sha: str
    previous_path: str | None = None
    additions: int = 0
    deletions: int = 0
    patch: str | None = None


def parse_commit(sha: str, raw: bytes) -> Commit:
    """A commit from `git cat-file commit`."""
    head, _, message = raw.decode(errors="replace").partition("\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.split("\n"):
        name, _, value = line.partition(" ")
        fields.setdefault(name, []).append(value)
    return Commit(
        sha=sha,
        tree=fields["tree"][0],
        parents=tuple(fields.get("parent", ())),
        author=_signature(fields.get("author", [""])[0]),
        committer=_signature(fields.get("committer", [""])[0]),
        message=message.rstrip("\n"),
    )


def _signature(line: str) -> Signature:
    match = re.fullmatch(r"(.*?) ?<(.*)> (-?\d+) [+-]\d+", line)
    if not match:
        return Signature(name=line[:200], email="", at_s=0)
    return Signature(name=match[1], email=match[2], at_s=max(0, min(int(match[3]), 253402300799)))


def parse_entries(listing: bytes) -> tuple[Entry, ...]:
    """Entries from `git ls-tree -z -l`."""
    out = []
    for line in listing.decode(errors="replace").split("\0"):
        if line:
            meta, _, path = line.partition("\t")
            mode, kind, sha, size = meta.split()
            out.append(Entry(mode=mode, kind=kind, sha=sha, size=0 if size == "-" else int(size), path=path))
    return tuple(out)


def split_patch(patch: bytes) -> tuple[str, ...]:
    """One text per file, in git's order; lines of content never begin with `diff`."""
    text = patch.decode(errors="replace")
    starts = [match.start() for match in re.finditer(r"^diff --git ", text, re.MULTILINE)]
    return tuple(text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True))


def parse_raw(listing: bytes, patches: Sequence[str]) -> tuple[FileChange, ...]:
    """Changed files from `git diff-tree --raw -z`, each with its piece of the patch."""
    parts = listing.decode(errors="replace").split("\0")
    out: list[FileChange] = []
    at = 0
    while at < len(parts) and parts[at].startswith(":"):
        _, _, _, new_sha, letter = parts[at].split(" ")
        status = _STATUS.get(letter[0], "changed")
        moved = letter[0] in "RC"
        path, previous = (parts[at + 2], parts[at + 1]) if moved else (parts[at + 1], None)
        out.append(FileChange(path=path, status=status, sha=new_sha, previous_path=previous))
        at += 3 if moved else 2
    if len(patches) != len(out):
        return tuple(out)
    return tuple(_with_patch(change, patch) for change, patch in zip(out, patches, strict=True))


def _with_patch(change: FileChange, text: str) -> FileChange:
    start = re.search(r"^@@ ", text, re.MULTILINE)
    if start is None:
        return change
    hunks = text[start.start() :].rstrip("\n")
    lines = hunks.split("\n")
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    kept = hunks if len(hunks) <= _PATCH_LIMIT else None
    return replace(change, additions=added, deletions=removed, patch=kept)
