"""`windlass agents`: which agents there are, what an entry says, and whether one works on this machine.

Rule: `list` and `show` touch neither network nor agent; `check` runs one, in the sandbox. Keys are named, never shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from windlass.core.messages import visible
from windlass.faces.cli import exits
from windlass.faces.cli.options import AgentTrialOptions, Tools
from windlass.faces.cli.variables import given_variables

CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="WINDLASS_CONFIG",
    help="Settings as YAML; WINDLASS_* variables come on top.",
)
KEY_WAYS = {
    "gateway": "kept by the model gateway",
    "environment": "handed to the agent in its environment",
    None: "none",
}
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def agents() -> None:
    """Which coding agents there are, and whether they work here."""


@agents.command("list")
@CONFIG
@JSON
@click.pass_obj
def list_agents(tools: Tools, config: Path | None, as_json: bool) -> None:
    """List every agent by name."""
    lines = tools.agents(config)
    if as_json:
        click.echo(json.dumps(list(lines)))
        return
    width = max(len(line["name"]) for line in lines)
    for line in lines:
        click.echo(f"{line['name']:{width}}  {line['kind']:8} {line['source']:10} {_first_sentence(line)}")


@agents.command("show")
@click.argument("name")
@CONFIG
@JSON
@click.pass_obj
def show_agent(tools: Tools, name: str, config: Path | None, as_json: bool) -> None:
    """Show NAME's entry as YAML: what is run, how it is read, what it needs."""
    entry = dict(tools.agent(config, name))
    click.echo(json.dumps(entry) if as_json else yaml.safe_dump(entry, sort_keys=False, width=110), nl=as_json)


@agents.command("check")
@click.argument("name")
@click.option("--agent-env", multiple=True, metavar="NAME", help="Hand this variable to the agent (repeatable).")
@click.option("--mount", "mounts", multiple=True, type=click.Path(path_type=Path), help="Extra path to read.")
@click.option("--model", default="", help="Model to ask for.")
@click.option("--timeout", "timeout_s", default=300.0, show_default=True, help="Longest run in seconds.")
@CONFIG
@JSON
@click.pass_obj
def check_agent(
    tools: Tools, /, name: str, agent_env: tuple[str, ...], config: Path | None, as_json: bool, **given: Any
) -> None:
    """Have NAME mend a one-line bug in a scratch directory, in the sandbox, and say what was found.

    Costs a little money where the agent's model does. Exit codes: 0 it works, 4 it is not installed, has no key or
    cannot be run here, 5 it did not do it.
    """
    options = AgentTrialOptions(name=name, environment=given_variables(agent_env), **given)
    found = tools.try_agent(config, options)
    click.echo(json.dumps(found) if as_json else "\n".join(_told(found)))
    sys.exit(exits.OK if found["is_good"] else exits.FAILED)


def _first_sentence(line: Mapping[str, Any]) -> str:
    said = str(line["description"]).partition(". ")[0].rstrip(".")
    why = str(line["unusable"]).removeprefix(f"agent {line['name']} ")
    return f"{said} ({why})" if why else said


def _told(found: Mapping[str, Any]) -> list[str]:
    usage = found["usage"] or {}
    reported = [f"{name} {value}" for name, value in usage.items() if value not in {None, ""}]
    facts = {
        "version": found["version"] or "not told",
        "isolation": found["isolation"],
        "outcome": f"{found['outcome']} {found['detail']}".strip(),
        "seconds": f"{found['duration_s']:.1f}",
        "mended": "yes" if found["is_mended"] else "no",
        "key": KEY_WAYS[found["model_access"]],
        "usage": ", ".join(reported) or "not reported",
        "noise": ", ".join(found["noise"]) or "none",
        "left": ", ".join(found["left"]) or "nothing beside its work",
    }
    words = "works" if found["is_good"] else "DOES NOT WORK"
    return [f"{found['agent']} {words}", *(f"  {name:10} {visible(str(text))}" for name, text in facts.items())]
