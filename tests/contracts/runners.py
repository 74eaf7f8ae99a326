"""A runner of each kind for the contract tests, with specs of fresh ids and a look at what is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.runners.runs import PATIENT
from tests.support.podman import IMAGE, Podman

from windlass.adapters.runners.container.making import ContainerSettings
from windlass.adapters.runners.container.meter import group_name
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.adapters.runners.process import ProcessRunner
from windlass.ports import Runner, RunResult, RunSpec

KINDS = [
    pytest.param("process", marks=pytest.mark.needs("bubblewrap")),
    pytest.param("container", marks=pytest.mark.needs("podman")),
]


@dataclass
class Bench:
    """One runner under test. `number` is a number that no other test's processes carry in their command lines."""

    kind: str
    root: Path
    workdir: Path
    podman: Podman | None
    instance: str
    number: str
    made: list[Runner] = field(default_factory=list)

    @property
    def runner(self) -> Runner:
        return self.made[0]

    def another(self, instance: str = "", **settings: Any) -> Runner:
        """A runner over the same root, as another process of the instance (or of another one) has it."""
        made: Runner
        if self.podman is None:
            made = ProcessRunner(self.root, instance=instance or self.instance)
        else:
            chosen = ContainerSettings(**{"image": IMAGE, **settings})
            made = ContainerRunner(
                self.root, instance=instance or self.instance, addresses=[self.podman.address], settings=chosen
            )
        self.made.append(made)
        return made

    def spec(self, command: str, **changes: Any) -> RunSpec:
        name = f"run-{random.randrange(10**12)}"
        made = RunSpec(id=name, argv=("sh", "-c", command), workdir=self.workdir, deadlines=PATIENT)
        return replace(made, **changes)

    async def run(self, command: str, **changes: Any) -> RunResult:
        spec = self.spec(command, **changes)
        assert await self.runner.start(spec)
        return await self.runner.wait(spec.id)

    async def says(self, command: str, **changes: Any) -> str:
        return (await self.run(command, **changes)).output.read_text()

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(1500):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it never came true")

    async def printed(self, spec: RunSpec, text: bytes) -> None:
        path = self.runner.output(spec.id)
        await self.until(lambda: path.exists() and text in path.read_bytes())

    def groups(self, run_id: str) -> list[Path]:
        """Control groups of a run in a container."""
        runner = self.runner
        assert isinstance(runner, ContainerRunner)
        owner = runner._owner
        name = group_name(owner.instance, owner.root, run_id).lstrip("/")
        return [path for top in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{top}{name}")]

    def containers(self) -> list[str]:
        """Names of the containers of this bench's instances."""
        return [name for name in self.podman.names() if self.instance in name] if self.podman else []

    async def close(self) -> None:
        try:
            await self.runner.reap(lambda _run_id: False)
        finally:
            for runner in self.made:
                if isinstance(runner, ContainerRunner):
                    await runner.close()


async def benches(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    workdir = (tmp_path / "work").resolve()
    workdir.mkdir()
    podman = request.getfixturevalue("podman") if kind == "container" else None
    number = f"{random.randrange(3000, 9000)}.{random.randrange(10**9):09}"
    bench = Bench(kind, tmp_path / "runs", workdir, podman, f"i{random.randrange(10**9)}", number)
    bench.another()
    yield bench
    await bench.close()
