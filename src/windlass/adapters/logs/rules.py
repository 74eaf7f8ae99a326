"""Layer 2: rules that know what secrets look like, from a maintained set (`rules.json`) and a few of our own.

A rule is tried only on lines that hold one of its keywords (one Aho-Corasick pass over the text), by RE2, which takes
linear time whatever the line holds. The set's entropy floors and allowances are kept: without them a commit id is a
secret. `rules.json` is made by `scripts/make_redaction_rules.py` and names its source, version and licence.
"""

from __future__ import annotations

import functools
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import ahocorasick  # type: ignore[import-not-found]
import re2  # type: ignore[import-untyped]

from windlass.adapters.logs.hits import Hit
from windlass.core.redaction import entropy_bits

_OWN: tuple[Mapping[str, Any], ...] = (
    {
        "id": "url-password",
        "regex": r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:/?#@\"'<>«]{0,100}:([^\s/?#@\"'<>«»{}$]{3,200})@",
        "keywords": ["://"],
    },
    {
        "id": "authorization-header",
        "regex": r"(?i)authorization[\"'\\]{0,4}\s*[:=]\s*[\"'\\]{0,4}"
        r"(?:bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{16,900})",
        "keywords": ["authorization"],
    },
    {  # a run's own key to the model gateway
        "id": "windlass-run-key",
        "regex": r"wlk_[0-9a-f]{48}",
        "keywords": ["wlk_"],
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a rule finds and is no secret: looked for in the `secret`, the whole `match` or the `line`."""

    target: str
    regexes: tuple[Any, ...]
    stopwords: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of secret."""

    name: str
    regex: Any
    keywords: tuple[str, ...]
    entropy: float
    group: int
    allowed: tuple[Allowance, ...]


class Rules:
    """A set of rules over lines."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        by_keyword: dict[str, list[int]] = {}
        for number, rule in enumerate(self._rules):
            for keyword in rule.keywords:
                by_keyword.setdefault(keyword, []).append(number)
        self._keywords = ahocorasick.Automaton()
        for keyword, numbers in by_keyword.items():
            self._keywords.add_word(keyword, tuple(numbers))
        self._keywords.make_automaton()

    def names(self) -> tuple[str, ...]:
        """Every rule's name."""
        return tuple(rule.name for rule in self._rules)

    def find(self, lines: Sequence[str], starts: Sequence[int], text: str) -> list[Hit]:
        """Hits in `lines`, which make up `text` and begin in it at `starts`."""
        wanted: dict[int, set[int]] = {}
        for at, numbers in self._keywords.iter(_lower(text)):
            line = bisect_right(starts, at) - 1
            known = wanted.get(line)
            if known is None:
                wanted[line] = set(numbers)
            else:
                known.update(numbers)
        hits: list[Hit] = []
        for line, numbers_ in wanted.items():
            hits += self._apply(lines[line], starts[line], sorted(numbers_))
        return hits

    def _apply(self, line: str, start: int, numbers: Iterable[int]) -> list[Hit]:
        data = line.encode("utf-8", "replace")
        place = _same if len(data) == len(line) else functools.partial(_characters, data)
        hits = []
        for number in numbers:
            rule = self._rules[number]
            for match in rule.regex.finditer(data):
                group = _group(rule, match)
                first, last = match.span(group)
                if first < last and _is_secret(rule, match, data[first:last], data):
                    secret = data[first:last].decode("utf-8", "replace")
                    hits.append(Hit(start + place(first), start + place(last), rule.name, secret))
        return hits


def _lower(text: str) -> str:
    """Lower case that keeps every character's place; keywords are ASCII."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "replace").lower().decode("utf-8")


def _same(at: int) -> int:
    return at


def _characters(data: bytes, at: int) -> int:
    return len(data[:at].decode("utf-8", "replace"))


def _group(rule: Rule, match: Any) -> int:
    """The group that holds the secret: the named one, else the first that is not empty, else the whole match."""
    if rule.group:
        return rule.group
    return next((n for n, text in enumerate(match.groups(), 1) if text), 0)


def _is_secret(rule: Rule, match: Any, secret: bytes, line: bytes) -> bool:
    if rule.entropy and entropy_bits(secret.decode("utf-8", "replace")) <= rule.entropy:
        return False
    for allowed in rule.allowed:
        target = {"secret": secret, "match": match.group(0), "line": line}[allowed.target]
        if any(regex.search(target) for regex in allowed.regexes):
            return False
        if allowed.stopwords is not None and next(allowed.stopwords.iter(secret.decode("latin-1").lower()), None):
            return False
    return True


@functools.cache
def maintained() -> Rules:
    """The rules that come with Windlass."""
    document = json.loads(files("windlass.adapters.logs").joinpath("rules.json").read_text("utf-8"))
    everywhere = _allowance({"target": "secret", **document["allowed"]})
    return Rules([_rule(raw, everywhere) for raw in (*document["rules"], *_OWN)])


def provenance() -> Mapping[str, str]:
    """Where the maintained rules come from: source, version, commit, license."""
    document = json.loads(files("windlass.adapters.logs").joinpath("rules.json").read_text("utf-8"))
    return {name: document[name] for name in ("source", "version", "commit", "license")}


def _rule(raw: Mapping[str, Any], everywhere: Allowance) -> Rule:
    return Rule(
        name=raw["id"],
        regex=_compiled(raw["regex"]),
        keywords=tuple(raw["keywords"]),
        entropy=raw.get("entropy", 0),
        group=raw.get("group", 0),
        allowed=(everywhere, *(_allowance(a) for a in raw.get("allowed", ()))),
    )


def _allowance(raw: Mapping[str, Any]) -> Allowance:
    words = None
    if raw["stopwords"]:
        words = ahocorasick.Automaton()
        for word in raw["stopwords"]:
            words.add_word(word.lower(), word)
        words.make_automaton()
    return Allowance(target=raw["target"], regexes=tuple(map(_compiled, raw["regexes"])), stopwords=words)


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile(pattern.encode(), options)
