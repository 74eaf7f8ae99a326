"""`python -m tests.chaos`: the whole chaos run; one summary line at the end, exit 0 only when everything holds."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import postgres
from tests.chaos.campaign import Campaign, Result, Wish
from tests.support.podman import AIRLOCK_IMAGE, make_podman

RUNS = ("sqlite", "postgres", "containers")


def main() -> int:
    """The command."""
    given = _arguments()
    runs = [name for name in RUNS if given.only in ("all", name)]
    began_s = time.monotonic()
    results = [_run(given, name, given.minutes * 60 / len(runs)) for name in runs]
    for result in results:
        _tell(result)
    lost, doubled, orphans, wrong = (
        sum(len(getattr(result.found, kind)) for result in results) for kind in ("lost", "doubled", "orphans", "other")
    )
    print(
        f"chaos: {'; '.join(result.line() for result in results)}; lost {lost} doubled {doubled} orphans {orphans} "
        f"wrong {wrong}; {(time.monotonic() - began_s) / 60:.1f} min; seed {given.seed}",
        flush=True,
    )
    return 0 if all(result.is_good for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="kill -9 at random, then an audit")
    parser.add_argument("--only", choices=("all", *RUNS), default="all")
    parser.add_argument("--kills", type=int, default=200, help="kill -9 on each database")
    parser.add_argument("--jobs", type=int, default=50, help="jobs under way at once; in containers 20")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=26.0, help="no more kills after so long, over all databases")
    parser.add_argument("--keep", type=Path, help="leave everything in this directory to look at")
    return parser.parse_args()


def _run(given: argparse.Namespace, name: str, limit_s: float) -> Result:
    in_containers, database = name == "containers", "postgres" if name == "postgres" else "sqlite"
    engine = make_podman() if in_containers else None
    if engine is not None:
        engine.need(AIRLOCK_IMAGE)
    wish = Wish(
        database=database,
        kills=given.kills // 4 if in_containers else given.kills,
        jobs=min(given.jobs, 20) if in_containers else given.jobs,
        engine=engine,
        seed=given.seed,
        limit_s=limit_s,
        crashes=2 if database == "postgres" and given.kills >= 50 else 0,
    )
    root = (given.keep / name) if given.keep else Path(tempfile.mkdtemp(prefix="windlass-chaos-"))
    server = postgres.running() if database == "postgres" else contextlib.nullcontext()
    try:
        with server as found:
            result = asyncio.run(Campaign(wish=wish, root=root.absolute(), server=found).run())
    finally:
        if engine is not None:
            engine.remove()
    if not given.keep and result.is_good:
        shutil.rmtree(root, ignore_errors=True)
    return result


def _tell(result: Result) -> None:
    print(f"{result.line()}; {result.took_s:.0f} s; ended by themselves: {result.deaths}; faults {result.faults}")
    for text, count in sorted(result.logged.items(), key=lambda item: -item[1])[:25]:
        print(f"  {count:5} × {text}")
    for line in result.found.lines()[:100]:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
