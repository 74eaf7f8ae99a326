"""Containers outlive Windlass: kill -9 of whoever looks after one, and what the next process makes of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.runners.runs import alive_with
from tests.contracts.runners import Bench, benches
from tests.support.podman import IMAGE

from windlass.adapters.runners.container.charge import Beginning
from windlass.adapters.runners.container.recording import LEAST_MARK, MARK_BYTES, Recording, beyond
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.adapters.runners.rundir import RunDirectory
from windlass.ports import Deadlines, RunSpec

pytestmark = pytest.mark.needs("podman")

STARTER = """
import asyncio, json, sys
from pathlib import Path
from windlass.adapters.runners.container.making import ContainerSettings
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.ports import Deadlines, RunSpec

told = json.loads(sys.argv[1])

async def main():
    runner = ContainerRunner(Path(told["root"]), instance=told["instance"], addresses=[told["engine"]],
                             settings=ContainerSettings(image=told["image"]))
    for name, command in told["runs"].items():
        spec = RunSpec(id=name, argv=("sh", "-c", command), workdir=Path(told["workdir"]), stdin=b"given\\n",
                       deadlines=Deadlines(start_s=told["total_s"], idle_s=told["total_s"], total_s=told["total_s"]))
        print(name, await runner.start(spec), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches("container", tmp_path, request):
        yield made


async def started_elsewhere(bench: Bench, runs: dict[str, str], total_s: float = 60.0) -> subprocess.Popen[str]:
    """Another process of the instance that has started these runs and looks after them."""
    assert bench.podman is not None
    told: dict[str, Any] = {"root": str(bench.root), "workdir": str(bench.workdir), "instance": bench.instance}
    told |= {"engine": bench.podman.address, "image": IMAGE, "runs": runs, "total_s": total_s}
    process = subprocess.Popen([sys.executable, "-c", STARTER, json.dumps(told)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for name in runs:
        assert await asyncio.to_thread(process.stdout.readline) == f"{name} True\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def test_a_container_outlives_kill_9_and_its_output_goes_on(bench: Bench) -> None:
    count = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; [ $((i % 100)) != 0 ] || sleep 0.3; done"
    process = await started_elsewhere(bench, {"outlives": f"cat; {count}; echo last >&2; exit 5"})
    await bench.printed(bench.spec("", id="outlives"), b"line 150")
    end(process)
    assert bench.runner.is_known("outlives")
    assert not await bench.runner.start(bench.spec("echo a second one", id="outlives"))
    result = await bench.runner.wait("outlives")
    assert (result.ended, result.exit_code) == ("exited", 5)
    wanted = ["given", *(f"line {number}" for number in range(1, 401)), "last"]
    assert result.output.read_text().splitlines() == wanted
    assert result.output_bytes == len("\n".join(wanted)) + 1
    assert result.image_digest.startswith("sha256:")
    assert result.cpu_s > 0
    assert bench.containers() == []


async def test_what_ended_while_nobody_looked_gives_its_real_end(bench: Bench) -> None:
    process = await started_elsewhere(bench, {"ended": "echo begun; sleep 0.5; echo ended; exit 6"})
    await bench.printed(bench.spec("", id="ended"), b"begun")
    end(process)
    await asyncio.sleep(1.0)
    assert (bench.root / "ended" / "output").read_text() == "begun\n"
    result = await bench.runner.wait("ended")
    assert (result.ended, result.exit_code) == ("exited", 6)
    assert result.output.read_text() == "begun\nended\n"
    assert 0.4 < result.duration_s < 5


async def test_deadlines_count_from_the_first_start(bench: Bench) -> None:
    total_s = 4.0
    process = await started_elsewhere(bench, {"late": f"echo x; sleep {bench.number}"}, total_s=total_s)
    end(process)
    await asyncio.sleep(total_s + 0.5)
    began = time.monotonic()
    result = await bench.runner.wait("late")
    assert (result.ended, result.exit_code) == ("timed_out", None)
    assert time.monotonic() - began < total_s, "it was not given its time once more"
    await bench.until(lambda: alive_with(bench.number) == [])


async def test_two_that_take_it_up_at_once_do_not_double_anything(bench: Bench) -> None:
    process = await started_elsewhere(bench, {"both": "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done; exit 3"})
    end(process)
    results = await asyncio.gather(*(runner.wait("both") for runner in (bench.runner, bench.another())))
    assert [result.exit_code for result in results] == [3, 3]
    assert results[0].output.read_text() == "1\n2\n3\n4\n5\n6\n"


async def test_what_nobody_takes_up_can_be_stopped_discarded_and_reaped(bench: Bench) -> None:
    process = await started_elsewhere(bench, dict.fromkeys(("a", "b", "c", "d"), f"sleep {bench.number}"))
    end(process)
    await bench.runner.stop("a")
    assert (await bench.runner.wait("a")).ended == "stopped"
    await bench.runner.discard("b")
    assert await bench.runner.reap(lambda run_id: run_id == "d") == ("c",)
    assert bench.containers() == [f"windlass-{bench.instance}-d"]
    assert len(alive_with(f"sleep\0{bench.number}")) >= 1
    await bench.runner.discard("d")
    assert not [group for name in ("a", "b", "c", "d") for group in bench.groups(name)]
    await bench.until(lambda: alive_with(bench.number) == [])
    assert list(bench.root.iterdir()) == []


async def made_only(bench: Bench, spec: RunSpec) -> RunDirectory:
    """What is there when Windlass dies between making the container and beginning its command."""
    runner = bench.runner
    assert isinstance(runner, ContainerRunner)
    run = RunDirectory(bench.root / spec.id)
    run.at.mkdir()
    maker = await runner._maker(spec)
    await maker.make(run, spec)
    return run


async def test_a_container_that_was_made_and_not_begun_is_begun(bench: Bench) -> None:
    spec = bench.spec("echo once >> count; cat; exit 7", stdin=b"given")
    run = await made_only(bench, spec)
    Beginning.now(None).write(run)
    later = bench.another()
    assert later.is_known(spec.id)
    result = await later.wait(spec.id)
    assert (result.ended, result.exit_code) == ("exited", 7)
    assert result.output.read_text() == "given"
    assert (bench.workdir / "count").read_text() == "once\n"


async def test_a_start_that_never_came_to_its_command_leaves_the_id_free(bench: Bench) -> None:
    spec = bench.spec("echo first")
    await made_only(bench, spec)
    later = bench.another()
    assert not later.is_known(spec.id)
    assert await later.start(replace(spec, argv=("sh", "-c", "echo second")))
    assert (await later.wait(spec.id)).output.read_text() == "second\n"


async def test_a_container_that_is_gone_is_a_lost_run(bench: Bench) -> None:
    assert bench.podman is not None
    process = await started_elsewhere(bench, {"gone": "echo before; sleep 60"})
    await bench.printed(bench.spec("", id="gone"), b"before")
    end(process)
    bench.podman.cli("rm", "-f", "-t", "0", *bench.containers())
    result = await bench.runner.wait("gone")
    assert (result.ended, result.exit_code) == ("lost", None)
    assert result.output.read_text() == "before\n"
    assert not await bench.runner.start(bench.spec("echo again", id="gone")), "it is not started again under its id"


async def test_somebody_else_removing_a_living_container_is_a_lost_run(bench: Bench) -> None:
    assert bench.podman is not None
    spec = bench.spec("echo before; sleep 60", deadlines=Deadlines(start_s=30, idle_s=30, total_s=30))
    await bench.runner.start(spec)
    await bench.printed(spec, b"before")
    bench.podman.cli("rm", "-f", "-t", "0", *bench.containers())
    assert (await bench.runner.wait(spec.id)).ended == "lost"


# ------------------------------------------------------------------ the engine's log, read again


@given(log=st.binary(max_size=300), taken=st.integers(0, 300))
def test_of_a_whole_log_exactly_the_rest_is_taken(log: bytes, taken: int) -> None:
    taken = min(taken, len(log))
    mark = log[max(0, taken - MARK_BYTES) : taken]
    assert beyond(log, taken, mark) == (log[taken:], True)


@given(lost=st.binary(min_size=40, max_size=80), kept=st.binary(min_size=40, max_size=80), more=st.binary(max_size=80))
def test_of_a_log_that_was_turned_over_the_rest_is_found_by_its_end(lost: bytes, kept: bytes, more: bytes) -> None:
    fresh, is_whole = beyond(kept + more, len(lost + kept), kept[-LEAST_MARK:])
    assert is_whole
    assert more.endswith(fresh)
    assert beyond(b"all new", len(lost), lost[-30:])[1] is False


async def _log(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_flood_that_was_cut_goes_on_behind_its_head(tmp_path: Path) -> None:
    printed = b"".join(b"%06d\n" % number for number in range(2000))
    first = Recording(tmp_path / "output", 4000, goes_on=False)
    first.add(printed[:7000])  # and then a kill: the tail, 2000 bytes, was never written
    later = Recording(tmp_path / "output", 4000, goes_on=True)
    assert await later.catch_up(_log(printed[:3000], printed[3000:]))
    assert not await later.catch_up(_log(printed))
    later.close()
    kept = (tmp_path / "output").read_bytes()
    assert kept.startswith(printed[:2000] + b"\n[windlass: ")
    assert kept.endswith(printed[-2000:])
    assert later.total == len(printed)


async def test_missing_output_is_said_and_not_made_up(tmp_path: Path) -> None:
    first = Recording(tmp_path / "output", 10_000, goes_on=False)
    first.add(b"what was printed before\n" * 10)
    later = Recording(tmp_path / "output", 10_000, goes_on=True)
    await later.catch_up(_log(b"what came long after\n"))
    later.close()
    text = (tmp_path / "output").read_text()
    assert text.startswith("what was printed before\n" * 10)
    assert "[windlass: some output from here is missing" in text
    assert text.endswith("what came long after\n")
    assert later.total == 240 + 21
