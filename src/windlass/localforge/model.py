"""The rows of the local forge: what a GitHub-compatible server remembers.

Rows are plain data that the acts change in place (one event loop, one writer), so they are slotted but not frozen.
They know nothing of HTTP, JSON shapes or webhooks. Times are milliseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

LEVELS: Final = ("none", "read", "triage", "write", "maintain", "admin")

CheckMode = Literal["run", "never_starts", "action_required", "flaky", "lost", "hangs"]


@dataclass(slots=True, kw_only=True)
class Account:
    """A person, a bot or an organization. `kind` is GitHub's `type`: User, Bot, Organization."""

    id: int
    login: str
    kind: str
    created_at_ms: int


@dataclass(slots=True, kw_only=True)
class App:
    """A GitHub App. Only its public key is kept; the private one is handed out once."""

    id: int
    slug: str
    name: str
    owner: str
    public_key_pem: str
    permissions: dict[str, str]
    events: list[str]
    created_at_ms: int


@dataclass(slots=True, kw_only=True)
class Installation:
    """An App on an account. `repositories` None means all of the account's."""

    id: int
    app_id: int
    account: str
    permissions: dict[str, str]
    repositories: list[str] | None
    created_at_ms: int


@dataclass(slots=True, kw_only=True)
class Token:
    """What opens the API. `repositories` None and `permissions` None mean: whatever the account may."""

    value: str
    login: str
    installation_id: int | None = None
    permissions: dict[str, str] | None = None
    repositories: list[str] | None = None
    expires_at_ms: int | None = None


@dataclass(slots=True, kw_only=True)
class Label:
    """A repository's label. `color` is six hex digits."""

    id: int
    name: str
    color: str = "ededed"
    description: str | None = None


@dataclass(slots=True, kw_only=True)
class Comment:
    """A comment on an issue or pull request."""

    id: int
    issue_number: int
    author: str
    body: str
    created_at_ms: int
    updated_at_ms: int
    app_id: int | None = None


@dataclass(slots=True, kw_only=True)
class IssueEvent:
    """One line of an issue's history: labeled, unlabeled, closed, reopened, renamed, merged."""

    id: int
    event: str
    actor: str
    created_at_ms: int
    label: str = ""
    label_color: str = ""
    commit_id: str | None = None
    rename: tuple[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class Review:
    """A review. `state`: APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED; bound to `commit_id`."""

    id: int
    author: str
    state: str
    body: str
    commit_id: str
    submitted_at_ms: int
    dismissal: str = ""


@dataclass(slots=True, kw_only=True)
class Pull:
    """What an issue has besides when it is a pull request. Heads and bases are in the same repository."""

    head_ref: str
    base_ref: str
    head_sha: str
    base_sha: str
    is_draft: bool = False
    mergeable: bool | None = None
    merged_at_ms: int | None = None
    merged_by: str | None = None
    merge_commit_sha: str | None = None
    reviews: list[Review] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Issue:
    """An issue, or a pull request when `pull` is there. `labels` are names, in the order they were put on."""

    id: int
    number: int
    author: str
    title: str
    body: str | None
    created_at_ms: int
    updated_at_ms: int
    state: str = "open"
    state_reason: str | None = None
    closed_at_ms: int | None = None
    closed_by: str | None = None
    labels: list[str] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)
    events: list[IssueEvent] = field(default_factory=list)
    pull: Pull | None = None
    app_id: int | None = None


@dataclass(slots=True, kw_only=True)
class Status:
    """A commit status. `state`: error, failure, pending, success."""

    id: int
    sha: str
    context: str
    state: str
    description: str | None
    target_url: str | None
    creator: str
    created_at_ms: int


@dataclass(slots=True, kw_only=True)
class CheckSuite:
    """What one App says of one commit."""

    id: int
    app_id: int
    head_sha: str
    head_branch: str | None
    before: str | None
    created_at_ms: int
    updated_at_ms: int
    status: str = "queued"
    conclusion: str | None = None


@dataclass(slots=True, kw_only=True)
class CheckRun:
    """One check of a suite."""

    id: int
    suite_id: int
    app_id: int
    name: str
    head_sha: str
    started_at_ms: int
    status: str = "queued"
    conclusion: str | None = None
    completed_at_ms: int | None = None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    external_id: str = ""
    details_url: str | None = None


@dataclass(slots=True, kw_only=True)
class Protection:
    """What a protected branch asks for. `is_enforced_for_admins` False lets admins push and merge past it."""

    required_checks: list[str] = field(default_factory=list)
    required_reviews: int = 1
    dismisses_stale_reviews: bool = False
    needs_up_to_date: bool = False
    is_enforced_for_admins: bool = True


@dataclass(slots=True, kw_only=True)
class Hook:
    """Where webhooks go. `repository` None: the Apps' own webhook, for everything."""

    id: int
    repository: str | None
    url: str
    secret: str
    events: list[str]
    created_at_ms: int


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One attempt to call a webhook, as its log shows it."""

    id: int
    guid: str
    hook_id: int
    event: str
    action: str | None
    repository_id: int | None
    installation_id: int | None
    is_redelivery: bool
    payload: str
    delivered_at_ms: int = 0
    duration_s: float = 0.0
    status: str = "pending"
    status_code: int = 0
    request_headers: dict[str, str] = field(default_factory=dict)
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""


@dataclass(slots=True, kw_only=True)
class Repository:
    """A repository. Its objects and refs are the bare repository on disk; everything else is here."""

    id: int
    full_name: str
    default_branch: str
    is_private: bool
    created_at_ms: int
    pushed_at_ms: int
    description: str | None = None
    labels: dict[str, Label] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    next_number: int = 1
    statuses: list[Status] = field(default_factory=list)
    suites: dict[int, CheckSuite] = field(default_factory=dict)
    runs: dict[int, CheckRun] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    protections: dict[str, Protection] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    check_modes: dict[str, CheckMode] = field(default_factory=dict)
    runs_checks_on_default_branch: bool = False

    @property
    def owner(self) -> str:
        """The part before the slash."""
        return self.full_name.split("/", 1)[0]

    @property
    def name(self) -> str:
        """The part after the slash."""
        return self.full_name.split("/", 1)[1]


@dataclass(slots=True, kw_only=True)
class World:
    """Everything that is saved."""

    next_id: int = 1000
    site_token: str = ""
    ci_app_id: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    apps: dict[int, App] = field(default_factory=dict)
    installations: dict[int, Installation] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    hooks: dict[int, Hook] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)

    def new_id(self) -> int:
        """An id that nothing else here has."""
        self.next_id += 1
        return self.next_id
