"""The effects beside the main line: look, comment, gate, run checks again, tell a person, clean up."""

from __future__ import annotations

import dataclasses

from windlass.core import messages
from windlass.core.effects import Abandon, Notify, Observe, RerunChecks, SetCommitStatus, UpdateStatusComment
from windlass.core.errors import NotFound
from windlass.core.events import EffectDone, PullRequestObserved, PullSnapshot
from windlass.engine.stages import branch
from windlass.engine.stages.context import Claim, Outside

_LONGEST_REVIEW = 4_000
_LONGEST_SUMMARY = 2_000


async def observe(claim: Claim, effect: Observe) -> PullRequestObserved:
    """Re-read the pull request and everything that is decided upon."""
    pull = await claim.outside.forge.pull_snapshot(claim.job.repository, effect.pull_number)
    return PullRequestObserved(seq=claim.seq, pull=_short(claim.outside, pull))


def _short(outside: Outside, pull: PullSnapshot) -> PullSnapshot:
    """Hostile texts cut and masked before they become part of our history."""
    reviews = tuple(dataclasses.replace(r, body=outside.redact(r.body[:_LONGEST_REVIEW])) for r in pull.reviews)
    checks = tuple(dataclasses.replace(c, summary=outside.redact(c.summary[:_LONGEST_SUMMARY])) for c in pull.checks)
    base = tuple(dataclasses.replace(c, summary="") for c in pull.base_checks)
    return dataclasses.replace(pull, reviews=reviews, checks=checks, base_checks=base)


async def update_status_comment(claim: Claim, effect: UpdateStatusComment) -> EffectDone:
    """Edit the one comment."""
    await claim.check()
    await claim.outside.forge.upsert_comment(
        claim.job.repository, effect.issue_number, marker=messages.MARKER, body=effect.body
    )
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def set_commit_status(claim: Claim, effect: SetCommitStatus) -> EffectDone:
    """Set the approval gate."""
    await claim.check()
    await claim.outside.forge.set_status(
        claim.job.repository,
        effect.sha,
        context=effect.context,
        state=effect.state,
        description=effect.description,
        target_url=claim.outside.settings.public_url,
    )
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def rerun_checks(claim: Claim, effect: RerunChecks) -> EffectDone:
    """Ask for the failed checks once more."""
    for check_id in effect.check_ids:
        await claim.check()
        await claim.outside.forge.rerun_check(claim.job.repository, check_id)
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def notify(claim: Claim, effect: Notify) -> EffectDone:
    """Tell a person."""
    await claim.outside.notifier.notify(effect.subject, claim.outside.redact(effect.text))
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def abandon(claim: Claim, effect: Abandon) -> EffectDone:
    """Close the pull request and delete the branch, if they are ours and nobody else has built on them."""
    forge, repo = claim.outside.forge, claim.job.repository
    await claim.check()
    if effect.pull_number is not None:
        await forge.update_pull(repo, effect.pull_number, state="closed")
    try:
        tip = await forge.ref(repo, effect.branch)
    except NotFound:
        tip = None
    if tip is not None and (tip in effect.known_shas or await _is_unanswered(claim, effect.branch)):
        await claim.check()
        await forge.delete_ref(repo, effect.branch)
    return EffectDone(seq=claim.seq, effect=effect.kind)


async def _is_unanswered(claim: Claim, name: str) -> bool:
    """Whether we may have made the branch without hearing the answer: the job knows no base, the branch no commit."""
    return claim.job.base_sha is None and await branch.holds_no_work(claim, name)
