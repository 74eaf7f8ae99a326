"""The gateway's own life: started once, found again, killed, started anew, and gone when nobody needs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from windlass.adapters.gateway import GatewayOptions, LocalGateway
from windlass.adapters.gateway import local as local_module
from windlass.adapters.gateway.places import places_of
from windlass.core.errors import Refused, Unavailable
from windlass.ports import Grant

from .desk import KEY, Desk, Run, desk_of, until
from .provider import Answer, Heard, Provider, events, message, provider, whole

LIMIT = 5.0


@pytest.fixture
def here() -> Iterator[Provider]:
    with provider() as found:
        found.answer = lambda heard: events(*message())
        yield found


@pytest.fixture
def desk(tmp_path: Path, here: Provider) -> Iterator[Desk]:
    with desk_of(tmp_path / "gateway", here) as found:
        yield found


def next_life(desk: Desk, **changes: Any) -> LocalGateway:
    """Windlass was killed, and here is the next one."""
    line = desk.gateway._line
    if line is not None:
        line.socket.close()
    desk.gateway = LocalGateway(desk.root, changes.get("options"), changes.get("keys", {"agents.a.KEY": KEY}))
    return desk.gateway


def kill(desk: Desk) -> None:
    os.kill(desk.pid, signal.SIGKILL)
    until(lambda: not desk.gateway._places.is_alive())


def test_it_starts_with_the_first_run_and_ends_with_the_last_windlass(desk: Desk) -> None:
    assert not desk.gateway._places.is_alive(), "nobody needs it yet"
    run = desk.run()
    assert desk.gateway._places.is_alive()
    desk.gateway.close(run.name)
    desk.gateway.stop()
    assert not desk.gateway._places.is_alive()
    assert not desk.gateway._places.door.exists()
    assert not desk.gateway._places.control.exists()


def test_a_stop_leaves_it_to_the_runs_that_are_open(desk: Desk) -> None:
    run, pid = desk.run(limit_usd=LIMIT), desk.pid
    desk.gateway.stop()
    assert run.post().status_code == 200, "the agent goes on"
    gateway = next_life(desk)
    gateway.tend()
    assert desk.pid == pid, "found again"
    gateway.close(run.name)
    gateway.stop()
    assert not gateway._places.is_alive()


def test_it_ends_by_itself_when_windlass_is_gone_and_nothing_is_open(desk: Desk) -> None:
    run = desk.run()
    desk.gateway.close(run.name)
    assert desk.gateway._line is not None
    desk.gateway._line.socket.close()
    until(lambda: not desk.gateway._places.is_alive())


def test_it_ends_by_itself_when_nobody_comes_back_for_long(tmp_path: Path, here: Provider) -> None:
    with desk_of(tmp_path / "gateway", here, GatewayOptions(silent_s=0.5)) as desk:
        desk.run()
        assert desk.gateway._line is not None
        desk.gateway._line.socket.close()
        until(lambda: not desk.gateway._places.is_alive())


def test_it_ends_by_itself_when_its_files_are_gone(desk: Desk) -> None:
    desk.run()
    pid = desk.pid
    shutil.rmtree(desk.root)
    until(lambda: not Path(f"/proc/{pid}/fd").exists() or not list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_killed_gateway_forgets_nothing_and_doubles_nothing(desk: Desk) -> None:
    """Killed with one call settled and one in flight; the one in flight keeps what was held for it."""
    run = desk.run(limit_usd=LIMIT)
    assert run.post().status_code == 200
    asked, go = threading.Event(), threading.Event()

    def stuck(heard: Heard) -> Answer:
        asked.set()
        go.wait(60)
        return whole({})

    desk.provider.answer = stuck
    with ThreadPoolExecutor(1) as threads:
        lost = threads.submit(run.post)
        assert asked.wait(60)
        spent = run.usage
        kill(desk)
        go.set()
        with pytest.raises(httpx.HTTPError):
            lost.result()
    assert run.usage == spent
    desk.gateway.tend()
    desk.provider.answer = lambda heard: events(*message())
    assert run.post().status_code == 200, "the same key at the same door"
    assert spent is not None
    assert run.usage is not None
    assert Decimal(run.usage.cost_usd or 0) == Decimal(spent.cost_usd or 0) + Decimal("0.006")
    held = [json.loads(line).get("hold") for line in run.lines if "hold" in line]
    assert held == [1, 2, 3]


def test_a_gateway_killed_while_windlass_was_dead_gets_its_keys_again(desk: Desk) -> None:
    run = desk.run()
    kill(desk)
    gateway = next_life(desk)
    assert run.usage is None, "known without a gateway"
    gateway.tend()
    assert run.post().status_code == 200
    assert desk.provider.heard[-1].headers["x-api-key"] == KEY


def test_a_gateway_without_its_keys_says_so(desk: Desk) -> None:
    run = desk.run(key="sk-of-no-setting-123456")
    kill(desk)
    desk.gateway.tend()
    assert run.post().status_code == 200, "who admitted the run knows it"
    kill(desk)
    next_life(desk).tend()
    answer = run.post()
    assert answer.status_code == 503
    assert "waits for its keys" in answer.text
    assert answer.headers["retry-after"] == "1"
    desk.gateway.admit(run.name, run.grant)
    assert run.post().status_code == 200


def test_a_changed_key_is_used_from_the_next_life_on(desk: Desk) -> None:
    run = desk.run()
    kill(desk)
    next_life(desk, keys={"agents.a.KEY": "sk-rotated-0123456789"}).tend()
    assert run.post().status_code == 200
    assert desk.provider.heard[-1].headers["x-api-key"] == "sk-rotated-0123456789"


def test_other_settings_take_effect_with_the_next_windlass(desk: Desk) -> None:
    run, pid = desk.run(limit_usd=LIMIT), desk.pid
    gateway = next_life(desk, options=GatewayOptions(output_tokens=321))
    gateway.tend()
    assert desk.pid != pid
    with run.client() as client:
        client.post(run.path, json={"model": "claude-sonnet-4-5"})
    assert desk.provider.heard[-1].document["max_tokens"] == 321


def test_a_stopped_run_stays_closed_when_no_gateway_lives(desk: Desk) -> None:
    run = desk.run()
    kill(desk)
    gateway = next_life(desk)
    gateway.close(run.name)
    gateway.tend()
    assert not gateway._places.is_alive(), "nothing is open"
    desk.run()
    assert run.post().status_code == 401
    gateway.forget(run.name)
    assert desk.gateway.refusal(run.name) is None


def test_runs_that_nobody_knows_are_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, known = desk.run(), desk.run(), desk.run()
    for run in (old, known):
        path = desk.root / "runs" / f"{run.name}.jsonl"
        os.utime(path, (time.time() - 10_000, time.time() - 10_000))
    desk.gateway.tend(lambda name: name == known.name)
    assert [desk.gateway.refusal(run.name) for run in (old, new, known)] == [None, "", ""]
    assert old.post().status_code == 401


def test_many_at_once_start_one(tmp_path: Path, here: Provider) -> None:
    with desk_of(tmp_path / "gateway", here) as desk:
        lives = [LocalGateway(desk.root, None, {"agents.a.KEY": KEY}) for _ in range(6)]
        grant = Grant(protocol="anthropic", upstream=here.url, key=KEY)
        with ThreadPoolExecutor(6) as threads:
            admissions = list(threads.map(lambda n: lives[n].admit("same", grant), range(6)))
        assert len(set(map(str, admissions))) == 1
        assert desk.pid > 0
        for life in lives:
            life.stop()
        assert desk.gateway._places.is_alive(), "a run is open"


def test_windlass_killed_leaves_the_gateway_to_its_agents(tmp_path: Path, here: Provider) -> None:
    """A Windlass of its own process, killed by SIGKILL with its whole group."""
    root = tmp_path / "gateway"
    script = (
        "import sys, time; from pathlib import Path; from windlass.adapters.gateway import LocalGateway\n"
        "from windlass.ports import Grant\n"
        "g = LocalGateway(Path(sys.argv[1]), None, {'agents.a.KEY': sys.argv[3]})\n"
        "g.admit('r1', Grant(protocol='anthropic', upstream=sys.argv[2], key=sys.argv[3], cost_limit_usd=5))\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", script, str(root), here.url, KEY]
    windlass = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert windlass.stdout is not None
    assert windlass.stdout.readline() == b"ready\n"
    os.killpg(windlass.pid, signal.SIGKILL)
    windlass.wait()
    windlass.stdout.close()
    with desk_of(root, here) as desk:
        run = Run(desk, "r1", "anthropic", Grant(protocol="anthropic", upstream=here.url, key=KEY))
        assert run.post().status_code == 200
        assert run.usage is not None
        assert run.usage.cost_usd == "0.006"


def test_nothing_of_the_real_key_is_on_disk_or_to_be_read_of_the_process(desk: Desk) -> None:
    run = desk.run(limit_usd=LIMIT)
    assert run.post().status_code == 200
    for path in desk.root.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
            assert run.admission.key.encode() not in path.read_bytes(), path
    process = Path(f"/proc/{desk.pid}")
    assert KEY.encode() not in (process / "cmdline").read_bytes()
    if os.geteuid() == 0:  # only root may still look: to everybody else it is closed
        assert KEY.encode() not in (process / "environ").read_bytes()
        assert process.joinpath("environ").stat().st_uid == 0
    core = next(line for line in (process / "limits").read_text().splitlines() if "core file" in line)
    assert core.split()[4:6] == ["0", "0"]


def test_only_the_door_is_open_to_others(desk: Desk) -> None:
    desk.run()
    places = desk.gateway._places
    modes = {
        name: stat.S_IMODE(path.stat().st_mode)
        for name, path in {
            "root": places.root,
            "runs": places.runs,
            "control": places.control,
            "secret": places.secret,
            "folder": places.door.parent,
            "door": places.door,
            "log": places.log,
        }.items()
    }
    expected = {"root": 0o700, "runs": 0o700, "control": 0o600, "secret": 0o600, "folder": 0o755, "door": 0o666}
    assert modes == {**expected, "log": 0o600}
    assert [path.name for path in places.door.parent.iterdir()] == ["model"]


def test_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path, here: Provider) -> None:
    root = tmp_path / ("x" * 100) / "gateway"
    with desk_of(root, here) as desk:
        run = desk.run()
        assert len(str(run.admission.inlet.socket)) < 108
        assert run.post().status_code == 200
        sockets = places_of(root).sockets
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        desk.gateway.forget(run.name)
        desk.gateway.stop()
        assert not sockets.exists()


def test_a_place_that_others_can_enter_is_refused(tmp_path: Path, here: Provider) -> None:
    (tmp_path / "gateway").mkdir(mode=0o755)
    gateway = LocalGateway(tmp_path / "gateway")
    with pytest.raises(Refused, match="is not private"):
        gateway.admit("r1", Grant(protocol="anthropic", upstream=here.url, key=KEY))


def test_a_gateway_that_cannot_start_is_told_with_its_last_words(
    tmp_path: Path, here: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_module, "BOOT", "import sys; sys.stdin.read(); sys.exit('no luck today')")
    gateway = LocalGateway(tmp_path / "gateway")
    with pytest.raises(Unavailable, match="no luck today") as error:
        gateway.admit("r1", Grant(protocol="anthropic", upstream=here.url, key=KEY))
    assert error.value.code == "gateway_down"


def test_a_run_that_cannot_be_written_down_is_not_paid_for(desk: Desk) -> None:
    run = desk.run(limit_usd=LIMIT)
    path = desk.root / "runs" / f"{run.name}.jsonl"
    kept = path.rename(path.with_suffix(".kept"))
    path.mkdir()
    assert run.post().status_code == 503
    assert desk.provider.heard == []
    path.rmdir()
    kept.rename(path)
    assert run.post().status_code == 200
