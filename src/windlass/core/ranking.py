"""Which files of a repository an issue is about: named ones first, then those whose words fit best.

Rule: pure and quick (10,000 paths well below a second), deterministic for the same input, ties broken by path. A named
file is one of the repository's own whose path ends as the issue writes it; nothing is matched across look-alike
letters, and nothing outside the repository can be named. Scores are BM25 (Robertson and Zaragoza, 2009) over the words
of paths and of contents.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_K1, _B = 1.2, 0.6
_MOST_TEXT = 100_000
_MOST_TERMS = 60
_MOST_NAMED = 20
_MOST_NAMES = 3
_NAME_WEIGHT = 3.0
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|[^\W\d_][\w]*")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,80}")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
# One pass over a text, every piece bounded: nothing here can be made to look at a character often.
_TOKEN = re.compile(r"([\w./\\@+-]{3,300})(?::(\d{1,7}))?")
_TRACED = re.compile(r"File \"([^\"\n]{1,300})\", line (\d{1,7})")
_FILE_NAME = re.compile(r"[\w@+-][\w.@+-]*\.[A-Za-z0-9_]{1,12}")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_STOP_WORDS = (
    "of in is to on at by it be we as an or if no do the and for are was were with that this from not but you "
    "have has had can will should would could when what which there here then than them they our your its his her "
    "out use used using does did done get got set into onto over also just like only some any all one two more "
    "most other such very issue bug fix feature please expected actual behavior behaviour steps reproduce version "
    "error code file files line lines example need want see add make run http https com www org github true false "
    "none null return import def class self print test tests"
)
_STOP = frozenset(_STOP_WORDS.split())
_LOW_WORDS = (
    "node_modules vendor third_party dist build target fixtures snapshots __snapshots__ generated locale locales "
    "migrations min static assets testdata"
)
_LOW = frozenset(_LOW_WORDS.split())
_BINARY_WORDS = (
    "png jpg jpeg gif ico svg pdf zip gz tar whl jar class so dll exe woff woff2 ttf eot mp3 mp4 mov lock map min "
    "bin pyc o a parquet db sqlite pack"
)
_BINARY = frozenset(_BINARY_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an issue speaks of. `weights`: word in lower case → weight; `identifiers`: names as they are written.

    `names`: the few of these that only code has (`parse_header`, `parseHeader`), which lead to a file like an address.
    """

    weights: Mapping[str, float]
    identifiers: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A file with its score (higher is better) and why. `line` is one that the issue names, or 0."""

    path: str
    score: float
    why: str
    line: int = 0


def terms_of(title: str, body: str) -> Terms:
    """The words of an issue: its title counts three times, code twice, names that only code has twice."""
    body = body[:_MOST_TEXT]
    weights: Counter[str] = Counter()
    code = "\n".join(found[0] for found in _CODE.finditer(body))
    for text, weight in ((title, 3.0), (body, 1.0), (code, 1.0)):
        for word, number in Counter(words_of(text)).items():
            weights[word] += int(weight * 100 * min(number, 5) ** 0.5)
    names: Counter[str] = Counter()
    for text, weight in ((title, 3), (code, 2), (body, 1)):
        for name in _IDENTIFIER.findall(text):
            if name.lower() not in _STOP:
                names[name] += weight * (3 if _is_of_code(name) else 1)
    best = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TERMS]
    ordered = sorted(names.items(), key=lambda item: (-item[1], item[0]))
    return Terms(
        weights={word: weight / 100 for word, weight in best},
        identifiers=tuple(name for name, _ in ordered[:_MOST_TERMS]),
        names=tuple(name for name, _ in ordered if len(name) >= 4 and _is_of_code(name))[:_MOST_NAMES],
    )


def words_of(text: str) -> list[str]:
    """Words of prose and parts of identifiers, in lower case, without what every text has.

    >>> words_of("parseXMLHeader in net_utils.py")
    ['parse', 'xml', 'header', 'net', 'util', 'py']
    """
    found = []
    for word in _WORD.findall(text):
        parts = [word] if word.islower() and "_" not in word else _PART.findall(word)
        found += [_singular(low) for part in parts if len(low := part.lower()) >= 2 and low not in _STOP]
    return found


def named_files(text: str, paths: Sequence[str]) -> tuple[Ranked, ...]:
    """Files that a text names: as a path, a `module.function`, or in a stack trace; in the order they are named."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_name[path.rsplit("/", 1)[-1]].append(path)
    found: dict[str, Ranked] = {}
    for candidate, line, why in _candidates(text[:_MOST_TEXT], by_name):
        for path in _resolve(candidate, by_name):
            if path not in found or (line and not found[path].line):
                found[path] = Ranked(path=path, score=1000.0 - len(found), why=why, line=line)
        if len(found) >= _MOST_NAMED:
            break
    return tuple(sorted(found.values(), key=lambda one: -one.score))[:_MOST_NAMED]


def rank_paths(
    terms: Terms,
    paths: Sequence[str],
    hits: Mapping[str, int] | None = None,
    holders: Sequence[Iterable[str]] = (),
) -> tuple[Ranked, ...]:
    """Paths by how well their words fit, best first; those that fit not at all are left out.

    `hits`: path → lines that hold an identifier of the issue, where that was searched for. `holders`: for each of its
    names the paths that hold it; the fewer they are, the more it tells.
    """
    documents = [_path_words(path) for path in paths]
    scores = _bm25(terms.weights, documents)
    telling = _telling(holders, len(paths))
    found = []
    for path, words, score in zip(paths, documents, scores, strict=True):
        lines = (hits or {}).get(path, 0)
        total = (score + 2.0 * math.log1p(min(lines, 50)) + telling.get(path, 0.0)) * _worth(path, words)
        if total > 0:
            found.append(Ranked(path=path, score=total, why="search: contents" if lines else "search: path"))
    return tuple(sorted(found, key=lambda one: (-one.score, one.path)))


def rank_contents(terms: Terms, candidates: Sequence[Ranked], contents: Mapping[str, str]) -> tuple[Ranked, ...]:
    """Candidates anew, by their contents as well as by their paths, best first."""
    there = [one for one in candidates if one.path in contents]
    scores = _bm25(terms.weights, [words_of(contents[one.path][:_MOST_TEXT]) for one in there])
    wanted = set(terms.identifiers)
    found = []
    for one, score in zip(there, scores, strict=True):
        names = len(wanted.intersection(_IDENTIFIER.findall(contents[one.path][:_MOST_TEXT])))
        total = one.score + (score + names) * _worth(one.path, _path_words(one.path))
        found.append(Ranked(path=one.path, score=total, why=one.why, line=one.line))
    return tuple(sorted(found, key=lambda one: (-one.score, one.path)))


def _telling(holders: Sequence[Iterable[str]], number: int) -> Mapping[str, float]:
    """What the names that a path holds add to its score."""
    found: defaultdict[str, float] = defaultdict(float)
    for paths in map(set, holders):
        for path in paths:
            found[path] += _NAME_WEIGHT * _rarity(len(paths), number)
    return found


def _rarity(n: int, number: int) -> float:
    """How much a word tells that `n` of `number` documents have; near 0 when all have it."""
    return math.log(1 + max(number - n + 0.5, 0.0) / (n + 0.5))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _bm25(weights: Mapping[str, float], documents: Sequence[Sequence[str]]) -> list[float]:
    counts = [Counter(word for word in words if word in weights) for words in documents]
    number = len(documents)
    mean = sum(len(words) for words in documents) / number if number else 1.0
    frequency: Counter[str] = Counter(word for count in counts for word in count)
    rarity = {word: _rarity(n, number) for word, n in frequency.items()}
    scores = []
    for words, count in zip(documents, counts, strict=True):
        room = _K1 * (1 - _B + _B * len(words) / (mean or 1.0))
        scores.append(sum(weights[w] * rarity[w] * n * (_K1 + 1) / (n + room) for w, n in count.items()))
    return scores


def _path_words(path: str) -> list[str]:
    """Words of a path; those of the file's own name count twice."""
    name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return words_of(path) + words_of(name)


def _worth(path: str, words: Sequence[str]) -> float:
    """How likely a file of this kind is what somebody has to read."""
    if path.rsplit(".", 1)[-1].lower() in _BINARY:
        return 0.0
    parts = set(path.lower().split("/"))
    if not _LOW.isdisjoint(parts):
        return 0.2
    is_test = not {"test", "tests", "spec", "__tests__"}.isdisjoint(parts)
    return (0.7 if is_test else 1.0) if words else 0.5


def _is_of_code(name: str) -> bool:
    return "_" in name.strip("_") or _is_camel(name)


def _is_camel(name: str) -> bool:
    return not name.isupper() and any(a.islower() and b.isupper() for a, b in itertools.pairwise(name))


def _candidates(text: str, by_name: Mapping[str, list[str]]) -> Iterable[tuple[str, int, str]]:
    for found in _TRACED.finditer(text):
        yield found[1], int(found[2]), "named in a stack trace"
    tokens = [(found[1].rstrip(".").replace("\\", "/"), int(found[2] or 0)) for found in _TOKEN.finditer(text)]
    for token, line in tokens:
        if "/" in token or _FILE_NAME.fullmatch(token):
            yield token, line, "named in a stack trace" if line else "named in the issue"
    for token, _ in tokens:
        if _DOTTED.fullmatch(token):
            yield from ((path, 0, "named as a module") for path in _modules(token.split("."), by_name))


def _modules(parts: Sequence[str], by_name: Mapping[str, list[str]]) -> Iterable[str]:
    """Paths that `package.module.function` may stand for, the longest first."""
    for end in range(min(len(parts), 12), 0, -1):
        for ending in (".py", "/__init__.py", ".ts", ".js", ".go", ".rs", ".java", ".rb"):
            path = "/".join(parts[:end]) + ending
            if path.rsplit("/", 1)[-1] in by_name and (end > 1 or ending == ".py"):
                yield path


def _resolve(candidate: str, by_name: Mapping[str, list[str]]) -> list[str]:
    """Repository paths that end as the candidate does, or that an absolute path of a stack trace ends in."""
    wanted = candidate.replace("\\", "/").strip("./").split("/")
    same = by_name.get(wanted[-1], [])
    best: list[str] = []
    depth = 0
    for path in same:
        parts = path.split("/")
        shared = _shared_end(parts, wanted)
        # The whole of the shorter one must match: `a/b.py` is not named by `c/b.py`.
        if shared < min(len(parts), len(wanted)):
            continue
        if shared > depth:
            best, depth = [], shared
        if shared == depth:
            best.append(path)
    return sorted(best)[:5] if len(best) <= 5 or depth > 1 else []


def _shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    number = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        number += 1
    return number
