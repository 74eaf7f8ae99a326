"""What shows of raw HTML inside Markdown: a small state machine over the pieces, never a renderer.

Rule: when in doubt a thing is hidden: comments and quoted attributes that never end hide the rest, as they do in a
browser; collapsed sections, scripts, drawings and elements that ask to be invisible hide what is in them. Refuses to
hand on any tag or attribute; an image is only named as one.
"""

from __future__ import annotations

import html
import re
from collections import Counter

_HIDING_WORDS = (
    "script style template head title noscript noembed noframes iframe object embed applet svg math canvas audio "
    "video select datalist textarea map xmp plaintext dialog"
)
_HIDING = frozenset(_HIDING_WORDS.split())
_VOID_WORDS = "area base br col embed hr img input link meta param source track wbr"
_VOID = frozenset(_VOID_WORDS.split())
_BREAKING_WORDS = (
    "address article aside blockquote br center dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr legend li main nav ol p pre section summary table tbody td tfoot th thead tr ul"
)
_BREAKING = frozenset(_BREAKING_WORDS.split())
_INVISIBLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0*\.?0*(?:[;\s%]|$)"
    r"|font-size\s*:\s*0*\.?[01]?(?:px|pt|em|rem|%)?\s*(?:;|$)|(?<![-\w])color\s*:\s*(?:white|transparent|#fff|rgba?\(\s*255)"
    r"|clip\s*:|text-indent\s*:\s*-|(?:left|top)\s*:\s*-\d{3}",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*)((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>")
_ATTRIBUTE = re.compile(r"([^\s\"'>/=]+)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?")
_COMMENT_END = re.compile(r"--!?>")
_DEEPEST = 200


class HtmlSight:
    """Follows raw HTML piece by piece. `counts` says what was hidden, by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._open: list[tuple[str, bool]] = []
        self._hiding = 0
        self._waits_for = ""
        self._lost = False

    @property
    def is_hiding(self) -> bool:
        """Whether text that comes now would not be seen."""
        return self._lost or bool(self._waits_for) or (self._hiding > 0 and not self._in_summary())

    def feed(self, raw: str) -> str:
        """One piece of raw HTML; the text that shows of it."""
        out: list[str] = []
        at = 0
        while at < len(raw) and not self._lost:
            if self._waits_for:
                at = self._end_of_comment(raw, at)
                continue
            start = raw.find("<", at)
            if start < 0:
                start = len(raw)
            if not self.is_hiding:
                out.append(html.unescape(raw[at:start]))
            at = self._markup(raw, start, out) if start < len(raw) else start
        return "".join(out)

    def _markup(self, raw: str, at: int, out: list[str]) -> int:
        """What begins with `<` at `at`; where it ends."""
        if raw.startswith("<!--", at):
            self.counts["html_comment"] += 1
            self._waits_for = "-->"
            # `<!-->` and `<!--->` are whole comments.
            return at + 2 if raw[at + 4 : at + 6].startswith((">", "->")) else at + 4
        if raw.startswith(("<!", "<?"), at):
            self.counts["html_declaration"] += 1
            end = raw.find(">", at)
            return len(raw) if end < 0 else end + 1
        tag = _TAG.match(raw, at)
        if tag is None:
            return self._no_tag(raw, at, out)
        out.append(self._tag(tag[2].lower(), tag[3], is_end=bool(tag[1])))
        return tag.end()

    def _no_tag(self, raw: str, at: int, out: list[str]) -> int:
        if not re.match(r"</?[A-Za-z]", raw[at : at + 3]):
            if not self.is_hiding:
                out.append("<")
            return at + 1
        self.counts["unclosed_html"] += 1
        rest = raw[at:]
        self._lost = rest.count('"') % 2 == 1 or rest.count("'") % 2 == 1
        return len(raw)

    def _end_of_comment(self, raw: str, at: int) -> int:
        end = _COMMENT_END.search(raw, at)
        if end is None:
            return len(raw)
        self._waits_for = ""
        return end.end()

    def _tag(self, name: str, attributes: str, *, is_end: bool) -> str:
        if is_end:
            self._close(name)
        else:
            if name == "img":
                self.counts["image"] += 1
                return "" if self.is_hiding else "[image]"
            was_hiding = self.is_hiding
            self._begin(name, attributes)
            if name == "details" and self._hiding and not was_hiding:
                return "\n[collapsed section, left out] "
        return "\n" if name in _BREAKING and not self.is_hiding else ""

    def _begin(self, name: str, attributes: str) -> None:
        given = {key.lower(): (value or "").strip("\"'") for key, value in _ATTRIBUTE.findall(attributes[:4000])}
        if set(given) - {"href", "src", "width", "height", "align", "open", "class", "id", "name", "dir", "lang"}:
            self.counts["html_attribute"] += 1
        if name in _VOID:
            return
        kind = _kind(name, given)
        if kind:
            self.counts[kind] += 1
        if len(self._open) >= _DEEPEST:
            self._lost = True
            return
        self._open.append((name, bool(kind)))
        self._hiding += bool(kind)

    def _close(self, name: str) -> None:
        if all(name != there for there, _ in self._open):
            return
        while self._open:
            there, was_hiding = self._open.pop()
            self._hiding -= was_hiding
            if there == name:
                return

    def _in_summary(self) -> bool:
        """The line of a collapsed section that stays in sight: directly in it, and it hides for no other reason."""
        hiding = [place for place, (_, hides) in enumerate(self._open) if hides]
        last = hiding[-1]
        below = [name for name, _ in self._open[last + 1 :]]
        return len(hiding) == 1 and self._open[last][0] == "details" and below[:1] == ["summary"]


def _kind(name: str, given: dict[str, str]) -> str:
    """Why an element hides what is in it, or ''."""
    if name in _HIDING:
        return "hidden_html"
    if name == "picture":
        return ""
    if name == "details" and "open" not in given:
        return "collapsed"
    is_marked = "hidden" in given or given.get("aria-hidden", "").lower() == "true"
    return "hidden_html" if is_marked or _INVISIBLE.search(html.unescape(given.get("style", ""))) else ""
