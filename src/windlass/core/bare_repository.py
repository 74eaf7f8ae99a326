"""Finds bare repositories among a change's ordinary files.

Git takes a directory with HEAD, objects and refs (or a commondir) for a repository, reads its config, and runs what
that names as soon as somebody asks for the status there. It needs no `.git`, so no rule about names finds it.
Source: gitrepository-layout(5), and safe.bareRepository in git-config(1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


def touched_heads(paths: Collection[str], changed: Iterable[str]) -> tuple[str, ...]:
    """The HEAD files of bare repositories in which something changed; `paths` are all files of the result."""
    heads = {path.rpartition("/")[0]: path for path in paths if path.rpartition("/")[2].casefold() == "head"}
    if not heads:
        return ()
    parts: dict[str, set[str]] = {folder: set() for folder in heads}
    for path in paths:
        for folder, name in _places(path):
            if folder in parts:
                parts[folder].add(name)
    touched = {folder for path in changed for folder, _ in _places(path)}
    return tuple(sorted(heads[f] for f, names in parts.items() if f in touched and _is_repository(names)))


def _places(path: str) -> Iterable[tuple[str, str]]:
    """Every directory a path lies in, with the name by which one goes on from there."""
    names = path.split("/")
    return [("/".join(names[:at]), names[at].casefold()) for at in range(len(names))]


def _is_repository(names: set[str]) -> bool:
    return "commondir" in names or {"objects", "refs"} <= names
