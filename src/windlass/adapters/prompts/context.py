"""What of the repository an agent is told: tree, telling files and recent commits of the start commit.

Rule: everything is read from commits in the mirror, never from a directory; files are chosen by `core.ranking`. What
cannot be read (a file too large, a search that takes too long) is left out and flagged: a prompt without it is better
than none. Raises NotFound only when the commit itself is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from windlass.adapters.prompts import instructions
from windlass.adapters.prompts.instructions import Instructions
from windlass.adapters.prompts.strangers import Room
from windlass.core import excerpts, ranking
from windlass.core.errors import Failed, Unavailable
from windlass.core.prompt import ContextFile, PromptRequest, blob_sha
from windlass.core.ranking import Ranked, Terms
from windlass.core.visible import seen
from windlass.ports import Repositories

_MOST_CANDIDATES = 60
_MOST_FILES = 12
_MOST_COMMITS = 10
_MOST_CHANGED = 20
_MOST_SEARCHED = 20
_LARGEST_FILE = 400_000
_LONGEST_QUOTE = 12_000
_SHORTEST_QUOTE = 400
# Path → lines with one of the words; and for each name the paths that hold it.
_Searched = tuple[Mapping[str, int], Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Reduced texts, and the files they are from."""

    tree: str
    files: tuple[ContextFile, ...]
    quotes: tuple[str, ...]
    commits: str
    instructions: Instructions


async def gather(repositories: Repositories, request: PromptRequest, search: tuple[str, str], room: Room) -> Context:
    """The context within the room that is left. `search` is (title, everything else that was said)."""
    repo, tree_sha = request.repository, request.tree_sha or request.start_sha
    paths = await repositories.list_files(repo, tree_sha)
    terms = await asyncio.to_thread(ranking.terms_of, *search)
    hits = await _hits(repositories, request, terms, room)
    told_of = "\n".join((*request.changed_files[:_MOST_CHANGED], *search))
    ranked = await asyncio.to_thread(_first_choice, terms, told_of, paths, hits)
    contents = await repositories.read_files(repo, tree_sha, [one.path for one in ranked], largest=_LARGEST_FILE)
    texts = {path: text for path, data in contents.items() if (text := _text(data)) is not None}
    chosen = await asyncio.to_thread(_second_choice, terms, ranked, texts)
    base_paths = paths if request.base_sha == tree_sha else await repositories.list_files(repo, request.base_sha)
    told = await _instructions(repositories, request, base_paths, [one.path for one in chosen], room)
    tree = room.take("tree", await asyncio.to_thread(_tree, paths, chosen, min(12_000, room.left // 5)), 13_000)
    commits = room.take("commits", await _commits(repositories, request, chosen, room), 2_000)
    files, quotes = await asyncio.to_thread(_quote, chosen, contents, texts, terms, room)
    return Context(tree=tree, files=files, quotes=quotes, commits=commits, instructions=told)


def _first_choice(terms: Terms, text: str, paths: Sequence[str], searched: _Searched) -> list[Ranked]:
    paths = [path for path in paths if not instructions.is_one(path)]
    named = ranking.named_files(text, paths)
    there = {one.path for one in named}
    found = ranking.rank_paths(terms, paths, *searched)
    return [*named, *(one for one in found[:_MOST_CANDIDATES] if one.path not in there)]


def _second_choice(terms: Terms, ranked: Sequence[Ranked], texts: Mapping[str, str]) -> list[Ranked]:
    """Best first; what fits hardly at all against the best of the unnamed ones is left out."""
    found = ranking.rank_contents(terms, ranked, texts)
    best = max((one.score for one in found if one.why.startswith("search")), default=0.0)
    kept = [one for one in found if not one.why.startswith("search") or one.score >= best / 5]
    return kept[:_MOST_FILES]


async def _hits(repositories: Repositories, request: PromptRequest, terms: Terms, room: Room) -> _Searched:
    """Where the words of the issue stand, all together; and where each of its few names does."""
    words = [name for name in terms.identifiers if len(name) >= 4][:_MOST_SEARCHED]
    if not words:
        return {}, ()
    wanted = (words, *([name] for name in terms.names))
    try:
        first, *others = await asyncio.gather(
            *(repositories.search_files(request.repository, request.start_sha, some) for some in wanted)
        )
    except (Unavailable, Failed):
        room.flags["context:search_unavailable"] += 1
        return {}, ()
    return first, tuple(tuple(found) for found in others)


async def _instructions(
    repositories: Repositories, request: PromptRequest, base_paths: Sequence[str], near: Sequence[str], room: Room
) -> Instructions:
    paths = instructions.wanted(base_paths, near)
    contents = await repositories.read_files(request.repository, request.base_sha, paths, largest=_LARGEST_FILE)
    return instructions.tell(paths, contents, room, room.left // 4)


async def _commits(repositories: Repositories, request: PromptRequest, chosen: Sequence[Ranked], room: Room) -> str:
    paths = [one.path for one in chosen]
    if not paths:
        return ""
    try:
        found = await repositories.recent_commits(request.repository, request.start_sha, paths, _MOST_COMMITS)
    except (Unavailable, Failed):
        room.flags["context:commits_unavailable"] += 1
        return ""
    subjects = [seen(one.subject) for one in found]
    for subject in subjects:
        room.note("commits", dict(subject.removed))
    return "\n".join(
        f"{one.sha[:12]} {' '.join(subject.text.split())[:120]}" for one, subject in zip(found, subjects, strict=True)
    )


def _tree(paths: Sequence[str], chosen: Sequence[Ranked], limit: int) -> str:
    plain = [_shown(path) for path in paths]
    return excerpts.tree(plain, [_shown(one.path) for one in chosen], limit)


def _quote(
    chosen: Sequence[Ranked],
    contents: Mapping[str, bytes],
    texts: Mapping[str, str],
    terms: Terms,
    room: Room,
) -> tuple[tuple[ContextFile, ...], tuple[str, ...]]:
    """Texts of the chosen files, best first, while there is room."""
    files: list[ContextFile] = []
    quotes: list[str] = []
    for one in chosen:
        most = min(_LONGEST_QUOTE, room.left - 400)
        if most < _SHORTEST_QUOTE:
            break
        found = seen(texts[one.path], is_code=True)
        room.note("files", dict(found.removed))
        text, is_whole = excerpts.excerpt(found.text, terms.identifiers[:_MOST_SEARCHED], most, line=one.line)
        quotes.append(room.take("files", f"{_shown(one.path)}\n\n{text}", most + 300))
        sha = blob_sha(contents[one.path])
        files.append(ContextFile(path=one.path, blob_sha=sha, why=one.why, is_whole=is_whole))
    return tuple(files), tuple(quotes)


def _text(data: bytes) -> str | None:
    """A file's text, or None for what is not text."""
    if b"\0" in data[:8192]:
        return None
    return data.decode("utf-8", "replace")


def _shown(path: str) -> str:
    return seen(path, is_code=True).text.replace("\n", " ")
