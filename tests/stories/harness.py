"""A town for whole-job stories: a forge with people in it, a real engine beside it, and an audit when a story ends.

Keeps the rule that every story ends audited: evidence that verifies, decisions that replay, one status comment per
issue, one branch and one pull request at most, no process or workspace left behind, and no credential of Windlass in
anything that Windlass wrote. A story says what is different about it by changing the town, never by skipping the audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from windlass.adapters.signing import verify_ed25519
from windlass.config import AgentSettings, ApiSettings, EngineSettings, ForgeSettings, SandboxSettings, Settings
from windlass.core import bundle, messages, notes
from windlass.core.ci import GATE_CONTEXT
from windlass.core.job import Job, State
from windlass.core.records import plain
from windlass.core.redaction import variants
from windlass.localforge import CheckMode, CiRunner, LocalForge
from windlass.localforge.model import Issue
from windlass.wiring.parts import Windlass, build
from windlass.wiring.service import api_of, listening

REPOSITORY = "acme/answers"
LABEL = "AI-Ready"
BOT = "windlass-bot"
WEBHOOK_SECRET = "webhook-secret-of-the-town"
MEND = "echo 42 > answer.txt"
# An agent that begins, and goes on when the story lets it go.
WAIT = "until [ -e go ]; do sleep 0.02; done; rm go; "
# An agent that does what the issue says, line by line, as the most gullible one would.
OBEY = "sed -n 's/^do: //p' windsurf-instructions.txt > /tmp/do; sh -e /tmp/do"
FILES = {
    "README.md": "# answers\n\nThe answer is kept in `answer.txt`.\n",
    "answer.txt": "41\n",
    "tests/check.sh": 'got=$(cat answer.txt)\ntest "$got" = 42 && echo right || { echo "FAILED got $got"; exit 1; }\n',
}
POLICY: dict[str, Any] = {"test_command": "sh tests/check.sh", "limits": {"checks_quiet_s": 0}}
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a town is like. `agent` is the coder's shell command; `policy` is laid over `POLICY` (None: no file).

    `files` None makes an empty repository; `checks` are the forge's CI; `secret` is the forge token (None: by chance).
    """

    agent: str | AgentSettings = MEND
    agents: Mapping[str, str | AgentSettings] = field(default_factory=dict)
    files: Mapping[str, str] | None = field(default_factory=lambda: FILES)
    policy: Mapping[str, Any] | None = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=lambda: {"tests": "sh tests/check.sh"})
    required: tuple[str, ...] = ("tests",)
    modes: Mapping[str, CheckMode] = field(default_factory=dict)
    checks_on_default_branch: bool = False
    has_webhook: bool = True
    is_app: bool = False
    ci: CiRunner | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)
    sandbox: Mapping[str, Any] = field(default_factory=dict)
    agents_dir: Path | None = None
    slots: int = 4


@dataclass(kw_only=True)
class Town:
    """A running town. `windlass` changes with `restart`; everything else stays."""

    plan: Plan
    root: Path
    forge: LocalForge
    settings: Settings
    tokens: dict[str, str]
    windlass: Windlass
    api_url: str = ""
    bot: str = BOT
    most_pulls: int = 1
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    # ------------------------------------------------------------ people

    async def ask(self, title: str = "The answer is wrong", body: str | None = "It should be 42.") -> int:
        """Open an issue and label it, as somebody who may; its number."""
        number = self.forge.open_issue(REPOSITORY, "rita", title, body)
        self.forge.add_label(REPOSITORY, number, LABEL, "rita")
        return number

    async def say(self, person: str, method: str, path: str, **content: Any) -> httpx.Response:
        """One call to the forge's API as a person; `path` is below the repository."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {self.tokens[person]}"}
            url = f"{self.forge.api_url}/repos/{REPOSITORY}{path}"
            return await client.request(method, url, headers=headers, json=content or None)

    async def review(self, job: Job, by: str, event: str, body: str = "", sha: str = "") -> httpx.Response:
        """Give an opinion on a job's pull request."""
        given = {"event": event, "body": body, "commit_id": sha or job.head_sha}
        return await self.say(by, "POST", f"/pulls/{job.pull_number}/reviews", **given)

    async def approve(self, job: Job, by: str = "ada") -> None:
        """Approve a job's head; the forge takes it."""
        answer = await self.review(job, by, "APPROVE")
        assert answer.is_success, answer.text

    async def merge(self, job: Job, by: str = "ada") -> httpx.Response:
        """Merge a job's pull request."""
        return await self.say(by, "PUT", f"/pulls/{job.pull_number}/merge", merge_method="merge")

    async def approve_and_merge(self, job: Job, by: str = "ada") -> Job:
        """Approve, wait for the gate, merge, wait for the end."""
        await self.approve(job, by)
        await self.until_gate(str(job.head_sha), "success")
        answer = await self.merge(job, by)
        assert answer.is_success, answer.text
        return await self.until(job.issue.number, State.MERGED)

    async def call(self, method: str, path: str, **content: Any) -> httpx.Response:
        """One call to Windlass's own API."""
        token = (self.settings.state_dir / "api-token").read_text().strip()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {token}"}
            return await client.request(method, self.api_url + path, headers=headers, json=content or None)

    async def redeliver(self, times: int = 1, *events: str) -> None:
        """Have every webhook (of these events) that was ever sent delivered again, all at the same time."""
        hook = next(iter(self.forge.site.world.hooks))
        sent = [d.id for d in self.forge.deliveries() if not d.is_redelivery and d.event in (events or (d.event,))]
        sent *= times
        path = f"/hooks/{hook}/deliveries"
        answers = await asyncio.gather(*(self.say("root", "POST", f"{path}/{one}/attempts") for one in sent))
        assert all(answer.status_code == 202 for answer in answers), answers[0].text
        await self.quiet()

    # ------------------------------------------------------------ waiting

    async def until(
        self,
        number: int,
        *states: State,
        when: Callable[[Job], object] = lambda job: True,
        timeout_s: float = _PATIENCE_S,
        may_end: bool = False,
    ) -> Job:
        """The newest job on an issue, once it is in one of the states (any, when none is named) and `when` holds.

        A job that is over in another state is an error at once, unless `may_end` (a further job is expected).
        """
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            job = await asyncio.to_thread(self.windlass.store.latest_job, REPOSITORY, number)
            if job is not None and (not states or job.state in states) and when(job):
                return job
            is_hopeless = job is not None and job.is_terminal and states and job.state not in states
            assert may_end or not is_hopeless, self.tell(number)
            await asyncio.sleep(0.05)
        raise AssertionError(f"waited in vain for {states}:\n{self.tell(number)}")

    async def until_true(
        self, look: Callable[[], object], timeout_s: float = _PATIENCE_S, pause_s: float = 0.02
    ) -> None:
        """Until `look()` is true."""
        ends = time.monotonic() + timeout_s
        while not look():
            assert time.monotonic() < ends, "waited in vain"
            await asyncio.sleep(pause_s)

    async def until_gate(self, sha: str, state: str) -> None:
        """Until the approval gate of a commit is in a state."""
        await self.until_true(lambda: self.gate(sha) == state)

    async def quiet(self, timeout_s: float = _PATIENCE_S) -> None:
        """Until no webhook is on its way and no order that is due is open, but for agents at work."""
        await self.forge.idle(timeout_s)
        await self.until_true(lambda: not self._open_orders(), timeout_s, 0.15)

    async def looks_again(self, number: int) -> Job:
        """Until the pull request was looked at once more; for things that must not happen."""
        job = self.job(number)
        seen = self._looks(job)
        return await self.until(number, when=lambda now: now.is_terminal or self._looks(now) >= seen + 2)

    def _looks(self, job: Job) -> int:
        return sum(e.event.kind == "PullRequestObserved" for e in self.windlass.store.events(job.id))

    def _open_orders(self) -> list[str]:
        return [
            f"{job.id}:{stored.order.seq} {stored.order.effect.kind}"
            for job in self.jobs()
            for stored in self.windlass.store.effects(job.id)
            if stored.status == "ordered" and stored.order.delay_s < 1 and stored.order.effect.kind != "StartRun"
        ]

    # ------------------------------------------------------------ looking

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, newest first."""
        return self.windlass.store.jobs(limit=1000)

    def job(self, number: int) -> Job:
        """The newest job on an issue."""
        job = self.windlass.store.latest_job(REPOSITORY, number)
        assert job is not None, f"no job on #{number}"
        return job

    def issue(self, number: int) -> Issue:
        """An issue or pull request as the forge has it."""
        return self.forge.site.repository(REPOSITORY).issues[number]

    def pulls(self, branch: str) -> list[Issue]:
        """Every pull request that ever came from a branch."""
        issues = self.forge.site.repository(REPOSITORY).issues.values()
        return [issue for issue in issues if issue.pull is not None and issue.pull.head_ref == branch]

    def tip(self, branch: str) -> str | None:
        """Where a branch is."""
        return self.forge.refs(REPOSITORY).get(f"refs/heads/{branch}")

    def comments(self, number: int) -> list[str]:
        """The status comments on an issue."""
        repo = self.forge.site.repository(REPOSITORY)
        return [c.body for c in repo.comments.values() if c.issue_number == number and messages.MARKER in c.body]

    def gate(self, sha: str) -> str:
        """The approval gate's last word on a commit."""
        repo = self.forge.site.repository(REPOSITORY)
        words = [s.state for s in repo.statuses if s.sha == sha and s.context == GATE_CONTEXT]
        return words[-1] if words else ""

    def check_runs(self, name: str = "tests") -> int:
        """How often one check was run."""
        return sum(run.name == name for run in self.forge.site.repository(REPOSITORY).runs.values())

    def prompts(self, job: Job) -> list[str]:
        """What the agent was told, run by run."""
        return [self._blob(run.prompt_digest) for run in self.windlass.store.runs(job.id)]

    def outcomes(self, job: Job) -> list[str]:
        """How the agent's runs ended."""
        return [run.outcome for run in self.windlass.store.runs(job.id)]

    def content(self, job: Job, path: str) -> str:
        """A file at the job's head."""
        return self.git("show", f"{job.head_sha}:{path}")

    def git(self, *arguments: str) -> str:
        """What git says of the forge's repository."""
        import subprocess

        done = subprocess.run(
            ["git", "--git-dir", str(self.forge.git_path(REPOSITORY)), *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    async def at_work(self, number: int) -> Job:
        """The job on an issue, once its agent works."""
        return await self.until(number, State.RUNNING, when=lambda job: self.workspace(job).exists())

    def let_go(self, job: Job) -> None:
        """Let an agent that begins with `WAIT` go on."""
        (self.workspace(job) / "go").touch()

    def workspace(self, job: Job) -> Path:
        """Where the agent of a job works now."""
        return self.settings.state_dir / "workspaces" / str(job.run_id) / "workspace"

    def processes(self) -> list[str]:
        """Every process of ours that runs in or beside a sandbox."""
        marks = (f"WINDLASS_RUN={self.settings.instance}/".encode(), str(self.root).encode())
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                    if any(mark in text for mark in marks):
                        found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes()[:200]!r}")
        return found

    def tell(self, number: int) -> str:
        """The story of the newest job on an issue, for a failed assertion."""
        job = self.windlass.store.latest_job(REPOSITORY, number)
        if job is None:
            return f"no job on #{number}"
        lines = [f"{job.id} {job.state} {job.reason} {job.detail}"]
        for told in self.windlass.queries.why(job.id):
            lines.append(f"  {told.event}: {told.source} → {told.target}: {'; '.join(told.why)}")
        for order in self.windlass.store.effects(job.id):
            lines.append(f"  #{order.order.seq} {order.order.effect.kind} {order.status}")
        return "\n".join(lines)

    def _blob(self, digest: str) -> str:
        return self.windlass.outside.blobs.get(digest).decode("utf-8", "replace")

    # ------------------------------------------------------------ life

    async def start_engine(self, port: int = 0) -> None:
        """Build the engine from the settings, start it and its API, and have webhooks sent to it."""
        self.windlass = build(self.settings)
        self._stack = AsyncExitStack()
        self._stack.push_async_callback(self.windlass.stop)
        await self.windlass.start()
        self.api_url = await self._stack.enter_async_context(listening(api_of(self.windlass), "127.0.0.1", port))

    async def stop_engine(self) -> None:
        """As SIGTERM does: the API first, then a drain."""
        await self._stack.aclose()

    async def restart(self) -> None:
        """A new engine on the same state, at the same address."""
        await self.stop_engine()
        await self.start_engine(int(self.api_url.rsplit(":", 1)[1]))

    # ------------------------------------------------------------ audit

    async def audit(self) -> None:
        """What must hold at the end of every story."""
        await self.quiet()
        self._audit_forge()
        self._audit_silence()
        await asyncio.to_thread(self._audit_evidence)
        await self._audit_leftovers()

    def _audit_forge(self) -> None:
        for number in {job.issue.number for job in self.jobs()}:
            assert len(self.comments(number)) == 1, f"status comments on #{number}: {self.comments(number)}"
            newest = self.job(number)
            assert f"`{newest.id}`" in self.comments(number)[0], "the status comment speaks of another job"
            assert messages.status_comment(newest) == self.comments(number)[0]
            mine = [p for p in self.pulls(f"ai-{number}") if p.author == self.bot]
            assert len(mine) <= self.most_pulls, f"{len(mine)} pull requests for #{number}"
        branches = [ref for ref in self.forge.refs(REPOSITORY) if ref.startswith("refs/heads/ai-")]
        known = {f"refs/heads/{job.branch}" for job in self.jobs()}
        assert set(branches) <= known, f"branches without a job: {set(branches) - known}"

    def _audit_evidence(self) -> None:
        for job in self.jobs():
            for told in self.windlass.queries.why(job.id):
                assert told.is_replayed is not False, f"{told} does not replay:\n{self.tell(job.issue.number)}"
            path = self.root / f"{job.id}.tar"
            summary = self.windlass.ledger.export(job.id, path)
            pin = notes.parse_pin(summary.vkey)
            verdict = bundle.verify(bundle.decode(path.read_bytes()), pinned_key=pin, verify_signature=verify_ed25519)
            assert verdict.ok, f"{verdict.problems}\n{self.tell(job.issue.number)}"
            assert verdict.is_signer_pinned
            assert not summary.absent_blobs
            assert verdict.state == job.state.value
        report = self.windlass.ledger.verify()
        assert report.is_sound, report.problems

    def _audit_silence(self) -> None:
        """No credential of ours in what we wrote to people, to the ledger, to blobs, or to the history."""
        found = [where for where, text in self._written() if any(word in text for word in self.hidden())]
        assert not found, f"a credential stands in {found[:10]}"

    def hidden(self) -> list[str]:
        """Every form of every credential that Windlass holds."""
        secrets = self.windlass.outside.settings.secrets
        assert secrets
        return [form for secret in secrets for form in variants(secret)]

    def _written(self) -> list[tuple[str, str]]:
        store, repo = self.windlass.store, self.forge.site.repository(REPOSITORY)
        written = [(f"comment {c.id}", c.body) for c in repo.comments.values() if c.author == self.bot]
        written += [(f"#{i.number}", f"{i.title}\n{i.body}") for i in repo.issues.values() if i.author == self.bot]
        written += [(f"check run {run.name}", f"{run.summary}{run.text}") for run in self._own_check_runs()]
        written += [(f"record {r.kind}", r.body.decode()) for r in store.records()]
        for job in self.jobs():
            written += [(f"{job.id}", json.dumps(plain(job)))]
            written += [(f"event {e.event.kind}", json.dumps(plain(e.event))) for e in store.events(job.id)]
            written += [(f"order {e.order.effect.kind}", json.dumps(plain(e.order))) for e in store.effects(job.id)]
            written += [(f"run {run.id}", json.dumps(plain(run))) for run in store.runs(job.id)]
            if job.head_sha and self.tip(job.branch):
                written += [(f"commits of {job.branch}", self.git("log", "-3", "-p", job.head_sha, "--not", "main"))]
        for path in (self.settings.state_dir / "blobs").rglob("*"):
            if path.is_file():
                written.append((f"blob {path.name}", path.read_bytes().decode("utf-8", "replace")))
        return written

    def _own_check_runs(self) -> list[Any]:
        repo = self.forge.site.repository(REPOSITORY)
        return [run for run in repo.runs.values() if run.name == "windlass/report"]

    async def _audit_leftovers(self) -> None:
        state = self.settings.state_dir
        await self.until_true(lambda: not any(self._leftovers(state)), 10.0, 0.1)

    def _leftovers(self, state: Path) -> list[str]:
        left = [
            str(path)
            for name in ("workspaces", "runs", "containers", "gateway/runs", "egress")
            for path in (state / name).glob("*")
        ]
        return left + self.processes()


def policy_file(given: Mapping[str, Any]) -> str:
    """The policy file's text: `POLICY` with `given` over it, `limits` key by key."""
    limits = {**POLICY["limits"], **given.get("limits", {})}
    return yaml.safe_dump({**POLICY, **given, "limits": limits})


@contextlib.asynccontextmanager
async def town(root: Path, database_url: str = "", plan: Plan | None = None, **changes: Any) -> AsyncIterator[Town]:
    """A town while the block runs, audited when the story ends well. `changes` are those of `Plan`."""
    plan = replace(plan or Plan(), **changes)
    forge = LocalForge(root / "forge", ci=plan.ci)
    tokens = {BOT: forge.create_user(BOT, is_bot=True)}
    tokens |= {name: forge.create_user(name) for name in ("rita", "ada", "max", "root", "guest")}
    forge.create_repository(
        REPOSITORY,
        checks=plan.checks,
        required_checks=[*plan.required, GATE_CONTEXT],
        runs_checks_on_default_branch=plan.checks_on_default_branch,
    )
    for name, level in {BOT: "write", "rita": "write", "ada": "maintain", "max": "write", "root": "admin"}.items():
        forge.grant(REPOSITORY, name, level)
    forge.grant(REPOSITORY, "guest", "read")
    for name, mode in plan.modes.items():
        forge.set_check_mode(REPOSITORY, name, mode)
    await forge.start()
    bot, access = _identity(plan, forge, tokens, root)
    here = Town(
        plan=plan,
        root=root,
        forge=forge,
        settings=_settings(plan, root, database_url, access),
        tokens=tokens,
        windlass=None,  # type: ignore[arg-type]  # until the engine is started below
        bot=bot,
    )
    try:
        await _furnish(here)
        await here.start_engine()
        try:
            if plan.has_webhook:
                forge.set_webhook(REPOSITORY, f"{here.api_url}/webhooks/github", WEBHOOK_SECRET)
            yield here
            await here.audit()
        finally:
            await here.stop_engine()
    finally:
        await forge.stop()


def _identity(plan: Plan, forge: LocalForge, tokens: Mapping[str, str], root: Path) -> tuple[str, ForgeSettings]:
    common: dict[str, Any] = {"api_url": forge.api_url, "webhook_secret": WEBHOOK_SECRET, "timeout_s": 5}
    if not plan.is_app:
        return BOT, ForgeSettings(token=tokens[BOT], **common)
    app = forge.create_app("windlass", owner="acme")
    key = root / "app.pem"
    key.write_text(app.private_key_pem)
    return app.login, ForgeSettings(app_id=str(app.app_id), app_private_key_file=key, **common)


def _settings(plan: Plan, root: Path, database_url: str, access: ForgeSettings) -> Settings:
    # A replica that is too slow for its heartbeat ends its process, which on a busy machine would end the tests.
    engine = {"poll_interval_s": 0.05, "reconcile_period_s": 30, "drain_s": 3, "replica_ttl_s": 60}
    engine["agent_slots"] = plan.slots
    return Settings(
        state_dir=root / "state",
        database_url="" if database_url.startswith("sqlite") else database_url,
        instance=f"town-{os.getpid()}-{time.monotonic_ns() % 10**9}",
        forge=access,
        api=ApiSettings(port=0),
        engine=EngineSettings(**{**engine, "agent_slots_per_repository": plan.slots, **plan.engine}),
        sandbox=SandboxSettings(**plan.sandbox),
        agents={
            name: given if isinstance(given, AgentSettings) else AgentSettings(command=given)
            for name, given in {"coder": plan.agent, **plan.agents}.items()
        },
        agents_dir=plan.agents_dir,
        default_agent="coder",
    )


async def _furnish(here: Town) -> None:
    if here.plan.files is None:
        return
    files = dict(here.plan.files)
    if here.plan.policy is not None:
        files.setdefault(".github/windlass.yml", policy_file(here.plan.policy))
    await here.forge.commit(REPOSITORY, "main", {n: t.encode() for n, t in files.items()}, "Begin", "ada")
