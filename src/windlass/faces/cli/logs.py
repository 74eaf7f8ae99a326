"""`windlass logs` and `windlass report`: a job's step log, by pages or live, and what its agents reported.

A live log goes on by itself after a lost connection or a restart of the server, without a line twice or left out.
"""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx

from windlass.core.errors import Unavailable
from windlass.core.log_lines import LEVELS
from windlass.faces.cli.client import CONFIG, JSON, call, job_id, show, shown
from windlass.faces.cli.options import Tools

_SINCE = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PATIENCE_S = 30.0
_SILENCE_S = 60.0


@click.command()
@click.argument("job")
@click.option("-f", "--follow", "is_live", is_flag=True, help="Go on until the job ends or waits for people.")
@click.option("--run", default="", help="Only this run.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", show_default=True, help="This level and graver.")
@click.option("--since", default="", help="From this instant on: 2026-01-31T12:00:00Z, or 90s, 15m, 2h, 3d ago.")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="The lines as they are stored: one JSON object each.")
@click.pass_obj
def logs(
    tools: Tools, job: str, is_live: bool, run: str, level: str, since: str, config: Path | None, as_json: bool
) -> None:
    """Show what JOB's runs printed and did, and every decision on it."""
    query = {"run": run, "level": level, "from": _instant(since)}
    asked = {name: value for name, value in query.items() if value}
    path = f"/api/v1/jobs/{job_id(job)}/logs"
    lines = _live(tools, config, path, asked) if is_live else _stored(tools, config, path, asked)
    for line in lines:
        click.echo(json.dumps(line, ensure_ascii=False) if as_json else _shown(line))


@click.command()
@click.argument("job")
@CONFIG
@JSON
@click.pass_obj
def report(tools: Tools, job: str, config: Path | None, as_json: bool) -> None:
    """Show what JOB's agents reported when they ended."""
    answer = call(tools, config, "GET", f"/api/v1/jobs/{job_id(job)}/reports")
    parts = [f"── {entry['run']} ──\n{shown(entry['text'])}" for entry in answer]
    show(answer, "\n".join(parts) or "no report yet", as_json=as_json)


def _stored(tools: Tools, config: Path | None, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    cursor, has_more = "", True
    while has_more:
        page = call(tools, config, "GET", path, params={**query, "cursor": cursor})
        yield from page["lines"]
        cursor, has_more = page["cursor"], page["has_more"]


def _live(tools: Tools, config: Path | None, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Lines until the server says that it is the end. Raises Unavailable when it stays away."""
    call(tools, config, "GET", path, params={**query, "limit": 1})  # says what is wrong with the question
    base, token = tools.api_address(config)
    cursor, seen_s = "", time.monotonic()
    while True:
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": cursor} if cursor else {}
        try:
            timeout = httpx.Timeout(10.0, read=_SILENCE_S)
            with httpx.stream(
                "GET", base + path, params=query, headers=headers, timeout=timeout, trust_env=False
            ) as answer:
                answer.raise_for_status()
                for event, name, data in _events(answer.iter_lines()):
                    cursor, seen_s = name or cursor, time.monotonic()
                    if event == "end":
                        return
                    yield json.loads(data)
        except (httpx.HTTPError, ValueError) as error:
            if time.monotonic() - seen_s > _PATIENCE_S:
                raise Unavailable(f"no server answers at {base}", hint="start it with `windlass serve`") from error
        time.sleep(0.5)


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """(event, id, data) of each server-sent event."""
    told: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            told[name] = value.removeprefix(" ")
            continue
        if "data" in told:
            yield told.get("event", "message"), told.get("id", ""), told["data"]
        told = {}


def _instant(since: str) -> str:
    """An instant as the server takes it."""
    ago = _SINCE.fullmatch(since)
    if ago is None:
        return since
    seconds = int(ago[1]) * _SECONDS[ago[2]]
    at = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(line: dict[str, Any]) -> str:
    mark = {"warning": " !", "error": " ‼"}.get(line["level"], "  ")
    head = f"{line['at'][11:23]}{mark} {line['kind']:<12} "
    text = shown(line["text"]) or ""
    return head + text.replace("\n", "\n" + " " * len(head))
