"""What of a repository fits into a prompt: the tree pruned to what matters, and the telling lines of a long file.

Rule: pure, deterministic, never longer than asked for; what is left out is said to be. Paths and contents are hostile
text: whoever puts them into a prompt fences them.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

_AROUND = 12
_DULL_WORDS = "node_modules vendor third_party dist build target .git __pycache__ .venv venv"
_DULL = frozenset(_DULL_WORDS.split())
_LONGEST_LINE = 400


def tree(paths: Sequence[str], wanted: Collection[str], limit: int) -> str:
    """A list of paths within `limit` characters: all of them, or directories with their number of files.

    Directories are opened from the root on, those that hold a wanted file first, then small ones before large ones.

    >>> print(tree(["a/x.py", "a/y.py", "b.py"], [], 18))
    a/ (2 files)
    b.py
    """
    if sum(len(path) + 1 for path in paths) <= limit:
        return "\n".join(sorted(paths))
    children, sizes = _directories(paths)
    needed = {path[: found.start()] for path in wanted for found in re.finditer("/", path)}
    lines = {"": [*children[""]]}
    used = sum(_width(child, sizes) for child in lines[""])
    if used > limit:
        return _cut_list(sorted(lines[""]), sizes, limit)
    waiting = [_rank(child, needed, sizes) for child in lines[""] if child in sizes]
    heapq.heapify(waiting)
    while waiting:
        directory = heapq.heappop(waiting)[-1]
        cost = sum(_width(child, sizes) for child in children[directory]) - _width(directory, sizes)
        if used + cost > limit or (_is_dull(directory) and directory not in needed):
            continue
        used += cost
        lines[directory] = children[directory]
        for child in children[directory]:
            if child in sizes:
                heapq.heappush(waiting, _rank(child, needed, sizes))
    shown = [child for group in lines.values() for child in group if child not in lines]
    return "\n".join(_line(child, sizes) for child in sorted(shown))


def excerpt(text: str, words: Collection[str], limit: int, *, line: int = 0) -> tuple[str, bool]:
    """A file's text within `limit` characters, and whether that is all of it.

    Of a long file: its head, the lines around `line` (from 1), and those that hold one of `words`, most words first.
    """
    if len(text) <= limit:
        return text, True
    lines = [one if len(one) <= _LONGEST_LINE else one[:_LONGEST_LINE] + " …" for one in text.split("\n")]
    centres = [line - 1] if 0 < line <= len(lines) else []
    if words:
        pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
        scored = [(len(set(pattern.findall(one))), number) for number, one in enumerate(lines)]
        centres += [number for score, number in sorted(scored, key=lambda s: (-s[0], s[1])) if score][:40]
    centres.append(0)
    chosen = _choose(lines, centres, limit)
    return "\n".join(_with_gaps(lines, sorted(chosen))), False


def _choose(lines: Sequence[str], centres: Sequence[int], limit: int) -> set[int]:
    """Line numbers, nearest to the first centres, whose text with marks for gaps stays within the limit."""
    chosen: set[int] = set()
    room = limit - 200
    for centre in centres:
        for number in range(max(0, centre - _AROUND), min(len(lines), centre + _AROUND + 1)):
            cost = len(lines[number]) + 1 + (0 if number - 1 in chosen or number + 1 in chosen else 40)
            if number not in chosen and cost <= room:
                chosen.add(number)
                room -= cost
    return chosen


def _with_gaps(lines: Sequence[str], numbers: Sequence[int]) -> list[str]:
    out: list[str] = []
    last = -1
    for number in numbers:
        if number != last + 1:
            out.append(f"… (lines {last + 2} to {number} left out)")
        out.append(lines[number])
        last = number
    if last < len(lines) - 1:
        out.append(f"… (lines {last + 2} to {len(lines)} left out)")
    return out


def _directories(paths: Sequence[str]) -> tuple[dict[str, list[str]], Counter[str]]:
    """Directory → what is directly in it, and directory → number of files below it; the root is ''."""
    children: dict[str, set[str]] = defaultdict(set)
    sizes: Counter[str] = Counter()
    for path in paths:
        child = path
        while "/" in child:
            parent = child.rsplit("/", 1)[0]
            sizes[parent] += 1
            children[parent].add(child)
            child = parent
        children[""].add(child)
    return {place: sorted(found) for place, found in children.items()} | ({"": []} if not paths else {}), sizes


def _rank(directory: str, needed: Collection[str], sizes: Counter[str]) -> tuple[bool, int, int, str]:
    return directory not in needed, directory.count("/"), sizes[directory], directory


def _line(child: str, sizes: Counter[str]) -> str:
    return f"{child}/ ({sizes[child]} files)" if child in sizes else child


def _width(child: str, sizes: Counter[str]) -> int:
    return len(_line(child, sizes)) + 1


def _is_dull(directory: str) -> bool:
    return not _DULL.isdisjoint(directory.lower().split("/"))


def _cut_list(children: Sequence[str], sizes: Counter[str], limit: int) -> str:
    out: list[str] = []
    room = limit - 40
    for child in children:
        room -= _width(child, sizes)
        if room < 0:
            break
        out.append(_line(child, sizes))
    return "\n".join([*out, f"… and {len(children) - len(out)} more at the top"])
