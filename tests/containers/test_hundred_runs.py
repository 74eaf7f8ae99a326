"""A hundred runs in a row, and what is left of them: nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.adapters.runners.runs import alive_with
from tests.contracts.runners import Bench, benches
from tests.support.podman import AIRLOCK_IMAGE, Podman

from windlass.ports import Deadlines, Inlet, RunSpec, SandboxLimits

pytestmark = [pytest.mark.needs("podman"), pytest.mark.timeout(600)]

AT_ONCE = 4


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches("container", tmp_path, request):
        yield made


def specs(bench: Bench, turn: int, socket: Path) -> list[RunSpec]:
    """Four that end differently: by themselves, with a daemon left, by a deadline, out of memory; one has a way out."""
    hang = f"(setsid sleep {bench.number} &) ; sleep {bench.number}"
    return [
        bench.spec(f"cat; echo {turn}; exit 3", stdin=b"in", inlets=(Inlet(port=8100, socket=socket),)),
        bench.spec(f"setsid sleep {bench.number} & exit 0"),
        bench.spec(hang, deadlines=Deadlines(start_s=0.2, idle_s=0.2, total_s=0.2)),
        bench.spec('x=a; while :; do x="$x$x"; done', limits=SandboxLimits(memory_bytes=64 << 20)),
    ]


def traces(podman: Podman) -> dict[str, list[str]]:
    """What a run may leave on the machine."""
    return {
        "containers": podman.names(),
        "volumes": podman.cli("volume", "ls", "-q").split(),
        "networks": podman.cli("network", "ls", "-q").split(),
        "secrets": podman.cli("secret", "ls", "-q").split(),
        "layers": sorted(path.name for path in (podman.home / "storage" / "overlay").glob("*")),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(podman.home) in line],
    }


async def test_a_hundred_runs_leave_nothing(bench: Bench, podman: Podman, tmp_path: Path) -> None:
    podman.need(AIRLOCK_IMAGE)
    socket = tmp_path / "out.sock"
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), str(socket))
    await bench.run("true")
    await bench.runner.reap(lambda _run_id: False)
    before, descriptors = traces(podman), len(os.listdir("/proc/self/fd"))
    for turn in range(100 // AT_ONCE):
        batch = specs(bench, turn, socket)
        await asyncio.gather(*(bench.runner.start(spec) for spec in batch))
        results = await asyncio.gather(*(bench.runner.wait(spec.id) for spec in batch))
        assert [(r.ended, r.exit_code) for r in results[:2]] == [("exited", 3), ("exited", 0)]
        assert (results[2].ended, results[3].is_out_of_memory) == ("timed_out", True)
        await asyncio.gather(*(bench.runner.discard(spec.id) for spec in batch))
        assert not [group for spec in batch for group in bench.groups(spec.id)]
    server.close()
    assert list(bench.root.iterdir()) == []
    assert alive_with(bench.number) == []
    # An engine ends its own watchers a moment later.
    await bench.until(lambda: alive_with(f"windlass-{bench.instance}") == [])
    await bench.until(lambda: traces(podman) == before)
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 4
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("container-")]
