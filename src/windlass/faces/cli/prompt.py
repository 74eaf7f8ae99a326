"""`windlass prompt show` and `preview`: what an agent was told, and what it would be told.

Rule: the prompt goes to standard output as it is, so that it can be kept or compared; where it came from and what was
taken out of it go to standard error. On a terminal nothing of it can drive the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from windlass.core.errors import Refused
from windlass.core.job import TaskType
from windlass.core.messages import visible
from windlass.core.prompt import PURPOSES
from windlass.core.roles import ROLES
from windlass.faces.cli.client import CONFIG, JSON, call, job_id, shown
from windlass.faces.cli.options import PreviewOptions, Tools

_LARGEST_ISSUE = 1 << 20


@click.group()
def prompt() -> None:
    """What agents are told."""


@prompt.command()
@click.argument("job")
@click.option("--run", "run_id", default="", help="Only this run's prompt; default: all, oldest first.")
@CONFIG
@JSON
@click.pass_obj
def show(tools: Tools, job: str, run_id: str, config: Path | None, as_json: bool) -> None:
    """Show what JOB's agents were told, and where every part came from."""
    params = {"run": run_id} if run_id else {}
    answer = call(tools, config, "GET", f"/api/v1/jobs/{job_id(job)}/prompts", params=params)
    if as_json:
        click.echo(json.dumps(answer))
        return
    for told in answer:
        click.echo(f"── {told['run']} {told['role']} attempt {told['attempt']} sha256:{told['digest']} ──", err=True)
        _explain(told["manifest"], told["flags"])
        click.echo(_as_shown(told["text"]), nl=False)
    if not answer:
        click.echo("nothing yet", err=True)


@prompt.command()
@click.option("--repo", required=True, type=click.Path(path_type=Path), help="A git repository of yours.")
@click.option("--issue", required=True, type=click.Path(path_type=Path), help="The issue's text; - reads stdin.")
@click.option("--title", default="", help="The issue's title; default: the text's first line.")
@click.option("--type", "task_type", type=click.Choice([t.value for t in TaskType]), help="Kind of work.")
@click.option("--role", type=click.Choice(ROLES), default="coder", show_default=True, help="Who is told.")
@click.option("--purpose", type=click.Choice(PURPOSES), default="implement", show_default=True, help="What for.")
@click.option("--base", default="", help="Branch to read; default: the one checked out.")
@click.option("--test-command", default="", help="Test command; default: the policy's, else detected.")
@click.option("--tokens", type=click.IntRange(2_000, 1_000_000), help="Budget; default: the policy's.")
@click.option("--json", "as_json", is_flag=True, help="Prompt and manifest as one JSON object.")
@click.pass_obj
def preview(
    tools: Tools, /, issue: Path, task_type: str | None, tokens: int | None, as_json: bool, **given: Any
) -> None:
    """Print the prompt that an agent would be given, offline; nothing is run or changed."""
    options = PreviewOptions(
        issue_text=_issue_text(issue),
        task_type=TaskType(task_type) if task_type else None,
        token_limit=tokens or 0,
        **given,
    )
    found = tools.preview_prompt(options)
    if as_json:
        click.echo(json.dumps({"text": found.text, "manifest": found.manifest}))
        return
    click.echo(_as_shown(found.text), nl=False)
    _explain(found.manifest, found.manifest["flags"])


def _explain(manifest: Mapping[str, Any] | None, flags: Sequence[str]) -> None:
    lines = []
    if manifest is not None:
        lines.append(f"about {manifest['tokens_estimate']} tokens, sha256:{manifest['prompt_sha256']}")
        lines += [f"template {one['name']} sha256:{one['sha256']}" for one in manifest["templates"]]
        lines += [f"instructions {one['path']} sha256:{one['sha256']}" for one in manifest["instructions"]]
        lines += [
            f"file {one['path']} blob {one['blob']} ({one['why']}{'' if one['whole'] else ', in part'})"
            for one in manifest["files"]
        ]
        lines += [f"comment by {one['author']} sha256:{one['sha256']}" for one in manifest["comments"]]
    lines += [f"flag {flag}" for flag in flags]
    for line in lines:
        click.echo(" ".join(visible(line).split()), err=True)


def _as_shown(text: str) -> str:
    """As it is into a file or a pipe; on a terminal without what could drive it."""
    return shown(text) + "\n" if sys.stdout.isatty() else text


def _issue_text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read(_LARGEST_ISSUE + 1) if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read", code="bad_issue", hint=error.strerror or "") from error
    if len(data) > _LARGEST_ISSUE:
        raise Refused("the issue is longer than 1 MiB", code="bad_issue", hint="shorten it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("the issue is not UTF-8 text", code="bad_issue", hint="save it as UTF-8") from error
