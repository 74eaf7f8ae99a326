"""Any agent of the catalogue, behind the one exchange of files; fills `ports.Agent`.

A small shell prelude puts the entry's files into the fresh home directory and the agent's own installation on the PATH,
then becomes the agent. A model's key stays outside where the agent can use the gateway; every other key travels in the
environment only, never on a command line. An image needs `sh` for it and nothing else. Refused: a run without any of
the keys that the agent needs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from windlass.adapters.agents import access, exchange, reporting
from windlass.adapters.agents.access import Access, Admitted
from windlass.adapters.agents.judging import Seen, judge
from windlass.adapters.agents.preset import Preset, filled, placeholders
from windlass.core.agent_events import AgentEvent, Reading
from windlass.core.errors import Refused, WindlassError
from windlass.core.job import Outcome
from windlass.ports import AgentReport, AgentTask, Deadlines, RunResult, RunSpec, SandboxLimits

OUTPUT = "windlass-agent-output.json"
MAX_ARGUMENT_BYTES = 100_000
MAX_LINE_BYTES = 8 << 20
MAX_OUTPUT_BYTES = 32 << 20
MOST_STOPPED = 100
CUT_BY_MONEY = frozenset({Outcome.FAILED, Outcome.INFRA_ERROR, Outcome.TIMED_OUT, Outcome.INCOMPLETE})
POINTER = f"Carry out the task that is described in the file {exchange.INSTRUCTIONS} in the current directory."
DRIVER = Path(__file__).with_name("acp_driver.py")  # imports an optional library: only run, never imported here
# $1: places for the PATH; $2: how many files; then their paths; then the agent's command line.
PRELUDE = """\
[ -z "$1" ] || PATH="$1:$PATH"
export PATH
n=0 count=$2
shift 2
while [ "$n" -lt "$count" ]; do
  mkdir -p -- "$(dirname -- "$HOME/$1")" || exit 126
  eval "printf %s \\"\\$WINDLASS_HOME_FILE_$n\\"" > "$HOME/$1" || exit 126
  unset "WINDLASS_HOME_FILE_$n"
  n=$((n + 1))
  shift
done
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an operator adds to an entry. `secrets` are values by variable; they reach the process and nothing else."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    reads: tuple[Path, ...] = ()
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    egress: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)

    def __repr__(self) -> str:
        return f"Given(secrets=<{len(self.secrets)} hidden>, arguments={self.arguments!r}, reads={self.reads!r})"


class CatalogueAgent:
    """One entry, ready to work."""

    def __init__(self, preset: Preset, given: Given | None = None) -> None:
        self.name = preset.name
        self.preset = preset
        self.noise: tuple[str, ...] = (*exchange.NOISE, OUTPUT, *preset.noise)
        self._given = given or Given()
        self._stopped: dict[str, access.Account] = {}

    def spec(self, task: AgentTask) -> RunSpec:
        """Put the task into the workspace and say what to run. Raises Refused (agent_unusable, exchange_blocked)."""
        self.check_usable()
        prompt = exchange.put_task(task.workspace, task.prompt, has_desk=task.is_read_only)
        exchange.remove(task.workspace, OUTPUT)
        values = _values(task, prompt, self.preset.model)
        admitted = self._admitted(task)
        argv, stdin = self._command(values, prompt, admitted)
        reads = (*task.reads, *(Path(path) for path in self.preset.reads), *self._given.reads)
        homes = self.preset.home_files
        return RunSpec(
            id=task.run_id,
            argv=("sh", "-c", PRELUDE, self.name, _places(reads), str(len(homes)), *homes, *argv),
            workdir=task.workspace,
            deadlines=own_deadlines(task.deadlines, self.preset),
            env=self._environment(task, values, admitted),
            stdin=stdin.encode("utf-8", errors="replace"),
            reads=(*reads, *([DRIVER] if self.preset.kind == "acp" else [])),
            needs_network=self.preset.needs_network and not self.preset.egress and admitted is None,
            egress=self._hosts(is_admitted=admitted is not None),
            inlets=() if admitted is None else (admitted.admission.inlet,),
            watch=tuple(exchange.place(name, has_desk=task.is_read_only) for name in (exchange.REPORT, OUTPUT)),
            is_read_only=task.is_read_only,
            writes=(exchange.DESK,) if task.is_read_only else (),
            limits=self._given.limits,
            image=self.preset.image,
        )

    def conclude(self, task: AgentTask, result: RunResult) -> AgentReport:
        """Judge the run and take the report out of the workspace."""
        reading = self.reading()
        events = [*_fed(reading, result.output)]
        output = exchange.take(task.workspace, OUTPUT, MAX_OUTPUT_BYTES, has_desk=task.is_read_only)
        if output is not None:
            events += reading.feed_file(output.decode("utf-8", "replace"))
        summary = reading.summary()
        written = exchange.take_report(task.workspace, has_desk=task.is_read_only)
        seen = Seen(result=result, summary=summary, written=written, printed=exchange.tail(result.output))
        outcome, detail = judge(seen, self.preset.outcome)
        report = exchange.without_marker(written or reporting.render(events, summary) or seen.printed)
        said = AgentReport(
            outcome=outcome,
            report=report,
            detail=detail,
            title=exchange.title_of(written or summary.final_text),
            model=summary.usage.model if summary.usage else "",
            usage=summary.usage,
            model_access=access.ENVIRONMENT if self._model_keys() else "",
        )
        return self._counted(task.run_id, said)

    def discard(self, run_id: str) -> None:
        """Forget the run's account with the gateway. Of a run that is stopped, this may come before its conclusion."""
        account = self._account(run_id)
        if account is not None and self._given.access.gateway is not None:
            self._stopped[run_id] = account
            while len(self._stopped) > MOST_STOPPED:
                self._stopped.pop(next(iter(self._stopped)))
            self._given.access.gateway.forget(run_id)

    def model_access(self) -> str:
        """How its model's key travels, in one line for people. Raises Refused (agent_unusable)."""
        path = access.path_of(self.preset, self._given.access, self._given.secrets)
        if path.way is not None:
            return f"through the model gateway; {path.way.key} stays outside"
        return f"in the agent's environment, because {path.why}" if self._model_keys() else "no key is given"

    def version_spec(self, task: AgentTask) -> RunSpec | None:
        """What to run to learn the version, in the same sandbox but without keys; None when there is no way."""
        if not self.preset.version_command:
            return None
        reads = (*task.reads, *(Path(path) for path in self.preset.reads), *self._given.reads)
        argv = ("sh", "-c", PRELUDE, self.name, _places(reads), "0", *self.preset.version_command)
        return RunSpec(
            id=task.run_id,
            argv=argv,
            workdir=task.workspace,
            deadlines=task.deadlines,
            reads=reads,
            image=self.preset.image,
        )

    def parse_events(self, result: RunResult) -> Iterator[AgentEvent]:
        """The agent's steps, out of what it printed. The reader for a run that still goes on is `reading`."""
        return _fed(self.reading(), result.output)

    def reading(self) -> Reading:
        """A fresh reader of this agent's lines."""
        return Reading(self.preset.events, self.preset.event_fields())

    def check_usable(self) -> None:
        """Raises Refused (agent_unusable) when this entry cannot be run as things are."""
        preset = self.preset
        if preset.image and preset.kind == "acp":
            hint = "leave its image out, or use an entry of kind command"
            raise Refused("an agent of kind acp is driven from this machine", code="agent_unusable", hint=hint)
        if preset.secrets and not any(self._given.secrets.get(name) for name in preset.secrets):
            names = " or ".join(preset.secrets)
            hint = f"set agents.{self.name}.secrets or secret_files, or use --agent-env"
            raise Refused(f"agent {self.name} has no key: {names} is not given", code="agent_unusable", hint=hint)
        if preset.kind == "acp" and find_spec("acp") is None:
            hint = "install Windlass with its extra: windlass[acp]"
            raise Refused("the Agent Client Protocol's library is not installed", code="agent_unusable", hint=hint)
        access.path_of(preset, self._given.access, self._given.secrets)

    def _hosts(self, *, is_admitted: bool) -> tuple[str, ...]:
        """What it may reach through the egress proxy: what it needs, or, beside the gateway, what the operator adds."""
        return self._given.egress or (() if is_admitted else self.preset.egress)

    def _admitted(self, task: AgentTask) -> Admitted | None:
        """The run's own way through the gateway; None where its key goes in by environment."""
        given, way = self._given, access.path_of(self.preset, self._given.access, self._given.secrets).way
        if way is None or given.access.gateway is None:
            return None
        key = given.secrets[way.key]
        grant = access.grant_of(way, self.preset, given.access, key, task.cost_limit_usd)
        return Admitted(way=way, admission=given.access.gateway.admit(task.run_id, grant))

    def _counted(self, run_id: str, said: AgentReport) -> AgentReport:
        """The report with what the gateway knows better, for a run that was admitted; its key is void from now on."""
        account = self._stopped.pop(run_id, None) or self._account(run_id)
        if account is None:
            return said
        if self._given.access.gateway is not None:
            with suppress(WindlassError):
                self._given.access.gateway.close(run_id)
        usage = access.merged(said.usage, account.usage)
        told = replace(said, usage=usage, model=(usage.model if usage else "") or said.model)
        if account.refusal and said.outcome in CUT_BY_MONEY:
            told = replace(told, outcome=Outcome.INCOMPLETE, detail=f"the model gateway said no: {account.refusal}")
        return replace(told, model_access=access.GATEWAY)

    def _account(self, run_id: str) -> access.Account | None:
        gateway = self._given.access.gateway
        refusal = gateway.refusal(run_id) if gateway is not None else None
        if gateway is None or refusal is None:
            return None
        return access.Account(usage=gateway.usage(run_id), refusal=refusal)

    def _model_keys(self) -> tuple[str, ...]:
        names = self.preset.secrets if self._given.access.keys is None else self._given.access.keys
        return tuple(name for name in names if self._given.secrets.get(name))

    def _command(
        self, values: Mapping[str, str], prompt: str, admitted: Admitted | None
    ) -> tuple[tuple[str, ...], str]:
        """(argument list, standard input)."""
        led = admitted.arguments(values) if admitted is not None else ()
        argv = (*_rendered(self.preset.command, values), *led, *self._given.arguments)
        if self.preset.kind != "acp":
            return argv, prompt if self.preset.prompt == "stdin" else ""
        request = {"prompt": prompt, "mode": self.preset.mode}
        return (sys.executable, "-I", "-B", str(DRIVER), *argv), json.dumps(request)

    def _environment(self, task: AgentTask, values: Mapping[str, str], admitted: Admitted | None) -> dict[str, str]:
        own = {name: filled(text, values) for name, text in self.preset.environment.items()}
        homes = {f"WINDLASS_HOME_FILE_{n}": text for n, text in enumerate(self.preset.home_files.values())}
        common = {"PYTHONDONTWRITEBYTECODE": "1", "WINDLASS_ISSUE": str(task.issue.number)}
        led = admitted.variables(values) if admitted is not None else {}
        return {**common, **{name: text for name, text in own.items() if text}, **homes, **self._given.secrets, **led}


def _values(task: AgentTask, prompt: str, model: str) -> dict[str, str]:
    is_short = len(prompt.encode("utf-8", "replace")) <= MAX_ARGUMENT_BYTES
    argument = prompt.replace("\0", "") if is_short else POINTER
    return {
        "prompt": f" {argument}" if argument.startswith("-") else argument,  # or it would be taken for an option
        "prompt_file": str(task.workspace / exchange.INSTRUCTIONS),
        "workspace": str(task.workspace),
        "model": model,
        "output_file": str(task.workspace / exchange.place(OUTPUT, has_desk=task.is_read_only)),
    }


def _rendered(command: Sequence[str | tuple[str, ...]], values: Mapping[str, str]) -> Iterator[str]:
    for part in command:
        if isinstance(part, str):
            yield filled(part, values)
        elif all(values[name] for text in part for name in placeholders(text)):
            yield from (filled(text, values) for text in part)


def _places(reads: Sequence[Path]) -> str:
    """Where programs of a mounted installation lie: its `bin`, and npm's place for them."""
    places = [place for path in reads for place in (path / "bin", path / "node_modules" / ".bin") if place.is_dir()]
    return ":".join(str(place) for place in places)


def own_deadlines(policy: Deadlines, preset: Preset) -> Deadlines:
    """The policy's deadlines with the entry's own start and idle ones; the total is the shorter of both."""
    given = preset.deadlines
    return replace(
        policy,
        start_s=given.start_s or policy.start_s,
        idle_s=given.idle_s or policy.idle_s,
        total_s=min(given.total_s or policy.total_s, policy.total_s),
    )


def _fed(reading: Reading, path: Path) -> Iterator[AgentEvent]:
    """The events of everything in a file of printed lines, however long they are."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                yield from reading.feed(exchange.clean(line))
    except OSError:
        return
