"""Starting a container: from the order to the agent's first byte, against bare `podman run` with the same flags.

Ours keeps what it needs to find the container again, gives the directory to the container's user, and is told what it
prints as it is printed. Skipped where the tests' engine cannot be run (root, podman and a runtime).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.podman import AIRLOCK_IMAGE, IMAGE, Podman, make_podman, why_missing

from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.runners.container.making import ContainerSettings
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.ports import Deadlines, Inlet, RunSpec, SandboxLimits

COMMAND = ("sh", "-c", "echo begun; exec sleep 60")
LIMITS = SandboxLimits(memory_bytes=512 << 20, processes=128)


def run(size: Size) -> list[Figure]:
    """The figure; none where there is no engine."""
    why = why_missing()
    if why:
        print(f"containers: skipped, {why}", file=sys.stderr)
        return []
    podman = make_podman()
    try:
        podman.need(IMAGE)
        podman.need(AIRLOCK_IMAGE)
        with tempfile.TemporaryDirectory(prefix="bench-") as home:
            return asyncio.run(_measured(podman, Path(home), size.of(20, 1)))
    finally:
        podman.remove()


async def _measured(podman: Podman, home: Path, rounds: int) -> list[Figure]:
    workspace = home / "workspace"
    workspace.mkdir()
    settings = ContainerSettings(image=IMAGE)
    runner = ContainerRunner(home / "runs", instance="bench", addresses=[podman.address], settings=settings)
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), str(home / "inlet.sock"))
    inlets = (Inlet(port=8080, socket=home / "inlet.sock"),)
    ours, sided, bare = [], [], []
    for turn in range(rounds):
        for kind in ("ours", "bare", "sided") if turn % 2 == 0 else ("sided", "bare", "ours"):
            if kind == "bare":
                bare.append(await asyncio.to_thread(_bare, podman, workspace, f"bare-{turn}"))
            else:
                taken = ours if kind == "ours" else sided
                taken.append(await _ours(runner, workspace, f"{kind}-{turn}", inlets if kind == "sided" else ()))
    isolation = runner.isolation()
    await runner.close()
    server.close()
    other = {"bare podman run": Spread.of(bare)}
    name, target = "container, start to first byte", 1.3
    note = f"{isolation}; the API's service runs already, as it does beside Windlass"
    return [
        Figure(name=name, unit="ms", ours=Spread.of(ours), others=other, target=target, notes=(note,)),
        Figure(name=f"{name}, with sidecar", unit="ms", ours=Spread.of(sided), others=other),
    ]


async def _ours(runner: ContainerRunner, workspace: Path, run_id: str, inlets: tuple[Inlet, ...]) -> float:
    deadlines = Deadlines(start_s=60, idle_s=60, total_s=60)
    spec = RunSpec(id=run_id, argv=COMMAND, workdir=workspace, deadlines=deadlines, limits=LIMITS, inlets=inlets)
    began = time.perf_counter()
    await runner.start(spec)
    output = runner.output(run_id)
    while not output.exists() or not output.stat().st_size:
        await asyncio.sleep(0.001)
    taken_ms = 1000 * (time.perf_counter() - began)
    await runner.discard(run_id)
    return taken_ms


def _bare(podman: Podman, workspace: Path, name: str) -> float:
    limits = ("--memory=512m", "--memory-swap=512m", "--pids-limit=128", "--ulimit=nofile=4096:4096")
    held = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--init")
    files = ("-v", f"{workspace}:{workspace}", "-w", str(workspace), "--tmpfs=/tmp:rw,size=64m", "--user=1000:1000")
    argv = podman.command("run", "--rm", "--name", name, "--ulimit=nproc=4096:4096", *limits, *held, *files, IMAGE)
    began = time.perf_counter()
    with subprocess.Popen((*argv, *COMMAND), env=podman.environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        taken_ms = 1000 * (time.perf_counter() - began)
        podman.cli("rm", "-f", "-t", "0", name)
    if not first:
        raise RuntimeError("podman run printed nothing")
    return taken_ms
