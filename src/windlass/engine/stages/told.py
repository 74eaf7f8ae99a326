"""What an agent is told: the prompt made from the forge, the mirror and earlier results, kept before it is used.

Rule: a prompt is rendered once for a run and kept, content-addressed, with a manifest of where every part came from; an
adopted run is answered for with the prompt that it was given. Refuses nothing for want of comments or logs: what cannot
be read is named in the prompt's flags or text.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from windlass.core.effects import StartRun
from windlass.core.errors import NotFound, Refused
from windlass.core.events import Check, RunStarted
from windlass.core.prompt import Comment, Prompt, PromptRequest, admitted, flagged, manifest
from windlass.engine.stages import handing
from windlass.engine.stages.context import Claim, Outside, unusable

_LONGEST_OUTPUT = 100_000
_MOST_FLAGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A prompt as it was sent. Digests name blobs; `manifest_digest` is '' where it is not known any more."""

    text: str
    digest: str
    manifest_digest: str = ""
    flags: tuple[str, ...] = ()

    def started(self, claim: Claim, effect: StartRun) -> RunStarted:
        """The event that says that the agent works, and with which prompt."""
        return RunStarted(
            seq=claim.seq,
            run_id=effect.run_id,
            prompt_digest=self.digest,
            prompt_manifest_digest=self.manifest_digest,
            prompt_flags=self.flags,
        )


async def tell(claim: Claim, effect: StartRun) -> Told:
    """A new prompt, kept. The start commit must be in the mirror.

    Raises Refused (repository_unusable, no_template), Unavailable, Failed (bad_template).
    """
    outside = claim.outside
    comments, left_out = await _comments(claim)
    request = await _request(claim, effect, comments)
    try:
        prompt = await outside.prompts.render(request)
    except NotFound as error:
        raise unusable(f"the start commit {effect.start_sha[:12]} cannot be read: {error.message}") from error
    return await _keep(outside, prompt, left_out)


async def told_before(claim: Claim, effect: StartRun, prompt_digest: str) -> Told:
    """What an adopted agent was told: by now the forge may be away, and its logs may read differently."""
    store, blobs = claim.outside.store, claim.outside.blobs
    text = (await asyncio.to_thread(blobs.get, prompt_digest)).decode()
    for stored in await asyncio.to_thread(store.events, claim.job.id):
        event = stored.event
        if isinstance(event, RunStarted) and event.run_id == effect.run_id and event.prompt_digest == prompt_digest:
            return Told(
                text=text,
                digest=prompt_digest,
                manifest_digest=event.prompt_manifest_digest,
                flags=event.prompt_flags,
            )
    return Told(text=text, digest=prompt_digest)


async def _keep(outside: Outside, prompt: Prompt, left_out: tuple[str, ...]) -> Told:
    text = outside.redact(prompt.text)
    flags = (*prompt.flags, *left_out, *(() if text == prompt.text else ("prompt:redacted=1",)))[:_MOST_FLAGS]
    text_digest = await outside.keep(text.encode())
    document = manifest(prompt, digest=text_digest, flags=flags)
    manifest_digest = await outside.keep(json.dumps(document, indent=1, sort_keys=True).encode())
    for one in prompt.templates:
        await asyncio.to_thread(outside.store.know_template, one.name, one.digest, one.body)
    return Told(text=text, digest=text_digest, manifest_digest=manifest_digest, flags=flags)


async def _request(claim: Claim, effect: StartRun, comments: tuple[Comment, ...]) -> PromptRequest:
    outside, job = claim.outside, claim.job
    logs = [await _check_log(outside, job.repository, check) for check in effect.failed_checks]
    if effect.feedback_digest:
        logs.append(("test output", await _blob_text(outside, effect.feedback_digest)))
    change = await _blob_text(outside, effect.handed.digest) if effect.handed is not None else ""
    return PromptRequest(
        repository=job.repository,
        issue=effect.issue,
        task_type=effect.task_type,
        start_sha=effect.start_sha,
        base_sha=job.base_sha or effect.start_sha,
        role=effect.role,
        purpose=effect.purpose,
        comments=comments,
        feedback=effect.feedback,
        logs=tuple(logs),
        findings=await handing.listed_findings(claim, effect.findings),
        tree_sha=await handing.handed_tree(claim, effect),
        change=change if effect.role != "coder" else "",
        changed_files=effect.handed.files if effect.handed is not None else (),
        test_command=job.policy.test_command or outside.settings.test_command,
        token_limit=job.policy.limits.prompt_tokens,
    )


async def _comments(claim: Claim) -> tuple[tuple[Comment, ...], tuple[str, ...]]:
    """Comments that count, and flags for those that do not."""
    forge, job = claim.outside.forge, claim.job
    try:
        found = await forge.comments(job.repository, job.issue.number)
        if not found:
            return (), ()
        own = await forge.identity()
        used, left_out = admitted(found, own_login=own, before_ms=await _asked_at_ms(claim))
    except Refused:
        return (), ("comments:unreadable=1",)
    return used, flagged("comments", {f"left_out_{why}": count for why, count in left_out.items()})


async def _asked_at_ms(claim: Claim) -> int:
    """When the work was asked for: the labelling's own instant, of which the forge tells whole seconds."""
    forge, job = claim.outside.forge, claim.job
    labelling = await forge.labelling(job.repository, job.issue.number, job.policy.label)
    if labelling is not None and labelling.id == job.epoch:
        return labelling.at_ms
    return job.created_at_ms


async def _check_log(outside: Outside, repo: str, check: Check) -> tuple[str, str]:
    try:
        return check.name, await outside.forge.check_log(repo, check)
    except Refused as error:
        return check.name, f"(the log could not be read: {error.message})"


async def _blob_text(outside: Outside, name: str) -> str:
    data = await asyncio.to_thread(outside.blobs.get, name)
    return data[-_LONGEST_OUTPUT:].decode("utf-8", "replace")
