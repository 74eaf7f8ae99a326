"""One machine, no account: a local forge and an engine beside it, and one job taken to its end between them.

The same engine, adapter and webhooks as against GitHub; only the other side of the wire is ours. The user's repository
is copied first, and only a finished branch goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import secrets as randomness
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from windlass.adapters.git import GitRepositories, fetch_branch_into, import_repository
from windlass.config import AgentSettings, ApiSettings, EngineSettings, ForgeSettings, SandboxSettings, Settings
from windlass.core.ci import GATE_CONTEXT, relevant
from windlass.core.errors import Failed, Refused, Unavailable
from windlass.core.job import Job, State
from windlass.core.policy import Policy
from windlass.engine.intake import POLICY_PATH, parse_policy
from windlass.engine.ledger import ExportSummary
from windlass.faces.cli import exits
from windlass.faces.cli.options import OnChange, RunOptions, RunSummary
from windlass.localforge import CiResult, LocalForge
from windlass.ports import Deadlines, GitCredential, RunSpec
from windlass.wiring.agents import with_environment
from windlass.wiring.parts import Windlass, build
from windlass.wiring.preflight import free_number, insist_on_mounts
from windlass.wiring.preview import detected_tests, split_issue
from windlass.wiring.runners import runner_of
from windlass.wiring.service import api_of, listening

BOT = "windlass-bot"
REQUESTER = "requester"
LABEL = "AI-Ready"
_EVENTS = (
    "issues",
    "pull_request",
    "pull_request_review",
    "issue_comment",
    "check_suite",
    "check_run",
    "status",
    "push",
)
_RESTING = frozenset({State.REVIEWING, State.ESCALATED})


@dataclass(kw_only=True)
class LocalSession:
    """A local forge, an engine and what is needed to play the people."""

    windlass: Windlass
    forge: LocalForge
    base_url: str
    repository: str
    workdir: Path
    tokens: Mapping[str, str]
    changes: asyncio.Queue[Job]
    stages: dict[str, float]

    async def ask(self, title: str, body: str) -> int:
        """Open an issue and put the label on, as a person would; its number."""
        number = self.forge.open_issue(self.repository, REQUESTER, title, body)
        self.forge.add_label(self.repository, number, LABEL, REQUESTER)
        self.stages["labelled"] = time.monotonic()
        return number

    async def rest(self, number: int, timeout_s: float, *, until: frozenset[State] = _RESTING) -> Job:
        """The job on an issue once a person is needed or it is over. Raises Unavailable after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    job = await self.changes.get()
                    if job.issue.number != number:
                        continue
                    self.stages.setdefault(job.state.value, time.monotonic())
                    if job.pull_number is not None:
                        self.stages.setdefault("pull_request", time.monotonic())
                    if job.is_terminal or job.state in until:
                        return job
        except TimeoutError:
            hint = f"give more with --timeout; the state is in {self.workdir}"
            raise Unavailable(f"nothing was ready after {timeout_s:.0f} s", hint=hint) from None

    async def approve_and_merge(self, job: Job, name: str, timeout_s: float) -> Job:
        """Approve the head and merge it, as `name`, through the forge's own API; the job when it is over."""
        async with httpx.AsyncClient(
            base_url=f"{self.base_url}/api/v3/repos/{self.repository}",
            headers={"Authorization": f"Bearer {self.tokens[name]}"},
            timeout=30,
            trust_env=False,
        ) as person:
            review = {"event": "APPROVE", "commit_id": job.head_sha, "body": "Looks right."}
            await _insist(await person.post(f"/pulls/{job.pull_number}/reviews", json=review), "approve")
            await self._gate(person, job, timeout_s)
            merge = {"sha": job.head_sha, "merge_method": "merge"}
            await _insist(await person.put(f"/pulls/{job.pull_number}/merge", json=merge), "merge")
        return await self.rest(job.issue.number, timeout_s, until=frozenset())

    async def _gate(self, person: httpx.AsyncClient, job: Job, timeout_s: float) -> None:
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            answer = await person.get(f"/commits/{job.head_sha}/status")
            statuses = answer.json().get("statuses", []) if answer.is_success else []
            if any(s["context"] == GATE_CONTEXT and s["state"] == "success" for s in statuses):
                return
            await asyncio.sleep(0.05)
        raise Unavailable("the approval gate did not turn green", hint="see `windlass why`")


async def _insist(answer: httpx.Response, what: str) -> None:
    if not answer.is_success:
        raise Failed(f"the local forge refuses to {what}: {answer.json().get('message', answer.status_code)}")


class SandboxedCi:
    """The local forge's CI: the repository's own test command in the same sandbox as every other hostile code."""

    def __init__(self, root: Path, options: RunOptions) -> None:
        self._runner = runner_of(_sandbox(options), root, instance=f"ci-{randomness.token_hex(4)}")
        self._reads = tuple(path.absolute() for path in options.mounts)

    async def run(self, run_id: str, workspace: Path, command: str) -> CiResult:
        """Run a check's command."""
        name = f"ci-{re.sub(r'[^A-Za-z0-9._-]', '-', run_id)}-{randomness.token_hex(4)}"
        limits = Deadlines(start_s=1800, idle_s=1800, total_s=1800)
        spec = RunSpec(
            id=name,
            argv=("sh", "-c", command),
            workdir=workspace,
            deadlines=limits,
            reads=self._reads,
        )
        try:
            await self._runner.start(spec)
            result = await self._runner.wait(name)
            output = await asyncio.to_thread(result.output.read_bytes)
        finally:
            await self._runner.discard(name)
        code = 124 if result.exit_code is None else result.exit_code
        text = output[-200_000:].decode("utf-8", "replace")
        return CiResult(exit_code=code, output=text, duration_s=result.duration_s)

    async def close(self) -> None:
        """Let go of what is open."""
        await self._runner.close()


@contextlib.asynccontextmanager
async def session(options: RunOptions, workdir: Path, on_change: OnChange) -> AsyncIterator[LocalSession]:
    """Everything up and joined while the block runs. Raises Refused for input that cannot be worked with."""
    name = _repository_name(options.repo)
    source = workdir / "import.git"
    insist_on_mounts(options)
    base = await import_repository(options.repo, source, base=options.base)
    ci = SandboxedCi(workdir / "ci-runs", options)
    forge = LocalForge(workdir / "forge", ci=ci)
    tokens = _people(forge, options)
    base_url = await forge.start()
    try:
        async with _engine(options, workdir, base_url, tokens, on_change) as (windlass, changes):
            await windlass.start()
            command = await _test_command(options, workdir, source, base)
            checks = {"tests": command} if command else {"no-tests": "echo 'no test command was found'"}
            _make_repository(forge, name, source, base, checks, options)
            api = api_of(windlass)
            async with listening(api, "127.0.0.1", windlass.settings.api.port) as api_url:
                secret = windlass.settings.forge.webhook_secret
                assert secret is not None
                forge.set_webhook(name, f"{api_url}/webhooks/github", secret.get_secret_value(), _EVENTS)
                yield LocalSession(
                    windlass=windlass,
                    forge=forge,
                    base_url=base_url,
                    repository=name,
                    workdir=workdir,
                    tokens=tokens,
                    changes=changes,
                    stages={"begin": time.monotonic()},
                )
    finally:
        await forge.stop()
        await ci.close()


@contextlib.asynccontextmanager
async def _engine(
    options: RunOptions,
    workdir: Path,
    base_url: str,
    tokens: Mapping[str, str],
    on_change: OnChange,
) -> AsyncIterator[tuple[Windlass, asyncio.Queue[Job]]]:
    changes: asyncio.Queue[Job] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(job: Job, why: Sequence[str]) -> None:
        on_change(job, why)
        loop.call_soon_threadsafe(changes.put_nowait, job)

    windlass = build(_settings(options, workdir, base_url, tokens[BOT]), on_change=tell)
    try:
        yield windlass, changes
    finally:
        await windlass.stop()


def _settings(options: RunOptions, workdir: Path, base_url: str, token: str) -> Settings:
    name = "command" if options.agent_command else options.agent
    settings = Settings(
        state_dir=workdir / "state",
        instance=f"local-{randomness.token_hex(4)}",
        forge=ForgeSettings(api_url=f"{base_url}/api/v3", token=token, webhook_secret=randomness.token_urlsafe(24)),
        api=ApiSettings(port=_free_port(), public_url=base_url),
        engine=EngineSettings(poll_interval_s=0.05, reconcile_period_s=15, drain_s=3),
        sandbox=_sandbox(options),
        agents={"command": AgentSettings(command=options.agent_command)} if options.agent_command else {},
        agents_dir=options.agents_dir,
        default_agent=options.agent or ("command" if options.agent_command else "patch"),
        test_command=options.test_command,
    )
    variables, needs_network = options.agent_environment, options.agent_network
    return with_environment(settings, name, variables, model=options.model, needs_network=needs_network)


def _sandbox(options: RunOptions) -> SandboxSettings:
    reads = tuple(path.absolute() for path in options.mounts)
    return SandboxSettings(reads=reads, runner="container" if options.image else "process", image=options.image)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _people(forge: LocalForge, options: RunOptions) -> dict[str, str]:
    tokens = {BOT: forge.create_user(BOT, is_bot=True), REQUESTER: forge.create_user(REQUESTER)}
    approver = options.approve_as or "reviewer"
    if approver in tokens or not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?", approver):
        raise Refused(
            f"{approver!r} cannot approve", code="bad_option", hint="give a login that did not ask for the work"
        )
    tokens[approver] = forge.create_user(approver)
    return tokens


def _make_repository(
    forge: LocalForge, name: str, source: Path, base: str, checks: Mapping[str, str], options: RunOptions
) -> None:
    forge.create_repository(
        name, source=source, default_branch=base, checks=checks, required_checks=[*checks, GATE_CONTEXT]
    )
    forge.number_from(name, free_number(forge.refs(name)))
    forge.grant(name, BOT, "write")
    forge.grant(name, REQUESTER, "write")
    forge.grant(name, options.approve_as or "reviewer", "maintain")


def _repository_name(repo: Path) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", repo.absolute().name.removesuffix(".git")).strip("-.")
    return f"local/{plain[:80] or 'repository'}"


async def _test_command(options: RunOptions, workdir: Path, source: Path, base: str) -> str:
    """What the local CI runs: the option, the policy's, or what the repository's files show."""
    if options.test_command:
        return options.test_command
    repositories = GitRepositories(workdir / "import", allow_file=True)
    seen = "local/import"
    credential = GitCredential(url=source.as_uri())
    sha = (await repositories.fetch(seen, credential, [base]))[base]
    policy_file = await repositories.read_file(seen, sha, POLICY_PATH)
    policy = parse_policy(policy_file, Policy()) if policy_file is not None else Policy()
    if policy.test_command:
        return policy.test_command
    return await detected_tests(repositories, seen, sha)


async def run(options: RunOptions, on_change: OnChange) -> RunSummary:
    """`windlass run`."""
    title, body = split_issue(options.issue_text, options.title)
    if not options.repo.exists():
        raise Refused(f"{options.repo} does not exist", code="bad_repository", hint="give a git repository")
    workdir = _workdir(options.workdir)
    began = time.monotonic()
    async with session(options, workdir, on_change) as local:
        number = await local.ask(title, body)
        job = await local.rest(number, options.timeout_s)
        if options.approve_as and job.state is State.REVIEWING:
            job = await local.approve_and_merge(job, options.approve_as, options.timeout_s)
        branch = await _bring_home(options, local, job)
        evidence = await asyncio.to_thread(_export, local, job)
        document = await _document(local, job, evidence, branch, began)
    return RunSummary(exit_code=exits.of_job(job), document=document, workdir=workdir, notice=_notice(local.windlass))


def _workdir(given: Path | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="windlass-"))
    workdir = given.expanduser().absolute()
    if workdir.exists() and any(workdir.iterdir()):
        raise Refused(f"{workdir} is not empty", code="bad_option", hint="give a new directory for each run")
    workdir.mkdir(parents=True, exist_ok=True)
    return workdir


async def _bring_home(options: RunOptions, local: LocalSession, job: Job) -> str:
    """The finished branch into the user's repository; what prevents it is said, the work stays in the workdir."""
    if job.state not in {State.REVIEWING, State.MERGED}:
        return job.branch
    bare = local.forge.git_path(local.repository)
    await fetch_branch_into(options.repo, bare, job.branch)
    return job.branch


def _export(local: LocalSession, job: Job) -> ExportSummary:
    path = local.workdir / f"{job.id}.evidence.tar"
    return local.windlass.ledger.export(job.id, path)


async def _document(
    local: LocalSession, job: Job, evidence: ExportSummary, branch: str, began: float
) -> dict[str, Any]:
    pull = None
    checks: list[dict[str, str]] = []
    if job.pull_number is not None:
        forge = local.windlass.forge
        info = await forge.find_pull(local.repository, job.branch)
        snapshot = await forge.pull_snapshot(local.repository, job.pull_number)
        checks = [{"name": c.name, "conclusion": c.conclusion or c.status} for c in relevant(snapshot.checks)]
        pull = {
            "number": job.pull_number,
            "title": info.title if info else "",
            "labels": sorted(info.labels) if info else [],
            "url": job.pull_url,
        }
    found = job.verification
    return {
        "job": job.id,
        "state": job.state.value,
        "reason": job.reason.value if job.reason else None,
        "detail": job.detail,
        "branch": branch,
        "base_sha": job.base_sha,
        "head_sha": job.head_sha,
        "pull_request": pull,
        "ci": checks,
        "verification": {
            "command": found.command if found else "",
            "base": found.base.status if found else None,
            "head": found.head.status if found else None,
            "red_to_green": found.red_to_green if found else False,
            "weakened_tests": [dataclasses.asdict(w) for w in found.weakened_tests] if found else [],
        },
        "evidence": {
            "bundle": str(evidence.path),
            "records": evidence.records,
            "root": evidence.root,
            "key": evidence.vkey,
        },
        "timings_s": _timings(local, began),
    }


def _timings(local: LocalSession, began: float) -> dict[str, float]:
    labelled = local.stages.get("labelled", began)
    found = {name: round(at - labelled, 3) for name, at in local.stages.items() if name not in {"begin", "labelled"}}
    return {"set_up": round(labelled - began, 3), **found, "total": round(time.monotonic() - began, 3)}


def _notice(windlass: Windlass) -> str:
    isolation = windlass.outside.runner.isolation()
    return isolation if isolation.startswith("NO SANDBOX") else ""
