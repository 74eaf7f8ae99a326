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
from decimal import ROUND_CEILING, Decimal
from typing import Any

from windlass.core.agent_events.model import Usage
from windlass.core.effects import StartRun, StopRun
from windlass.core.errors import Refused, Unavailable, WindlassError
from windlass.core.events import EffectDone, RunFinished, RunStarted
from windlass.core.findings import FindingRef
from windlass.core.job import Outcome
from windlass.core.records import digest
from windlass.core.redaction import mask
from windlass.engine.stages import handing, preparing, steps
from windlass.engine.stages.context import Claim, Outside, Overtaken, read_tail
from windlass.engine.stages.told import Told, tell, told_before
from windlass.ports import Agent, AgentReport, AgentTask, Collected, Deadlines, RunRecord, RunResult

_LONGEST_LOG = 4 << 20
_LONGEST_REPORT = 1 << 20
_MOST_HOSTS = 50
_SETUP_PAUSE_S = 30.0  # long enough that `decide` counts it as a revival


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
    if claim.job.policy.setup_command:
        await runner.stop(preparing.set_up_id(effect.run_id))
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
        await _forget(claim.outside, record.agent, effect.run_id)
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def discard_run(outside: Outside, effect: StartRun) -> None:
    """Remove the sandbox, the workspace and what the agent's driver keeps; called after the answer is on record."""
    run_id = effect.run_id
    await outside.runner.discard(run_id)
    await asyncio.to_thread(shutil.rmtree, outside.settings.workspaces / run_id, ignore_errors=True)
    await _forget(outside, effect.agent or outside.settings.default_agent, run_id)


async def _forget(outside: Outside, agent: str, run_id: str) -> None:
    known = outside.agents.get(agent)
    if known is not None:
        await asyncio.to_thread(known.discard, run_id)


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
    making = asyncio.create_task(handing.lay_out(claim, effect, claim.outside.settings.workspaces / effect.run_id))
    try:
        told = await tell(claim, effect)
    finally:
        await making
    workspace = claim.outside.settings.workspaces / effect.run_id / "workspace"
    why = await preparing.set_up(claim, effect.run_id, workspace)
    if why:
        raise Unavailable(why, hint="see the step log", code="setup_failed", retry_after_s=_SETUP_PAUSE_S)
    return told


def _task(claim: Claim, effect: StartRun, text: str) -> AgentTask:
    limits, settings = claim.job.policy.limits, claim.outside.settings
    return AgentTask(
        run_id=effect.run_id,
        workspace=settings.workspaces / effect.run_id / "workspace",
        prompt=text,
        issue=effect.issue,
        deadlines=Deadlines(start_s=limits.run_start_s, idle_s=limits.run_idle_s, total_s=limits.run_total_s),
        reads=settings.reads,
        is_read_only=effect.is_read_only,
        cost_limit_usd=None if effect.cost_limit_microusd is None else effect.cost_limit_microusd / 1_000_000,
    )


async def _record(claim: Claim, run_id: str) -> RunRecord | None:
    runs = await asyncio.to_thread(claim.outside.store.runs, claim.job.id)
    return next((run for run in runs if run.id == run_id), None)


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
    judged = await _judge(claim, effect, setting, report)
    if await _is_overtaken(claim):
        raise Overtaken(claim.key)
    report = replace(report, detail=judged.detail)
    redactions = await steps.concluded(claim, effect.run_id, report, judged.outcome, result, judged.collected)
    patch = judged.collected.patch
    event = RunFinished(
        seq=claim.seq,
        run_id=effect.run_id,
        outcome=judged.outcome,
        patch=patch,
        report_digest=report_digest,
        report_title=outside.redact(report.title),
        log_digest=log_digest,
        detail=outside.redact(report.detail)[:500],
        refusals=judged.collected.refusals[:50],
        duration_s=result.duration_s,
        model=outside.redact(report.model),
        prompt_digest=setting.told.digest,
        prompt_manifest_digest=setting.told.manifest_digest,
        prompt_flags=setting.told.flags,
        redactions=redactions,
        agent=setting.agent.name,
        findings=judged.findings,
        findings_digest=judged.findings_digest,
        cost_microusd=_microusd(report.usage),
        model_access=report.model_access,
        image_digest=result.image_digest,
        denied_hosts=_denied(outside, result),
    )
    await _save(claim, effect, setting, "finished", event=event, result=result)
    await _save_usage(claim, effect, report, result)
    return event


async def _is_overtaken(claim: Claim) -> bool:
    """Whether a newer claim keeps the record, or has done so and removed the run; of a stopped run nobody else does."""
    if await claim.is_current():
        return False
    orders = await asyncio.to_thread(claim.outside.store.effects, claim.job.id)
    return not any(stored.order.seq == claim.seq and stored.status == "void" for stored in orders)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What a run is worth: its change or its findings."""

    outcome: Outcome
    detail: str
    collected: Collected
    findings: tuple[FindingRef, ...] = ()
    findings_digest: str = ""


async def _judge(claim: Claim, effect: StartRun, setting: _Setting, report: AgentReport) -> _Judged:
    if effect.is_read_only:
        review = await handing.reviewed(claim, report)
        nothing = Collected(patch=None, diff=b"")
        return _Judged(
            outcome=review.outcome,
            detail=review.detail,
            collected=nothing,
            findings=review.findings,
            findings_digest=review.digest,
        )
    collected = await _collect(claim, effect, setting, report)
    outcome = report.outcome
    if collected.patch is not None:
        await claim.outside.keep(collected.diff)
    elif outcome is Outcome.COMPLETED and not collected.refusals:
        outcome = Outcome.NO_CHANGE
    return _Judged(outcome=outcome, detail=report.detail, collected=collected)


def _microusd(usage: Usage | None) -> int | None:
    """What a run cost, in millionths of a dollar rounded up; None when that is not known."""
    if usage is None or usage.cost_usd is None:
        return None
    return int((Decimal(usage.cost_usd) * 1_000_000).to_integral_value(ROUND_CEILING))


def _denied(outside: Outside, result: RunResult) -> tuple[str, ...]:
    """Hosts that the run was not let through to, each once."""
    hosts = dict.fromkeys(f"{one.host}:{one.port}" for one in result.contacts if not one.is_allowed)
    return tuple(outside.redact(host)[:200] for host in list(hosts)[:_MOST_HOSTS])


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
    collected = await handing.within_its_role(claim, effect, collected)
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
    event: RunFinished | None = None,
    result: RunResult | None = None,
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
        started_at_ms=now_ms - spent_ms,
        finished_at_ms=now_ms if result else None,
        prompt_digest=setting.told.digest,
        purpose=effect.purpose,
        step=effect.step,
        candidate=effect.number,
        **(_facts(event, result) if event is not None and result is not None else {}),
    )
    await asyncio.to_thread(claim.outside.store.save_run, run)


def _facts(event: RunFinished, result: RunResult) -> dict[str, Any]:
    """What is known of a run once it is over."""
    return {
        "outcome": event.outcome.value,
        "patch_digest": event.patch.digest if event.patch else "",
        "report_digest": event.report_digest,
        "log_digest": event.log_digest,
        "findings_digest": event.findings_digest,
        "model": event.model,
        "cpu_s": result.cpu_s,
        "peak_memory_bytes": result.peak_memory_bytes,
        "bytes_out": result.bytes_out,
        "image_digest": event.image_digest,
        "model_access": event.model_access,
        "detail": event.detail,
    }
