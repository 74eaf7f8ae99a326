"""What the agents' tests share: a runner, a workspace with a bug in it, and a way to have an agent work there."""

from __future__ import annotations

from pathlib import Path

from windlass.adapters.runners.bubblewrap import NoSandbox, detect
from windlass.adapters.runners.process import ProcessRunner
from windlass.core.job import IssueSnapshot
from windlass.ports import Agent, AgentReport, AgentTask, Deadlines, RunResult

PATIENT = Deadlines(start_s=20, idle_s=20, total_s=30)


class Desk:
    """One place to work at. `result` is the newest run's."""

    result: RunResult

    def __init__(self, tmp_path: Path, kind: str) -> None:
        sandbox = detect() if kind == "bubblewrap" else NoSandbox(reason="asked for")
        self.root = tmp_path
        self.runner = ProcessRunner(tmp_path / "runs", instance="mine", sandbox=sandbox)
        self.workspace = tmp_path / "workspace"
        self.workspace.mkdir()
        (self.workspace / "calc.py").write_text("def add(a, b):\n    return a - b\n")

    def task(
        self, *, prompt: str = "Do it.", deadlines: Deadlines = PATIENT, cost_limit_usd: float | None = None
    ) -> AgentTask:
        issue = IssueSnapshot(number=7, title="add() subtracts", body="", author="ann")
        return AgentTask(
            run_id="r1",
            workspace=self.workspace,
            prompt=prompt,
            issue=issue,
            deadlines=deadlines,
            cost_limit_usd=cost_limit_usd,
        )

    async def work(self, agent: Agent, task: AgentTask) -> AgentReport:
        await self.runner.start(agent.spec(task))
        self.result = await self.runner.wait(task.run_id)
        return agent.conclude(task, self.result)

    def printed(self) -> str:
        return self.result.output.read_text()

    @property
    def is_mended(self) -> bool:
        return "a + b" in (self.workspace / "calc.py").read_text()
