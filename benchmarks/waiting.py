"""Ten thousand jobs that wait for CI: what one engine process holds and does, against one that has nothing."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, Size, Spread
from benchmarks.processes import first_line, module, running

MIB = 1 << 20


def run(size: Size) -> list[Figure]:
    """The figures."""
    count, warm_s, span_s = size.of(10_000, 5), size.of(15, 1), size.of(30, 1)
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as home, contextlib.ExitStack() as stack:
        started = {}
        for name, jobs in (("waiting", count), ("empty", 0)):
            place, log = Path(home, name), Path(home, f"{name}.log")
            argv = module("benchmarks.waiting_process", place, jobs, warm_s, span_s)
            started[name] = (stack.enter_context(running(argv, log)), log)
        for name, (process, log) in started.items():
            found[name] = first_line(process, log)
    note = f"{count:,} jobs in state checking, all duties on, the forge unreachable, over {span_s} s, side by side"
    return [
        _figure(f"{count:,} jobs waiting, resident memory", "MiB", "rss_bytes", found, 1 / MIB, note),
        _figure(f"{count:,} jobs waiting, processor", "% of a core", "cpu_percent", found, 1.0, ""),
    ]


def _figure(name: str, unit: str, key: str, found: dict[str, dict[str, float]], scale: float, note: str) -> Figure:
    one = {who: Spread.of([of[key] * scale]) for who, of in found.items()}
    notes = (note,) if note else ()
    return Figure(name=name, unit=unit, ours=one["waiting"], others={"empty engine": one["empty"]}, notes=notes)
