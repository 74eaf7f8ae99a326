"""What a command can see and do inside the sandbox, asked from the inside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.runners.runs import Bench

from windlass.adapters.runners import bubblewrap
from windlass.adapters.runners.bubblewrap import NoSandbox, Sandbox
from windlass.core.errors import Refused

pytestmark = pytest.mark.needs("bubblewrap")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench.make(tmp_path, "bubblewrap")


async def says(bench: Bench, command: str, **changes: object) -> str:
    return (await bench.run(command, **changes)).output.read_text()


async def test_there_is_no_network(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probe = (
            f'python3 -c \'import socket; socket.create_connection(("127.0.0.1", {port}), 2); print("reached")\' 2>&1'
        )
        assert "reached" not in await says(bench, probe)
        assert "reached" in await says(bench, probe, needs_network=True)
    assert (await says(bench, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")).split() == ["lo"]


async def test_host_files_are_absent(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    text = await says(
        bench,
        f"cat {secret}; ls -a {tmp_path}; "
        "ls -A ~ /home /var /run /srv /mnt /opt; cat /etc/shadow /etc/ssl/private/*; exit 0",
    )
    assert "canary" not in text
    assert "secret" not in text.replace(f"{secret}: No such file", "")
    home = Path.home()
    seen = set((await says(bench, f"ls -A {home} 2>/dev/null; true")).split())
    assert seen <= {part for prefix in bubblewrap.own_python() for part in prefix.parts}


async def test_nothing_but_the_work_directory_and_tmp_can_be_written(bench: Bench) -> None:
    places = ["", "/usr", "/etc", "/dev", "/proc", sys.prefix, str(Path(__file__).parent)]
    tries = " ".join(f"{place}/x" for place in places)
    assert await says(bench, f"for f in {tries}; do (: > $f) 2>/dev/null && echo WROTE $f; done; : > ok") == ""
    assert (bench.workdir / "ok").exists()
    # around the work directory lies a /tmp of its own, which nobody else ever sees
    away = [Path("/tmp/x-windlass"), bench.workdir.parent / "x", bench.root / "x"]
    await says(bench, f"for f in {' '.join(map(str, away))}; do (: > $f) 2>/dev/null; done; : > ok")
    assert not [path for path in away if path.exists()]


async def test_kernel_settings_cannot_be_written_even_by_root(bench: Bench) -> None:
    """Without read-only /proc/sys, uid 0 without capabilities may set kernel.core_pattern and become root outside."""
    names = "kernel/core_pattern vm/swappiness kernel/hostname fs/file-max kernel/modprobe"
    text = await says(
        bench,
        f"for f in {names}; do cat /proc/sys/$f > v 2>/dev/null && "
        "cat v > /proc/sys/$f && echo WROTE $f; done 2>/dev/null",
    )
    assert text == ""
    assert "WROTE" not in await says(
        bench, "find /proc -maxdepth 2 -not -path '/proc/[0-9]*' -type f -writable 2>/dev/null | sed 's/^/WROTE /'"
    )


async def test_no_capabilities_no_new_ones_and_no_namespaces(bench: Bench) -> None:
    text = await says(
        bench,
        "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; id -u; "
        "unshare -U true 2>&1 && echo NESTED; mount -t tmpfs x /tmp 2>&1 && echo MOUNTED",
    )
    status = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert "\n1000\n" in text
    assert "NESTED" not in text
    assert "MOUNTED" not in text


async def test_other_processes_are_not_visible(bench: Bench) -> None:
    marker = subprocess.Popen(["sleep", bench.number])
    try:
        text = await says(bench, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /proc/1/environ")
        assert bench.number not in text
        assert "windlass.adapters" not in text.replace(str(bench.root), "")
        assert f"kill: ({marker.pid})" in await says(bench, f"bash -c 'kill -9 {marker.pid}' 2>&1; true")
        assert marker.poll() is None
    finally:
        marker.kill()
        marker.wait()


async def test_the_environment_is_what_is_documented(bench: Bench) -> None:
    names = {line.partition("=")[0] for line in (await says(bench, "env")).splitlines()}
    assert names == {"PATH", "HOME", "TMPDIR", "LANG", "TERM", "USER", "PWD", "WINDLASS_RUN"}


async def test_no_descriptor_of_ours_gets_in(bench: Bench) -> None:
    assert (await says(bench, "ls /proc/self/fd | sort -n | tr '\\n' ' '")).split()[:3] == ["0", "1", "2"]
    assert len((await says(bench, "python3 -c 'import os; print(*os.listdir(\"/proc/self/fd\"))'")).split()) == 4


async def test_standard_input_cannot_be_changed_from_inside(bench: Bench) -> None:
    text = await says(bench, "echo x > /proc/self/fd/0; echo x >> /dev/stdin; cat", stdin=b"prompt\n")
    assert text.endswith("prompt\n")


async def test_mounts_are_readable_at_their_own_path_and_only_readable(bench: Bench, tmp_path: Path) -> None:
    extra = tmp_path / "extra dir"
    extra.mkdir()
    (extra / "data").write_text("shared")
    text = await says(bench, f"cat '{extra}/data'; : > '{extra}/new'", reads=(extra,))
    assert text.startswith("shared")
    assert sorted(path.name for path in extra.iterdir()) == ["data"]


async def test_a_mounted_virtual_environment_comes_first_with_the_python_it_was_made_from(
    bench: Bench, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    text = await says(bench, "command -v python3; python3 -c 'import sys; print(sys.prefix)'", reads=(venv,))
    assert text.splitlines() == [str(venv / "bin/python3"), str(venv)]


async def test_python_pytest_and_git_can_be_used(bench: Bench) -> None:
    (bench.workdir / "test_it.py").write_text(
        "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n"
    )
    assert "1 passed" in await says(bench, "python3 -m pytest -q -p no:cacheprovider test_it.py")
    assert "OK" in await says(bench, "python3 -m unittest 2>&1")
    assert "git version" in await says(bench, "git --version")


async def test_nothing_survives_the_end_of_the_command(bench: Bench) -> None:
    assert (await bench.run("(sleep 30 > /dev/null 2>&1 &) ; echo gone")).output.read_text() == "gone\n"
    await bench.until(
        lambda: not [path for path in Path("/proc").glob("[0-9]*/environ") if _reads(path, str(bench.root))]
    )


def _reads(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


async def test_a_link_as_work_directory_is_its_target(bench: Bench, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(bench.workdir)
    assert (await says(bench, "pwd", workdir=link)).strip() == str(bench.workdir)


def test_detection_tells_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(bubblewrap.detect(), Sandbox)
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = bubblewrap.detect()
    assert isinstance(absent, NoSandbox)
    assert "not installed" in absent.reason
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    broken = bubblewrap.detect()
    assert isinstance(broken, NoSandbox)
    assert "setting up uid map" in broken.reason


def test_a_mount_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        bubblewrap.readable((tmp_path / "absent",))
    assert caught.value.code == "mount_missing"
    assert os.fspath(tmp_path) in str(caught.value)
