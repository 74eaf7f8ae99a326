"""PushPatch and OpenPullRequest: the kept change becomes a commit, a branch tip and one pull request.

The commit is made from the kept diff by plumbing and has the same id however often this is carried out; the push moves
our branch from where we left it and from nowhere else. The pull request is looked for before it is opened.
"""

from __future__ import annotations

import asyncio

from windlass.core import messages
from windlass.core.ci import REPORT_CHECK
from windlass.core.effects import OpenPullRequest, PushPatch
from windlass.core.errors import Conflict, Failed, Refused
from windlass.core.events import PatchPushed, PullRequestOpened
from windlass.engine.stages import handing
from windlass.engine.stages.context import Claim
from windlass.ports import PullInfo

_LONGEST_CHECK_TEXT = 60_000


async def push_patch(claim: Claim, effect: PushPatch) -> PatchPushed:
    """Commit and push. Raises Refused (push_refused, head_moved), Broken, Unavailable."""
    outside, repo = claim.outside, claim.job.repository
    head_sha = await commit_of(claim, effect)
    credential = await outside.forge.credential(repo, write=True)
    await claim.check()
    try:
        await outside.repositories.push(
            repo, credential, sha=head_sha, branch=effect.branch, expected_sha=effect.expected_sha
        )
    except Conflict as error:
        raise Refused(
            f"the branch {effect.branch} was moved by somebody else",
            code="head_moved",
            hint="the change is kept; look at the branch, then put the label on again",
        ) from error
    return PatchPushed(seq=claim.seq, head_sha=head_sha, tree_sha=effect.patch.tree_sha)


async def commit_of(claim: Claim, effect: PushPatch) -> str:
    """The commit that the kept change becomes; the same id however often it is made."""
    outside, repo = claim.outside, claim.job.repository
    diff = await asyncio.to_thread(outside.blobs.get, effect.patch.digest)
    tree_sha = await outside.repositories.restore(repo, effect.patch, diff)
    message = messages.commit_message(
        title=effect.title,
        issue_number=effect.issue_number,
        job_id=claim.job.id,
        agent=effect.agent or outside.settings.default_agent,
    )
    return await outside.repositories.commit(
        repo,
        tree_sha=tree_sha,
        parent_sha=effect.patch.start_sha,
        message=message,
        author=outside.settings.author,
        at_ms=effect.committed_at_ms,
    )


async def open_pull_request(claim: Claim, effect: OpenPullRequest) -> PullRequestOpened:
    """Open the pull request or bring ours up to date. Raises Refused (pull_request_not_ours), Unavailable."""
    forge, repo = claim.outside.forge, claim.job.repository
    title, body = await _text(claim, effect)
    pull = await our_pull(claim, effect)
    adopted = pull is not None
    await claim.check()
    if pull is None:
        pull = await _create(claim, effect, title, body)
    elif (pull.title, pull.body) != (title, body):
        await forge.update_pull(repo, pull.number, title=title, body=body)
    if not set(claim.job.policy.pull_labels) <= set(pull.labels):
        await forge.add_labels(repo, pull.number, claim.job.policy.pull_labels)
    await _attach_report(claim, effect)
    return PullRequestOpened(seq=claim.seq, number=pull.number, url=pull.url, title=title, adopted=adopted)


async def _text(claim: Claim, effect: OpenPullRequest) -> tuple[str, str]:
    report = await _report(claim, effect.report_digest)
    text = messages.PullText(
        job_id=claim.job.id,
        issue_number=effect.issue.number,
        issue_title=effect.issue.title,
        requested_by=effect.requested_by,
        agent=effect.agent or claim.outside.settings.default_agent,
        report=report,
        patch=effect.patch,
        verification=effect.verification,
        findings=await handing.listed_findings(claim, effect.findings),
        run_notes=effect.run_notes,
    )
    title = messages.pull_title(claim.job.report_title, effect.issue.title, effect.issue.number)
    redact = claim.outside.redact
    return redact(title), redact(messages.pull_body(text))


async def _report(claim: Claim, name: str) -> str:
    if not name:
        return ""
    return (await asyncio.to_thread(claim.outside.blobs.get, name)).decode("utf-8", "replace")


async def our_pull(claim: Claim, effect: OpenPullRequest) -> PullInfo | None:
    """Our open pull request from this branch, or None. A stranger's is refused."""
    forge, repo = claim.outside.forge, claim.job.repository
    found = await forge.find_pull(repo, effect.branch)
    if found is None or found.state != "open":
        return None
    if found.author.lower() != (await forge.identity()).lower():
        raise Refused(
            f"pull request #{found.number} from {effect.branch} was opened by {found.author}",
            code="pull_request_not_ours",
            hint="close it, then put the label on again",
        )
    return found


async def _create(claim: Claim, effect: OpenPullRequest, title: str, body: str) -> PullInfo:
    forge, repo = claim.outside.forge, claim.job.repository
    base = effect.base_ref or (await forge.repository(repo)).default_branch
    try:
        return await forge.create_pull(repo, head=effect.branch, base=base, title=title, body=body)
    except Conflict as error:
        found = await our_pull(claim, effect)
        if found is None:
            raise Failed(f"the forge refuses the pull request: {error.message}", hint=error.hint) from error
        return found


async def _attach_report(claim: Claim, effect: OpenPullRequest) -> None:
    """The agent's report as a check run where we may write one; it is in the pull request's text in any case."""
    report = await _report(claim, effect.report_digest)
    if not report.strip():
        return
    await claim.outside.forge.upsert_check_run(
        claim.job.repository,
        effect.head_sha,
        name=REPORT_CHECK,
        external_id=claim.job.id,
        summary=f"The agent's report on #{effect.issue.number}, `windsurf-output.txt` (written by the agent).",
        text=messages.fenced(report[-_LONGEST_CHECK_TEXT:]),
    )
