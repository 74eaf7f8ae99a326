"""A tiny job for one agent: a one-line bug in a scratch directory, through the same runner as real work.

Shows whether the agent is installed where the sandbox can see it, which version it is, whether it finishes, what it
says it used, and what it leaves beside its work. It proves nothing about the agent's skill.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from windlass.adapters.agents import exchange
from windlass.adapters.agents.catalogue_agent import OUTPUT, CatalogueAgent
from windlass.adapters.agents.judging import Seen, is_missing, last_line
from windlass.core.agent_events import Summary, Usage
from windlass.core.errors import Refused
from windlass.core.job import IssueSnapshot, Outcome
from windlass.core.patch_guard import matches_any
from windlass.ports import Agent, AgentReport, AgentTask, Deadlines, Runner, RunResult, RunSpec

FILES = {"calc.py": "def add(a, b):\n    return a - b\n", "README.md": "# calc\n\n`add(a, b)` gives the sum.\n"}
CHECK = "from calc import add; assert add(2, 3) == 5"
SHORT = Deadlines(start_s=60, idle_s=60, total_s=60)
MOST_LEFT = 50
RUN_ID = "trial"
PROMPT = f"""\
# Task: bugfix

The function `add` in `calc.py` subtracts. Make it give the sum: change that one line and nothing else.

## Report

Write `{exchange.REPORT}` in the current directory: a first line `# ` with a title, then what you changed. When
everything is done, its very last line consists of the words WORK and COMPLETED joined by a hyphen, in capitals, and
nothing else.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was found. `version` is '' where the agent has no way to tell; `left` are files beside the work."""

    version: str
    outcome: Outcome
    detail: str
    duration_s: float
    is_mended: bool
    usage: Usage | None
    model: str
    title: str
    noise: tuple[str, ...]
    left: tuple[str, ...]
    model_access: str = ""

    @property
    def is_good(self) -> bool:
        """Whether a real job may be given to it."""
        return self.outcome is Outcome.COMPLETED and self.is_mended


async def attempt(agent: Agent, runner: Runner, root: Path, total_s: float, reads: tuple[Path, ...] = ()) -> Trial:
    """Have the agent do the tiny job below `root`, an empty directory.

    Raises Refused: agent_missing when its program is not there, agent_unusable when the entry cannot be run here.
    """
    workspace = root / "workspace"
    workspace.mkdir()
    for name, text in FILES.items():
        (workspace / name).write_text(text)
    task = _task(workspace, total_s, reads)
    version = await _version(agent, runner, task)  # first: an agent that is not there needs no key
    result = await _run(runner, agent.spec(task))
    report = agent.conclude(task, result)
    if report.outcome is Outcome.INFRA_ERROR and _is_missing(result):
        raise _missing(agent.name, report.detail)
    litter = await asyncio.to_thread(_litter, workspace)
    check = RunSpec(id="check", argv=(sys.executable, "-B", "-c", CHECK), workdir=workspace, deadlines=SHORT)
    is_mended = (await _run(runner, check)).exit_code == 0
    return _found(agent, report, result, version, is_mended, litter)


def _found(
    agent: Agent, report: AgentReport, result: RunResult, version: str, is_mended: bool, litter: tuple[str, ...]
) -> Trial:
    noise = tuple(path for path in litter if matches_any(agent.noise, path))
    return Trial(
        version=version,
        outcome=report.outcome if is_mended or report.outcome is not Outcome.COMPLETED else Outcome.NO_CHANGE,
        detail=report.detail,
        duration_s=result.duration_s,
        is_mended=is_mended,
        usage=report.usage,
        model=report.model,
        title=report.title,
        noise=noise[:MOST_LEFT],
        left=tuple(path for path in litter if path not in noise)[:MOST_LEFT],
        model_access=report.model_access,
    )


def _task(workspace: Path, total_s: float, reads: tuple[Path, ...]) -> AgentTask:
    issue = IssueSnapshot(number=1, title="add() subtracts", body="", author="check")
    deadlines = Deadlines(start_s=total_s, idle_s=total_s, total_s=total_s)
    return AgentTask(run_id=RUN_ID, workspace=workspace, prompt=PROMPT, issue=issue, deadlines=deadlines, reads=reads)


async def _version(agent: Agent, runner: Runner, task: AgentTask) -> str:
    spec = agent.version_spec(task) if isinstance(agent, CatalogueAgent) else None
    if spec is None:
        return ""
    result = await _run(runner, replace(spec, id="version", deadlines=SHORT))
    if _is_missing(result):
        raise _missing(agent.name, last_line(exchange.tail(result.output)))
    lines = exchange.tail(result.output).splitlines()
    return lines[-1].strip()[:100] if result.exit_code == 0 and lines else ""


async def _run(runner: Runner, spec: RunSpec) -> RunResult:
    await runner.start(spec)
    return await runner.wait(spec.id)


def _is_missing(result: RunResult) -> bool:
    return is_missing(Seen(result=result, summary=Summary(), written=None, printed=exchange.tail(result.output)))


def _missing(name: str, said: str) -> Refused:
    return Refused(
        f"agent {name} is not installed where its sandbox can see it: {said}",
        code="agent_missing",
        hint="install it for the whole system, or name its directory with --mount or agents.NAME.reads",
    )


def _litter(workspace: Path) -> tuple[str, ...]:
    """Every file that is neither the work nor the exchange's own."""
    found = []
    for folder, folders, names in os.walk(workspace):
        folders.sort()
        found += [str((Path(folder) / name).relative_to(workspace)) for name in sorted(names)]
    return tuple(path for path in found if path not in FILES and path not in {*exchange.NOISE, OUTPUT})
