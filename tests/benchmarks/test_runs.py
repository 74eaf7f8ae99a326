"""Every benchmark runs, in a tiny size, and hands back figures that can be told. No time is held against a limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import BENCHMARKS, machine
from benchmarks.figures import Figure, Size, Spread, table, write_json

NEEDS = {"containers": pytest.mark.needs("podman")}


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS.get(name, ())) for name in BENCHMARKS])
def test_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    figures = BENCHMARKS[name](Size(is_tiny=True))
    assert figures
    for figure in figures:
        assert figure.ours.p50 >= 0
        assert figure.others, "a figure alone says nothing"
        assert all(spread.count for spread in (figure.ours, *figure.others.values()))
    assert all(figure.name in table(figures) for figure in figures)
    write_json(tmp_path / "results.json", figures, machine())
    assert len(json.loads((tmp_path / "results.json").read_text())["figures"]) == len(figures)


def test_a_spread_is_the_median_and_the_nearest_rank() -> None:
    assert Spread.of(range(1, 101)) == Spread(p50=50.5, p95=95, count=100)
    assert Spread.of([7.0]) == Spread(p50=7.0, p95=7.0, count=1)
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_the_table_puts_the_ratio_beside_the_other() -> None:
    others = {"floor": Spread.of([2.0]), "nothing": Spread.of([0.0])}
    figure = Figure(name="work", unit="ms", ours=Spread.of([3.0]), others=others, target=1.5, notes=("a note",))
    text = table([figure])
    assert "(target 1.5×)" in text.splitlines()[2]
    assert "1.50×" in text.splitlines()[3]
    assert "inf×" in text.splitlines()[4]
    assert "- work: a note" in text
