"""`windlass start-job`, `stop-job`, `status`, `why` and `reconcile`: clients of a running `windlass serve`."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import click

from windlass.core.job import State, TaskType
from windlass.faces.cli import exits
from windlass.faces.cli.client import CONFIG, JSON, call, job_id, one_line, show
from windlass.faces.cli.options import Tools
from windlass.faces.cli.overview import overview

# A repair pass reads every repository.
_REPAIR_TIMEOUT_S = 900.0


@click.command("start-job")
@click.argument("repository")
@click.argument("issue", type=int)
@click.option("--agent", default="", help="Agent by name.")
@click.option("--type", "task_type", type=click.Choice([t.value for t in TaskType]), help="Kind of work.")
@click.option("--as", "requested_by", default="operator", help="Login of who asks; may not approve the result.")
@CONFIG
@JSON
@click.pass_obj
def start_job(
    tools: Tools,
    repository: str,
    issue: int,
    agent: str,
    task_type: str | None,
    requested_by: str,
    config: Path | None,
    as_json: bool,
) -> None:
    """Ask for work on ISSUE of REPOSITORY (owner/name)."""
    body = {"repository": repository, "issue": issue, "agent": agent, "type": task_type, "requested_by": requested_by}
    answer = call(tools, config, "POST", "/start-job", json=body)
    text = f"{answer['job']} {'opened' if answer['is_new'] else 'is under way already'}: {answer['state']}"
    show(answer, text, as_json=as_json)


@click.command("stop-job")
@click.argument("job")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--as", "requested_by", default="operator", help="Login of who asks.")
@CONFIG
@JSON
@click.pass_obj
def stop_job(tools: Tools, job: str, reason: str, requested_by: str, config: Path | None, as_json: bool) -> None:
    """Stop JOB for good: its run is killed, its pull request closed, its branch removed."""
    body = {"job": job, "reason": reason, "requested_by": requested_by}
    answer = call(tools, config, "POST", "/stop-job", json=body)
    show(answer, f"{answer['job']}: {answer['state']}", as_json=as_json)


@click.command()
@click.argument("job", required=False)
@click.option("--state", multiple=True, type=click.Choice([s.value for s in State]), help="Only jobs in this state.")
@click.option("--repository", help="Only jobs of owner/name.")
@click.option("--limit", default=50, show_default=True, help="At most so many, newest first.")
@CONFIG
@JSON
@click.pass_obj
def status(
    tools: Tools,
    job: str | None,
    state: tuple[str, ...],
    repository: str | None,
    limit: int,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show jobs and their states, or one JOB with its workflow, its runs and what they left."""
    query: dict[str, Any] = {"job": job, "state": list(state) or None, "repository": repository, "limit": limit}
    answer = call(tools, config, "GET", "/status", params={k: v for k, v in query.items() if v is not None})
    lines = [_line(found) for found in answer["jobs"]] or ["no jobs"]
    if job is not None:
        details = call(tools, config, "GET", f"/api/v1/jobs/{job_id(answer['jobs'][0]['job'])}")
        answer, lines = {**answer, "details": details}, [*lines, *overview(details)]
    show(answer, "\n".join(lines), as_json=as_json)


@click.command()
@click.argument("job")
@click.option("--all", "is_complete", is_flag=True, help="Also the events that changed nothing.")
@CONFIG
@JSON
@click.pass_obj
def why(tools: Tools, job: str, is_complete: bool, config: Path | None, as_json: bool) -> None:
    """Explain the decisions on JOB, each decided again to see that the history still gives it.

    Events that changed nothing are left out unless --all is given; a decision that is NOT REPRODUCED never is.
    """
    answer = call(tools, config, "GET", f"/api/v1/jobs/{job_id(job)}/why")
    lines = []
    for event in answer:
        is_dull = event["source"] == event["target"] and not event["why"] and event["is_replayed"] is not False
        if is_dull and not is_complete:
            continue
        moved = f"{event['source']} → {event['target']}" if event["source"] != event["target"] else event["target"]
        mark = {True: "", None: "", False: "  NOT REPRODUCED"}[event["is_replayed"]]
        lines.append(f"{_at(event['at_ms'])}  {event['event']:<20} {moved}{mark}")
        lines += [f"{'':26}{one_line(reason)}" for reason in event["why"]]
    show(answer, "\n".join(lines), as_json=as_json)
    if any(event["is_replayed"] is False for event in answer):
        sys.exit(exits.FAILED)


@click.command()
@CONFIG
@JSON
@click.pass_obj
def reconcile(tools: Tools, config: Path | None, as_json: bool) -> None:
    """Have the server look at everything again now, as it does by itself every minute."""
    answer = call(tools, config, "POST", "/api/v1/reconcile", timeout_s=_REPAIR_TIMEOUT_S)
    problems = answer["problems"]
    lines = [f"{name:<12} {count}" for name, count in answer.items() if name != "problems" and name not in problems]
    lines += [f"{name:<12} not done: {one_line(why)}" for name, why in problems.items()]
    show(answer, "\n".join(lines), as_json=as_json)
    if problems:
        sys.exit(exits.UNAVAILABLE)


def _line(job: dict[str, Any]) -> str:
    pull = f" PR #{job['pull_request']}" if job["pull_request"] else ""
    reason = f" ({job['reason']})" if job["reason"] else ""
    title = one_line(job["title"])[:60]
    return f"{job['job']}  {job['state']:<10}{reason} {job['repository']}#{job['issue']}{pull}  {title}"


def _at(at_ms: int) -> str:
    at = datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
