"""A run that fills the machine's disk is ended: by many files, by many bytes, and by files without a name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.runners import KINDS, Bench, benches

from windlass.adapters.runners.shim.space import Space
from windlass.ports import SandboxLimits

LIMITS = SandboxLimits(disk_bytes=20_000_000, disk_files=2000)


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches(request.param, tmp_path, request):
        yield made


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("for n in 1 2 3 4 5 6; do head -c 5000000 /dev/urandom > d$n; done", "20000000 bytes"),
        ("mkdir -p a/b; for n in $(seq 2500); do : > a/b/$n; done", "2000 files"),
        ("exec 5> x; rm x; head -c 25000000 /dev/urandom >&5", "20000000 bytes"),
    ],
    ids=["bytes", "files", "deleted"],
)
async def test_a_full_directory_ends_the_run(bench: Bench, command: str, what: str) -> None:
    result = await bench.run(f"echo begun; {command}; sleep {bench.number}", limits=LIMITS)
    text = result.output.read_text()
    assert (result.ended, result.exit_code) == ("exited", 137), text
    assert text.startswith("begun\n")
    assert text.endswith(f"windlass: the work directory holds more than {what}; the run was ended\n")
    assert not result.is_out_of_memory


async def test_who_stays_within_is_left_alone(bench: Bench) -> None:
    command = "for n in $(seq 1900); do : > f$n; done; head -c 15000000 /dev/zero > d; truncate -s 1000000000 sparse"
    result = await bench.run(f"{command}; ln -s / out; sleep 1.5; echo fine", limits=LIMITS)
    assert (result.exit_code, result.output.read_text()) == (0, "fine\n")


def test_a_large_tree_is_counted_in_slices_and_links_are_not_followed(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"d{number}").mkdir()
        for other in range(50):
            (tmp_path / f"d{number}" / str(other)).touch()
        (tmp_path / f"d{number}" / "up").symlink_to("..")
    held = 40 * 52
    for most, is_over in ((held, False), (held - 1, True)):
        space = Space({"path": str(tmp_path), "bytes": 0, "files": most}, lambda: [os.getpid()])
        assert any(space.over() for _ in range(200)) is is_over


def test_without_a_limit_or_a_directory_nothing_is_counted(tmp_path: Path) -> None:
    assert Space(None, list).over() == ""
    assert Space({"path": str(tmp_path), "bytes": 0, "files": 0}, list).over() == ""
    assert Space({"path": str(tmp_path / "gone"), "bytes": 1, "files": 1}, list).over() == ""
