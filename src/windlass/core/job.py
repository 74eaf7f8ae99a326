"""The job: one piece of asked work on one issue, as plain data.

A job is a row, never a sleeping function. Everything `decide` needs to know about the past is in here;
everything it wants done next leaves as effects. Instants are integers, milliseconds since the Unix epoch (UTC).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from windlass.core.findings import FindingRef
from windlass.core.policy import Policy


class State(enum.StrEnum):
    """Where a job is in its life. Why it is there is `Reason`, never folded in here."""

    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHING = "publishing"
    CHECKING = "checking"
    REVIEWING = "reviewing"
    ESCALATED = "escalated"
    MERGED = "merged"
    CLOSED = "closed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SHADOWED = "shadowed"


TERMINAL = frozenset({State.MERGED, State.CLOSED, State.FAILED, State.CANCELLED, State.SHADOWED})


class Reason(enum.StrEnum):
    """Why a job is where it is, when the state alone does not say."""

    AGENT_FAILED = "agent_failed"
    AGENT_TIMED_OUT = "agent_timed_out"
    AGENT_INCOMPLETE = "agent_incomplete"
    NO_CHANGE = "no_change"
    PATCH_REFUSED = "patch_refused"
    TESTS_FAILED = "tests_failed"
    CI_FAILED = "ci_failed"
    CI_NOT_STARTED = "ci_not_started"
    CI_TIMED_OUT = "ci_timed_out"
    CI_ACTION_REQUIRED = "ci_action_required"
    CI_RED_ON_BASE = "ci_red_on_base"
    CHANGES_REQUESTED = "changes_requested"
    FINDINGS_OPEN = "findings_open"
    OSCILLATING = "oscillating"
    MONEY = "money"
    REVIEW_TIMED_OUT = "review_timed_out"
    HEAD_MOVED = "head_moved"
    ASKED_AGAIN = "asked_again"
    MERGE_CONFLICT = "merge_conflict"
    BRANCH_NOT_OURS = "branch_not_ours"
    PULL_REQUEST_NOT_OURS = "pull_request_not_ours"
    PUSH_REFUSED = "push_refused"
    MERGED_WITHOUT_APPROVAL = "merged_without_approval"
    PULL_REQUEST_CLOSED = "pull_request_closed"
    STOPPED = "stopped"
    ISSUE_WITHDRAWN = "issue_withdrawn"
    REPOSITORY_UNUSABLE = "repository_unusable"
    FORGE_REFUSED = "forge_refused"
    INFRASTRUCTURE = "infrastructure"
    WALL_CLOCK = "wall_clock"
    ESCALATION_EXPIRED = "escalation_expired"


class TaskType(enum.StrEnum):
    """What kind of work the issue asks for; selects the prompt template."""

    BUGFIX = "bugfix"
    FEATURE = "feature"
    REFACTOR = "refactor"


class Outcome(enum.StrEnum):
    """How one run of an agent ended; never taken from the exit code alone."""

    COMPLETED = "completed"
    NO_CHANGE = "no_change"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    INFRA_ERROR = "infra_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueSnapshot:
    """The request as it stood when the job was opened. Its text is hostile until rendered as data."""

    number: int
    title: str
    body: str
    author: str
    url: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRef:
    """A change, kept content-addressed before anything is pushed.

    `digest` is the SHA-256 (hex) of the blob that holds the change; `tree_sha` the git tree it produces when
    applied to `start_sha`; `files` the changed paths (at most 1,000 are named), `insertions`/`deletions` lines.
    """

    digest: str
    start_sha: str
    tree_sha: str
    files: tuple[str, ...]
    insertions: int
    deletions: int
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """One execution of the repository's test command in a clean sandbox at one tree.

    `status` is `passed`, `failed`, `timed_out`, `errored` (could not be run) or `absent` (no test command).
    `failed_tests` names failing tests where the output tells them (at most 200). Times in seconds.
    """

    __test__ = False

    status: str
    exit_code: int | None = None
    duration_s: float = 0.0
    failed_tests: tuple[str, ...] = ()
    passed_tests: tuple[str, ...] = ()
    log_digest: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakenedTest:
    """A test that the change made weaker: `how` is `deleted`, `skipped`, `loosened` or `excluded`."""

    path: str
    name: str
    how: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What Windlass itself found out about a change, against the agent's claims.

    `red_to_green`: tests (the new ones included) failed on base and pass on head.
    """

    command: str
    base: TestRun
    head: TestRun
    red_to_green: bool
    weakened_tests: tuple[WeakenedTest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What is used up so far. Each counter has one owner in `core.workflow` and survives restarts.

    `cost_microusd` adds up what runs are known to have cost, in millionths of a dollar; `unpriced_runs` counts those
    of which it is not known.
    """

    agent_attempts: int = 0
    ci_fix_rounds: int = 0
    review_rounds: int = 0
    rework_rounds: int = 0
    cost_microusd: int = 0
    unpriced_runs: int = 0
    flake_reruns: int = 0
    revivals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The one main-line effect that is under way: the fence every late result is held against."""

    seq: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One run of the step under way. `number` tells candidates apart; `is_out` until its run is answered for."""

    seq: int
    run_id: str
    role: str
    agent: str
    number: int = 0
    is_out: bool = True
    outcome: Outcome | None = None
    detail: str = ""
    refusals: tuple[str, ...] = ()
    patch: PatchRef | None = None
    patched_at_ms: int = 0
    report_digest: str = ""
    report_title: str = ""
    findings: tuple[FindingRef, ...] = ()
    findings_digest: str = ""
    verification: Verification | None = None

    @property
    def has_change(self) -> bool:
        """Whether it finished with a change that may be published."""
        return self.outcome is Outcome.COMPLETED and self.patch is not None and not self.refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """One line about a run that counted, for the pull request. `words`: how it ended, ours."""

    run_id: str
    role: str
    agent: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A human's yes to exactly one commit."""

    by: str
    head_sha: str
    review_id: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that is known about one job.

    `seq` numbers its effects; `deadline_at_ms` is None only when the job is terminal. `step` is the place in the
    policy's workflow and `crew` the runs of that step; `handed` is the change that they were given, `notes` the blobs
    of findings that the coder has to address, `remarks` those of the newest reviews. `trees_judged` and `marks_found`
    remember what reviewing agents have seen and said in this round, to tell when the work goes in circles.
    """

    id: str
    repository: str
    issue: IssueSnapshot
    task_type: TaskType
    requested_by: str
    epoch: str
    branch: str
    base_ref: str
    created_at_ms: int
    state: State
    deadline_at_ms: int | None
    reason: Reason | None = None
    detail: str = ""
    seq: int = 0
    agent: str = ""
    base_sha: str | None = None
    branch_sha: str | None = None
    head_sha: str | None = None
    pull_number: int | None = None
    pull_url: str = ""
    policy: Policy = field(default_factory=Policy)
    work: Pending | None = None
    run_id: str | None = None
    purpose: str = "implement"
    start_sha: str = ""
    step: int = 0
    crew: tuple[Member, ...] = ()
    handed: PatchRef | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    trees_judged: tuple[str, ...] = ()
    marks_found: tuple[tuple[str, ...], ...] = ()
    run_notes: tuple[RunNote, ...] = ()
    written_by: str = ""
    observing_seq: int | None = None
    observe_again: bool = False
    comment_seq: int | None = None
    gate_seq: int | None = None
    is_last_look: bool = False
    is_human_driven: bool = False
    rerun_marks: tuple[str, ...] = ()
    patch: PatchRef | None = None
    verification: Verification | None = None
    report_digest: str = ""
    report_title: str = ""
    budgets: Budgets = Budgets()
    approval: Approval | None = None
    gate: str = ""
    comment: str = ""
    ci_verdict: str = ""
    pushed_at_ms: int | None = None
    feedback: str = ""
    feedback_digest: str = ""
    patched_at_ms: int = 0
    reviews_seen: tuple[int, ...] = ()
    pushed_shas: tuple[str, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """True when nothing more will happen to this job."""
        return self.state in TERMINAL
