"""CreateBranch: the job's branch at the tip of its base, made once, adopted when it is ours, refused when it is not.

Ours is a branch whose tip we pushed for this issue, or one that holds no commit beyond the base: nobody's work can be
overwritten through it.
"""

from __future__ import annotations

from windlass.core.effects import CreateBranch
from windlass.core.errors import Conflict, Refused
from windlass.core.events import BranchCreated
from windlass.engine.stages.context import Claim, unusable


async def create_branch(claim: Claim, effect: CreateBranch) -> BranchCreated:
    """Make or adopt the branch. Raises Refused (repository_unusable, branch_not_ours), Unavailable."""
    for _ in range(3):
        base_sha, tip = await _tips(claim, effect)
        if tip is not None:
            await _insist_on_ours(claim, effect, base_sha, tip)
            return BranchCreated(seq=claim.seq, base_sha=base_sha, branch_sha=tip, adopted=True)
        await claim.check()
        try:
            await claim.outside.forge.create_ref(claim.job.repository, effect.branch, base_sha)
        except Conflict:
            continue  # somebody made it meanwhile, perhaps an earlier claim of ours: look whose it is
        return BranchCreated(seq=claim.seq, base_sha=base_sha, branch_sha=base_sha)
    raise Refused(f"the branch {effect.branch} comes and goes", code="branch_not_ours", hint="see who else creates it")


async def _tips(claim: Claim, effect: CreateBranch) -> tuple[str, str | None]:
    outside, repo = claim.outside, claim.job.repository
    base_ref = effect.base_ref or (await outside.forge.repository(repo)).default_branch
    credential = await outside.forge.credential(repo, write=False)
    tips = await outside.repositories.fetch(repo, credential, [base_ref, effect.branch])
    if base_ref not in tips:
        raise unusable(f"{repo} has no branch {base_ref}", "push a first commit, or set `base` in the policy")
    return tips[base_ref], tips.get(effect.branch)


async def _insist_on_ours(claim: Claim, effect: CreateBranch, base_sha: str, tip: str) -> None:
    if tip in effect.known_shas or tip == base_sha:
        return
    if await claim.outside.repositories.is_ancestor(claim.job.repository, tip, base_sha):
        return
    raise Refused(
        f"the branch {effect.branch} exists with commits that are not ours",
        code="branch_not_ours",
        hint="rename or delete it, then put the label on again",
    )


async def holds_no_work(claim: Claim, branch: str) -> bool:
    """Whether the branch is there and has no commit beyond its base: deleting it loses nobody's work."""
    forge, repo = claim.outside.forge, claim.job.repository
    base = claim.job.base_ref or (await forge.repository(repo)).default_branch
    credential = await forge.credential(repo, write=False)
    tips = await claim.outside.repositories.fetch(repo, credential, [base, branch])
    if base not in tips or branch not in tips:
        return False
    return await claim.outside.repositories.is_ancestor(repo, tips[branch], tips[base])
