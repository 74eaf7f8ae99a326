"""Taking back what an order did for a job that was stopped meanwhile.

A stop voids the order and cleans up, but the order's call may still be on its way to the forge, or its process may be
killed before it hears the answer. So whoever began a voided order, or takes over from who did, looks at what came of
it. What a person or a newer job may be using stays.
"""

from __future__ import annotations

from windlass.core.effects import CreateBranch, Effect, OpenPullRequest, PushPatch
from windlass.engine.stages import branch, publish
from windlass.engine.stages.context import Claim


async def take_back(claim: Claim, effect: Effect) -> None:
    """Leave nothing of a voided order without an owner. Idempotent. Raises what the forge and git raise."""
    if not isinstance(effect, CreateBranch | PushPatch | OpenPullRequest) or not await claim.is_unwanted():
        return
    forge, repo = claim.outside.forge, claim.job.repository
    if isinstance(effect, OpenPullRequest):
        pull = await publish.our_pull(claim, effect)
        if pull is not None:
            await forge.update_pull(repo, pull.number, state="closed")
    elif await _is_ours(claim, effect, await forge.ref(repo, effect.branch)):
        await forge.delete_ref(repo, effect.branch)


async def _is_ours(claim: Claim, effect: CreateBranch | PushPatch, tip: str | None) -> bool:
    """Whether the branch is as this order left it."""
    if tip is None:
        return False
    if isinstance(effect, PushPatch):
        return tip == await publish.commit_of(claim, effect)
    return tip in effect.known_shas or await branch.holds_no_work(claim, effect.branch)
