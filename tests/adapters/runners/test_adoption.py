"""Runs outlive Windlass: kill -9, two starters at once, reused process ids, shims that die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.runners.runs import KINDS, Bench, alive_with

STARTER = """
import asyncio, sys
from pathlib import Path
from windlass.adapters.runners.bubblewrap import NoSandbox, detect
from windlass.adapters.runners.process import ProcessRunner
from windlass.ports import Deadlines, RunSpec

root, workdir, name, command, sandboxed = sys.argv[1:]
runner = ProcessRunner(Path(root), instance="mine", sandbox=detect() if sandboxed else NoSandbox(reason="asked for"))
spec = RunSpec(id=name, argv=("sh", "-c", command), workdir=Path(workdir),
               deadlines=Deadlines(start_s=30, idle_s=30, total_s=30))

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    print("started" if await runner.start(spec) else "adopted", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture(params=KINDS[::2])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench.make(tmp_path, request.param)


def starter(bench: Bench, name: str, command: str) -> subprocess.Popen[str]:
    is_sandboxed = "yes" if "bubblewrap" in bench.runner.isolation() else ""
    argv = [sys.executable, "-c", STARTER, str(bench.root), str(bench.workdir), name, command, is_sandboxed]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def test_a_run_outlives_kill_9_and_is_adopted(bench: Bench) -> None:
    process = starter(bench, "outlives", "echo begun; sleep 0.6; echo ended; exit 5")
    go(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    end(process)
    assert not await bench.runner.start(bench.spec("echo a second one", id="outlives"))
    result = await bench.runner.wait("outlives")
    assert (result.ended, result.exit_code) == ("exited", 5)
    assert result.output.read_text() == "begun\nended\n"


async def test_a_run_that_ended_while_nobody_looked_is_adopted(bench: Bench) -> None:
    spec = bench.spec("echo once >> count; exit 6")
    assert await bench.runner.start(spec)
    await bench.runner.wait(spec.id)
    later = bench.sibling()
    assert not await later.start(spec)
    assert (await later.wait(spec.id)).exit_code == 6
    assert (bench.workdir / "count").read_text() == "once\n"


async def test_two_processes_that_start_one_id_at_once_start_one(bench: Bench) -> None:
    for turn in range(4):
        processes = [starter(bench, f"race-{turn}", "echo once >> count; sleep 0.2") for _ in range(2)]
        for process in processes:
            go(process)
        said = sorted(str(process.stdout and process.stdout.readline().strip()) for process in processes)
        assert said == ["adopted", "started"]
        assert (await bench.runner.wait(f"race-{turn}")).exit_code == 0
        for process in processes:
            end(process)
        assert (bench.workdir / "count").read_text() == "once\n" * (turn + 1)


async def test_many_starts_of_one_id_in_one_process_start_one(bench: Bench) -> None:
    spec = bench.spec("echo once >> count")
    said = await asyncio.gather(*(bench.sibling().start(spec) for _ in range(8)))
    assert sorted(said) == [False] * 7 + [True]
    await bench.runner.wait(spec.id)
    assert (bench.workdir / "count").read_text() == "once\n"


async def test_a_shim_that_dies_is_a_lost_run_without_orphans(bench: Bench) -> None:
    spec = bench.spec(f"echo before; (setsid sleep {bench.number} &); sleep {bench.number}")
    await bench.runner.start(spec)
    await bench.until(lambda: len(alive_with(f"sleep\0{bench.number}")) == 2)
    await bench.until(lambda: (bench.root / spec.id / "output").read_bytes() == b"before\n")
    waiting = asyncio.create_task(bench.runner.wait(spec.id))
    os.kill(json.loads((bench.root / spec.id / "started.json").read_text())["pid"], signal.SIGKILL)
    result = await asyncio.wait_for(waiting, 20)
    assert (result.ended, result.exit_code) == ("lost", None)
    assert result.output.read_text() == "before\n"
    await bench.until(lambda: alive_with(f"sleep\0{bench.number}") == [])
    assert not [group for group in bench.groups_of(spec.id) if group.exists()]
    assert not await bench.runner.start(spec), "a lost run is not started again under its id"
    assert (await bench.sibling().wait(spec.id)).ended == "lost"


async def test_a_reused_process_id_is_never_trusted(bench: Bench) -> None:
    """The directory says that the shim is a process which is in truth a stranger's."""
    stranger = subprocess.Popen(["sleep", "60"])
    await asyncio.sleep(0.05)  # the kernel tells start times in hundredths of a second
    try:
        spec = bench.spec("sleep 60")
        await bench.runner.start(spec)
        await bench.until((bench.root / spec.id / "started.json").exists)
        started = bench.root / spec.id / "started.json"
        said = json.loads(started.read_text())
        os.kill(said["pid"], signal.SIGKILL)
        started.write_text(json.dumps({**said, "pid": stranger.pid}))
        assert (await asyncio.wait_for(bench.runner.wait(spec.id), 20)).ended == "lost"
        await bench.runner.stop(spec.id)
        await bench.runner.discard(spec.id)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_starter_that_died_before_the_shim_leaves_the_id_free(bench: Bench) -> None:
    spec = bench.spec("exit 7")
    (bench.root / spec.id).mkdir()
    (bench.root / spec.id / "spec.json").write_text("{ half")
    assert await bench.runner.start(spec)
    assert (await bench.runner.wait(spec.id)).exit_code == 7


async def test_the_total_deadline_holds_without_windlass(bench: Bench) -> None:
    process = starter(bench, "alone", f"sleep {bench.number}")
    spec_file = bench.root / "alone" / "owner.json"
    go(process)
    await bench.until(spec_file.exists)
    end(process)
    await bench.runner.stop("alone")
    assert alive_with(f"sleep\0{bench.number}") == []


async def test_hundreds_of_waits_at_once_cost_one_descriptor_each(bench: Bench) -> None:
    spec = bench.spec("sleep 0.8")
    await bench.runner.start(spec)
    await bench.until((bench.root / spec.id / "started.json").exists)
    before = len(os.listdir("/proc/self/fd"))
    waits = [asyncio.create_task(bench.runner.wait(spec.id)) for _ in range(300)]
    await asyncio.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= before + 300
    assert {result.ended for result in await asyncio.gather(*waits)} == {"exited"}
    assert len(os.listdir("/proc/self/fd")) <= before
