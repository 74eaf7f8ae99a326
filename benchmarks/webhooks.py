"""Webhook intake: stored durably before the 202, against a minimal receiver that stores the same rows."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, Size, Spread
from benchmarks.processes import first_line, module, running

WHO = ("windlass", "aiohttp", "memory")
NAMES = {"aiohttp": "aiohttp + gidgethub, one commit per call", "memory": "the same, kept in memory only"}


def run(size: Size) -> list[Figure]:
    """The figures."""
    rounds, count, connections = size.of(4, 1), size.of(1500, 40), size.of(32, 4)
    rates: dict[str, list[float]] = {who: [] for who in WHO}
    times: dict[str, list[float]] = {who: [] for who in WHO}
    with tempfile.TemporaryDirectory(prefix="bench-") as home, contextlib.ExitStack() as stack:
        started = {}
        for who in WHO:
            place, log = Path(home, who), Path(home, f"{who}.log")
            place.mkdir()
            started[who] = (stack.enter_context(running(module("benchmarks.receivers", who, place), log)), log)
        ports = {who: first_line(process, log) for who, (process, log) in started.items()}
        for port in ports.values():
            _send(port, size.of(300, 4), connections, 10_000_000)
        for turn in range(rounds):
            for who in WHO if turn % 2 == 0 else reversed(WHO):
                found = _send(ports[who], count, connections, turn * count)
                rates[who].append(count / found["all_s"])
                times[who] += found["times_s"]
    return [
        _figure("webhook intake, calls per second", "1/s", rates, is_rate=True, notes=(_NOTE % connections,)),
        _figure("webhook intake, time to the 202", "ms", {who: [1000 * t for t in of] for who, of in times.items()}),
    ]


_NOTE = "%d connections from a second process; bodies of 8 kB; SQLite, WAL, synchronous=FULL; every call a new delivery"


def _send(port: int, count: int, connections: int, first: int) -> dict[str, list[float]]:
    argv = module("benchmarks.load", port, count, connections, first)
    found = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    if found["refused"]:
        raise RuntimeError(f"{found['refused']} calls were not stored")
    return found


def _figure(
    name: str, unit: str, of: dict[str, list[float]], *, is_rate: bool = False, notes: tuple[str, ...] = ()
) -> Figure:
    return Figure(
        name=name,
        unit=unit,
        ours=Spread.of(of["windlass"]),
        others={title: Spread.of(of[who]) for who, title in NAMES.items()},
        is_rate=is_rate,
        notes=notes,
    )
