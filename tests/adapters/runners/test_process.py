"""The runner with real processes: results, deadlines, floods, escapes, stops. Every rule with and without a sandbox."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.adapters.runners.runs import KINDS, Bench, alive_with

from windlass.adapters.runners.bubblewrap import NoSandbox
from windlass.adapters.runners.process import ProcessRunner
from windlass.core.errors import NotFound, Refused
from windlass.ports import Deadlines, SandboxLimits


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench.make(tmp_path, request.param)


async def test_a_run_gives_output_exit_code_and_what_it_used(bench: Bench) -> None:
    result = await bench.run("cat; echo out; echo err >&2; exit 3", stdin=b"in\n")
    assert (result.ended, result.exit_code, result.deadline) == ("exited", 3, "")
    assert result.output.read_text() == "in\nout\nerr\n"
    assert result.output_bytes == len("in\nout\nerr\n")
    assert result.cpu_s > 0
    assert result.peak_memory_bytes > 100_000


async def test_the_work_directory_is_where_the_command_stands_and_writes(bench: Bench) -> None:
    result = await bench.run("pwd; echo made > file")
    assert result.output.read_text().strip() == str(bench.workdir)
    assert (bench.workdir / "file").read_text() == "made\n"


async def test_the_environment_is_clean_but_for_what_was_given(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_HOST_SECRET", "canary")
    result = await bench.run("env; tr '\\0' '\\n' < /proc/$PPID/environ; true", env={"GIVEN": "yes"})
    text = result.output.read_text()
    assert "GIVEN=yes" in text
    assert "canary" not in text


async def test_given_secrets_stay_neither_in_command_lines_nor_on_disk(bench: Bench) -> None:
    spec = bench.spec("echo up; sleep 30", env={"KEY": "se-cret-canary"}, stdin=b"prompt-canary")
    await bench.runner.start(spec)
    await bench.until(
        lambda: (bench.root / spec.id / "output").exists() and (bench.root / spec.id / "output").read_bytes() == b"up\n"
    )
    assert not [path for path in bench.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, check=True).stdout
    assert b"se-cret-canary" not in listed
    await bench.runner.stop(spec.id)


async def test_a_command_that_does_not_exist_is_exit_127(bench: Bench) -> None:
    result = await bench.run("no-such-command-anywhere")
    assert (result.ended, result.exit_code) == ("exited", 127)


async def test_a_killed_command_ends_as_a_shell_would_say_it(bench: Bench) -> None:
    result = await bench.run("kill -KILL $$")
    assert (result.ended, result.exit_code) == ("exited", 137)


@pytest.mark.parametrize(
    ("deadline", "command", "deadlines"),
    [
        ("start", "sleep 60", Deadlines(start_s=0.3, idle_s=30, total_s=30)),
        ("idle", "echo alive; sleep 60", Deadlines(start_s=30, idle_s=0.3, total_s=30)),
        ("total", "while :; do echo alive; sleep 0.05; done", Deadlines(start_s=30, idle_s=30, total_s=0.6)),
    ],
)
async def test_each_deadline_ends_a_hang_and_says_which(
    bench: Bench, deadline: str, command: str, deadlines: Deadlines
) -> None:
    result = await bench.run(command, deadlines=deadlines)
    assert (result.ended, result.deadline, result.exit_code) == ("timed_out", deadline, None)


async def test_a_watched_file_that_grows_is_a_sign_of_life(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, "bare")
    deadlines = Deadlines(start_s=1.0, idle_s=1.0, total_s=30)
    command = "for i in 1 2 3 4 5 6; do echo $i >> report; sleep 0.4; done"
    assert (await bench.run(command, deadlines=deadlines, watch=("report",))).ended == "exited"
    assert (await bench.run(command, deadlines=deadlines)).deadline == "start"


async def test_an_endless_printer_is_cut_head_and_tail_and_not_killed(bench: Bench) -> None:
    limits = SandboxLimits(output_bytes=100_000)
    result = await bench.run("echo FIRST; yes | head -c 1000000000; echo LAST", limits=limits)
    kept = result.output.read_bytes()
    assert result.exit_code == 0
    assert result.output_bytes == 1_000_000_000 + len("FIRST\nLAST\n")
    assert kept.startswith(b"FIRST\n")
    assert kept.endswith(b"LAST\n")
    assert b"bytes left out here" in kept
    assert len(kept) < 100_100


async def test_a_daemon_that_left_every_group_is_killed_with_the_run(bench: Bench) -> None:
    result = await bench.run(
        f"setsid sh -c 'setsid sh -c \"sleep {bench.number}\" & sleep {bench.number} & exit' & sleep 0.2; exit 0"
    )
    assert result.exit_code == 0
    assert alive_with(bench.number) == []


async def test_a_fork_bomb_is_held_and_then_gone(bench: Bench) -> None:
    limits = SandboxLimits(processes=40)
    command = f"for i in $(seq 200); do sleep {bench.number} & done; wait"
    result = await bench.run(command, limits=limits, deadlines=Deadlines(start_s=3, idle_s=3, total_s=3))
    assert result.exit_code == 137 or result.ended == "timed_out" or b"fork" in result.output.read_bytes()
    assert alive_with(bench.number) == []


async def test_memory_beyond_the_limit_ends_the_run(bench: Bench) -> None:
    limits = SandboxLimits(memory_bytes=80 << 20)
    command = "python3 -c 'import time; x = [bytearray(1 << 20) for _ in range(300)]; time.sleep(2); print(\"fits\")'"
    result = await bench.run(command, limits=limits)
    assert result.exit_code not in (0, None)
    assert b"fits" not in result.output.read_bytes()


async def test_a_file_larger_than_allowed_cannot_be_written(bench: Bench) -> None:
    result = await bench.run("head -c 3000000 /dev/zero > big", limits=SandboxLimits(file_bytes=1 << 20))
    assert result.exit_code != 0
    assert (bench.workdir / "big").stat().st_size <= 1 << 20


async def test_stop_kills_everything_and_says_stopped(bench: Bench) -> None:
    spec = bench.spec(f"(setsid sleep {bench.number} &); sleep {bench.number}")
    await bench.runner.start(spec)
    await bench.until(lambda: len(alive_with(bench.number)) >= 2)
    waiting = asyncio.create_task(bench.runner.wait(spec.id))
    await bench.runner.stop(spec.id)
    assert (await waiting).ended == "stopped"
    assert alive_with(bench.number) == []


async def test_stop_right_after_start_and_stop_of_nothing(bench: Bench) -> None:
    await bench.runner.stop("never-there")
    spec = bench.spec("sleep 60")
    await bench.runner.start(spec)
    await bench.runner.stop(spec.id)
    assert (await bench.runner.wait(spec.id)).ended == "stopped"


async def test_a_result_is_not_changed_by_a_late_stop(bench: Bench) -> None:
    spec = bench.spec("exit 4")
    await bench.runner.start(spec)
    await bench.runner.wait(spec.id)
    await bench.runner.stop(spec.id)
    assert (await bench.runner.wait(spec.id)).exit_code == 4


async def test_cancelling_a_wait_leaves_the_run_alone(bench: Bench) -> None:
    spec = bench.spec("sleep 0.4; echo done")
    await bench.runner.start(spec)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.runner.wait(spec.id), 0.15)
    assert (await bench.runner.wait(spec.id)).output.read_text() == "done\n"


async def test_discard_forgets_everything(bench: Bench) -> None:
    spec = bench.spec(f"sleep {bench.number}")
    await bench.runner.start(spec)
    await bench.runner.discard(spec.id)
    await bench.runner.discard(spec.id)
    assert list(bench.root.iterdir()) == []
    assert alive_with(bench.number) == []
    with pytest.raises(NotFound) as caught:
        await bench.runner.wait(spec.id)
    assert caught.value.code == "run_unknown"


async def test_reap_kills_what_is_ours_and_not_kept(bench: Bench) -> None:
    kept, lost, other = (bench.spec(f"sleep {bench.number}") for _ in range(3))
    stranger = bench.sibling(instance="somebody-else")
    await bench.runner.start(kept)
    await bench.runner.start(lost)
    await stranger.start(other)
    assert await bench.runner.reap(lambda run_id: run_id == kept.id) == (lost.id,)
    assert not bench.runner.is_known(lost.id)
    await bench.until(lambda: bench.runner.is_known(kept.id))
    assert await stranger.reap(lambda _run_id: False) == (other.id,)
    assert await bench.runner.reap(lambda _run_id: False) == (kept.id,)
    assert alive_with(bench.number) == []


async def test_bad_requests_are_refused_with_a_code(bench: Bench) -> None:
    for run_id in ("", "../x", "a/b", ".hidden", "x" * 300, "a\nb"):
        with pytest.raises(Refused) as caught:
            await bench.runner.start(bench.spec("true", id=run_id))
        assert caught.value.code == "run_id_invalid"
    with pytest.raises(Refused) as caught:
        await bench.runner.start(bench.spec("true", workdir=bench.workdir / "absent"))
    assert caught.value.code == "workdir_missing"
    with pytest.raises(Refused) as caught:
        await bench.runner.start(bench.spec("true", reads=(bench.workdir / "absent",)))
    assert caught.value.code == "mount_missing"
    with pytest.raises(Refused, match="an image") as caught:
        await bench.runner.start(bench.spec("true", image="somewhere"))
    assert caught.value.code == "agent_unusable"


async def test_many_runs_leave_no_process_and_no_descriptor_behind(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, KINDS[0].values[0])
    others = set(bench.zombies())
    before = len(os.listdir("/proc/self/fd"))
    began = time.perf_counter()
    for _ in range(5):
        specs = [bench.spec(f"exit {number % 7}") for number in range(20)]
        await asyncio.gather(*(bench.runner.start(spec) for spec in specs))
        groups = [group for spec in specs for group in bench.groups_of(spec.id)]
        results = await asyncio.gather(*(bench.runner.wait(spec.id) for spec in specs))
        assert [result.exit_code for result in results] == [number % 7 for number in range(20)]
        await asyncio.gather(*(bench.runner.discard(spec.id) for spec in specs))
        assert not [group for group in groups if group.exists()]
    print(f"100 runs in {time.perf_counter() - began:.2f} s")
    assert list(bench.root.iterdir()) == []
    assert alive_with(str(bench.root)) == []
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    for _ in range(100):  # a shim writes its result a moment before it ends
        await bench.runner.reap(lambda _run_id: False)
        if not set(bench.zombies()) - others:
            break
        await asyncio.sleep(0.01)
    assert not set(bench.zombies()) - others


async def test_what_one_run_costs(bench: Bench) -> None:
    """Only printed: figures depend on the machine."""
    began = time.perf_counter()
    for _ in range(5):
        subprocess.run(["sh", "-c", ":"], check=True)
    bare_s = (time.perf_counter() - began) / 5
    began = time.perf_counter()
    for _ in range(5):
        assert (await bench.run(":")).exit_code == 0
    print(f"one run {(time.perf_counter() - began) / 5 * 1000:.0f} ms, a bare subprocess {bare_s * 1000:.1f} ms")


def test_no_sandbox_is_said_loudly(tmp_path: Path) -> None:
    runner = ProcessRunner(tmp_path / "runs", instance="i", sandbox=NoSandbox(reason="bwrap is missing"))
    assert runner.isolation().startswith("NO SANDBOX (bwrap is missing)")
    assert "WITHOUT a sandbox" in runner.notice()
