"""What a benchmark hands back, and how it is told: one table for people, one JSON document for machines."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Several measurements of one thing, in the figure's unit."""

    p50: float
    p95: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of these values; p95 is the nearest rank."""
        ranked = sorted(values)
        if not ranked:
            raise ValueError("nothing was measured")
        rank = max(math.ceil(0.95 * len(ranked)) - 1, 0)
        return cls(p50=statistics.median(ranked), p95=ranked[rank], count=len(ranked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Ours and others', measured alternately. `is_rate`: more is better, so p95 is of the times behind it or absent.

    `target` is the largest ratio to the first of the others that we aim for (None: no target).
    """

    name: str
    unit: str
    ours: Spread
    others: dict[str, Spread] = field(default_factory=dict)
    is_rate: bool = False
    target: float | None = None
    notes: tuple[str, ...] = ()

    def ratio(self, other: str) -> float:
        """How many times as much as `other` at p50; for rates, how many times as fast."""
        floor = self.others[other].p50
        return self.ours.p50 / floor if floor else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: `make bench` uses the whole, the tests a sliver."""

    is_tiny: bool = False

    def of(self, whole: int, tiny: int) -> int:
        """One of the two."""
        return tiny if self.is_tiny else whole


HEADERS = ("figure", "who", "p50", "p95", "unit", "n", "ours / theirs")


def table(figures: Sequence[Figure]) -> str:
    """All figures as a Markdown table, followed by their notes."""
    rows: list[tuple[str, ...]] = [HEADERS]
    for figure in figures:
        rows.append((figure.name, "Windlass", *_cells(figure, figure.ours), _goal(figure)))
        rows += [
            ("", name, *_cells(figure, spread), _times(figure.ratio(name))) for name, spread in figure.others.items()
        ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADERS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, _line(tuple("-" * width for width in widths), widths))
    notes = [f"- {figure.name}: {note}" for figure in figures for note in figure.notes]
    return "\n".join([*lines, "", *notes])


def write_json(path: Path, figures: Sequence[Figure], machine: str) -> None:
    """The same for machines."""
    document = {
        "machine": machine,
        "figures": [
            {**asdict(figure), "ratios": {name: round(figure.ratio(name), 3) for name in figure.others}}
            for figure in figures
        ],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _cells(figure: Figure, spread: Spread) -> tuple[str, str, str, str]:
    p95 = "" if figure.is_rate and spread.count < 2 else _number(spread.p95)
    return _number(spread.p50), p95, figure.unit, str(spread.count)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio >= 0.1 else f"{ratio:.2g}×"


def _goal(figure: Figure) -> str:
    return "" if figure.target is None else f"(target {figure.target:g}×)"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
