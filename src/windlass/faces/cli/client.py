"""How a command asks a running `windlass serve`, and how it shows the answer.

Rule: an error answer becomes the error it was on the server; hostile text reaches a terminal only without what could
drive it. Refuses ids that are not plain, before they become part of a URL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import httpx

from windlass.core.errors import Refused, Unavailable
from windlass.core.messages import visible
from windlass.faces.cli.options import Tools

CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="WINDLASS_CONFIG",
    help="The settings of the server that is asked.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="The server's answer as JSON.")


def call(tools: Tools, config: Path | None, method: str, path: str, **more: Any) -> Any:
    """The server's answer as plain JSON. Raises Unavailable, or Refused as the server did."""
    base, token = tools.api_address(config)
    return _ask(base, token, method, path, **more)


def show(answer: Any, text: str, *, as_json: bool) -> None:
    """Print the answer as JSON, or the text for people."""
    click.echo(json.dumps(answer) if as_json else text)


def shown(text: str) -> str:
    """Hostile text without what could drive a terminal."""
    return "\n".join(visible(line.replace("\t", "    ")) for line in text.splitlines())


def one_line(text: str) -> str:
    """Hostile text as one line, which cannot pass for two."""
    return " ".join(visible(text).split())


def job_id(job: str) -> str:
    """The id, when it can stand in a URL."""
    if not job.isalnum():
        raise click.BadParameter("a job's id has only letters and digits")
    return job


def _ask(base: str, token: str, method: str, path: str, *, timeout_s: float = 60.0, **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = httpx.request(method, base + path, headers=headers, timeout=timeout_s, trust_env=False, **more)
    except httpx.HTTPError as error:
        raise Unavailable(f"no server answers at {base}", hint="start it with `windlass serve`") from error
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.is_success and found is not None:
        return found
    problem = found if isinstance(found, dict) else {}
    message = str(problem.get("message") or f"HTTP {answer.status_code}, and not an answer of Windlass")
    kind = Unavailable if answer.status_code >= 500 else Refused
    code, hint = str(problem.get("code", "refused")), str(problem.get("hint", ""))
    raise kind(one_line(message), hint=one_line(hint), code=code)
