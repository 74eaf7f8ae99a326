"""StartRun and StopRun: an agent at work in its sandbox, adopted when Windlass itself was restarted.

The run is known by its id, on disk and to the runner, so carrying this effect out again finds what runs or ran
instead of paying the agent twice. The change is kept, content-addressed, before the answer is given; the sandbox and
its files go only after that.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from windlass.core.effects import StartRun, StopRun
from windlass.core.errors import Refused, WindlassError
from windlass.core.events import EffectDone, RunFinished, RunStarted
from windlass.core.job import Outcome
from windlass.core.records import digest
from windlass.core.redaction import mask
from windlass.engine.stages import steps
from windlass.engine.stages.context import Claim, Outside, Overtaken, read_tail
from windlass.engine.stages.told import Told, tell, told_before
from windlass.ports import Agent, AgentReport, AgentTask, Collected, Deadlines, RunRecord, RunResult

_LONGEST_LOG = 4 << 20
_LONGEST_REPORT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """One run's agent, its task, and what it was told."""

    agent: Agent
    task: AgentTask
    told: Told


async def start_run(claim: Claim, effect: StartRun, *, announce: Callable[[RunStarted], object]) -> RunFinished:
    """Run the agent to its end. `announce` is told as soon as it works.

    Raises Refused (agent_unusable, repository_unusable), Unavailable.
    """
    outside = claim.outside
    agent = _agent(outside, effect)
    setting = await _prepare(claim, effect, agent)
    await asyncio.to_thread(announce, setting.told.started(claim, effect))
    outside.waiting.add(claim.key)
    try:
        first = steps.begun(claim, effect, agent.name, setting.told.digest, setting.told.text)
        result = await steps.watched(claim, effect.run_id, steps.of_run(claim, effect.run_id), first)
    finally:
        outside.waiting.discard(claim.key)
    return await _conclude(claim, effect, setting, result)


async def stop_run(claim: Claim, effect: StopRun) -> EffectDone:
    """Kill the run, and close its record: whoever waited for it may be dead too."""
    runner = claim.outside.runner
    await runner.stop(effect.run_id)
    record = await _record(claim, effect.run_id)
    if record is not None and record.finished_at_ms is None:
        await steps.drained(claim, effect.run_id)
        log = (
            read_tail((await runner.wait(effect.run_id)).output, _LONGEST_LOG) if runner.is_known(effect.run_id) else ""
        )
        closed = dataclasses.replace(
            record,
            status="finished",
            outcome=Outcome.CANCELLED.value,
            finished_at_ms=claim.outside.clock.now_ms(),
            log_digest=await claim.outside.keep_text(log),
            detail="the run was stopped",
        )
        await asyncio.to_thread(claim.outside.store.save_run, closed)
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def discard_run(outside: Outside, run_id: str) -> None:
    """Remove the sandbox and the workspace; called after the answer is on record."""
    await outside.runner.discard(run_id)
    await asyncio.to_thread(shutil.rmtree, outside.settings.workspaces / run_id, ignore_errors=True)


def _agent(outside: Outside, effect: StartRun) -> Agent:
    name = effect.agent or outside.settings.default_agent
    agent = outside.agents.get(name)
    if agent is None:
        known = ", ".join(sorted(outside.agents))
        raise Refused(f"there is no agent {name!r}", code="agent_unusable", hint=f"known agents: {known}")
    return agent


async def _prepare(claim: Claim, effect: StartRun, agent: Agent) -> _Setting:
    """The agent at work: started now, on record before it begins, or adopted with the prompt that it was given."""
    outside = claim.outside
    is_known = outside.runner.is_known(effect.run_id)
    record = await _record(claim, effect.run_id) if is_known else None
    if record is not None and record.prompt_digest:
        told = await told_before(claim, effect, record.prompt_digest)
    else:
        told = await _make_ready(claim, effect, is_known=is_known)
    task = _task(claim, effect, told.text)
    setting = _Setting(agent=agent, task=task, told=told)
    if not is_known:
        await claim.check()
        await _save(claim, effect, setting, "running")
        await outside.runner.start(await asyncio.to_thread(agent.spec, task))
    return setting


async def _make_ready(claim: Claim, effect: StartRun, *, is_known: bool) -> Told:
    """The prompt and, for a run that has not begun, its workspace, side by side."""
    await _fetch_start(claim, effect)
    if is_known:
        return await tell(claim, effect)
    home = claim.outside.settings.workspaces / effect.run_id
    making = asyncio.create_task(_materialise(claim, effect, home, home / "workspace"))
    try:
        return await tell(claim, effect)
    finally:
        await making


def _task(claim: Claim, effect: StartRun, text: str) -> AgentTask:
    limits, settings = claim.job.policy.limits, claim.outside.settings
    return AgentTask(
        run_id=effect.run_id,
        workspace=settings.workspaces / effect.run_id / "workspace",
        prompt=text,
        issue=effect.issue,
        deadlines=Deadlines(start_s=limits.run_start_s, idle_s=limits.run_idle_s, total_s=limits.run_total_s),
        reads=settings.reads,
    )


async def _record(claim: Claim, run_id: str) -> RunRecord | None:
    runs = await asyncio.to_thread(claim.outside.store.runs, claim.job.id)
    return next((run for run in runs if run.id == run_id), None)


async def _materialise(claim: Claim, effect: StartRun, home: Path, workspace: Path) -> None:
    if workspace.exists():
        await asyncio.to_thread(shutil.rmtree, home)
    fresh = home / "fresh"
    await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
    await asyncio.to_thread(fresh.mkdir, parents=True)
    await claim.outside.repositories.materialise(claim.job.repository, effect.start_sha, fresh)
    await asyncio.to_thread(fresh.rename, workspace)


async def _fetch_start(claim: Claim, effect: StartRun) -> None:
    """A replica that did not make the branch may not have the start commit yet."""
    outside, repo = claim.outside, claim.job.repository
    try:
        if await outside.repositories.is_ancestor(repo, effect.start_sha, effect.start_sha):
            return
    except WindlassError:
        pass  # not in this mirror: fetch it
    credential = await outside.forge.credential(repo, write=False)
    await outside.repositories.fetch(repo, credential, [claim.job.base_ref, claim.job.branch])


async def _conclude(claim: Claim, effect: StartRun, setting: _Setting, result: RunResult) -> RunFinished:
    outside = claim.outside
    report = await asyncio.to_thread(setting.agent.conclude, setting.task, result)
    log_digest = await outside.keep_text(await asyncio.to_thread(read_tail, result.output, _LONGEST_LOG))
    report_digest = await outside.keep_text(report.report[-_LONGEST_REPORT:])
    collected = await _collect(claim, effect, setting, report)
    patch = collected.patch
    outcome = report.outcome
    if patch is not None:
        await outside.keep(collected.diff)
    elif outcome is Outcome.COMPLETED and not collected.refusals:
        outcome = Outcome.NO_CHANGE
    if not await claim.is_current() and await asyncio.to_thread(outside.store.is_open, claim.job.id, claim.seq):
        raise Overtaken(claim.key)  # a newer claim keeps the record; of a stopped run nobody else does
    redactions = await steps.concluded(claim, effect.run_id, report, outcome, result, collected)
    await _save(
        claim,
        effect,
        setting,
        "finished",
        report=report,
        result=result,
        patch=patch.digest if patch else "",
        digests=(report_digest, log_digest),
        outcome=outcome,
    )
    await _save_usage(claim, effect, report, result)
    return RunFinished(
        seq=claim.seq,
        run_id=effect.run_id,
        outcome=outcome,
        patch=patch,
        report_digest=report_digest,
        report_title=outside.redact(report.title),
        log_digest=log_digest,
        detail=outside.redact(report.detail)[:500],
        refusals=collected.refusals[:50],
        duration_s=result.duration_s,
        model=outside.redact(report.model),
        prompt_digest=setting.told.digest,
        prompt_manifest_digest=setting.told.manifest_digest,
        prompt_flags=setting.told.flags,
        redactions=redactions,
    )


async def _save_usage(claim: Claim, effect: StartRun, report: AgentReport, result: RunResult) -> None:
    """What the agent says it used; nothing where it says nothing."""
    if report.usage is None:
        return
    store, now_ms = claim.outside.store, claim.outside.clock.now_ms()
    usage = replace(report.usage, model=claim.outside.redact(report.usage.model))
    await asyncio.to_thread(store.save_usage, claim.job.id, effect.run_id, usage, at_ms=now_ms, cpu_s=result.cpu_s)


async def _collect(claim: Claim, effect: StartRun, setting: _Setting, report: AgentReport) -> Collected:
    """The change, whatever the outcome: finished work is kept even when it may not be published."""
    if report.outcome is Outcome.INFRA_ERROR or not setting.task.workspace.exists():
        return Collected(patch=None, diff=b"")
    collected = await claim.outside.repositories.collect(
        claim.job.repository,
        effect.start_sha,
        setting.task.workspace,
        policy=claim.job.policy,
        noise=setting.agent.noise,
    )
    if collected.patch is not None and digest(collected.diff) != collected.patch.digest:
        raise Refused("the collected change does not have its digest", code="internal")
    return _without_secrets(claim.outside, collected)


def _without_secrets(outside: Outside, collected: Collected) -> Collected:
    """A change that carries a credential of ours, wherever the agent found it, is neither kept nor published."""
    refusals = tuple(outside.redact(line) for line in collected.refusals)
    text = collected.diff.decode("utf-8", "replace")
    if mask(text, outside.settings.secrets) == text:
        return replace(collected, refusals=refusals)
    refusal = "the change contains a secret that Windlass holds; it was not kept"
    return Collected(patch=None, diff=b"", refusals=(*refusals, refusal))


async def _save(
    claim: Claim,
    effect: StartRun,
    setting: _Setting,
    status: str,
    *,
    report: AgentReport | None = None,
    result: RunResult | None = None,
    patch: str = "",
    digests: tuple[str, str] = ("", ""),
    outcome: Outcome | None = None,
) -> None:
    now_ms = claim.outside.clock.now_ms()
    spent_ms = int(result.duration_s * 1000) if result else 0
    run = RunRecord(
        id=effect.run_id,
        job_id=claim.job.id,
        role=effect.role,
        attempt=effect.attempt,
        agent=setting.agent.name,
        status=status,
        outcome=outcome.value if outcome else "",
        started_at_ms=now_ms - spent_ms,
        finished_at_ms=now_ms if result else None,
        patch_digest=patch,
        report_digest=digests[0],
        log_digest=digests[1],
        prompt_digest=setting.told.digest,
        model=claim.outside.redact(report.model) if report else "",
        cpu_s=result.cpu_s if result else 0.0,
        peak_memory_bytes=result.peak_memory_bytes if result else 0,
        detail=claim.outside.redact(report.detail)[:500] if report else "",
    )
    await asyncio.to_thread(claim.outside.store.save_run, run)
