"""Orders to the outside. Each has a deterministic key, `<job>:<seq>`, and may be carried out more than once.

An effect holds everything its stage needs that `decide` knew, so that a stage carried out again a day later by
another replica does exactly the same. Long texts travel as blobs; what is here stays below a few kilobytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from windlass.core.events import Check
from windlass.core.job import IssueSnapshot, PatchRef, RunNote, TaskType, Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBranch:
    """Make `branch` at the tip of `base_ref`; adopt it when it is ours (`known_shas` are tips we pushed)."""

    branch: str
    base_ref: str
    known_shas: tuple[str, ...] = ()
    kind: Literal["CreateBranch"] = "CreateBranch"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Have the agent work from `start_sha`, on the tree of `handed` when there is a change already.

    `purpose`: see `core.prompt.PURPOSES`. `feedback` is hostile text, `feedback_digest` names a blob with the log that
    explains it; `failed_checks` are those of the forge; `findings` name blobs. `is_read_only`: what the agent changes
    is thrown away. `cost_limit_microusd` None is no limit. `number` tells the candidates of one step apart.
    """

    run_id: str
    role: str
    attempt: int
    purpose: str
    agent: str
    issue: IssueSnapshot
    task_type: TaskType
    start_sha: str
    feedback: str = ""
    feedback_digest: str = ""
    failed_checks: tuple[Check, ...] = ()
    handed: PatchRef | None = None
    findings: tuple[str, ...] = ()
    is_read_only: bool = False
    cost_limit_microusd: int | None = None
    step: int = 0
    number: int = 0
    kind: Literal["StartRun"] = "StartRun"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRun:
    """Kill the run and everything it started."""

    run_id: str
    kind: Literal["StopRun"] = "StopRun"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPatch:
    """Run the repository's tests on `base_sha` and on the patched tree, each in a clean sandbox."""

    patch: PatchRef
    base_sha: str
    kind: Literal["VerifyPatch"] = "VerifyPatch"


def verification_run_ids(job_id: str, seq: int) -> tuple[str, str]:
    """The sandboxes of one VerifyPatch: the base's and the head's."""
    return f"{job_id}-t{seq}-base", f"{job_id}-t{seq}-head"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPatch:
    """Commit the patch on its start and move `branch` there from `expected_sha`, and from nowhere else."""

    patch: PatchRef
    branch: str
    expected_sha: str
    title: str
    issue_number: int
    agent: str
    committed_at_ms: int
    kind: Literal["PushPatch"] = "PushPatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPullRequest:
    """Open the pull request from `branch`, or bring ours up to date (title, body, labels, attached report).

    `findings` name blobs with what reviewing agents found.
    """

    branch: str
    base_ref: str
    head_sha: str
    issue: IssueSnapshot
    report_digest: str
    patch: PatchRef
    verification: Verification | None
    agent: str
    requested_by: str
    findings: tuple[str, ...] = ()
    run_notes: tuple[RunNote, ...] = ()
    kind: Literal["OpenPullRequest"] = "OpenPullRequest"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStatusComment:
    """Make the job's one status comment on the issue say `body` (Markdown, below 65,000 characters)."""

    issue_number: int
    body: str
    kind: Literal["UpdateStatusComment"] = "UpdateStatusComment"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCommitStatus:
    """Set the approval gate on `sha`. `state`: pending, success, failure. `description`: at most 140 characters."""

    sha: str
    context: str
    state: str
    description: str
    kind: Literal["SetCommitStatus"] = "SetCommitStatus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Re-read the pull request and everything that is decided upon."""

    pull_number: int
    kind: Literal["Observe"] = "Observe"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunChecks:
    """Ask the forge to run the failed checks again, without a new commit."""

    head_sha: str
    check_ids: tuple[int, ...]
    kind: Literal["RerunChecks"] = "RerunChecks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """Leave nothing without an owner: close the pull request, delete `branch` when its tip is one of `known_shas`."""

    branch: str
    known_shas: tuple[str, ...]
    pull_number: int | None
    kind: Literal["Abandon"] = "Abandon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Tell a person."""

    subject: str
    text: str
    kind: Literal["Notify"] = "Notify"


Effect = (
    CreateBranch
    | StartRun
    | StopRun
    | VerifyPatch
    | PushPatch
    | OpenPullRequest
    | UpdateStatusComment
    | SetCommitStatus
    | Observe
    | RerunChecks
    | Abandon
    | Notify
)

MAIN_LINE = frozenset({"CreateBranch", "StartRun", "VerifyPatch", "PushPatch", "OpenPullRequest"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An effect with its number and the earliest time to carry it out."""

    seq: int
    effect: Effect
    delay_s: float = 0.0
