"""Containers of a real engine, asked from the inside: what holds them, what they see, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.runners import Bench, benches
from tests.support.podman import AIRLOCK_IMAGE, IMAGE, Podman

from windlass.adapters.runners.container.detect import EngineFacts, NoEngine, detect
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.core.errors import Refused, Unavailable
from windlass.ports import Deadlines, Ending, Inlet, Mount, SandboxLimits

pytestmark = pytest.mark.needs("podman")


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches("container", tmp_path, request):
        yield made


def engine_of(bench: Bench) -> Podman:
    assert bench.podman is not None
    return bench.podman


# ------------------------------------------------------------------ what holds it


async def test_it_has_no_rights_and_no_way_to_get_any(bench: Bench) -> None:
    text = await bench.says(
        "cat /proc/self/status; id; cat /proc/1/status | sed 's/^/one /'; mount -t tmpfs x /mnt 2>&1 && echo MOUNTED;"
        "unshare -U true 2>/dev/null && echo NESTED; mknod /tmp/d b 8 0 2>/dev/null && echo NODE; true"
    )
    status = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    for which in ("", "one "):
        names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        assert {status[f"{which}{name}"] for name in names} == {"0" * 16}
        assert (status[f"{which}NoNewPrivs"], status[f"{which}Seccomp"]) == ("1", "2")
    assert "uid=1000(agent) gid=1000(agent) groups=1000(agent)" in text
    assert not {"MOUNTED", "NESTED", "NODE"} & set(text.split())


async def test_it_can_write_its_directory_and_memory_and_nothing_else(bench: Bench) -> None:
    text = await bench.says(
        "for d in / /bin /etc /usr /home/agent /proc /sys /dev; do (: > $d/x) 2>/dev/null && echo WROTE $d; done;"
        "for d in /tmp $HOME $TMPDIR .; do : > $d/x || echo CANNOT $d; done;"
        "printf '#!/bin/sh\\necho runs' > /tmp/tool; chmod +x /tmp/tool; /tmp/tool;"
        "for f in kernel/core_pattern vm/swappiness; do cat /proc/sys/$f > v; cat v > /proc/sys/$f && echo SET $f; done"
    )
    assert "runs" in text
    assert not [line for line in text.splitlines() if line.startswith(("WROTE", "CANNOT", "SET"))]


async def test_it_sees_nothing_of_the_machine(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    text = await bench.says(
        f"cat {secret}; ls -a {tmp_path}; ls /run /var/run /root /home; cat /proc/mounts; readlink /proc/self/ns/ipc;"
        "ls /proc | grep -c '^[0-9]'; exit 0"
    )
    assert os.readlink("/proc/self/ns/ipc") not in text
    assert "canary" not in text
    assert ".sock" not in text
    assert str(bench.root) not in text
    assert int(text.split()[-1]) < 10


async def test_its_limits_are_the_ones_that_were_asked_for(bench: Bench) -> None:
    limits = SandboxLimits(memory_bytes=100 << 20, processes=77, cpus=0.5, file_bytes=8 << 20, cpu_s=50)
    spec = bench.spec("ulimit -a; sleep 30", limits=limits)
    await bench.runner.start(spec)
    await bench.printed(spec, b"file locks")
    held = engine_of(bench).cli(
        "inspect",
        "--format",
        "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}} "
        "{{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}}",
        bench.containers()[0],
    )
    assert held.split() == [str(100 << 20), str(100 << 20), "77", "500000000", "none", "true"]
    told = {
        line.split("(")[0].strip(): line.split()[-1] for line in bench.runner.output(spec.id).read_text().splitlines()
    }
    assert told["core file size"] == "0"
    assert told["file size"] == str((8 << 20) // 512)
    assert told["cpu time"] == "50"
    assert int(told["open files"]) <= 16384
    assert told["max user processes"] != "unlimited"


async def test_an_engine_s_proxy_settings_stay_outside(bench: Bench) -> None:
    names = {line.partition("=")[0] for line in (await bench.says("env")).splitlines()}
    allowed = {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "TERM",
        "USER",
        "PWD",
        "HOSTNAME",
        "SHLVL",
        "container",
        "WINDLASS_RUN",
    }
    assert names <= allowed


async def test_secrets_are_in_no_label_and_no_file(bench: Bench) -> None:
    spec = bench.spec("echo up; sleep 30", env={"KEY": "se-cret-canary"}, stdin=b"prompt")
    await bench.runner.start(spec)
    await bench.printed(spec, b"up\n")
    assert "canary" not in engine_of(bench).cli("inspect", "--format", "{{.Config.Labels}}", bench.containers()[0])
    assert not [path for path in bench.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


async def test_what_holds_a_run_is_said_in_one_line(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.runner.start(spec)
    assert bench.runner.isolation(spec.id).startswith("podman ")
    assert bench.runner.isolation(spec.id).endswith("(container, network none)")
    result = await bench.runner.wait(spec.id)
    assert result.image_digest == "sha256:" + engine_of(bench).cli("inspect", "-f", "{{.Id}}", IMAGE).strip()
    assert result.bytes_out == 0


# ------------------------------------------------------------------ its files


async def test_a_read_only_run_writes_the_places_it_was_given(bench: Bench) -> None:
    (bench.workdir / "src").mkdir()
    (bench.workdir / "src" / "file").write_text("given")
    text = await bench.says(
        "cat src/file; (: > src/file); (: > new); rm -r src; echo found > out/it; echo deep > a/b/it; true",
        is_read_only=True,
        writes=("out", "a/b"),
    )
    assert text.startswith("given")
    assert (bench.workdir / "src" / "file").read_text() == "given"
    assert not (bench.workdir / "new").exists()
    assert (bench.workdir / "out" / "it").read_text() == "found\n"
    assert (bench.workdir / "a" / "b" / "it").read_text() == "deep\n"


async def test_a_writable_place_that_leads_out_is_refused(bench: Bench, tmp_path: Path) -> None:
    (bench.workdir / "link").symlink_to(tmp_path)
    (bench.workdir / "file").write_text("")
    for name in ("link", "link/x", "../x", "/etc", "file", ""):
        with pytest.raises(Refused) as caught:
            await bench.run("true", is_read_only=True, writes=(name,))
        assert caught.value.code == "workdir_missing"
    assert not (tmp_path / "x").exists()
    assert bench.containers() == []


async def test_a_link_put_in_the_place_of_the_work_directory_is_refused(bench: Bench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    bench.workdir.rmdir()
    bench.workdir.symlink_to(elsewhere)
    with pytest.raises(Refused) as caught:
        await bench.run("echo changed > file")
    assert caught.value.code == "workdir_missing"
    assert (elsewhere / "file").read_text() == "mine"
    assert (elsewhere / "file").stat().st_uid == 0


async def test_links_in_the_work_directory_are_never_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (bench.workdir / "to-folder").symlink_to(outside)
    (bench.workdir / "to-file").symlink_to(outside / "file")
    (bench.workdir / "hard").hardlink_to(outside / "file")
    assert (await bench.run("echo x > to-file; echo x > hard; true")).exit_code == 0
    assert (outside / "file").read_text() == "mine"
    assert (outside.stat().st_uid, (outside / "file").stat().st_uid) == (0, 0)


async def test_the_work_directory_elsewhere_mounts_and_the_image_s_own_command(bench: Bench, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "settings").write_text("auto")
    engine_of(bench).cli(
        *("import", "-q", "--change", 'ENTRYPOINT ["/bin/sh"]', "--change"),
        *(
            'CMD ["-c", "cd /home/agent/workspace && cat ../settings/settings && echo did > file; echo $TOKEN; id -u"]',
            "-",
        ),
        "localhost/windlass-own:1",
        stdin=_layer(engine_of(bench)),
    )
    text = await bench.says(
        "",
        argv=(),
        image="localhost/windlass-own:1",
        workdir_inside="/home/agent/workspace",
        mounts=(Mount(source=profile, target="/home/agent/settings"),),
        env={"TOKEN": "given"},
    )
    assert text.split() == ["autogiven", "1000"]
    assert (bench.workdir / "file").read_text() == "did\n"


def _layer(podman: Podman) -> bytes:
    name = podman.cli("create", IMAGE, "true").strip()
    path = podman.home / "own.tar"
    podman.cli("export", "-o", str(path), name)
    podman.cli("rm", name)
    return path.read_bytes()


async def test_a_mount_that_is_not_there_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    for source in (tmp_path / "absent", tmp_path / "link"):
        with pytest.raises(Refused) as caught:
            await bench.run("true", mounts=(Mount(source=source, target="/mnt/x"),))
        assert caught.value.code == "mount_missing"
    assert not (tmp_path / "absent").exists()


async def test_the_root_of_an_image_is_writable_only_where_it_is_asked_for(bench: Bench) -> None:
    assert (await bench.run("cd /home && mkdir x", has_writable_root=True)).exit_code != 0, "not the agent's"
    assert "Read-only" not in await bench.says("cd /home && mkdir x", has_writable_root=True)
    assert "Read-only" in await bench.says("cd /home && mkdir x")


# ------------------------------------------------------------------ its network


async def test_inlets_are_the_only_way_out(bench: Bench, tmp_path: Path) -> None:
    engine_of(bench).need(AIRLOCK_IMAGE)
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"the answer to " + asked[-1])
        writer.close()

    folder = tmp_path / "sockets"
    folder.mkdir(mode=0o700)
    server = await asyncio.start_unix_server(answer, str(folder / "gateway.sock"))
    (folder / "gateway.sock").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        spec = bench.spec(
            "echo question | nc 127.0.0.1 8123; echo more | nc localhost 8124;"
            f"nc -w 1 127.0.0.1 {port} && echo REACHED;"
            "ls /inlets 2>&1; ip -o link | cut -d: -f2; true",
            inlets=(Inlet(port=8123, socket=folder / "gateway.sock"), Inlet(port=8124, socket=folder / "gateway.sock")),
        )
        assert await bench.runner.start(spec)
        assert bench.runner.isolation(spec.id).endswith("(container, network only through inlets)")
        result = await bench.runner.wait(spec.id)
    server.close()
    text = result.output.read_text()
    assert text.startswith("the answer to question\nthe answer to more\n")
    assert "REACHED" not in text
    assert "No such file" in text
    assert text.split()[-1] == "lo"
    assert result.bytes_out is None, "nobody counted"
    assert bench.containers() == []


async def test_an_inlet_to_nothing_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine_of(bench).need(AIRLOCK_IMAGE)
    for path in (tmp_path / "absent.sock", tmp_path / "file"):
        with pytest.raises(Refused) as caught:
            await bench.run("true", inlets=(Inlet(port=8123, socket=path),))
        assert caught.value.code == "inlet_unusable"
    assert bench.containers() == []


async def test_a_network_is_refused_unless_it_is_allowed(bench: Bench) -> None:
    with pytest.raises(Refused) as caught:
        await bench.run("true", needs_network=True)
    assert caught.value.code == "open_network"
    with pytest.raises(Refused) as caught:
        await bench.run("true", egress=("example.org",))
    assert caught.value.code == "no_egress"
    open_runner = bench.another(allows_open_network=True)
    spec = bench.spec(
        "ip -o link | cut -d: -f2; ping -c 1 -W 1 192.0.2.1 > /dev/null 2>&1; sleep 0.6", needs_network=True
    )
    await open_runner.start(spec)
    result = await open_runner.wait(spec.id)
    assert "eth0" in result.output.read_text()
    assert result.bytes_out is not None


async def test_use_is_counted_where_the_engine_places_containers_itself(bench: Bench) -> None:
    """As with control groups that systemd makes: the container's own group is looked at while it lives."""
    burn = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done"
    spec = bench.spec(f"x=$(head -c 20000000 /dev/zero | tr '\\0' x); {burn}; sleep 0.6")
    runner = bench.runner
    assert isinstance(runner, ContainerRunner)
    runner._engine._makes_groups = False
    await runner.start(spec)
    result = await runner.wait(spec.id)
    assert result.cpu_s > 0.05
    assert 20_000_000 < result.peak_memory_bytes < 200_000_000


# ------------------------------------------------------------------ its end


async def test_a_run_that_says_it_is_over_is_ended_after_its_grace(bench: Bench) -> None:
    ending = Ending(file="report", pattern="^DONE$", grace_s=0.5)
    result = await bench.run(
        f"echo DONE > report; echo more >> report; sleep 0.5; echo DONE >> report; sleep {bench.number}", ending=ending
    )
    assert (result.ended, result.exit_code) == ("ending", None)
    own_end = await bench.run("echo DONE > report; exit 3", ending=Ending(file="report", pattern="^DONE$", grace_s=30))
    assert (own_end.ended, own_end.exit_code) == ("exited", 3)


async def test_the_file_that_ends_a_run_may_be_anything(bench: Bench) -> None:
    ending = Ending(file="report", pattern="^DONE$", grace_s=0.0)
    for command in ("mkfifo report", "ln -s /etc/passwd report", "mkdir report", "ln -s report report"):
        assert (await bench.run(f"rm -rf report; {command}; sleep 0.6; exit 4", ending=ending)).exit_code == 4


async def test_a_start_that_hangs_is_tried_again(bench: Bench) -> None:
    deadlines = Deadlines(start_s=0.6, idle_s=20, total_s=20)
    command = "echo try >> tries; [ $(wc -l < tries) -gt 1 ] || sleep 60; echo works"
    result = await bench.run(command, deadlines=deadlines, start_tries=2)
    assert (result.ended, result.exit_code) == ("exited", 0)
    assert result.output.read_text() == "works\n"
    (bench.workdir / "tries").unlink()
    hopeless = await bench.run("echo try >> tries; sleep 60", deadlines=deadlines, start_tries=3)
    assert (hopeless.ended, hopeless.deadline) == ("timed_out", "start")
    assert (bench.workdir / "tries").read_text() == "try\n" * 3


async def test_a_chatterer_is_judged_by_its_file_alone(bench: Bench) -> None:
    deadlines = Deadlines(start_s=1.0, idle_s=1.0, total_s=20)
    chatter = "while :; do echo noise; sleep 0.1; done &"
    silent = await bench.run(
        f"{chatter} : > report; sleep 30", deadlines=deadlines, watch=("report",), is_watch_only=True
    )
    assert (silent.ended, silent.deadline) == ("timed_out", "start")
    begun = await bench.run(
        f"{chatter} echo x > report; sleep 30", deadlines=deadlines, watch=("report",), is_watch_only=True
    )
    assert (begun.ended, begun.deadline) == ("timed_out", "idle")


async def test_a_program_that_the_image_has_not_is_exit_127(bench: Bench) -> None:
    result = await bench.run("", argv=("no-such-program", "x"))
    assert (result.ended, result.exit_code) == ("exited", 127)
    assert b"no-such-program" in result.output.read_bytes()


# ------------------------------------------------------------------ images, engines, strangers


async def test_an_image_that_is_not_here_is_refused_and_never_fetched(bench: Bench) -> None:
    digest = "localhost/absent@sha256:" + "0" * 64
    for image in ("localhost/absent:1", "absent", digest):
        with pytest.raises(Refused) as caught:
            await bench.run("true", image=image)
        assert caught.value.code == "image_missing"
        assert caught.value.hint
    nameless = bench.another(image="")
    with pytest.raises(Refused) as caught:
        await nameless.start(bench.spec("true"))
    assert caught.value.code == "image_missing"
    assert list(bench.root.iterdir()) == []


async def test_containers_of_others_are_never_touched(bench: Bench) -> None:
    podman = engine_of(bench)
    spec = bench.spec("true")
    name = f"windlass-{bench.instance}-{spec.id}"
    podman.cli("create", "--name", name, IMAGE, "true")
    other_root = f"windlass-{bench.instance}-other"
    labels = ("--label", f"dev.windlass.instance={bench.instance}", "--label", "dev.windlass.root=another")
    podman.cli("create", "--name", other_root, *labels, "--label", "dev.windlass.run=other", IMAGE, "true")
    try:
        with pytest.raises(Refused) as caught:
            await bench.runner.start(spec)
        assert caught.value.code == "container_foreign"
        assert await bench.runner.reap(lambda _run_id: False) == ()
        assert set(podman.names()) >= {name, other_root}
    finally:
        podman.cli("rm", "-f", name, other_root)


async def test_leftovers_without_a_directory_are_reaped(bench: Bench) -> None:
    runner = bench.runner
    assert isinstance(runner, ContainerRunner)
    spec = bench.spec(f"sleep {bench.number}")
    await runner.start(spec)
    await runner.close()  # as a process that ends; and somebody cleared its directory away
    for path in sorted((bench.root / spec.id).iterdir()):
        path.unlink()
    (bench.root / spec.id).rmdir()
    assert await bench.another().reap(lambda run_id: run_id == spec.id) == ()
    assert bench.containers() != []
    assert bench.groups(spec.id) != []
    assert await bench.another().reap(lambda _run_id: False) == (spec.id,)
    assert bench.containers() == []
    assert bench.groups(spec.id) == []


def test_an_engine_is_asked_and_not_guessed(tmp_path: Path, podman: Podman) -> None:
    found = detect(("tcp://127.0.0.1:2375", f"unix://{tmp_path}/absent.sock", podman.address))
    assert isinstance(found, EngineFacts)
    assert (found.name, found.address, found.is_rootless) == ("podman", podman.address, False)
    absent = detect(("tcp://127.0.0.1:2375",))
    assert isinstance(absent, NoEngine)
    assert "only Unix sockets" in absent.reason
    assert isinstance(detect(()), NoEngine)


async def test_without_an_engine_a_run_is_refused(bench: Bench, tmp_path: Path) -> None:
    runner = ContainerRunner(tmp_path / "other", instance="none", addresses=[f"unix://{tmp_path}/absent.sock"])
    assert runner.isolation().startswith("NO CONTAINER ENGINE")
    with pytest.raises(Refused) as caught:
        await runner.start(bench.spec("true"))
    assert caught.value.code == "no_engine"
    assert await runner.reap(lambda _run_id: False) == ()
    await runner.stop("never-there")
    await runner.close()


async def test_an_engine_that_went_away_is_waited_for(bench: Bench) -> None:
    podman = engine_of(bench)
    spec = bench.spec("echo one; until [ -e go ]; do sleep 0.1; done; echo two; exit 5")
    await bench.runner.start(spec)
    await bench.printed(spec, b"one\n")
    podman.stop()
    try:
        with pytest.raises(Unavailable) as caught:
            await bench.runner.start(bench.spec("true"))
        assert caught.value.code == "engine_away"
    finally:
        podman.start()
    (bench.workdir / "go").touch()
    result = await bench.runner.wait(spec.id)
    assert (result.ended, result.exit_code) == ("exited", 5)
    assert result.output.read_text() == "one\ntwo\n"
