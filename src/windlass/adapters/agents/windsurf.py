"""Windsurf's Cascade in the public windsurfinabox image, unchanged; fills `ports.Agent` for entries of kind windsurf.

The image is driven by files alone, and its exit code says little: it ends with 0 at the first mention of the marker,
with 1 when a screenshot fails after the work is done, and often not at all. So the host reads the report itself, and
only its last line counts (docs/decisions/0016-windsurf-through-its-image.md). Refused: a token that the image could not
type, a run without a prepared profile, and a repository in which the image would write through a link.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from windlass.adapters.agents import exchange, profile
from windlass.adapters.agents.catalogue_agent import CatalogueAgent, Given, own_deadlines
from windlass.adapters.agents.preset import Preset
from windlass.core.errors import Refused
from windlass.core.job import Outcome
from windlass.ports import AgentReport, AgentTask, Ending, Mount, RunResult, RunSpec

HOME = "/home/ubuntu"
WORKSPACE = f"{HOME}/workspace"
PROFILE = f"{HOME}/.config/Windsurf"
SCREENSHOTS = f"{HOME}/screenshots"
TOKEN = "WINDSURF_TOKEN"  # noqa: S105 - a variable's name
WORKFLOW = ".windsurf/workflows/entry-workflow.md"
PRIVATE = "windsurf"
START_TRIES = 2
GRACE_S = 5.0
MAX_DETAIL_CHARS = 300
# The image types the token by an unquoted shell word, so these would be split, replaced by file names, or lost.
_UNTYPABLE = re.compile(r"[^\x21-\x7e]|[*?\[\]'\"`\\]")
_OWN_LINE = re.compile(r"^ENTRYPOINT [\d: -]+ - (.*)$")


class WindsurfAgent(CatalogueAgent):
    """Windsurf in its image. `prepared`: a profile in which Cascade acts without asking; each run gets a copy."""

    def __init__(self, preset: Preset, given: Given | None = None, prepared: Path | None = None) -> None:
        super().__init__(preset, given)
        self._prepared = prepared

    def spec(self, task: AgentTask) -> RunSpec:
        """Put the task into the workspace and say what to run. Raises Refused (agent_unusable, exchange_blocked).

        A reader's workspace can be written to as well, for the image writes into it; nothing of it is taken but the
        report.
        """
        self.check_usable()
        _make_way(task.workspace)
        exchange.put_task(task.workspace, task.prompt, has_desk=task.is_read_only)
        report = exchange.place(exchange.REPORT, has_desk=task.is_read_only)
        return RunSpec(
            id=task.run_id,
            argv=(),
            workdir=task.workspace,
            workdir_inside=WORKSPACE,
            has_writable_root=True,
            image=self.preset.image,
            deadlines=own_deadlines(task.deadlines, self.preset),
            env={"HOME": HOME, **{k: v for k, v in self.preset.environment.items() if v}, **self._given.secrets},
            reads=(*task.reads, *self._given.reads),
            mounts=self._mounts(private_of(task)),
            needs_network=self.preset.needs_network,
            egress=self.preset.egress,
            watch=(report,),
            is_watch_only=True,
            ending=Ending(file=report, pattern=exchange.CLOSING, grace_s=GRACE_S),
            start_tries=START_TRIES,
            limits=self._given.limits,
        )

    def conclude(self, task: AgentTask, result: RunResult) -> AgentReport:
        """Judge the run and take the report out of the workspace. What it used is not known, and never 0."""
        written = exchange.take_report(task.workspace, has_desk=task.is_read_only)
        printed = exchange.tail(result.output)
        outcome, detail = judge(Seen(result=result, written=written or "", printed=printed))
        report = exchange.without_marker(written or printed)
        title = exchange.title_of(written or "")
        return AgentReport(outcome=outcome, report=report, detail=detail, title=title, model_access="environment")

    def check_usable(self) -> None:
        """Raises Refused (agent_unusable) when there is no token that can be typed, or no profile."""
        _check_token(self.name, self._given.secrets.get(TOKEN, ""))
        if self._prepared is None:
            hint = f"set agents.{self.name}.profile to a profile in which Cascade acts by itself, see docs/windsurf.md"
            raise Refused(f"agent {self.name} has no profile", code="agent_unusable", hint=hint)
        profile.check(self._prepared)

    def _mounts(self, private: Path) -> tuple[Mount, ...]:
        """The copy of the profile, and a place for screenshots; both are the run's own and go with it."""
        assert self._prepared is not None
        profile.copy(self._prepared, private / "profile")
        (private / "screenshots").mkdir(mode=0o700, exist_ok=True)
        return (
            Mount(source=private / "profile", target=PROFILE, is_writable=True),
            Mount(source=private / "screenshots", target=SCREENSHOTS, is_writable=True),
        )


def private_of(task: AgentTask) -> Path:
    """The run's own directory beside its workspace, removed with it: its profile and pictures of its screen."""
    return task.workspace.parent / PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is to judge by: how it ended, the report ('' for none), the end of what the container printed."""

    result: RunResult
    written: str
    printed: str

    @property
    def is_finished(self) -> bool:
        """Whether the report's last line says so."""
        return exchange.is_finished(self.written)

    @property
    def reason(self) -> str:
        """What the container last said about itself."""
        return reason_of(self.printed)


def judge(seen: Seen) -> tuple[Outcome, str]:
    """The outcome and one line about it. The exit code alone decides nothing."""
    match seen.result.ended:
        case "stopped":
            return Outcome.CANCELLED, "the run was stopped"
        case "ending" | "exited" | "timed_out" if seen.is_finished:
            return Outcome.COMPLETED, ""
        case "timed_out":
            return _too_late(seen)
        case "ending":
            return Outcome.INCOMPLETE, f"{exchange.REPORT} ended with {exchange.MARKER}, and does not any more"
        case "exited":
            return _by_itself(seen)
        case _:
            return Outcome.INFRA_ERROR, "the run was lost: its container is gone without a result"


def reason_of(printed: str) -> str:
    """Why the image stopped or how far it got, in its own words: its last step, and what was printed after that."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    if not lines:
        return "it printed nothing"
    steps = [n for n, line in enumerate(lines) if _OWN_LINE.match(line)]
    last = _OWN_LINE.sub(r"\1", lines[-1])
    if not steps or steps[-1] == len(lines) - 1:
        return last[:MAX_DETAIL_CHARS]
    refused = [line for line in lines if "Permission denied" in line]
    step = _OWN_LINE.sub(r"\1", lines[steps[-1]])
    return (refused[-1] if refused else f"{step[:100]}; then: {last}")[:MAX_DETAIL_CHARS]


def _too_late(seen: Seen) -> tuple[Outcome, str]:
    after_s = seen.result.duration_s
    match seen.result.deadline:
        case "start":
            why = f"it wrote nothing into {exchange.REPORT}, in {START_TRIES} starts ({after_s:.0f} s)"
            return Outcome.INFRA_ERROR, f"Windsurf did not begin: {why}; its container last said: {seen.reason}"
        case "idle":
            why = "it may wait for a click: the profile must let Cascade act without asking"
            return Outcome.TIMED_OUT, f"nothing was added to {exchange.REPORT} any more, after {after_s:.0f} s; {why}"
        case deadline:
            return Outcome.TIMED_OUT, f"the {deadline} deadline passed after {after_s:.0f} s"


def _by_itself(seen: Seen) -> tuple[Outcome, str]:
    """The container ended, and the report does not say that the work is done."""
    code = seen.result.exit_code
    if seen.result.is_out_of_memory:
        return Outcome.FAILED, "the container ran out of memory"
    if code == 0:
        why = "the image ends at the first mention of the marker, wherever it stands"
        return Outcome.INCOMPLETE, f"{exchange.REPORT} does not end with {exchange.MARKER}; {why}"
    if not seen.written:
        return Outcome.INFRA_ERROR, f"Windsurf did not begin: {seen.reason} (exit code {code})"
    return Outcome.FAILED, f"its container ended with code {code} before the work was done: {seen.reason}"


def _check_token(name: str, token: str) -> None:
    """Never shows the token."""
    hint = f"set agents.{name}.secret_files.{TOKEN} to a file with the token of `Provide Auth Token`"
    if not token:
        raise Refused(f"agent {name} has no token: {TOKEN} is not given", code="agent_unusable", hint=hint)
    if _UNTYPABLE.search(token) or token.startswith("-"):
        why = "the image types it as keystrokes, which loses blanks, quotes, backslashes, * ? [ ] and a leading -"
        raise Refused(f"agent {name}: {TOKEN} cannot be typed; {why}", code="agent_unusable", hint=hint)


def _make_way(workspace: Path) -> None:
    """Remove what the image will write over, links included; noise keeps the repository's own out of the change.

    Raises Refused (exchange_blocked) where the image would fail, or write elsewhere through a link.
    """
    for folder in (".windsurf", ".windsurf/workflows"):
        try:
            mode = os.lstat(workspace / folder).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            hint = "make it a directory in the repository, or use another agent"
            raise Refused(f"{folder} is not a directory", code="exchange_blocked", hint=hint)
    exchange.remove(workspace, WORKFLOW)
