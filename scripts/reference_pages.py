"""Write the documentation's reference parts from the code: `python scripts/reference_pages.py`, `--check` compares.

Whole files: docs/commands.md, docs/openapi.json, docs/policy.schema.json, docs/agent.schema.json,
docs/findings.schema.json. Parts between
`<!-- made: NAME -->` and `<!-- end -->`: the tables of docs/policy.md, docs/agents.md, docs/api.md and
docs/localforge.md. Kept: they say what the code says.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from windlass.adapters.agents import catalogue, preset
from windlass.core import policy
from windlass.core.errors import Refused
from windlass.core.findings import SCHEMA
from windlass.core.policy import Limits, Policy
from windlass.core.roles import MOST_SIDE_BY_SIDE, MOST_STEPS, ROLES, STRAIGHT
from windlass.faces.api.app import Backend, create_app, openapi_json
from windlass.faces.cli.main import windlass
from windlass.localforge.api import door  # fills the table of operations
from windlass.localforge.api.calls import OPERATIONS
from windlass.localforge.faults import Faults

DOCS = Path(__file__).parent.parent / "docs"

POLICY_MEANINGS = {
    "label": "the label that asks for work",
    "base": "branch to start from and to merge into; empty: the default branch",
    "agent": "agent by name; empty: the operator's `default_agent`",
    "agents": "agent by role (`coder`, `reviewer`, `tester`), where the workflow names none",
    "workflow": "who works in which order: see [workflows](workflows.md)",
    "setup_command": "shell command that prepares a fresh copy before agents and tests: see [set-up](#set-up)",
    "test_command": "shell command that runs the tests; empty: detected from the files",
    "requesters": "permissions with which a person may ask for work",
    "approver_permissions": "permissions with which a person may approve",
    "reviewers": "logins whose approvals count, besides their permission; empty: everybody's with a permission",
    "may_requester_approve": "whether who asked for the work may also approve it",
    "allow_paths": "protected paths that an agent may change after all (patterns as in `.gitignore`)",
    "protect_paths": "further paths that an agent may not change (patterns as in `.gitignore`)",
    "require_red_to_green": "publish only what turns a red test green",
    "pull_labels": "labels put on the pull request",
}
LIMIT_MEANINGS = {
    "agent_attempts": "runs of the agent that may fail before a person is asked",
    "ci_fix_rounds": "times the agent is asked to mend failing checks",
    "review_rounds": "times the agent is asked to address a review",
    "rework_rounds": "times findings of reviewing agents go back to the coder",
    "flake_reruns": "times failed checks are run again before the agent is asked",
    "revivals": "times an order is tried anew after infrastructure let it down",
    "run_start_s": "longest time until an agent gives its first sign of life",
    "run_idle_s": "longest silence of an agent",
    "run_total_s": "longest run of an agent",
    "test_timeout_s": "longest run of the tests on one tree",
    "checks_start_s": "longest wait for the first check of a commit",
    "checks_quiet_s": "where nothing is required: how long no further check may appear before green is believed",
    "checks_total_s": "longest wait for the checks of a commit",
    "review_s": "longest wait for a review",
    "escalation_s": "longest wait for a person after an escalation; then the job fails",
    "job_s": "longest wait for a free agent",
    "patch_files": "files that a change may touch",
    "patch_bytes": "size of a change's diff",
    "prompt_tokens": "size of an agent's instructions, in tokens (estimated)",
    "run_cost_cents": "money for one run of an agent, in US cents; 0: no limit",
    "job_cost_cents": "money for all runs of a job, in US cents; 0: no limit",
}


def policy_schema() -> str:
    """JSON Schema (draft 2020-12) of `.github/windlass.yml`."""
    fields = {f.name: f for f in dataclasses.fields(Policy) if f.name not in {"limits", "digest"}}
    plain = {name: field.default_factory() if name == "agents" else field.default for name, field in fields.items()}
    properties: dict[str, Any] = {"version": {"const": 1, "description": "version of this file's format"}}
    properties |= {name: _property(name, default) for name, default in plain.items()}
    limits = {f.name: _limit(f.name, f.default) for f in dataclasses.fields(Limits)}
    properties["limits"] = {
        "type": "object",
        "additionalProperties": False,
        "description": "what one job may use before a person is asked",
        "properties": limits,
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Windlass policy, .github/windlass.yml",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(schema, indent=2) + "\n"


def _property(name: str, default: Any) -> dict[str, Any]:
    said = {"description": POLICY_MEANINGS[name].replace("`", ""), "default": default}
    if name == "workflow":
        return {**_workflow(), "description": "who works in which order", "default": ["coder"]}
    if name == "agents":
        roles = {role: {"type": "string", "minLength": 1, "maxLength": 100} for role in ROLES}
        return {"type": "object", "additionalProperties": False, "properties": roles, **said}
    if isinstance(default, bool):
        return {"type": "boolean", **said}
    if isinstance(default, tuple):
        item: dict[str, Any] = {"type": "string", "minLength": 1}
        if name in {"requesters", "approver_permissions"}:
            item = {"enum": sorted(policy.PERMISSIONS)}
        least = {"minItems": 1} if name == "approver_permissions" else {}
        return {"type": "array", "items": item, **least, **said, "default": list(default)}
    size = {"minLength": 1, "maxLength": 50} if name == "label" else {"maxLength": 4000}
    return {"type": "string", **size, **said}


def _workflow() -> dict[str, Any]:
    """The shape of a workflow; what may follow what is said by `windlass policy check`."""

    def member(roles: tuple[str, ...]) -> dict[str, Any]:
        keys: dict[str, Any] = {
            "role": {"enum": list(roles), "description": "what the agent is asked to be"},
            "agent": {"type": "string", "maxLength": 100, "description": "agent by name; empty: the job's own"},
            "candidates": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_SIDE_BY_SIDE if "coder" in roles else 1,
                "description": "how many coders try it side by side; the tests choose",
            },
        }
        whole = {"type": "object", "additionalProperties": False, "required": ["role"], "properties": keys}
        return {"anyOf": [{"enum": list(roles)}, whole]}

    readers = {"type": "array", "minItems": 1, "maxItems": MOST_SIDE_BY_SIDE, "items": member(("reviewer",))}
    side_by_side = {
        "type": "object",
        "additionalProperties": False,
        "required": ["parallel"],
        "properties": {"parallel": {**readers, "description": "reviewers that work at the same time"}},
    }
    items = {"anyOf": [*member(ROLES)["anyOf"], side_by_side]}
    return {"type": "array", "minItems": 1, "maxItems": MOST_STEPS, "items": items}


def _limit(name: str, default: Any) -> dict[str, Any]:
    low, high = _range(name)
    return {
        "type": "integer",
        "minimum": low,
        "maximum": high,
        "description": LIMIT_MEANINGS[name].replace("`", ""),
        "default": default,
    }


def _range(name: str) -> tuple[int, int]:
    """Found by asking the parser, which alone knows."""

    def is_taken(value: int) -> bool:
        try:
            policy.parse({"limits": {name: value}})
        except Refused:
            return False
        return True

    default: int = next(f.default for f in dataclasses.fields(Limits) if f.name == name)
    refused, low = -1, default
    while low - refused > 1:
        middle = (low + refused) // 2
        refused, low = (refused, middle) if is_taken(middle) else (middle, low)
    high, refused = default, 1 << 40
    while refused - high > 1:
        middle = (high + refused) // 2
        high, refused = (middle, refused) if is_taken(middle) else (high, middle)
    return low, high


def findings_schema() -> str:
    """JSON Schema (draft 2020-12) of what a reviewing agent reports."""
    return json.dumps(SCHEMA, indent=2) + "\n"


def agent_schema() -> str:
    """JSON Schema (draft 2020-12) of an entry of the agent catalogue."""
    return json.dumps(preset.schema(), indent=2) + "\n"


def agent_table() -> str:
    """Every key of a catalogue entry with its meaning."""
    rows = ["| key | meaning |", "|---|---|"]
    described = preset.schema()
    for name, told in described["properties"].items():
        rows.append(f"| `{name}` | {_cell(told.get('description', ''))} |")
        inner = described["$defs"].get(str(told.get("$ref", "")).rpartition("/")[2], {}).get("properties", {})
        rows += [f"| `{name}.{key}` | {_cell(part.get('description', 'seconds'))} |" for key, part in inner.items()]
    return "\n".join(rows)


def preset_table() -> str:
    """Every agent that comes with Windlass."""
    rows = ["| agent | its keys | reads by itself | what it is |", "|---|---|---|---|"]
    for name, entry in catalogue.shipped().items():
        keys = ", ".join(f"`{key}`" for key in entry.secrets) or "its own"
        files = ", ".join(f"`{path}`" for path in entry.reads_instructions)
        rows.append(f"| `{name}` | {keys} | {files} | {_cell(entry.description)} |")
    return "\n".join(rows)


def policy_tables() -> str:
    """Every key of the policy with default and meaning."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `{field.name}` | {_value(getattr(Policy(), field.name))} | {POLICY_MEANINGS[field.name]} |"
        for field in dataclasses.fields(Policy)
        if field.name not in {"limits", "digest"}
    ]
    rows += ["", "Keys of `limits`; times in seconds:", "", "| key | default | range | meaning |", "|---|---|---|---|"]
    for limit in dataclasses.fields(Limits):
        low, high = _range(limit.name)
        said = LIMIT_MEANINGS[limit.name]
        rows.append(f"| `limits.{limit.name}` | `{limit.default}` | {low:,} to {high:,} | {said} |")
    return "\n".join(rows)


def _value(value: Any) -> str:
    if value == "":
        return "empty"
    if value == STRAIGHT:
        return '`["coder"]`'
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def commands() -> str:
    """docs/commands.md."""
    head = (
        "# Commands\n\nMade by `python scripts/reference_pages.py` from the command line itself; do not edit it.\n\n"
        "| exit code | meaning |\n|---|---|\n| 0 | done; with `run`: a pull request is ready for review, or merged |\n"
        "| 1 | `evidence verify`: not consistent; elsewhere: unexpected |\n"
        "| 2 | usage; `evidence verify`: not a bundle that can be read |\n| 3 | a person is needed |\n"
        "| 4 | refused: change the input |\n| 5 | failed |\n| 6 | unavailable for now: try again |\n"
    )
    return head + "".join(_command(windlass, "windlass"))


def _command(command: click.Command, path: str) -> list[str]:
    context = click.Context(command, info_name=path)
    parts = []
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            parts += _command(child, f"{path} {name}")
        return parts
    usage = " ".join(command.collect_usage_pieces(context))
    text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    parts.append(f"\n## {path}\n\n```text\n{path} {usage}\n```\n\n{text}\n")
    options = [p for p in command.params if isinstance(p, click.Option)]
    if options:
        rows = [_option(option, context) for option in options]
        parts.append("\n" + "\n".join(["| option | default | meaning |", "|---|---|---|", *rows]) + "\n")
    return parts


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" {option.make_metavar(context)}".replace("|", "\\|")
    default = option.default
    is_given = isinstance(default, str | int | float | Path) and not isinstance(default, bool) and str(default) != ""
    shown = "required" if option.required else f"`{default}`" if is_given else ""
    return f"| {names}{metavar} | {shown} | {_cell(option.help or '')} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def openapi() -> str:
    """The OpenAPI description of the HTTP API."""
    inert = dict.fromkeys((f.name for f in dataclasses.fields(Backend)), None)
    return openapi_json(create_app(Backend(**cast("Any", {**inert, "token": "", "largest_payload_bytes": 1}))))


def api_table() -> str:
    """Every call of the HTTP API."""
    rows = ["| call | does |", "|---|---|"]
    for path, methods in json.loads(openapi())["paths"].items():
        rows += [f"| `{method.upper()} {path}` | {call['summary']} |" for method, call in methods.items()]
    return "\n".join(rows)


def operations() -> str:
    """Every operation of the embedded forge and what it needs."""
    assert door.ROOMS
    rows = ["| operation | an App needs | a user needs |", "|---|---|---|"]
    for entry in sorted(OPERATIONS, key=lambda o: (o.template, o.method)):
        app, user = ("", "the caller's own") if entry.need is None else (", ".join(entry.need.app), entry.need.user)
        rows.append(f"| `{entry.method} {entry.template}` | {app} | {user} |")
    return "\n".join(rows)


def faults() -> str:
    """Every fault switch."""
    rows = ["| switch | default |", "|---|---|"]
    rows += [f"| `{f.name}` | `{f.default}` |" for f in dataclasses.fields(Faults) if f.name != "counts"]
    return "\n".join(rows)


WHOLE: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "openapi.json": openapi,
    "policy.schema.json": policy_schema,
    "agent.schema.json": agent_schema,
    "findings.schema.json": findings_schema,
}
PARTS: dict[str, Callable[[], str]] = {
    "policy": policy_tables,
    "agent": agent_table,
    "presets": preset_table,
    "api": api_table,
    "operations": operations,
    "faults": faults,
}
_PART = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def wanted() -> dict[str, str]:
    """Every file with made parts, as it should be."""
    files = {name: make() for name, make in WHOLE.items()}
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if path.name not in WHOLE and "<!-- made: " in text:
            files[path.name] = _PART.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]()}\n\n{m[3]}", text)
    return files


def main(arguments: list[str]) -> int:
    """0: written, or equal under --check."""
    stale = {name: text for name, text in wanted().items() if not _is(name, text)}
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"docs/{name} is not what the code says; run python scripts/reference_pages.py\n")
        return 1 if stale else 0
    for name, text in stale.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


def _is(name: str, text: str) -> bool:
    path = DOCS / name
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
