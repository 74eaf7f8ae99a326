"""What the engine needs from the outside, as few narrow roles as possible.

Adapters fill these roles; the engine sees only them. Everything that leaves an adapter is plain data, and every
error that leaves one is a `WindlassError`. Blocking roles (Store, Ledger parts, Blobs) are called from threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from windlass.core.agent_events.model import Usage
from windlass.core.effects import Order
from windlass.core.events import Check, Event, PullSnapshot
from windlass.core.job import IssueSnapshot, Job, Outcome, PatchRef, State
from windlass.core.policy import Policy
from windlass.core.prompt import Comment, Prompt, PromptRequest
from windlass.core.records import RecordDraft


class Clock(Protocol):
    """The only way to learn the time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""


# ------------------------------------------------------------------ store


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook call as it came in."""

    id: str
    event: str
    body: bytes
    received_at_ms: int
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """One immutable entry. `body` are the exact RFC 8785 bytes that were hashed; `job_seq` counts per job from 0."""

    id: str
    job_id: str | None
    job_seq: int | None
    kind: str
    at_ms: int
    body: bytes
    leaf_hash: bytes
    leaf_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as it was decided upon. `decided` is False when it changed nothing."""

    id: int
    dedup: str
    job_id: str | None
    at_ms: int
    event: Event
    source_state: str
    target_state: str
    why: tuple[str, ...]
    job_before: Job | None
    job_after: Job | None
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEffect:
    """One order. `status`: ordered, done, failed, void. `claim` grows each time somebody begins to carry it out."""

    job_id: str
    order: Order
    status: str
    claim: int
    ordered_at_ms: int


class Transaction(Protocol):
    """One atomic change. Leaving the `with` block normally commits; an exception undoes everything."""

    def lock_job(self, job_id: str) -> Job | None:
        """The job, held against other writers until the end."""

    def active_job(self, repository: str, issue_number: int) -> Job | None:
        """The one job on this issue that is not terminal, held against other writers."""

    def insert_event(self, dedup: str, job_id: str | None, event: Event, at_ms: int) -> int | None:
        """The event's number, or None when `dedup` was seen before."""

    def finish_event(
        self,
        event_id: int,
        *,
        job_id: str | None,
        before: Job | None,
        after: Job | None,
        why: Sequence[str],
        policy: Policy | None,
    ) -> None:
        """Write what was decided on the event."""

    def insert_job(self, job: Job) -> None:
        """Raises Conflict when the issue has an active job already."""

    def save_job(self, job: Job) -> None:
        """Write the job and what the tables show of it (runs, pull request, CI results, approvals)."""

    def save_checks(self, job_id: str, pull: PullSnapshot, at_ms: int) -> None:
        """Write what was read of the job's pull request and its checks into the tables."""

    def add_order(self, job_id: str, order: Order, at_ms: int, *, queue: str, partition: str, priority: int) -> None:
        """Write the effect and hand it to durable execution, in this transaction."""

    def close_order(self, job_id: str, seq: int, status: str) -> None:
        """Mark an effect done, failed or void."""

    def void_orders(self, job_id: str, seqs: Iterable[int]) -> None:
        """Nobody shall carry these out any more."""

    def add_records(self, job_id: str | None, drafts: Sequence[RecordDraft], at_ms: int) -> tuple[str, ...]:
        """Append to the ledger; the new entries\' ids."""

    def mark_delivery(self, delivery_id: str, *, at_ms: int, outcome: str) -> None:
        """The delivery has been dealt with."""

    def known_shas(self, repository: str, issue_number: int) -> tuple[str, ...]:
        """Every commit that any job pushed for this issue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What the tables keep of one run. `step`, `candidate`: its place in the workflow and there.

    `bytes_out` None: nobody counted.
    """

    id: str
    job_id: str
    role: str
    attempt: int
    agent: str
    status: str
    outcome: str = ""
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    patch_digest: str = ""
    report_digest: str = ""
    log_digest: str = ""
    prompt_digest: str = ""
    model: str = ""
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    detail: str = ""
    purpose: str = ""
    step: int = 0
    candidate: int = 0
    findings_digest: str = ""
    image_digest: str = ""
    model_access: str = ""
    bytes_out: int | None = None


class Store(Protocol):
    """Where jobs, events, effects, deliveries and the ledger live (SQLite or PostgreSQL)."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One atomic change."""

    def close(self) -> None:
        """Let go of every connection."""

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> tuple[bool, ...]:
        """Store raw deliveries in one commit; False for ids that were there already."""

    def claim_deliveries(self, owner: str, limit: int, lease_ms: int, now_ms: int) -> tuple[Delivery, ...]:
        """Oldest unprocessed deliveries nobody else holds, held for `lease_ms`."""

    def release_delivery(self, delivery_id: str, *, retry_at_ms: int, error: str) -> None:
        """Give a delivery back, to be tried again."""

    def job(self, job_id: str) -> Job | None:
        """One job."""

    def jobs(
        self, *, states: Sequence[State] | None = None, repository: str | None = None, limit: int = 100
    ) -> tuple[Job, ...]:
        """Jobs, newest first."""

    def find_jobs(
        self, repository: str, *, branch: str = "", sha: str = "", pull_number: int | None = None
    ) -> tuple[str, ...]:
        """Ids of active jobs that a hint about this branch, commit or pull request concerns."""

    def jobs_with_pull(self, after: str, limit: int) -> tuple[str, ...]:
        """Ids above `after`, in order, of active jobs that have a pull request."""

    def jobs_by_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Ids that begin with `prefix`, in order."""

    def count_jobs(self) -> Mapping[str, int]:
        """State → number of jobs in it; states without a job are left out."""

    def latest_job(self, repository: str, issue_number: int) -> Job | None:
        """The newest job on an issue, whatever its state."""

    def due_jobs(self, now_ms: int, limit: int) -> tuple[tuple[str, int], ...]:
        """(job id, deadline) of jobs whose deadline has passed, earliest first."""

    def events(self, job_id: str) -> tuple[StoredEvent, ...]:
        """A job's events, oldest first."""

    def effects(self, job_id: str) -> tuple[StoredEffect, ...]:
        """A job's orders, oldest first."""

    def claim_effect(self, job_id: str, seq: int) -> StoredEffect | None:
        """Begin to carry out an effect: a new claim. None when it is done, failed or void."""

    def is_current(self, job_id: str, seq: int, claim: int) -> bool:
        """Whether this claim may still write to the outside."""

    def open_effects(self, older_than_ms: int, limit: int) -> tuple[StoredEffect, ...]:
        """Orders that are not closed and were given before `older_than_ms`."""

    def save_run(self, run: RunRecord) -> None:
        """Insert or update one run."""

    def runs(self, job_id: str) -> tuple[RunRecord, ...]:
        """A job's runs, oldest first."""

    def save_usage(self, job_id: str, run_id: str, usage: Usage, *, at_ms: int, cpu_s: float = 0.0) -> None:
        """Keep what one run used, in place of what was kept of it before; a model that it names becomes known."""

    def is_open(self, job_id: str, seq: int) -> bool:
        """Whether an order waits or is being carried out."""

    def repositories(self) -> tuple[str, ...]:
        """Full names of the repositories that are known and not disabled."""

    def save_repository(self, full_name: str, *, default_branch: str, forge_id: int | None) -> None:
        """Insert or update one repository."""

    def records(
        self, job_id: str | None = None, *, after: int = -1, limit: int | None = None
    ) -> tuple[StoredRecord, ...]:
        """Ledger entries in leaf order, entries without a leaf last. `after` leaves out leaf indexes up to it."""

    def sequence_records(self, limit: int) -> int:
        """Give waiting entries their leaf index; the number of entries that got one."""

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        """Leaf hashes of [start, end)."""

    def ledger_size(self) -> int:
        """Number of leaves."""

    def add_checkpoint(self, size: int, root: bytes, note: str, at_ms: int) -> None:
        """Keep one signed checkpoint; the same size with the same root again is fine and changes nothing."""

    def latest_checkpoint(self) -> tuple[int, str] | None:
        """(size, note) of the newest checkpoint."""

    def checkpoints(self, *, after: int = -1, limit: int | None = None) -> tuple[tuple[int, str], ...]:
        """(size, note) of the kept checkpoints of more than `after` leaves, smallest first."""

    def know_template(self, name: str, digest: str, body: str) -> None:
        """Keep a version of a prompt template, `<task type>/<role>`; fine when it is known."""

    def get_config(self, key: str) -> Any | None:
        """A value of SystemConfig, or None."""

    def set_config(self, key: str, value: Any, *, by: str, at_ms: int, why: str = "") -> int:
        """A new version of a value of SystemConfig; its number."""


# ------------------------------------------------------------------ forge


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryInfo:
    """A repository on the forge."""

    id: int
    full_name: str
    default_branch: str
    clone_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueInfo:
    """An issue on the forge. `state`: open or closed; `is_pull_request` when the number is a pull request's."""

    snapshot: IssueSnapshot
    state: str
    is_pull_request: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """The last time a label was put on an issue, and it is still there."""

    id: str
    by: str
    by_is_bot: bool
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullInfo:
    """A pull request on the forge."""

    number: int
    url: str
    state: str
    is_merged: bool
    head_sha: str
    head_ref: str
    base_ref: str
    title: str
    body: str
    author: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GitCredential:
    """A URL and the headers that open it, for one git call. Never put into argv, files or logs."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"GitCredential(url={self.url!r}, headers=<{len(self.headers)} hidden>)"


class Forge(Protocol):
    """GitHub, GitHub Enterprise or localforge. Writes are idempotent where the docstring says so.

    All raise Refused (4xx that we caused), NotFound, Forbidden, Conflict (409, 422 'already exists'),
    Unavailable (5xx, timeouts, rate limits, with `retry_after_s`), Failed.
    `repo` is always `owner/name`.
    """

    async def identity(self) -> str:
        """The login that our writes appear under."""

    async def repositories(self) -> tuple[str, ...]:
        """Full names of all repositories that we may work on."""

    async def repository(self, repo: str) -> RepositoryInfo:
        """One repository."""

    async def issue(self, repo: str, number: int) -> IssueInfo:
        """One issue."""

    async def comments(self, repo: str, number: int) -> tuple[Comment, ...]:
        """What was said on an issue, oldest first, each with what its author may do now; hostile text."""

    async def labelled_issues(self, repo: str, label: str) -> tuple[int, ...]:
        """Numbers of open issues (not pull requests) that carry `label`."""

    async def labelling(self, repo: str, number: int, label: str) -> Labelling | None:
        """Who put the label on, last; None when it is not there (any more)."""

    async def permission(self, repo: str, login: str) -> str:
        """What a user may do now: admin, maintain, write, triage, read or none."""

    async def file(self, repo: str, path: str, ref: str) -> bytes | None:
        """A file's bytes at a ref, or None."""

    async def ref(self, repo: str, branch: str) -> str | None:
        """The tip of a branch, or None."""

    async def create_ref(self, repo: str, branch: str, sha: str) -> None:
        """Make a branch. Raises Conflict when it exists."""

    async def delete_ref(self, repo: str, branch: str) -> None:
        """Delete a branch; fine when it is not there."""

    async def find_pull(self, repo: str, branch: str) -> PullInfo | None:
        """The pull request from `branch` of the same repository: an open one, else the newest."""

    async def create_pull(self, repo: str, *, head: str, base: str, title: str, body: str) -> PullInfo:
        """Open a pull request. Raises Conflict when one is open from that head."""

    async def update_pull(
        self, repo: str, number: int, *, title: str | None = None, body: str | None = None, state: str | None = None
    ) -> None:
        """Change a pull request. Idempotent."""

    async def add_labels(self, repo: str, number: int, labels: Sequence[str]) -> None:
        """Put labels on an issue or pull request. Idempotent."""

    async def pull_snapshot(self, repo: str, number: int) -> PullSnapshot:
        """Everything that is decided upon, re-read at the exact head; base checks only when a check failed."""

    async def upsert_comment(self, repo: str, number: int, *, marker: str, body: str) -> int:
        """Make our one comment that carries `marker` say `body`; its id. Idempotent."""

    async def set_status(
        self, repo: str, sha: str, *, context: str, state: str, description: str, target_url: str = ""
    ) -> None:
        """Set a commit status. Idempotent."""

    async def upsert_check_run(
        self, repo: str, sha: str, *, name: str, external_id: str, summary: str, text: str
    ) -> bool:
        """A neutral, completed check run that carries a text; False when our identity may not write check runs."""

    async def rerun_check(self, repo: str, check_id: int) -> None:
        """Ask for one check run to be run again."""

    async def check_log(self, repo: str, check: Check) -> str:
        """What a failed check printed, as far as it can be had; hostile text, at most 64 KiB from its end."""

    async def credential(self, repo: str, *, write: bool) -> GitCredential:
        """For one git fetch or push, scoped to this repository and to contents."""

    async def failed_deliveries(self, since_ms: int) -> tuple[str, ...]:
        """Ids (for `redeliver`) of webhook calls that the forge could not deliver."""

    async def redeliver(self, delivery_id: str) -> None:
        """Ask the forge to deliver once more, under the same delivery GUID."""

    async def close(self) -> None:
        """Let go of connections."""


# ------------------------------------------------------------------ git


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What an agent left in its directory, as a change against where it started.

    `patch` is None when nothing changed. `diff` are the bytes of `git diff --binary --full-index` (the blob).
    `refusals` say, one line each, why the change may not be published; empty when it may.
    """

    patch: PatchRef | None
    diff: bytes
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """One commit. `subject` is its message's first line, hostile text."""

    sha: str
    committed_at_ms: int
    subject: str


class Repositories(Protocol):
    """One bare mirror per repository, and plain directories made from it. Never runs git in an agent's directory."""

    async def fetch(self, repo: str, credential: GitCredential, branches: Sequence[str]) -> Mapping[str, str]:
        """Bring the mirror up to date for these branches; branch → tip (absent when there is none)."""

    async def is_ancestor(self, repo: str, ancestor: str, descendant: str) -> bool:
        """Whether `ancestor` is reachable from `descendant` (both in the mirror)."""

    async def read_file(self, repo: str, sha: str, path: str) -> bytes | None:
        """A regular file at a commit or tree, or None."""

    async def list_files(self, repo: str, sha: str) -> tuple[str, ...]:
        """All paths of regular files at a commit or tree."""

    async def read_files(self, repo: str, sha: str, paths: Sequence[str], *, largest: int) -> Mapping[str, bytes]:
        """Regular files at a commit or tree by path; absent ones and those above `largest` bytes are left out."""

    async def search_files(self, repo: str, sha: str, words: Sequence[str]) -> Mapping[str, int]:
        """Path → number of lines that hold one of these whole words, in text files at a commit or tree."""

    async def recent_commits(self, repo: str, sha: str, paths: Sequence[str], limit: int) -> tuple[CommitInfo, ...]:
        """The newest commits up to `sha` that touched one of these paths."""

    async def materialise(self, repo: str, treeish: str, directory: Path) -> None:
        """Write the tree of a commit or tree into an empty directory: plain files, no `.git`."""

    async def collect(
        self, repo: str, start_sha: str, directory: Path, *, policy: Policy, noise: Sequence[str] = ()
    ) -> Collected:
        """Take in what is in `directory` as a change on `start_sha`, without `noise` (patterns: core.patch_guard)."""

    async def restore(self, repo: str, patch: PatchRef, diff: bytes) -> str:
        """Rebuild the patched tree from its diff; the tree's id. Raises Broken when it is not `patch.tree_sha`."""

    async def graft(self, repo: str, base: str, other: str, paths: Sequence[str]) -> str:
        """The tree of `base` with `paths` as they are in `other` (absent there: removed); the tree's id."""

    async def changed_paths(self, repo: str, before: str, after: str) -> tuple[str, ...]:
        """What differs between two commits or trees, by path."""

    async def commit(
        self, repo: str, *, tree_sha: str, parent_sha: str, message: str, author: tuple[str, str], at_ms: int
    ) -> str:
        """A commit by plumbing; the same arguments give the same id."""

    async def push(self, repo: str, credential: GitCredential, *, sha: str, branch: str, expected_sha: str) -> None:
        """Move `refs/heads/<branch>` from `expected_sha` to `sha`; fine when it is there already.

        Raises Conflict when the branch is elsewhere, Refused (code push_refused) when the forge says no.
        """

    async def committers(self, repo: str, base_sha: str, head_sha: str) -> tuple[str, ...]:
        """Author and committer names and e-mail addresses of base..head."""


# ------------------------------------------------------------------ running


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: until the first sign of life, without a sign of life, and in all."""

    start_s: float
    idle_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What a sandbox may use. `cpus`: cores at once, in containers; 0 and 0.0 mean no limit.

    `file_bytes` is one file's size, `disk_bytes` and `disk_files` what the work directory may hold in all.
    """

    memory_bytes: int = 4 << 30
    processes: int = 512
    cpu_s: int = 0
    cpus: float = 0.0
    file_bytes: int = 2 << 30
    disk_bytes: int = 20 << 30
    disk_files: int = 1_000_000
    output_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of the run's own, shown inside a container at `target`."""

    source: Path
    target: str
    is_writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlet:
    """A TCP port on the run's own loopback that leads to a Unix socket outside: a way out without a network."""

    port: int
    socket: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A run is over, whatever its process does, `grace_s` after the last line of `file` matches `pattern`.

    `file` is a name in the work directory; `pattern` is searched for in the last line that is not blank.
    """

    file: str
    pattern: str
    grace_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One process tree to run. `workdir` is the only writable place besides a private /tmp.

    `image`: a container image; '' leaves the choice to the runner. `argv` () is the image's own command.
    `workdir_inside`: where a container sees the work directory; '' is the same path. `reads` are shown at their own
    paths. `is_read_only`: the work directory cannot be written to, but for the directories `writes` in it.
    The network: none; with `egress` (host names, `.example.org` with all below it, `*` all) through a proxy that lets
    only these through and tells of every decision; with `needs_network` and no `egress` the machine's own.
    `start_tries`: how often a container that misses its start deadline is started, in all. `is_watch_only`: what a
    container prints is no sign of life, only a watched file that is not empty and changes (for programs that chatter).
    `has_writable_root`: the image's own files may be written to, in a layer that is thrown away.
    """

    id: str
    argv: tuple[str, ...]
    workdir: Path
    deadlines: Deadlines
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    reads: tuple[Path, ...] = ()
    needs_network: bool = False
    watch: tuple[str, ...] = ()
    limits: SandboxLimits = SandboxLimits()
    image: str = ""
    workdir_inside: str = ""
    mounts: tuple[Mount, ...] = ()
    inlets: tuple[Inlet, ...] = ()
    egress: tuple[str, ...] = ()
    is_read_only: bool = False
    writes: tuple[str, ...] = ()
    ending: Ending | None = None
    start_tries: int = 1
    is_watch_only: bool = False
    has_writable_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One decision of the egress proxy. `method`: CONNECT or a plain request's; bytes as the proxy counted them."""

    at_ms: int
    host: str
    port: int
    method: str
    is_allowed: bool
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a process tree ended. `ended`: exited, timed_out, stopped, lost, or ending (see `RunSpec.ending`).

    `deadline`: start, idle, total or ''. `output` is the file with what it printed (stdout and stderr interleaved), cut
    at the limit. `bytes_out` is None where nobody counted; `image_digest` names the image that really ran.
    """

    ended: str
    exit_code: int | None
    deadline: str
    duration_s: float
    output: Path
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    output_bytes: int = 0
    bytes_out: int | None = None
    contacts: tuple[Contact, ...] = ()
    image_digest: str = ""
    is_out_of_memory: bool = False


class Runner(Protocol):
    """Where process trees run. A run is known by its id; starting it twice adopts the first."""

    async def start(self, spec: RunSpec) -> bool:
        """Start, or adopt what runs or ran under this id; True when it was started now."""

    def is_known(self, run_id: str) -> bool:
        """Whether a run was started under this id and not discarded."""

    def output(self, run_id: str) -> Path:
        """The file that what the run prints is appended to while it runs; it may not be there yet."""

    async def wait(self, run_id: str) -> RunResult:
        """Until it ends. Cancelling the wait leaves the run alone."""

    async def stop(self, run_id: str) -> None:
        """Kill everything under this id; fine when there is nothing."""

    async def discard(self, run_id: str) -> None:
        """Kill and forget: files, limits, names."""

    async def reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """Discard every run, living or over, of our instance that is not wanted; the ids of those that lived."""

    def isolation(self, run_id: str = "") -> str:
        """What holds this run, or any, in one line for people and records (`bubblewrap 0.8.0`, or what is missing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one run may use of a model: whose interface (`anthropic`, `openai`, `gemini`), with which key, how much.

    `upstream` is the provider's address; `cost_limit_usd` None is no limit. The key never reaches the run.
    """

    protocol: str
    upstream: str
    key: str
    cost_limit_usd: float | None = None

    def __repr__(self) -> str:
        return f"Grant(protocol={self.protocol!r}, upstream={self.upstream!r}, cost_limit_usd={self.cost_limit_usd})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A run's own way to its model: `inlet` for its `RunSpec`, `base_url` as seen inside, `key` good for it alone."""

    inlet: Inlet
    base_url: str
    key: str


class ModelGateway(Protocol):
    """Stands between agents and model providers: holds the real keys, counts, and says no when the money is spent."""

    def admit(self, run_id: str, grant: Grant) -> Admission:
        """Open the way for a run, or give what was given before. Raises Refused (gateway_unusable), Unavailable."""

    def usage(self, run_id: str) -> Usage | None:
        """What the run has used so far, as the provider's answers say; None when it never asked."""

    def refusal(self, run_id: str) -> str | None:
        """Why a call of the run was refused for its money, '' when none was; None when it was never admitted."""

    def close(self, run_id: str) -> None:
        """The run's key is worth nothing any more; what it used stays known until `forget`. Idempotent."""

    def forget(self, run_id: str) -> None:
        """Remove every trace of a run. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTask:
    """What an agent is asked, and where. The workspace holds the start tree; prompt files are put there.

    `is_read_only`: the agent reads and reports, what it changes is thrown away. `cost_limit_usd` None is no limit.
    """

    run_id: str
    workspace: Path
    prompt: str
    issue: IssueSnapshot
    deadlines: Deadlines
    reads: tuple[Path, ...] = ()
    is_read_only: bool = False
    cost_limit_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """What came of a run, by the agent's own words (hostile text) and by what the runner saw.

    `usage` is None when nothing was reported; within it, what is None was not reported. `model_access`: how the agent
    reached its model: `gateway` (it never had the key), `environment` (it had), or '' (it was given none).
    """

    outcome: Outcome
    report: str
    detail: str = ""
    title: str = ""
    model: str = ""
    usage: Usage | None = None
    model_access: str = ""


class Agent(Protocol):
    """A program that codes, behind the exchange contract of `windsurf-instructions.txt`/`windsurf-output.txt`."""

    name: str
    noise: tuple[str, ...]

    def spec(self, task: AgentTask) -> RunSpec:
        """Put the task into the workspace and say what to run. Idempotent."""

    def conclude(self, task: AgentTask, result: RunResult) -> AgentReport:
        """Judge how it went and take the report out of the workspace."""

    def discard(self, run_id: str) -> None:
        """Forget what was kept for a run (keys, copies of a profile); fine when there is nothing."""


class Prompts(Protocol):
    """What agents are told."""

    async def render(self, request: PromptRequest) -> Prompt:
        """One prompt; the same request gives the same text.

        Raises Refused (no_template, bad_purpose), NotFound when a commit is not in the mirror, Failed (bad_template).
        """


# ------------------------------------------------------------------ small ones


class Blobs(Protocol):
    """Content-addressed bytes."""

    def put(self, data: bytes) -> str:
        """Keep; the SHA-256 in hex. Idempotent."""

    def get(self, digest: str) -> bytes:
        """Raises NotFound; raises Broken when the bytes do not have this digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanLine:
    """Text that may be written, and how much raw input it stands for.

    `text` ends with a newline when the input did; several lines become one when a secret ran over their border.
    `found` counts what was taken out, by rule.
    """

    text: str
    raw_bytes: int
    found: Mapping[str, int] = field(default_factory=dict)


class RedactionStream(Protocol):
    """One stream of bytes being cleaned. What comes out does not depend on how the stream is cut into pieces."""

    def add(self, data: bytes) -> Sequence[CleanLine]:
        """Take more of the stream in; what is decided by now."""

    def release(self) -> Sequence[CleanLine]:
        """The stream is silent: whole lines that were held back only because they might go on to be a secret."""

    def close(self) -> Sequence[CleanLine]:
        """The stream has ended: everything that is left."""


class Redactor(Protocol):
    """Takes secrets out of text: known values in all encodings, then rules. Fails closed: never raises, never leaks."""

    def redact(self, text: str) -> tuple[str, Mapping[str, int]]:
        """(the text without terminal escapes and secrets, rule → number taken out)."""

    def stream(self, before: bytes = b"") -> RedactionStream:
        """For text that comes in pieces. `before`: what stood before the place where it is taken up again."""

    def plus(self, values: Iterable[str]) -> Redactor:
        """The same with more known values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """One stretch of a job's step log: JSONL in the blob `digest`. Never changed.

    `stream` is one writer's own sequence (a run's id, `decisions`, …), `chunk` the place in it from 0, `first_seq` the
    number of its first line. `next_offset`: how far the source (a run's output in bytes, the job's events) was read.
    """

    job_id: str
    stream: str
    chunk: int
    first_seq: int
    lines: int
    size_bytes: int
    first_at_ms: int
    last_at_ms: int
    level: str
    digest: str
    next_offset: int
    run_id: str = ""
    redactions: Mapping[str, int] = field(default_factory=dict)
    number: int = 0


class LogIndex(Protocol):
    """Which chunks of which step logs there are."""

    def append(self, chunk: LogChunk) -> int:
        """Keep one; its number, which grows within a job. Raises Conflict when the stream has that place already."""

    def last(self, job_id: str, stream: str) -> LogChunk | None:
        """The newest chunk of one stream."""

    def chunks(
        self,
        job_id: str,
        *,
        after: int = 0,
        run_id: str = "",
        levels: Sequence[str] = (),
        from_ms: int | None = None,
        to_ms: int | None = None,
        limit: int = 100,
    ) -> tuple[LogChunk, ...]:
        """Chunks with numbers above `after`, in order, that may hold lines of these levels in [from_ms, to_ms]."""


class Signer(Protocol):
    """Signs checkpoints."""

    name: str

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""

    def public_key(self) -> bytes:
        """The raw Ed25519 public key, 32 bytes."""


class Notifier(Protocol):
    """Tells people."""

    async def notify(self, subject: str, text: str) -> None:
        """Send one message; raises Unavailable when it may work later."""
