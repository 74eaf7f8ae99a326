"""What `windlass status JOB` tells of one job: where it is in its workflow, and every run with what it left.

Refuses nothing; hostile text (models' names, details) is shown without what could drive a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.faces.cli.client import one_line

_SHORT = 12


def overview(details: Mapping[str, Any]) -> list[str]:
    """The lines below the job's own."""
    job = details["job"]
    lines = [f"  workflow   {_workflow(job)}", f"  used       {_used(job)}"]
    for run in details["runs"]:
        lines += _run(run)
    if details["runs"]:
        lines.append(
            f"  more       windlass logs {job['id']}; windlass report {job['id']}; windlass prompt show {job['id']}"
        )
    return lines


def _workflow(job: Mapping[str, Any]) -> str:
    steps = []
    for number, step in enumerate(job["policy"]["workflow"]):
        names = " + ".join(_member(member) for member in step["members"])
        steps.append(f"[{names}]" if number == job["step"] else names)
    return " → ".join(steps)


def _member(member: Mapping[str, Any]) -> str:
    many = f" × {member['candidates']}" if member["candidates"] > 1 else ""
    agent = f" ({one_line(member['agent'])})" if member["agent"] else ""
    return f"{member['role']}{agent}{many}"


def _used(job: Mapping[str, Any]) -> str:
    budgets, limits = job["budgets"], job["policy"]["limits"]
    parts = [
        f"{budgets['agent_attempts']} of {limits['agent_attempts']} failed attempts",
        f"{budgets['rework_rounds']} of {limits['rework_rounds']} rounds of rework",
        f"{budgets['ci_fix_rounds']} of {limits['ci_fix_rounds']} CI rounds",
        f"{budgets['review_rounds']} of {limits['review_rounds']} review rounds",
        f"{budgets['cost_microusd'] / 1_000_000:.2f} US dollars",
    ]
    if budgets["unpriced_runs"]:
        parts.append(f"{budgets['unpriced_runs']} run(s) of unknown cost")
    return ", ".join(parts)


def _run(run: Mapping[str, Any]) -> Iterator[str]:
    name = run["id"].partition("-")[2]
    candidate = f" candidate {run['candidate'] + 1}" if run["candidate"] else ""
    words = [run["outcome"] or run["status"], *_figures(run)]
    yield f"  run {name:<6} {run['role']}{candidate}, {one_line(run['agent'])}: {', '.join(words)}"
    if run["detail"]:
        yield f"{'':13}{one_line(run['detail'])}"
    kept = [(what, run[f"{what}_digest"]) for what in ("prompt", "patch", "findings", "report", "log")]
    digests = [f"{what} {digest[:_SHORT]}" for what, digest in kept if digest]
    if digests:
        yield f"{'':13}{', '.join(digests)}"
    for one in run.get("findings", ()):
        place = f"{one_line(one['path'])}:{one['line']}" if one["path"] else "the change"
        yield f"{'':13}{one['severity']} {place}: {one_line(one['text'])[:200]}"


def _figures(run: Mapping[str, Any]) -> Iterator[str]:
    if run["started_at_ms"] and run["finished_at_ms"]:
        yield f"{(run['finished_at_ms'] - run['started_at_ms']) / 1000:.1f} s"
    if float(run["cpu_s"]):
        yield f"{float(run['cpu_s']):.1f} s CPU, {run['peak_memory_bytes'] >> 20} MiB"
    if run["bytes_out"] is not None:
        yield f"{run['bytes_out']} bytes out"
    if run["model"]:
        access = f" by {run['model_access']}" if run["model_access"] else ""
        yield f"{one_line(run['model'])}{access}"
    if run["image_digest"]:
        yield f"image {one_line(run['image_digest'])[-64:][:_SHORT]}"
