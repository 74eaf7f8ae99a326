"""The agent that applies the diff found in the issue; fills `ports.Agent`.

No model, no network, no key: it shows the whole path and carries a person's ready patch to a checked pull request. The
work is done by `apply_diff.py` as a sandboxed child like any other agent's; this class only hands over the issue's own
text, never the prompt around it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from windlass.adapters.agents import apply_diff, command, exchange
from windlass.core import errors, unidiff
from windlass.core.errors import Refused
from windlass.ports import AgentReport, AgentTask, RunResult, RunSpec

PROGRAM = Path(apply_diff.__file__)
BOOT = "import sys; sys.path.append(sys.argv[1]); from windlass.adapters.agents.apply_diff import main; main()"
PACKAGES = PROGRAM.resolve().parents[3]


class PatchAgent:
    """Applies the unified diff in the issue's body (fenced `diff` or `patch` blocks, or the raw diff)."""

    def __init__(self, name: str = "patch") -> None:
        self.name = name
        self.noise: tuple[str, ...] = exchange.NOISE

    def spec(self, task: AgentTask) -> RunSpec:
        """Put the task into the workspace and say what to run. Raises Refused (agent_unusable) for a reader."""
        if task.is_read_only:
            hint = "name another agent for this step of the policy's workflow"
            raise Refused(f"agent {self.name} cannot review: it applies a diff", code="agent_unusable", hint=hint)
        exchange.put_task(task.workspace, task.prompt)
        issue = {"number": task.issue.number, "title": task.issue.title, "body": task.issue.body}
        return RunSpec(
            id=task.run_id,
            argv=(sys.executable, "-I", "-S", "-B", "-c", BOOT, str(PACKAGES)),
            workdir=task.workspace,
            deadlines=task.deadlines,
            stdin=json.dumps(issue).encode(),
            reads=(*task.reads, *_sources()),
            watch=(exchange.REPORT,),
        )

    def conclude(self, task: AgentTask, result: RunResult) -> AgentReport:
        """Judge the run like any command's."""
        return command.conclude(task, result)

    def discard(self, run_id: str) -> None:
        """Nothing is kept outside the workspace."""


def _sources() -> tuple[Path, ...]:
    """The few files of Windlass that the child imports; nothing else of it is shown to the sandbox."""
    own = (PROGRAM, Path(exchange.__file__), Path(errors.__file__), Path(unidiff.__file__))
    packages = {
        folder / "__init__.py"
        for file in own
        for folder in file.parents
        if folder.is_relative_to(PACKAGES / "windlass")
    }
    return (*own, *sorted(packages))
