"""`windlass run` and `windlass demo`: the whole job on this machine, with no account anywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from windlass.core.errors import Refused, WindlassError
from windlass.core.job import TaskType
from windlass.faces.cli import exits
from windlass.faces.cli.client import one_line
from windlass.faces.cli.live import Teller
from windlass.faces.cli.options import RunOptions, RunSummary, Tools
from windlass.faces.cli.variables import given_variables

_LARGEST_ISSUE = 1 << 20


@click.command()
@click.option("--repo", required=True, type=click.Path(path_type=Path), help="A git repository of yours.")
@click.option("--issue", required=True, type=click.Path(path_type=Path), help="The issue's text; - reads stdin.")
@click.option("--title", default="", help="The issue's title; default: the text's first line.")
@click.option("--type", "task_type", type=click.Choice([t.value for t in TaskType]), help="Kind of work.")
@click.option("--agent", default="", help="Agent by name; default: patch, which applies a diff found in the issue.")
@click.option("--agent-command", default="", help="Any command line as the agent; it works in the current directory.")
@click.option("--agents-dir", type=click.Path(path_type=Path), help="Agents of your own: NAME.yaml each.")
@click.option("--model", default="", help="Model to ask the agent for.")
@click.option("--image", default="", help="Run agent and tests in containers of this image.")
@click.option("--agent-network", is_flag=True, help="Let the agent's sandbox reach the network.")
@click.option("--agent-env", multiple=True, metavar="NAME", help="Hand this variable to the agent (repeatable).")
@click.option("--test-command", default="", help="Test command; default: the policy's, else detected.")
@click.option("--base", default="", help="Branch to start from; default: the one checked out.")
@click.option("--mount", "mounts", multiple=True, type=click.Path(path_type=Path), help="Extra path to read.")
@click.option("--workdir", type=click.Path(path_type=Path), help="Keep all state there; default: temporary.")
@click.option("--approve-as", default="", metavar="NAME", help="Approve and merge in the local forge as NAME.")
@click.option("--timeout", "timeout_s", default=7200.0, show_default=True, help="Longest wait in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Last line of stdout: one JSON object.")
@click.pass_obj
def run(tools: Tools, /, issue: Path, as_json: bool, agent_env: tuple[str, ...], **given: Any) -> None:
    """Take one issue on a repository of your own to a verified pull request on branch ai-1.

    The repository is copied; your checkout is never written to, except that on success the branch is fetched into it.
    """
    teller = Teller()
    try:
        options = _options(issue, agent_env, given)
        summary = tools.run(options, teller.on_change)
    except WindlassError as error:
        _give_up(error, as_json=as_json)
    else:
        _close(summary, as_json=as_json)


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, to look around.")
@click.pass_obj
def demo(tools: Tools, keep: bool) -> None:
    """Watch one issue become a merged pull request, on an example, in under a minute."""
    teller = Teller(to_stdout=True)
    try:
        sys.exit(tools.demo(keep=keep, say=teller.say, on_change=teller.on_change))
    except WindlassError as error:
        _give_up(error, as_json=False)


def _options(issue: Path, agent_env: tuple[str, ...], given: dict[str, Any]) -> RunOptions:
    text = _issue_text(issue)
    task_type = TaskType(given.pop("task_type")) if given.get("task_type") else given.pop("task_type", None)
    environment = given_variables(agent_env)
    if given["agent"] and given["agent_command"]:
        raise Refused("--agent and --agent-command exclude each other", code="bad_option", hint="give one of them")
    return RunOptions(issue_text=text, task_type=task_type, agent_environment=environment, **given)


def _issue_text(path: Path) -> str:
    try:
        data = (
            sys.stdin.buffer.read(_LARGEST_ISSUE + 1) if str(path) == "-" else path.read_bytes()[: _LARGEST_ISSUE + 1]
        )
    except OSError as error:
        raise Refused(f"{path} cannot be read", code="bad_issue", hint=error.strerror or "") from error
    if len(data) > _LARGEST_ISSUE:
        raise Refused(f"{path} is larger than 1 MiB", code="bad_issue", hint="say what is wanted in fewer words")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 text", code="bad_issue", hint="save it as UTF-8") from error
    return text.replace("\x00", "")


def _give_up(error: WindlassError, *, as_json: bool) -> None:
    click.echo(f"windlass: {error}", err=True)
    if as_json:
        states = {exits.REFUSED: "refused", exits.UNAVAILABLE: "unavailable"}
        code = exits.of_error(error)
        state = states.get(code, "failed")
        document = {"job": None, "state": state, "reason": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps(document))
    sys.exit(exits.of_error(error))


def _close(summary: RunSummary, *, as_json: bool) -> None:
    document = summary.document
    pull = document.get("pull_request") or {}
    reason = f" ({document['reason']}: {one_line(document['detail'])})" if document.get("reason") else ""
    click.echo(f"windlass: {document['state']}{reason}", err=True)
    if pull:
        click.echo(f"  pull request #{pull['number']}: {one_line(pull['title'])}", err=True)
    click.echo(f"  branch {document['branch']}, evidence {document['evidence']['bundle']}", err=True)
    click.echo(f"  everything is kept in {summary.workdir}", err=True)
    if summary.notice:
        click.echo(f"  NOTE: {summary.notice}", err=True)
    if as_json:
        click.echo(json.dumps(document))
    sys.exit(summary.exit_code)
