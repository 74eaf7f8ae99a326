"""What the runner's tests share: a runner of each kind, specs with fresh ids, and a look at the process table."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from windlass.adapters.runners import bubblewrap, cgroups
from windlass.adapters.runners.bubblewrap import NoSandbox, Sandbox
from windlass.adapters.runners.cgroups import ControlGroups
from windlass.adapters.runners.process import ProcessRunner
from windlass.ports import Deadlines, RunResult, RunSpec

KINDS = [
    pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    pytest.param("bubblewrap, no control groups", marks=pytest.mark.needs("bubblewrap")),
    pytest.param("bare"),
    pytest.param("bare, no control groups"),
]
PATIENT = Deadlines(start_s=20, idle_s=20, total_s=40)
_groups = cgroups.detect()


@dataclass
class Bench:
    runner: ProcessRunner
    root: Path
    workdir: Path
    sandbox: Sandbox | NoSandbox
    groups: ControlGroups
    number: str

    @classmethod
    def make(cls, tmp_path: Path, kind: str) -> Bench:
        sandbox = bubblewrap.detect() if kind.startswith("bubblewrap") else NoSandbox(reason="asked for")
        groups = ControlGroups() if "no control groups" in kind else _groups
        workdir = (tmp_path / "work").resolve()
        workdir.mkdir()
        runner = ProcessRunner(tmp_path / "runs", instance="mine", sandbox=sandbox, groups=groups)
        number = f"{random.randrange(3000, 9000)}.{random.randrange(10**9):09}"
        return cls(runner, tmp_path / "runs", workdir, sandbox, groups, number)

    def sibling(self, instance: str = "mine") -> ProcessRunner:
        return ProcessRunner(self.root, instance=instance, sandbox=self.sandbox, groups=self.groups)

    def spec(self, command: str, **changes: Any) -> RunSpec:
        name = f"run-{random.randrange(10**12)}"
        made = RunSpec(id=name, argv=("sh", "-c", command), workdir=self.workdir, deadlines=PATIENT)
        return replace(made, **changes)

    async def run(self, command: str, **changes: Any) -> RunResult:
        spec = self.spec(command, **changes)
        assert await self.runner.start(spec)
        return await self.runner.wait(spec.id)

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(1000):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came true")

    def groups_of(self, run_id: str) -> list[Path]:
        """Where the control groups of a run are while it lives."""
        return [Path(group) for group in json.loads((self.root / run_id / "owner.json").read_text())["groups"]]

    def zombies(self) -> list[int]:
        fields = ((pid, stat.rpartition(")")[2].split()) for pid, stat in _proc("stat"))
        return [pid for pid, found in fields if found and found[0] == "Z" and found[1] == str(os.getpid())]


def alive_with(text: str) -> list[int]:
    """Processes other than this one that have `text` in their command line."""
    return [pid for pid, line in _proc("cmdline") if text in line and pid != os.getpid()]


def _proc(name: str) -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((int(entry.name), (entry / name).read_text(errors="replace")))
            except OSError:
                continue
    return found
