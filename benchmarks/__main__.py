"""`make bench`, or `python -m benchmarks [NAME...]`: every figure beside a peer or a floor, as one table.

The same is written to `benchmarks/results.json`. `--tiny` measures a sliver of each, to see that all of it still runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    containers,
    decisions,
    gateway,
    label_to_pr,
    ledger,
    logs,
    prompts,
    sandbox,
    waiting,
    webhooks,
    workspace,
)
from benchmarks.figures import Figure, Size, table, write_json

BENCHMARKS: dict[str, Callable[[Size], list[Figure]]] = {
    "label_to_pr": label_to_pr.run,
    "webhooks": webhooks.run,
    "waiting": waiting.run,
    "decisions": decisions.run,
    "ledger": ledger.run,
    "workspace": workspace.run,
    "prompts": prompts.run,
    "logs": logs.run,
    "sandbox": sandbox.run,
    "containers": containers.run,
    "gateway": gateway.run,
}
RESULTS = Path(__file__).with_name("results.json")


def machine() -> str:
    """Where this runs, in one line."""
    models = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")]
    total = next((int(line.split()[1]) >> 20 for line in _read("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return (
        f"{os.cpu_count()} cores ({models[0] if models else platform.machine()}), {total} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"load before the start {os.getloadavg()[0]:.1f}"
    )


def _read(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--tiny", action="store_true", help="a sliver of each")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {unknown[0]}: choose of {', '.join(BENCHMARKS)}")
    where, figures = machine(), []
    print(where, file=sys.stderr)
    for name in given.names or BENCHMARKS:
        began = time.monotonic()
        figures += BENCHMARKS[name](Size(is_tiny=given.tiny))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if not given.tiny:
        write_json(RESULTS, figures, where)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
