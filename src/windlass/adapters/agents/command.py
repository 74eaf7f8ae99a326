"""Any command line as an agent: a user's own Claude Code, Codex, script; fills `ports.Agent`.

The command runs through `sh -c` in the workspace, with the prompt in `windsurf-instructions.txt` and on standard
input. `WORK-COMPLETED` as the last line of `windsurf-output.txt` means finished; a command that writes no report is
finished when it exits with 0, and its report is the end of what it printed. An exit code alone never outweighs a report
that says otherwise, and no outcome is taken from the middle of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from windlass.adapters.agents import exchange
from windlass.core.job import Outcome
from windlass.ports import AgentReport, AgentTask, RunResult, RunSpec, SandboxLimits

MAX_DETAIL_CHARS = 300


class CommandAgent:
    """One configured command line.

    `noise`: patterns, as in `.gitignore`, of what it leaves behind besides the exchange's own files. `env`: what it
    needs to know (its keys); values reach the process only. `reads`: paths of its own installation that the sandbox
    must show. `image`: a container image that it runs in; '' leaves that to the runner. `has_keys`: keys are in `env`.
    """

    def __init__(
        self,
        name: str,
        command: str,
        *,
        noise: Sequence[str] = (),
        needs_network: bool = True,
        env: Mapping[str, str] | None = None,
        reads: Sequence[Path] = (),
        limits: SandboxLimits | None = None,
        image: str = "",
        has_keys: bool = False,
        egress: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.noise: tuple[str, ...] = (*exchange.NOISE, *noise)
        self._command = command
        self._needs_network = needs_network
        self._env = dict(env or {})
        self._reads = tuple(reads)
        self._egress = tuple(egress)
        self._limits = limits or SandboxLimits()
        self._image = image
        self._model_access = "environment" if has_keys else ""

    def spec(self, task: AgentTask) -> RunSpec:
        """Put the task into the workspace and say what to run."""
        prompt = exchange.put_task(task.workspace, task.prompt, has_desk=task.is_read_only)
        return RunSpec(
            id=task.run_id,
            argv=("sh", "-c", self._command),
            workdir=task.workspace,
            deadlines=task.deadlines,
            env={"PYTHONDONTWRITEBYTECODE": "1", "WINDLASS_ISSUE": str(task.issue.number), **self._env},
            stdin=prompt.encode("utf-8", errors="replace"),
            reads=(*task.reads, *self._reads),
            needs_network=self._needs_network,
            egress=self._egress,
            watch=(exchange.place(exchange.REPORT, has_desk=task.is_read_only),),
            is_read_only=task.is_read_only,
            writes=(exchange.DESK,) if task.is_read_only else (),
            limits=self._limits,
            image=self._image,
        )

    def conclude(self, task: AgentTask, result: RunResult) -> AgentReport:
        """Judge the run."""
        return replace(conclude(task, result), model_access=self._model_access)

    def discard(self, run_id: str) -> None:
        """Nothing is kept outside the workspace."""


def conclude(task: AgentTask, result: RunResult) -> AgentReport:
    """The outcome of a run, by what the runner saw first and the agent's report second."""
    written = exchange.take_report(task.workspace, has_desk=task.is_read_only)
    printed = exchange.tail(result.output)
    report = exchange.without_marker(written if written else printed)
    outcome, detail = _judge(result, written, printed)
    return AgentReport(outcome=outcome, report=report, detail=detail, title=exchange.title_of(report))


def _judge(result: RunResult, written: str | None, printed: str) -> tuple[Outcome, str]:
    match result.ended:
        case "timed_out":
            return Outcome.TIMED_OUT, f"the {result.deadline} deadline passed after {result.duration_s:.0f} s"
        case "stopped":
            return Outcome.CANCELLED, "the run was stopped"
        case "exited" if result.exit_code == 0:
            if not written or exchange.is_finished(written):
                return Outcome.COMPLETED, ""
            return Outcome.INCOMPLETE, f"{exchange.REPORT} does not end with {exchange.MARKER}"
        case "exited":
            return Outcome.FAILED, f"exit code {result.exit_code}{_last_words(printed)}"
        case _:
            return Outcome.INFRA_ERROR, "the run was lost: the process beside it died without a result"


def _last_words(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return f": {lines[-1][:MAX_DETAIL_CHARS]}" if lines else ""
