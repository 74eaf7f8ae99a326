"""`windlass policy check`: whether a repository's policy can be read, and what it means, before it is pushed.

Rule: what is checked here is what the server checks, by the same code. Nothing is asked of a network.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import click

from windlass.core.errors import NotFound, Refused
from windlass.core.policy import Limits, Policy
from windlass.core.records import plain
from windlass.core.roles import Step
from windlass.engine.intake import POLICY_PATH, parse_policy
from windlass.faces.cli.agents import CONFIG, JSON
from windlass.faces.cli.client import one_line
from windlass.faces.cli.options import Tools


@click.group()
def policy() -> None:
    """A repository's own rules, `.github/windlass.yml`."""


@policy.command("check")
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@CONFIG
@JSON
@click.pass_obj
def check_policy(tools: Tools, path: Path, config: Path | None, as_json: bool) -> None:
    """Check the policy at PATH: a file, or a repository's directory (default: this one).

    Prints what it means. With --config, agents that the policy names must be known there. Exit code 4: it is refused.
    """
    file = path / POLICY_PATH if path.is_dir() else path
    found = parse_policy(_read(file), Policy())
    if config is not None:
        _insist_on_agents(found, {str(line["name"]) for line in tools.agents(config)})
    if as_json:
        click.echo(json.dumps(plain(found)))
        return
    click.echo(f"{file}: fine")
    for line in _lines(found):
        click.echo(f"  {line}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no {file}", hint="without the file the defaults hold; docs/policy.md tells") from None
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}", code="bad_policy", hint="name a file") from error


def _insist_on_agents(found: Policy, known: set[str]) -> None:
    members = [member.agent for step in found.workflow for member in step.members]
    named = {found.agent, *found.agents.values(), *members} - {""}
    unknown = sorted(named - known)
    if unknown:
        hint = f"known agents: {', '.join(sorted(known))}"
        raise Refused(f"the policy names an agent that is not known: {unknown[0]}", code="bad_policy", hint=hint)


def _lines(found: Policy) -> Iterator[str]:
    yield f"workflow: {' → '.join(_step(step) for step in found.workflow)}"
    usual = Policy()
    for field in dataclasses.fields(Policy):
        value = getattr(found, field.name)
        if field.name not in {"workflow", "limits", "digest"} and value != getattr(usual, field.name):
            yield f"{field.name}: {one_line(_shown(value))}"
    for limit in dataclasses.fields(Limits):
        value = getattr(found.limits, limit.name)
        if value != limit.default:
            yield f"limits.{limit.name}: {value} (default {limit.default})"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{role} {agent}" for role, agent in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _step(step: Step) -> str:
    names = []
    for member in step.members:
        agent = f" ({one_line(member.agent)})" if member.agent else ""
        many = f"{member.candidates} candidates, the tests choose: " if member.candidates > 1 else ""
        names.append(f"{many}{member.role}{agent}")
    return " + ".join(names)
