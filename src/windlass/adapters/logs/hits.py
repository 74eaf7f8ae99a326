"""A secret that was found in a text, and several of them put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """`text[start:end]` is to be taken out, by which rule; `secret` is what equal leaks have in common."""

    start: int
    end: int
    rule: str
    secret: str


def merged(hits: Iterable[Hit]) -> list[Hit]:
    """Hits in order without overlap; what overlaps becomes one, under the name of the longest (then first) of them."""
    out: list[Hit] = []
    widths: list[int] = []
    for hit in sorted(hits, key=lambda h: (h.start, -h.end, h.rule)):
        width = hit.end - hit.start
        if not out or hit.start >= out[-1].end:
            out.append(hit)
            widths.append(width)
            continue
        last = out[-1]
        best = hit if width > widths[-1] else last
        widths[-1] = max(width, widths[-1])
        out[-1] = Hit(last.start, max(last.end, hit.end), best.rule, best.secret)
    return out
