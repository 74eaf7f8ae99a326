"""What the tests of the Windsurf driver in a container share: one run's places, its driver, and its work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.podman import Podman

from windlass.adapters.agents.catalogue import shipped
from windlass.adapters.agents.catalogue_agent import Given
from windlass.adapters.agents.preset import changed
from windlass.adapters.agents.windsurf import TOKEN, WindsurfAgent, private_of
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.core.job import IssueSnapshot
from windlass.ports import AgentReport, AgentTask, Deadlines, RunResult

KEY = "sk-ws-01-" + "aZ9_" * 8
TASK = "Mend add, which subtracts."


@dataclass
class Box:
    """One run in one image. `result` is what the runner saw of it."""

    agent: WindsurfAgent
    runner: ContainerRunner
    task: AgentTask
    prepared: Path
    result: RunResult | None = None

    @classmethod
    def make(cls, tmp_path: Path, podman: Podman, image: str, act: str, **deadlines: float) -> Box:
        """A driver for an image, whose editor acts as its profile says. `deadlines`: start_s, idle_s, total_s."""
        prepared = tmp_path / "prepared"
        (prepared / "User").mkdir(parents=True)
        (prepared / "User" / "act").write_text(act)
        workspace = tmp_path / "run" / "workspace"
        workspace.mkdir(parents=True)
        (workspace / "calc.py").write_text("def add(a, b):\n    return a - b\n")
        own = {"start_s": 60, "idle_s": 60, "total_s": 120} | deadlines
        issue = IssueSnapshot(number=7, title="add() subtracts", body="", author="ann")
        task = AgentTask(run_id="r1", workspace=workspace, prompt=TASK, issue=issue, deadlines=Deadlines(**own))
        changes = {"image": image, "egress": (), "needs_network": False, "deadlines": own}
        preset = changed(shipped()["windsurf"], "test", changes)
        runner = ContainerRunner(tmp_path / "runs", instance=f"ws-{tmp_path.name[:20]}", addresses=[podman.address])
        return cls(WindsurfAgent(preset, Given(secrets={TOKEN: KEY}), prepared), runner, task, prepared)

    async def start(self, **changes: Any) -> None:
        """Start it, with `changes` to the driver's spec."""
        await self.runner.start(replace(self.agent.spec(self.task), **changes))

    async def end(self) -> AgentReport:
        """Wait for its end and judge it."""
        self.result = await self.runner.wait("r1")
        return self.agent.conclude(self.task, self.result)

    async def close(self) -> None:
        """Leave nothing behind."""
        await self.runner.discard("r1")
        await self.runner.close()

    def recorded(self, name: str) -> str:
        """What the editor recorded in its profile."""
        path = private_of(self.task) / "profile" / name
        return path.read_text() if path.exists() else ""

    @property
    def is_mended(self) -> bool:
        """Whether the agent did its work."""
        return "a + b" in (self.task.workspace / "calc.py").read_text()
