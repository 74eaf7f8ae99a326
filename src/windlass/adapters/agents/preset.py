"""One entry of the agent catalogue, as data: how an agent is started, read and judged.

Checked where it comes in: an unknown key, an unknown placeholder or a combination that cannot work is refused, with the
path of the key. Nothing in an entry runs anything outside the sandbox, and no secret's value stands in one: only names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Told

from windlass.core.agent_events import FORMATS, Fields
from windlass.core.errors import Refused

PLACEHOLDERS = ("prompt_file", "prompt", "workspace", "model", "output_file")
GATEWAY_PLACEHOLDERS = ("gateway_url", "run_key", "model", "workspace")
NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

Seconds = Annotated[float, Told(gt=0, le=604_800)]
Variable = Annotated[str, Told(pattern=VARIABLE)]
EventFormat = Literal[
    "plain", "claude", "codex", "gemini", "qwen", "opencode", "aider", "mini", "goose", "openhands", "atif",
    "windlass", "jsonl",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFields:
    """Where things stand in each JSON line, as keys joined by dots; for `events: jsonl`. '' where it is not said."""

    end: Annotated[str, Told(description="the field whose value tells that the work is over")] = ""
    finished: Annotated[tuple[str, ...], Told(description="values of `end` that mean finished")] = ()
    failed: Annotated[tuple[str, ...], Told(description="values of `end` that mean failed")] = ()
    message: Annotated[str, Told(description="what the agent says")] = ""
    tool: Annotated[str, Told(description="the name of a tool it calls")] = ""
    error: Annotated[str, Told(description="an error's text")] = ""
    model: Annotated[str, Told(description="the model that answered")] = ""
    input_tokens: Annotated[str, Told(description="tokens read, cached ones included")] = ""
    output_tokens: Annotated[str, Told(description="tokens written")] = ""
    cached_tokens: Annotated[str, Told(description="tokens read that came from a cache")] = ""
    cost_usd: Annotated[str, Told(description="cost in US dollars")] = ""
    turns: Annotated[str, Told(description="turns of the model")] = ""
    adds_up: Annotated[bool, Told(description="each line names its own use, not the sum since the start")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRule:
    """What means finished. An exit code other than 0 always means that it is not."""

    finished_by: Annotated[
        Literal["events", "report", "exit"],
        Told(
            description="events: its own closing event; report: WORK-COMPLETED as the report's last line; exit: exit "
            "code 0 with a changed tree, for agents that say nothing"
        ),
    ] = "report"
    startup_failures: Annotated[
        tuple[Annotated[str, Told(min_length=4)], ...],
        Told(description="texts of errors that are not the agent's doing (no key, no network); any case"),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDeadlines:
    """Seconds; what is given replaces the policy's start and idle deadline, and shortens its total one."""

    start_s: Seconds | None = None
    idle_s: Seconds | None = None
    total_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayWay:
    """One way to the model gateway. Placeholders: {gateway_url} (no path), {run_key}, {model}, {workspace}."""

    protocol: Annotated[
        Literal["anthropic", "openai", "gemini"], Told(description="what it speaks to its model: whose interface")
    ]
    key: Annotated[
        Variable, Told(description="the one of `secrets` that stays outside; it gets a key of its own there")
    ]
    upstream: Annotated[
        str,
        Told(max_length=500, description="the model's address, as the agent would be given it; empty: the provider's"),
    ] = ""
    models: Annotated[tuple[str, ...], Told(description="patterns of the models it is for; empty: all")] = ()
    environment: Annotated[
        dict[Variable, str], Told(description="variables that lead to the gateway, over `environment`")
    ] = field(default_factory=dict)
    arguments: Annotated[tuple[str, ...], Told(description="arguments that do, behind `command`")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One agent. Placeholders in `command`: {prompt_file} {prompt} {workspace} {model} {output_file}."""

    __pydantic_config__ = ConfigDict(extra="forbid", title="Windlass agent")

    name: Annotated[str, Told(pattern=NAME, description="what settings and policies call it")]
    description: Annotated[str, Told(max_length=500, description="one or two sentences for people")] = ""
    kind: Annotated[
        Literal["command", "windsurf", "acp"],
        Told(description="command: a command line; windsurf: the windsurfinabox image; acp: speaks the protocol"),
    ] = "command"
    image: Annotated[
        str, Told(description="container image to run in; needs a container engine (docs/containers.md)")
    ] = ""
    command: Annotated[
        tuple[str | tuple[str, ...], ...],
        Told(description="argument list; an inner list is left out when one of its placeholders has no value"),
    ] = ()
    prompt: Annotated[Literal["stdin", "argument", "file"], Told(description="how the prompt is given")] = "stdin"
    events: Annotated[EventFormat, Told(description="how what it prints is read")] = "plain"
    fields: Annotated[EventFields, Told(description="usage and other fields, for `events: jsonl`")] = field(
        default_factory=EventFields
    )
    outcome: Annotated[OutcomeRule, Told(description="what means finished")] = field(default_factory=OutcomeRule)
    model: Annotated[str, Told(max_length=200, description="model to ask for; empty: the agent's own choice")] = ""
    noise: Annotated[tuple[str, ...], Told(description="what it leaves in the tree, as in .gitignore")] = ()
    reads_instructions: Annotated[tuple[str, ...], Told(description="instruction files it reads by itself")] = ()
    egress: Annotated[tuple[str, ...], Told(description="hosts that it has to reach")] = ()
    secrets: Annotated[
        tuple[Variable, ...], Told(description="variables that hold its keys; one of them must be given")
    ] = ()
    gateway: Annotated[
        tuple[GatewayWay, ...], Told(description="ways to its model without having the key; the first that fits counts")
    ] = ()
    environment: Annotated[dict[Variable, str], Told(description="variables; left out when empty")] = field(
        default_factory=dict
    )
    home_files: Annotated[dict[str, str], Told(description="files put into its fresh home directory")] = field(
        default_factory=dict
    )
    needs_network: Annotated[bool, Told(description="whether its sandbox keeps the network")] = False
    deadlines: Annotated[OwnDeadlines, Told(description="its own deadlines in seconds")] = field(
        default_factory=OwnDeadlines
    )
    version_command: Annotated[tuple[str, ...], Told(description="argument list that prints its version")] = ()
    mode: Annotated[str, Told(max_length=100, description="session mode to set, for kind acp")] = ""
    reads: Annotated[tuple[str, ...], Told(description="absolute paths of its installation to show")] = ()

    def event_fields(self) -> Fields:
        """The fields as the reader wants them."""
        return Fields(**asdict(self.fields))


_PRESET = TypeAdapter(Preset)


def parse(document: object, where: str) -> Preset:
    """An entry out of YAML or JSON data; `where` names its source. Raises Refused (bad_agent)."""
    if not isinstance(document, Mapping):
        raise _bad(where, "it must be a mapping of keys to values")
    try:
        preset = _PRESET.validate_python(dict(document))
    except ValidationError as error:
        raise _bad(where, _first_problem(error)) from None
    return checked(preset, where)


def changed(preset: Preset, where: str, changes: Mapping[str, Any]) -> Preset:
    """The entry with some keys replaced, checked anew. Raises Refused (bad_agent)."""
    names = sorted(set(changes) - set(Preset.__slots__))
    if names:
        raise _bad(where, f"unknown key {names[0]}")
    return parse(json.loads(_PRESET.dump_json(preset)) | dict(changes), where) if changes else preset


def checked(preset: Preset, where: str) -> Preset:
    """The entry, when its parts fit together. Raises Refused (bad_agent)."""
    if preset.kind == "acp":
        preset = replace(preset, events="windlass")  # the driver's lines, whatever the agent's
    for problem in (*_wrong_placeholders(preset), *_wrong_parts(preset), *_wrong_ways(preset)):
        raise _bad(where, problem)
    return preset


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one entry."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_PRESET.json_schema()}


def as_document(preset: Preset) -> dict[str, Any]:
    """The entry as plain data, everything that is not the default included."""
    found: dict[str, Any] = _PRESET.dump_python(preset, mode="json", exclude_defaults=True)
    return found


def placeholders(text: str) -> tuple[str, ...]:
    """The names in braces in a text; other braces mean themselves."""
    return tuple(_PLACEHOLDER.findall(text))


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with each placeholder replaced once; what a value holds is not looked at again."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _wrong_placeholders(preset: Preset) -> Iterator[str]:
    flat = [(f"command.{n}", text) for n, part in enumerate(preset.command) for text in _texts(part)]
    flat += [(f"environment.{name}", text) for name, text in preset.environment.items()]
    for path, text in flat:
        for name in placeholders(text):
            if name not in PLACEHOLDERS:
                known = " ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                yield f"{path}: unknown placeholder {{{name}}}; there are {known}"
            elif name == "prompt" and path.startswith("environment."):
                yield f"{path}: {{prompt}} can only stand in command"
    used = {name for path, text in flat if path.startswith("command") for name in placeholders(text)}
    if preset.kind == "command" and ("prompt" in used) != (preset.prompt == "argument"):
        yield "prompt: `argument` and {prompt} in command belong together"
    if preset.prompt == "file" and preset.kind == "command" and "prompt_file" not in used:
        yield "prompt: `file` needs {prompt_file} in command"
    if FORMATS[preset.events].by_file is not None and "output_file" not in used:
        yield f"events: {preset.events} is read from {{output_file}}, which command does not name"


def _wrong_parts(preset: Preset) -> Iterator[str]:
    if preset.kind == "windsurf" and (preset.command or not preset.image):
        yield "kind: windsurf has an image and no command"
    if preset.kind == "windsurf" and (preset.model or preset.home_files or preset.version_command):
        yield "kind: windsurf lets nobody choose a model, home files or a version command"
    if preset.kind != "windsurf" and not (preset.command and isinstance(preset.command[0], str)):
        yield "command: it must begin with a program"
    if preset.events == "jsonl" and preset.outcome.finished_by == "events" and not preset.fields.finished:
        yield "fields.finished: it must say which value of `end` means finished"
    if preset.outcome.finished_by == "events" and preset.events == "plain":
        yield "outcome.finished_by: plain text has no events; use report or exit"
    for path in preset.home_files:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path:
            yield f"home_files.{path[:80]}: give a path below the home directory"
    for path in preset.reads:
        if not path.startswith("/"):
            yield f"reads: {path[:80]} is not an absolute path"
    for pattern in preset.noise:
        if pattern.startswith((":", "!")) or not pattern.strip("/"):
            yield f"noise: {pattern!r} is not a pattern"


def _wrong_ways(preset: Preset) -> Iterator[str]:
    for n, way in enumerate(preset.gateway):
        if way.key not in preset.secrets:
            yield f"gateway.{n}.key: {way.key} is not one of the secrets"
        texts = [(f"environment.{name}", text) for name, text in way.environment.items()]
        texts += [("arguments", text) for text in way.arguments]
        for path, text in texts:
            for name in placeholders(text):
                if name not in GATEWAY_PLACEHOLDERS:
                    known = " ".join(f"{{{known}}}" for known in GATEWAY_PLACEHOLDERS)
                    yield f"gateway.{n}.{path}: unknown placeholder {{{name}}}; there are {known}"
        if not any("{gateway_url}" in text for _, text in texts):
            yield f"gateway.{n}: nothing names {{gateway_url}}"


def _texts(part: str | tuple[str, ...]) -> tuple[str, ...]:
    return (part,) if isinstance(part, str) else part


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key {path}"
    return f"{path or 'the entry'}: {problem['msg']}"


def _bad(where: str, why: str) -> Refused:
    return Refused(f"{where}: {why}", code="bad_agent", hint="see docs/agents.md and docs/agent.schema.json")
