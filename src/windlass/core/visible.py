"""Text as a human sees it, character by character: what shows nothing is taken out and counted by kind.

Rule: of controls only tab and line feed stay; nothing stays that reorders, joins, hides or tags text. Letters in
another font or width that stand for plain ASCII are written plainly (NFKC, where that changes no meaning: superscripts,
ligatures and accents stay). Refuses to guess: a kind that is not known here is kept only when it is a visible one.
Source of the kinds: Unicode, general categories and Default_Ignorable_Code_Point.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ZERO_WIDTH = frozenset("\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff")
_FILLERS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Formats by category that a reader does see: they enclose the digits that follow.
_SHOWN_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\x85]")
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_EMOJI_JOINED = re.compile("(?<=[\u2190-\u2bff\u3030\u303d\U0001f000-\U0001faff#*0-9])\ufe0f|(?<=\ufe0f)\u20e3")
_EMOJI_TIED = re.compile(
    "(?<=[\u2640-\u2642\u2695-\u27bf\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])"
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_LATIN = re.compile("[A-Za-z]")
_LOOKS_LATIN = re.compile("[\u0370-\u03ff\u0400-\u052f\u13a0-\u13ff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A text without what a human does not see. `removed` counts by kind.

    Kinds: control, terminal, bidi, zero_width, tag, variation_selector, filler, private_use, unassigned, surrogate,
    separator (a line end of another kind, now a line feed), lookalike (written plainly), mixed_script (words of Latin
    and Greek, Cyrillic or Cherokee letters; only counted, they stay).
    """

    text: str
    removed: Mapping[str, int] = field(default_factory=dict)


def seen(text: str, *, is_code: bool = False) -> Seen:
    """What shows of `text`; letters of code (`is_code`) are never exchanged, only invisible characters go.

    >>> seen("pass\\u200bword \\u202etxt").text
    'password txt'
    """
    if text.isascii() and not _ODD.search(text):
        return Seen(text=text)
    counts: Counter[str] = Counter()
    text = _LINE_ENDS.sub(_line_end(counts), text)
    text, sequences = _ANSI.subn("", text)
    text = _EMOJI_TIED.sub("", _EMOJI_JOINED.sub("", text))
    # Not counted: a selector or joiner where emoji have it. They go all the same, so nothing can be told by them.
    if not text.isascii() or not text.isprintable():
        text = _exchange(text, counts, is_code=is_code)
    mixed = 0 if text.isascii() else sum(1 for word in _WORD.findall(text) if _is_mixed(word))
    found = {"terminal": sequences, "mixed_script": mixed} | counts
    return Seen(text=text, removed={kind: found[kind] for kind in sorted(found) if found[kind]})


def hidden_kind(char: str) -> str:
    """What kind of invisible character this is, or '' for one that shows (or is a tab or a line feed)."""
    if char in "\t\n" or " " <= char <= "~":
        return ""
    for kind, chars in (("bidi", _BIDI), ("zero_width", _ZERO_WIDTH), ("filler", _FILLERS)):
        if char in chars:
            return kind
    code = ord(char)
    if 0xE0000 <= code <= 0xE007F:
        return "tag"
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180F:
        return "variation_selector"
    return _by_category(char)


def _by_category(char: str) -> str:
    match unicodedata.category(char):
        case "Cc":
            return "control"
        case "Cf":
            return "" if char in _SHOWN_FORMATS else "zero_width"
        case "Co":
            return "private_use"
        case "Cn":
            return "unassigned"
        case "Cs":
            return "surrogate"
        case "Zl" | "Zp":
            return "separator"
        case _:
            return ""


def _line_end(counts: Counter[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        if match[0] not in {"\r\n", "\r"}:
            counts["separator"] += 1
        return "\n"

    return replace


def _exchange(text: str, counts: Counter[str], *, is_code: bool) -> str:
    table: dict[int, str | None] = {}
    for char, number in Counter(text).items():
        kind = hidden_kind(char)
        if kind:
            table[ord(char)] = None
        elif not is_code and (plain := _plain(char)):
            kind = "lookalike"
            table[ord(char)] = plain
        if kind:
            counts[kind] += number
    return text.translate(table) if table else text


def _plain(char: str) -> str:
    """The ASCII letter or digit that this is in another font or width, or ''."""
    if char.isascii() or not unicodedata.decomposition(char).startswith(("<font>", "<wide>")):
        return ""
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() and plain.isalnum() else ""


def _is_mixed(word: str) -> bool:
    return not word.isascii() and bool(_LATIN.search(word)) and bool(_LOOKS_LATIN.search(word))
