"""What a stage tells in the job's step log: a run watched to its end, and what came of it.

Without a step log (some tests have none) a run is only waited for. Trouble with the log never ends a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from windlass.core.diff_counts import line_counts
from windlass.core.effects import StartRun
from windlass.core.job import Outcome, TestRun
from windlass.engine.execution_log import Place, Said
from windlass.engine.stages.context import Claim
from windlass.ports import AgentReport, Collected, RunResult

_MOST_FILES = 500
_MOST_CONTACTS = 1000


async def watched(claim: Claim, run_id: str, place: Place, first: Sequence[Said]) -> RunResult:
    """Wait for a run while what it prints goes into the log. Cancelling leaves the run alone; it can be taken up."""
    outside = claim.outside
    if outside.steps is None:
        return await outside.runner.wait(run_id)
    ended = asyncio.Event()
    begun = Place(job=place.job, stream=f"{place.stream}/start", run=place.run)
    follower = asyncio.create_task(_follow(claim, run_id, place, begun, first, ended))
    try:
        result = await outside.runner.wait(run_id)
    except BaseException:
        follower.cancel()
        raise
    ended.set()
    await follower
    return result


async def _follow(
    claim: Claim, run_id: str, place: Place, begun: Place, first: Sequence[Said], ended: asyncio.Event
) -> None:
    steps = claim.outside.steps
    assert steps is not None
    await asyncio.to_thread(steps.say_once, begun, first)
    await steps.follow(place, claim.outside.runner.output(run_id), ended)


async def drained(claim: Claim, run_id: str) -> None:
    """Take in the rest of what a run that has ended printed, when whoever watched it may be dead."""
    outside = claim.outside
    if outside.steps is not None and outside.runner.is_known(run_id):
        ended = asyncio.Event()
        ended.set()
        await outside.steps.follow(of_run(claim, run_id), outside.runner.output(run_id), ended)


def of_run(claim: Claim, run_id: str) -> Place:
    """The log of an agent's run."""
    return Place(job=claim.job.id, stream=run_id, run=run_id)


def begun(claim: Claim, effect: StartRun, agent: str, prompt_digest: str, prompt: str) -> tuple[Said, ...]:
    """What is told when an agent is put to work."""
    stored = {"digest": prompt_digest, "characters": len(prompt)}
    start = {
        "agent": agent,
        "role": effect.role,
        "purpose": effect.purpose,
        "attempt": effect.attempt,
        "start_sha": effect.start_sha,
        "isolation": claim.outside.runner.isolation(effect.run_id),
    }
    if effect.handed is not None:
        start["handed"] = effect.handed.digest
    return (
        Said(kind="prompt", text=f"prompt stored as {prompt_digest[:12]}", data=stored),
        Said(kind="run", text=f"{agent} at work as {effect.role} (attempt {effect.attempt})", data=start),
    )


async def concluded(
    claim: Claim, run_id: str, report: AgentReport, outcome: Outcome, result: RunResult, collected: Collected
) -> tuple[str, ...]:
    """Tell how an agent's run ended and what it changed; `rule: count` of what was taken out of its output."""
    steps = claim.outside.steps
    if steps is None:
        return ()
    found = await asyncio.to_thread(steps.found, claim.job.id, run_id)
    lines = [*_contacts(result), *_changes(collected), _end(report, outcome, result)]
    if found:
        lines.append(
            Said(kind="notice", level="warning", text="secrets were taken out of this run's output", data=found)
        )
    place = Place(job=claim.job.id, stream=f"{run_id}/result", run=run_id)
    await asyncio.to_thread(steps.say_once, place, lines)
    return tuple(f"{rule}: {count}" for rule, count in sorted(found.items()))


def _end(report: AgentReport, outcome: Outcome, result: RunResult) -> Said:
    data = {
        "ended": result.ended,
        "exit_code": result.exit_code,
        "deadline": result.deadline,
        "duration_s": round(result.duration_s, 3),
        "cpu_s": round(result.cpu_s, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
        "output_bytes": result.output_bytes,
        "model": report.model,
        "model_access": report.model_access,
        "bytes_out": result.bytes_out,
        "image_digest": result.image_digest,
    }
    level = "info" if outcome in {Outcome.COMPLETED, Outcome.NO_CHANGE} else "warning"
    text = f"the run {result.ended}: {outcome.value}" + (f": {report.detail}" if report.detail else "")
    return Said(kind="result", level=level, text=text, data=data)


def _contacts(result: RunResult) -> list[Said]:
    """Every decision of the egress proxy."""
    lines = []
    for one in result.contacts[:_MOST_CONTACTS]:
        data = {"at_ms": one.at_ms, "method": one.method, "host": one.host, "port": one.port}
        data |= {"sent_bytes": one.sent_bytes, "received_bytes": one.received_bytes}
        verdict = "let through" if one.is_allowed else "refused"
        text = f"{one.method} {one.host}:{one.port} {verdict}"
        lines.append(Said(kind="egress", level="info" if one.is_allowed else "warning", text=text, data=data))
    return lines


def _changes(collected: Collected) -> list[Said]:
    patch = collected.patch
    lines: list[Said] = []
    if patch is not None:
        counts = line_counts(collected.diff)
        for path in patch.files[:_MOST_FILES]:
            added, removed = counts.get(path, (None, None))
            text = path if added is None else f"{path} +{added} -{removed}"
            lines.append(Said(kind="change", text=text, data={"path": path, "added": added, "removed": removed}))
        total = {"files": len(patch.files), "added": patch.insertions, "removed": patch.deletions}
        lines.append(Said(kind="change", text=f"change kept as {patch.digest[:12]}", data=total))
    lines += [Said(kind="refusal", level="warning", text=refusal) for refusal in collected.refusals[:50]]
    return lines


async def verified(claim: Claim, which: str, found: TestRun) -> None:
    """Tell how the tests went on the base or the head."""
    steps = claim.outside.steps
    if steps is None:
        return
    data = {"tree": which, "status": found.status, "exit_code": found.exit_code, "log": found.log_digest}
    said = Said(kind="verification", text=f"tests on {which}: {found.status}. {found.summary}".strip(), data=data)
    place = Place(job=claim.job.id, stream=f"verify-{claim.seq}-{which}/result")
    await asyncio.to_thread(steps.say_once, place, (said,))
