"""What every runner must do, whatever it runs things in: processes on this machine, or containers of a real engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.adapters.runners.runs import alive_with
from tests.contracts.runners import KINDS, Bench, benches
from tests.support.podman import AIRLOCK_IMAGE

from windlass.core.errors import NotFound, Refused
from windlass.ports import Deadlines, Inlet, SandboxLimits


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches(request.param, tmp_path, request):
        yield made


async def test_a_run_gives_output_exit_code_and_what_it_used(bench: Bench) -> None:
    burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    result = await bench.run(f"cat; echo out; echo err >&2; {burn}; exit 3", stdin=b"in\n")
    assert (result.ended, result.exit_code, result.deadline) == ("exited", 3, "")
    assert result.output.read_text() == "in\nout\nerr\n"
    assert result.output_bytes == len("in\nout\nerr\n")
    assert result.cpu_s > 0
    assert result.peak_memory_bytes > 100_000
    assert not result.is_out_of_memory


async def test_the_work_directory_is_where_the_command_stands_and_writes(bench: Bench) -> None:
    (bench.workdir / "given").write_text("given\n")
    result = await bench.run("pwd; cat given; echo more >> given; echo made > file")
    assert result.output.read_text() == f"{bench.workdir}\ngiven\n"
    assert (bench.workdir / "file").read_text() == "made\n"
    assert (bench.workdir / "given").read_text() == "given\nmore\n"


async def test_the_environment_is_clean_but_for_what_was_given(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_HOST_SECRET", "canary")
    text = await bench.says("env; tr '\\0' '\\n' < /proc/1/environ; id -u", env={"GIVEN": "yes"})
    assert "GIVEN=yes" in text
    assert "canary" not in text
    assert text.splitlines()[-1] == "1000"


async def test_there_is_no_network_but_loopback(bench: Bench) -> None:
    assert (await bench.says("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")).split() == ["lo"]


async def test_given_secrets_are_neither_on_disk_nor_in_command_lines(bench: Bench) -> None:
    spec = bench.spec("echo up; sleep 30", env={"KEY": "se-cret-canary"})
    await bench.runner.start(spec)
    await bench.printed(spec, b"up\n")
    assert not [path for path in bench.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert alive_with("se-cret-canary") == []


async def test_a_command_that_does_not_exist_is_exit_127(bench: Bench) -> None:
    result = await bench.run("no-such-command-anywhere")
    assert (result.ended, result.exit_code) == ("exited", 127)
    assert b"no-such-command-anywhere" in result.output.read_bytes()


async def test_a_killed_command_ends_as_a_shell_would_say_it(bench: Bench) -> None:
    result = await bench.run("kill -KILL $$")
    assert (result.ended, result.exit_code) == ("exited", 137)
    assert not result.is_out_of_memory


@pytest.mark.parametrize(
    ("deadline", "command", "deadlines"),
    [
        ("start", "sleep 60", Deadlines(start_s=0.4, idle_s=30, total_s=30)),
        ("idle", "echo alive; sleep 60", Deadlines(start_s=30, idle_s=0.4, total_s=30)),
        ("total", "while :; do echo alive; sleep 0.05; done", Deadlines(start_s=30, idle_s=30, total_s=0.8)),
        ("total", "trap '' TERM INT HUP; echo deaf; sleep 60", Deadlines(start_s=30, idle_s=30, total_s=0.8)),
    ],
)
async def test_each_deadline_ends_a_hang_and_says_which(
    bench: Bench, deadline: str, command: str, deadlines: Deadlines
) -> None:
    result = await bench.run(command, deadlines=deadlines)
    assert (result.ended, result.deadline, result.exit_code) == ("timed_out", deadline, None)


async def test_a_watched_file_that_grows_is_a_sign_of_life(bench: Bench) -> None:
    deadlines = Deadlines(start_s=1.2, idle_s=1.2, total_s=30)
    command = "for i in 1 2 3 4 5; do echo $i >> report; sleep 0.5; done"
    assert (await bench.run(command, deadlines=deadlines, watch=("report",))).ended == "exited"


async def test_a_flood_is_cut_head_and_tail_and_not_killed(bench: Bench) -> None:
    limits = SandboxLimits(output_bytes=100_000)
    result = await bench.run("echo FIRST; yes | head -c 3000000; echo LAST", limits=limits)
    kept = result.output.read_bytes()
    assert result.exit_code == 0
    assert result.output_bytes == 3_000_000 + len("FIRST\nLAST\n")
    assert kept.startswith(b"FIRST\n")
    assert kept.endswith(b"LAST\n")
    assert b"bytes left out here" in kept
    assert len(kept) < 100_100


async def test_a_daemon_is_killed_with_the_run(bench: Bench) -> None:
    result = await bench.run(f"setsid sh -c 'sleep {bench.number} & sleep {bench.number}' & sleep 0.2; exit 0")
    assert result.exit_code == 0
    await bench.until(lambda: alive_with(bench.number) == [])


async def test_a_fork_bomb_is_held_and_then_gone(bench: Bench) -> None:
    limits = SandboxLimits(processes=40)
    command = f"for i in $(seq 200); do sleep {bench.number} & done; wait"
    await bench.run(command, limits=limits, deadlines=Deadlines(start_s=2, idle_s=2, total_s=2))
    await bench.until(lambda: alive_with(bench.number) == [])


async def test_memory_beyond_the_limit_ends_the_run(bench: Bench) -> None:
    limits = SandboxLimits(memory_bytes=80 << 20)
    result = await bench.run('x=aaaaaaaa; while :; do x="$x$x"; done; echo fits', limits=limits)
    assert result.exit_code not in (0, None)
    assert b"fits" not in result.output.read_bytes()
    if bench.kind == "container":
        assert result.is_out_of_memory


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
    await bench.until(lambda: alive_with(bench.number) == [])


async def test_stop_by_another_process_of_the_instance(bench: Bench) -> None:
    spec = bench.spec(f"sleep {bench.number}")
    await bench.runner.start(spec)
    await bench.another().stop(spec.id)
    assert (await bench.runner.wait(spec.id)).ended == "stopped"


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
    spec = bench.spec("sleep 0.6; echo done")
    await bench.runner.start(spec)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.runner.wait(spec.id), 0.15)
    assert (await bench.runner.wait(spec.id)).output.read_text() == "done\n"


async def test_an_id_is_started_once_however_many_try(bench: Bench) -> None:
    spec = bench.spec("echo once >> count; sleep 0.2")
    others = [bench.another() for _ in range(3)]
    said = await asyncio.gather(*(runner.start(spec) for runner in (bench.runner, *others)))
    assert sorted(said) == [False] * 3 + [True]
    assert {(await runner.wait(spec.id)).exit_code for runner in others} == {0}
    assert not await bench.runner.start(spec)
    assert (bench.workdir / "count").read_text() == "once\n"


async def test_a_run_that_ended_is_known_until_it_is_discarded(bench: Bench) -> None:
    spec = bench.spec("exit 6")
    assert not bench.runner.is_known(spec.id)
    await bench.runner.start(spec)
    await bench.runner.wait(spec.id)
    later = bench.another()
    assert later.is_known(spec.id)
    assert not await later.start(spec)
    assert (await later.wait(spec.id)).exit_code == 6
    await later.discard(spec.id)
    await later.discard(spec.id)
    assert not bench.runner.is_known(spec.id)
    assert list(bench.root.iterdir()) == []
    with pytest.raises(NotFound) as caught:
        await bench.runner.wait(spec.id)
    assert caught.value.code == "run_unknown"


async def test_discard_kills_what_runs(bench: Bench) -> None:
    spec = bench.spec(f"sleep {bench.number}")
    await bench.runner.start(spec)
    await bench.runner.discard(spec.id)
    assert list(bench.root.iterdir()) == []
    await bench.until(lambda: alive_with(bench.number) == [])


async def test_reap_discards_what_is_ours_and_unwanted(bench: Bench) -> None:
    kept, lost, other = (bench.spec(f"sleep {bench.number}") for _ in range(3))
    stranger = bench.another(instance=f"{bench.instance}-else")
    await bench.runner.start(kept)
    await bench.runner.start(lost)
    await stranger.start(other)
    assert await bench.runner.reap(lambda run_id: run_id == kept.id) == (lost.id,)
    assert not bench.runner.is_known(lost.id)
    await bench.until(lambda: bench.runner.is_known(kept.id))
    assert await stranger.reap(lambda _run_id: False) == (other.id,)
    assert await bench.runner.reap(lambda _run_id: False) == (kept.id,)
    await bench.until(lambda: alive_with(bench.number) == [])


async def test_reap_removes_what_a_start_left_that_was_killed_before_it_said_whose_run_it_is(bench: Bench) -> None:
    left, wanted, young = (bench.root / name for name in ("left", "wanted", "young"))
    for place in (left, wanted, young):
        place.mkdir()
        for name in ("alive", "owner.json.new", "stop", "result.json"):
            (place / name).touch()
    (bench.root / "a file").touch()
    for place in (left, wanted):
        os.utime(place, (0, 0))
    assert await bench.runner.reap(lambda run_id: run_id == "wanted") == ()
    assert not left.exists()
    assert wanted.exists()
    assert young.exists()


async def test_reap_finishes_a_removal_that_was_killed(bench: Bench) -> None:
    (bench.root / ".gone-1-2" / "inside").mkdir(parents=True)
    assert await bench.runner.reap(lambda _run_id: True) == ()
    assert list(bench.root.iterdir()) == []


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


async def test_what_may_be_read_is_at_its_own_path_and_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    extra = tmp_path / "extra dir"
    extra.mkdir()
    (extra / "data").write_text("shared")
    text = await bench.says(f"cat '{extra}/data'; : > '{extra}/new'", reads=(extra,))
    assert text.startswith("shared")
    assert sorted(path.name for path in extra.iterdir()) == ["data"]


async def test_a_read_only_run_writes_only_the_places_it_was_given(bench: Bench) -> None:
    (bench.workdir / "file").write_text("given")
    (bench.workdir / "out").mkdir()
    text = await bench.says("cat file; (: > file); (: > new); echo found > out/it", is_read_only=True, writes=("out",))
    assert text.startswith("given")
    assert (bench.workdir / "file").read_text() == "given"
    assert not (bench.workdir / "new").exists()
    assert (bench.workdir / "out" / "it").read_text() == "found\n"


# By what there is: a process has the machine's Python, the image has netcat.
ASK = """
program='import socket; s = socket.create_connection(("127.0.0.1", 8123)); s.sendall(b"question\\n"); print(s.recv(99))'
python3 -c "$program" 2>/dev/null || echo question | nc 127.0.0.1 8123
"""


async def test_an_inlet_is_a_port_on_loopback_that_leads_to_a_socket_outside(bench: Bench, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"answer to " + await reader.readline())
        writer.close()

    if bench.podman is not None:
        bench.podman.need(AIRLOCK_IMAGE)
    server = await asyncio.start_unix_server(answer, str(tmp_path / "gateway.sock"))
    text = await bench.says(ASK, inlets=(Inlet(port=8123, socket=tmp_path / "gateway.sock"),))
    server.close()
    assert "answer to question" in text
    with pytest.raises(Refused) as caught:
        await bench.run("true", inlets=(Inlet(port=8123, socket=tmp_path / "absent.sock"),))
    assert caught.value.code == "inlet_unusable"


async def test_many_runs_at_once_leave_nothing_behind(bench: Bench) -> None:
    specs = [bench.spec(f"exit {number % 7}") for number in range(8)]
    await asyncio.gather(*(bench.runner.start(spec) for spec in specs))
    results = await asyncio.gather(*(bench.runner.wait(spec.id) for spec in specs))
    assert [result.exit_code for result in results] == [number % 7 for number in range(8)]
    before = len(os.listdir("/proc/self/fd"))
    await asyncio.gather(*(bench.runner.discard(spec.id) for spec in specs))
    assert list(bench.root.iterdir()) == []
    assert bench.containers() == []
    assert len(os.listdir("/proc/self/fd")) <= before
