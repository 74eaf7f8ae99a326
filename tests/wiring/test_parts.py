"""From settings to an engine: one process per SQLite directory, keys of the owner's, refusals before anything runs."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from windlass.config import ApiSettings, ForgeSettings, SandboxSettings, Settings
from windlass.core.errors import Refused, WindlassError
from windlass.ports import SandboxLimits
from windlass.wiring.agents import sandbox_limits
from windlass.wiring.parts import Windlass, build, new_job_id
from windlass.wiring.service import listening


def settings(home: Path, **changes: Any) -> Settings:
    given: dict[str, Any] = {"state_dir": home, "forge": ForgeSettings(api_url="http://127.0.0.1:9", token="t" * 20)}
    return Settings(**(given | changes))


def close(windlass: Windlass) -> None:
    asyncio.run(windlass.close())


def test_one_process_per_sqlite_directory(tmp_path: Path) -> None:
    first = build(settings(tmp_path))
    with pytest.raises(Refused) as caught:
        build(settings(tmp_path))
    assert caught.value.code == "already_running"
    assert str(tmp_path) in caught.value.message
    assert "PostgreSQL" in caught.value.hint
    close(first)
    close(build(settings(tmp_path)))


def test_another_process_is_told_so_in_one_line(tmp_path: Path) -> None:
    first = build(settings(tmp_path))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WINDLASS_")}
    environment |= {"WINDLASS_STATE_DIR": str(tmp_path), "WINDLASS_FORGE_TOKEN": "t" * 20}
    serve = [sys.executable, "-m", "windlass", "serve"]
    done = subprocess.run(serve, check=False, capture_output=True, text=True, env=environment, timeout=60)
    close(first)
    assert done.returncode == 4
    assert "another Windlass uses" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_kept_is_the_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "state"
    windlass = build(settings(home))
    windlass.ledger.checkpoint()
    close(windlass)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "ledger-key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forge": ForgeSettings()}, "no way to log in"),
        ({"default_agent": "nobody"}, "nobody"),
        ({"policy": {"labels": "x"}}, "unknown key labels"),
        ({"database_url": "mysql://x/y"}, "no support"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(WindlassError, match=said):
        build(settings(tmp_path, **changes))


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused, match="cannot be used"):
        build(settings(tmp_path / "file" / "state"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
async def test_the_api_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(Refused, match="may not listen"):
        async with listening(None, host, 0):  # type: ignore[arg-type]
            pass


def test_job_ids_are_plain_and_sort_by_time() -> None:
    made = [new_job_id() for _ in range(200)]
    assert len(set(made)) == 200
    assert all(len(one) == 21 and one.isalnum() and one.islower() for one in made)
    assert [one[:9] for one in made] == sorted(one[:9] for one in made)


async def test_an_engine_that_was_not_started_is_not_ready(tmp_path: Path) -> None:
    windlass = build(settings(tmp_path, api=ApiSettings(port=0)))
    assert await windlass.is_ready() == "starting or stopping"
    await windlass.close()


def test_every_limit_of_the_sandbox_reaches_it() -> None:
    given = {"memory_bytes": 1 << 30, "processes": 99, "cpus": 1.5, "disk_bytes": 1 << 31, "disk_files": 1234}
    settings = Settings.model_validate({"sandbox": given})
    found = sandbox_limits(settings)
    assert {name: getattr(found, name) for name in given} == given
    assert {*SandboxSettings.model_fields} & {*SandboxLimits.__slots__} == {*given}
