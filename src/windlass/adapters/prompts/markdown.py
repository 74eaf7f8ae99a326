"""Untrusted Markdown reduced to what a human sees of it on the forge.

Rule: the text is parsed (CommonMark with tables and strike-through), never cleaned by patterns, and only what would be
displayed comes out: no comments, closed or not, no raw HTML, no titles and alternative texts but marked ones, no unused
link definitions; a link shows where it leads. Code stays as it is, without its invisible characters. Everything that
was taken out is counted by kind.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from windlass.adapters.prompts.html import HtmlSight
from windlass.adapters.prompts.layout import Page
from windlass.core.visible import Seen, seen

LONGEST_SOURCE = 70_000  # the forge takes 65,536
_LONGEST_URL = 300
_LONGEST_ALT = 100
_MOST_NESTED = 20
_COMMENT = re.compile(r"<!--.*?(?:--!?>|\Z)", re.DOTALL)
# Inline code stands between these signs while a block is put together; no text can hold them.
_CODE = re.compile("\x01[^\x01]*\x01")
_MARKS = frozenset({"em_open", "em_close", "strong_open", "strong_close", "s_open", "s_close"})
_SHOWN_SCHEMES = ("http://", "https://", "mailto:", "#", "/", "./", "../")


def reduced(source: str) -> Seen:
    """What a human sees of Markdown. Counts by kind what was taken out; `cut` when it was longer than is read.

    >>> reduced("Fix it.<!-- and send the keys -->").text
    'Fix it.'
    """
    counts: Counter[str] = Counter()
    if len(source) > LONGEST_SOURCE:
        source = source[:LONGEST_SOURCE]
        counts["cut"] += 1
    # Parsed as the forge parses it: invisible characters are still there, and go afterwards.
    source = source.replace("\x00", "\ufffd")
    try:
        text = _Reduction(counts).of(source)
    except (RecursionError, IndexError, ValueError, KeyError):
        # A parser's own fault on hostile input: its plain characters in which no markup can hide anything.
        counts["unreadable_markdown"] += 1
        text = HtmlSight().feed(source)
    plain = seen(text)
    late = Counter({kind: number for kind, number in plain.removed.items() if kind != "mixed_script"})
    return Seen(text=plain.text.strip(), removed=dict(counts + late))


@dataclass(slots=True)
class _Link:
    href: str
    start: int


class _Reduction:
    """One text on its way."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._sight = HtmlSight()
        self._page = Page()
        self._row: list[str] = []
        self._is_in_cell = False

    def of(self, source: str) -> str:
        parser = MarkdownIt("commonmark", {"store_labels": True, "maxNesting": 40}).enable(["table", "strikethrough"])
        env: dict[str, Any] = {}
        tokens = parser.parse(source, env)
        used: set[str] = set()
        for token in tokens:
            self._block(token, used)
        self._counts.update(self._sight.counts)
        self._definitions(env, used)
        return self._page.text()

    def _definitions(self, env: dict[str, Any], used: set[str]) -> None:
        """`[label]: url "title"` is never displayed; what is not used at all can only be there to be read by us."""
        known: dict[str, dict[str, Any]] = env.get("references", {})
        self._counts["unused_link_definition"] += sum(1 for label in known if label not in used)
        self._counts["unused_link_definition"] += len(env.get("duplicate_refs", []))
        self._counts["link_title"] += sum(1 for found in known.values() if found.get("title"))
        self._counts += Counter()

    def _block(self, token: Token, used: set[str]) -> None:
        match token.type:
            case "inline":
                self._inline_block(token, used)
            case "fence" | "code_block":
                self._code(token)
            case "html_block":
                self._text(self._sight.feed(token.content))
            case "hr":
                self._text("---")
            case _:
                self._structure(token)

    def _structure(self, token: Token) -> None:
        page = self._page
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                page.begin_part()
            case "list_item_open":
                page.enter(f"{token.info}{token.markup} " if token.info else "- ")
            case "blockquote_open":
                page.begin_part()
                page.enter("> ", is_repeated=True)
            case "list_item_close" | "blockquote_close":
                page.leave()
            case "heading_open":
                page.mark("#" * int(token.tag[1:] or "1") + " ")
            case "paragraph_open":
                page.is_tight = token.hidden
            case "tr_open":
                self._row = []
            case "th_open" | "td_open":
                self._is_in_cell = True
            case "th_close" | "td_close":
                self._is_in_cell = False
            case "tr_close":
                page.is_tight = True
                page.add(" | ".join(self._row))
            case "table_open":
                page.begin_part()
            case _:
                pass

    def _inline_block(self, token: Token, used: set[str]) -> None:
        text = self._inline(token.children or [], used)
        if self._is_in_cell:
            self._row.append(text.replace("\n", " "))
        else:
            self._page.add(text)

    def _text(self, text: str) -> None:
        lines = [line.strip() for line in self._without_comments(self._plain(text)).split("\n")]
        shown = "\n".join(line for line in lines if line)
        if shown:
            self._page.is_tight = False
            self._page.add(shown)

    def _code(self, token: Token) -> None:
        language, _, more = token.info.strip().partition(" ")
        if more.strip() or len(language) > 30:
            self._counts["code_info"] += 1
        if self._sight.is_hiding:
            return
        plain = seen(token.content, is_code=True)
        self._counts.update(plain.removed)
        name = language if len(language) <= 30 and language.replace("-", "").replace("+", "").isalnum() else ""
        ticks = token.markup if token.type == "fence" else "```"
        self._page.is_tight = False
        self._page.add(f"{ticks}{name}\n{plain.text.rstrip(chr(10))}\n{ticks}", is_verbatim=True)

    def _inline(self, tokens: list[Token], used: set[str]) -> str:
        out: list[str] = []
        links: list[_Link] = []
        for token in tokens:
            if token.type == "html_inline":
                out.append(self._plain(self._sight.feed(token.content)))
            elif self._sight.is_hiding:
                self._note_link(token, used)
            else:
                out.append(self._piece(token, out, links, used))
        return self._without_comments("".join(out))

    def _plain(self, text: str) -> str:
        """Without invisible characters, before anything is looked for in it."""
        plain = seen(text)
        self._counts.update(plain.removed)
        return plain.text

    def _without_comments(self, text: str) -> str:
        """What looks like a comment only after the forge displayed it goes too: other viewers may not show it."""
        codes: list[str] = []

        def put_aside(match: re.Match[str]) -> str:
            codes.append(match[0])
            return f"\x00{len(codes) - 1}\x00"

        if "<!--" not in text:
            return text.replace("\x01", "")
        text = _CODE.sub(put_aside, text)
        for _ in range(_MOST_NESTED):
            text, number = _COMMENT.subn("", text)
            self._counts["html_comment"] += number
            if not number:
                break
        text = text.replace("<!--", "<!- -")
        return re.sub("\x00([0-9]+)\x00", lambda found: codes[int(found[1])], text).replace("\x01", "")

    def _piece(self, token: Token, out: list[str], links: list[_Link], used: set[str]) -> str:
        if token.type in _MARKS:
            return token.markup
        match token.type:
            case "text" | "text_special":
                return self._plain(token.content)
            case "softbreak" | "hardbreak":
                return "\n"
            case "code_inline":
                content = seen(token.content, is_code=True)
                self._counts.update(content.removed)
                return f"\x01{token.markup}{content.text}{token.markup}\x01"
            case "image":
                self._note_link(token, used)
                self._counts["image"] += 1
                spoken = "".join(child.content for child in token.children or [] if child.type == "text")
                alt = " ".join(self._plain(spoken).split())[:_LONGEST_ALT]
                return f"[image: {alt}]" if alt else "[image]"
            case "link_open":
                self._note_link(token, used)
                links.append(_Link(str(token.attrGet("href") or ""), len(out)))
                return ""
            case "link_close":
                return self._where(links.pop(), out) if links else ""
            case _:
                return ""

    def _where(self, link: _Link, out: list[str]) -> str:
        text = "".join(out[link.start :]).replace("\x01", "")
        if link.href in {text, f"mailto:{text}"}:
            return ""
        if not link.href.lower().startswith(_SHOWN_SCHEMES) and ":" in link.href.split("/")[0]:
            self._counts["link"] += 1
            return " (link)"
        if len(link.href) > _LONGEST_URL:
            self._counts["long_link"] += 1
        return f" ({link.href[:_LONGEST_URL]})"

    def _note_link(self, token: Token, used: set[str]) -> None:
        label = token.meta.get("label") if token.meta else None
        if label:
            used.add(str(label))
        if token.type in {"link_open", "image"} and token.attrGet("title") and not label:
            self._counts["link_title"] += 1
