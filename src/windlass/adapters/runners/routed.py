"""Two runners as one: processes on this machine, and containers; fills `ports.Runner`.

Where a run goes is decided when it starts: one that names an image, or any where containers are the rule, goes into a
container. Everything later finds it by its id. A program of this very machine (the Python that runs Windlass, for the
agent `patch`) is in no image and stays a process. Without an engine what needs one is refused (`no_engine`), never
quietly run in less.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.adapters.runners.process import ProcessRunner
from windlass.ports import Runner, RunResult, RunSpec


class RoutedRunner:
    """`prefers_containers`: for runs that name no image."""

    def __init__(self, processes: ProcessRunner, containers: ContainerRunner, *, prefers_containers: bool) -> None:
        self._processes = processes
        self._containers = containers
        self._prefers_containers = prefers_containers

    async def start(self, spec: RunSpec) -> bool:
        """Start, or adopt, in the runner that knows the id or is right for the spec."""
        runner: Runner
        if self._containers.is_known(spec.id):
            runner = self._containers
        elif self._processes.is_known(spec.id):
            runner = self._processes
        else:
            runner = self._containers if self._is_for_containers(spec) else self._processes
        return await runner.start(spec)

    def is_known(self, run_id: str) -> bool:
        """Whether one of them knows it."""
        return self._containers.is_known(run_id) or self._processes.is_known(run_id)

    def output(self, run_id: str) -> Path:
        """The run's output file."""
        return self._of(run_id).output(run_id)

    async def wait(self, run_id: str) -> RunResult:
        """Until it ends."""
        return await self._of(run_id).wait(run_id)

    async def stop(self, run_id: str) -> None:
        """In both: an id may be on its way in either."""
        await self._processes.stop(run_id)
        await self._containers.stop(run_id)

    async def discard(self, run_id: str) -> None:
        """In both."""
        await self._processes.discard(run_id)
        await self._containers.discard(run_id)

    async def reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """In both; a container engine that is away keeps nobody from clearing up processes."""
        killed = await self._processes.reap(is_wanted)
        return (*killed, *(await self._containers.reap(is_wanted)))

    def isolation(self, run_id: str = "") -> str:
        """What holds this run, or a run that names no image."""
        return (self._of(run_id) if run_id else self._usual()).isolation(run_id)

    def notice(self) -> str:
        """What people must be told before they trust the usual runner."""
        return (self._containers if self._prefers_containers else self._processes).notice()

    async def close(self) -> None:
        """Let go of what is open; runs go on."""
        await self._containers.close()

    def _is_for_containers(self, spec: RunSpec) -> bool:
        return bool(spec.image) or (self._prefers_containers and spec.argv[:1] != (sys.executable,))

    def _usual(self) -> Runner:
        return self._containers if self._prefers_containers else self._processes

    def _of(self, run_id: str) -> Runner:
        if self._containers.has(run_id):
            return self._containers
        return self._processes
