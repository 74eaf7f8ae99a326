"""What happened, in our words, past tense. Everything that moves a job is one of these.

Hints (`PullRequestTouched`) carry no facts: they only say that it is time to look again. Facts come from what
Windlass itself did (`…seq…` events answer one effect) or re-read (`PullRequestObserved`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from windlass.core.findings import FindingRef
from windlass.core.job import IssueSnapshot, Outcome, PatchRef, TaskType, Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueLabelled:
    """Work was asked for, by the label or by `start-job`; permission has been read from the forge.

    `epoch` names this one act of asking (the forge's id of the labelling), so the same act starts one job,
    whoever tells it how often. `problem` says why the work cannot begin (a policy file that cannot be read), or ''.
    """

    repository: str
    issue: IssueSnapshot
    requested_by: str
    may_request: bool
    epoch: str
    base_ref: str
    source: str = "label"
    task_type: TaskType | None = None
    agent: str = ""
    problem: str = ""
    kind: Literal["IssueLabelled"] = "IssueLabelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueWithdrawn:
    """The issue was closed, deleted or lost its label."""

    how: str
    by: str = ""
    kind: Literal["IssueWithdrawn"] = "IssueWithdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """A person asked to stop the job."""

    by: str
    why: str = ""
    kind: Literal["StopRequested"] = "StopRequested"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """The job's deadline went by. Stale when the job's deadline is another by now."""

    deadline_at_ms: int
    kind: Literal["DeadlinePassed"] = "DeadlinePassed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchCreated:
    """Answers CreateBranch. `branch_sha` is the branch's tip: `base_sha`, or our own older work when adopted."""

    seq: int
    base_sha: str
    branch_sha: str
    adopted: bool = False
    kind: Literal["BranchCreated"] = "BranchCreated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The agent began to work: a slot was free and its sandbox is up.

    `prompt_digest` names the blob of what it was told, `prompt_manifest_digest` that of where every part came from;
    `prompt_flags` say what hidden text was taken out of it or cut, as `source:kind=count`.
    """

    seq: int
    run_id: str
    prompt_digest: str = ""
    prompt_manifest_digest: str = ""
    prompt_flags: tuple[str, ...] = ()
    kind: Literal["RunStarted"] = "RunStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """Answers StartRun. `patch` is kept already; `report_digest` is the agent's own report (blob).

    `prompt_digest`, `prompt_manifest_digest` and `prompt_flags` as in RunStarted. `findings` are a reviewer's, their
    texts in the blob `findings_digest`. `cost_microusd` None is not known. `model_access`: gateway, environment or '';
    `denied_hosts`: what the run tried to reach and was not let through to.
    """

    seq: int
    run_id: str
    outcome: Outcome
    patch: PatchRef | None = None
    report_digest: str = ""
    report_title: str = ""
    log_digest: str = ""
    detail: str = ""
    refusals: tuple[str, ...] = ()
    duration_s: float = 0.0
    model: str = ""
    prompt_digest: str = ""
    prompt_manifest_digest: str = ""
    prompt_flags: tuple[str, ...] = ()
    redactions: tuple[str, ...] = ()
    agent: str = ""
    findings: tuple[FindingRef, ...] = ()
    findings_digest: str = ""
    cost_microusd: int | None = None
    model_access: str = ""
    image_digest: str = ""
    denied_hosts: tuple[str, ...] = ()
    kind: Literal["RunFinished"] = "RunFinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchVerified:
    """Answers VerifyPatch."""

    seq: int
    verification: Verification
    kind: Literal["PatchVerified"] = "PatchVerified"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPushed:
    """Answers PushPatch: the branch's tip is `head_sha` now."""

    seq: int
    head_sha: str
    tree_sha: str
    kind: Literal["PatchPushed"] = "PatchPushed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestOpened:
    """Answers OpenPullRequest; also when ours was found open already."""

    seq: int
    number: int
    url: str
    title: str
    adopted: bool = False
    kind: Literal["PullRequestOpened"] = "PullRequestOpened"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestTouched:
    """A hint: something about the pull request may have changed (`what`: the webhook's event and action)."""

    what: str
    kind: Literal["PullRequestTouched"] = "PullRequestTouched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check's word on one commit.

    `source`: check_run or status; `status`: queued, in_progress, completed; `conclusion`: GitHub's, or '' while it
    runs; `id` and `completed_at_ms` tell a second try of the same check from the first.
    """

    name: str
    source: str
    status: str
    conclusion: str = ""
    app: str = ""
    id: int = 0
    url: str = ""
    summary: str = ""
    completed_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One person's review. `state`: approved, changes_requested, commented, dismissed. `permission` is of now."""

    id: int
    reviewer: str
    is_human: bool
    state: str
    commit_sha: str
    submitted_at_ms: int
    permission: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSnapshot:
    """The pull request as the forge showed it, everything read for one head.

    `required` are the contexts that branch protection or rulesets demand (None: could not be read);
    `base_checks` are read only when a check on the head failed; `committers` are logins or names of all
    authors and committers of the branch's commits.
    """

    number: int
    state: str
    is_merged: bool
    head_sha: str
    base_ref: str
    base_sha: str
    title: str = ""
    merged_by: str = ""
    merge_commit_sha: str = ""
    is_mergeable: bool | None = None
    required: tuple[str, ...] | None = None
    checks: tuple[Check, ...] = ()
    base_checks: tuple[Check, ...] = ()
    reviews: tuple[Review, ...] = ()
    committers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestObserved:
    """Answers Observe: the forge was read, at the exact head."""

    seq: int
    pull: PullSnapshot
    kind: Literal["PullRequestObserved"] = "PullRequestObserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDone:
    """Answers a side effect that brings no facts (comment, status, re-run, notification, abandon)."""

    seq: int
    effect: str
    kind: Literal["EffectDone"] = "EffectDone"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectFailed:
    """An effect could not be carried out. `is_transient`: trying again later may help."""

    seq: int
    effect: str
    code: str
    message: str
    is_transient: bool
    retry_after_s: float | None = None
    kind: Literal["EffectFailed"] = "EffectFailed"


Event = (
    IssueLabelled
    | IssueWithdrawn
    | StopRequested
    | DeadlinePassed
    | BranchCreated
    | RunStarted
    | RunFinished
    | PatchVerified
    | PatchPushed
    | PullRequestOpened
    | PullRequestTouched
    | PullRequestObserved
    | EffectDone
    | EffectFailed
)
