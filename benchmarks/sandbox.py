"""Starting a sandbox: from the order to the result of `true`, against the bare process and bare bubblewrap."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.runners.process import ProcessRunner
from windlass.ports import Deadlines, RunSpec

BWRAP = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--die-with-parent")


def run(size: Size) -> list[Figure]:
    """The figure."""
    rounds = size.of(30, 2)
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        runner = ProcessRunner(Path(home, "runs"), instance="bench")
        workspace = Path(home, "workspace")
        workspace.mkdir()
        acts: dict[str, Callable[[int], object]] = {
            "ours": lambda turn: asyncio.run(_sandboxed(runner, workspace, f"run-{turn}")),
            "bare process": lambda _: subprocess.run(["true"], check=True, capture_output=True),
        }
        if "bubblewrap" in runner.isolation():
            argv = [*BWRAP, "--bind", str(workspace), str(workspace), "true"]
            acts["bare bubblewrap"] = lambda _: subprocess.run(argv, check=True, capture_output=True)
        times: dict[str, list[float]] = {name: [] for name in acts}
        for turn in range(rounds):
            for name in acts if turn % 2 == 0 else reversed(acts):
                began = time.perf_counter()
                acts[name](turn)
                times[name].append(1000 * (time.perf_counter() - began))
        shutil.rmtree(workspace)
        spreads = {name: Spread.of(of) for name, of in times.items()}
        note = f"{runner.isolation()}; ours keeps output, deadlines, limits and a result that outlive Windlass"
        return [
            Figure(name="sandbox, start to result", unit="ms", ours=spreads.pop("ours"), others=spreads, notes=(note,))
        ]


async def _sandboxed(runner: ProcessRunner, workspace: Path, run_id: str) -> None:
    deadlines = Deadlines(start_s=30, idle_s=30, total_s=30)
    await runner.start(RunSpec(id=run_id, argv=("true",), workdir=workspace, deadlines=deadlines))
    result = await runner.wait(run_id)
    if result.exit_code != 0:
        raise RuntimeError(f"{result.ended}: {result.output.read_text()[-500:]}")
    await runner.discard(run_id)
