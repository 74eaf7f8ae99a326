"""One engine process that waits: `python -m benchmarks.waiting_process DIRECTORY JOBS WARM_S SPAN_S`.

Puts JOBS jobs that wait for CI into its store, starts as in production (all duties on; the forge does not answer),
comes to rest for WARM_S seconds, and prints one JSON line: resident bytes, processor seconds over SPAN_S seconds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import sys
import time
from pathlib import Path

from benchmarks import lives
from windlass.config import ForgeSettings, Settings
from windlass.wiring.parts import Windlass, build

DAY_MS = 86_400_000
PER_COMMIT = 500


def fill(windlass: Windlass, count: int) -> None:
    """Jobs as the decisions make them, each with its own issue, branch and pull request."""
    made = lives.waiting_job()
    now_ms = windlass.clock.now_ms()
    for start in range(1, count + 1, PER_COMMIT):
        with windlass.store.transaction() as transaction:
            for number in range(start, min(start + PER_COMMIT, count + 1)):
                transaction.insert_job(
                    dataclasses.replace(
                        made,
                        id=f"j{number:08d}",
                        issue=dataclasses.replace(made.issue, number=number),
                        branch=f"ai-{number}",
                        pull_number=count + number,
                        epoch=f"labelling-{number}",
                        created_at_ms=now_ms,
                        deadline_at_ms=now_ms + DAY_MS,
                        observing_seq=None,
                        comment_seq=None,
                        gate_seq=None,
                    )
                )


async def _wait(directory: Path, count: int, warm_s: float, span_s: float) -> None:
    forge = ForgeSettings(api_url="http://127.0.0.1:9/api/v3", token="none")  # type: ignore[arg-type]
    windlass = build(Settings(state_dir=directory, forge=forge))
    await asyncio.to_thread(fill, windlass, count)
    await windlass.start()
    await asyncio.sleep(warm_s)
    began_s, used_s = time.monotonic(), time.process_time()
    await asyncio.sleep(span_s)
    used_s = time.process_time() - used_s
    found = {"rss_bytes": _resident(), "cpu_percent": 100 * used_s / (time.monotonic() - began_s)}
    print(json.dumps(found), flush=True)
    await asyncio.Event().wait()  # whoever asked ends us


def _resident() -> float:
    return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(_wait(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
