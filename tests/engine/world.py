"""A forge, repositories and a runner that behave but live in memory, around a real store, for the engine's tests.

`FakeForge.trouble` makes the next calls of a method fail; `FakeForge.meanwhile` does something during a call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from windlass.adapters.blobs import DirectoryBlobs
from windlass.adapters.prompts import JinjaPrompts
from windlass.core.errors import Conflict, NotFound
from windlass.core.events import Check, IssueLabelled, PullSnapshot
from windlass.core.job import IssueSnapshot, Job
from windlass.core.policy import Limits, Policy
from windlass.engine.intake import Intake
from windlass.engine.loop import Door
from windlass.engine.stages.context import Outside, StageSettings
from windlass.ports import GitCredential, IssueInfo, Labelling, PullInfo, RepositoryInfo, Store
from windlass.wiring.parts import TEMPLATES

REPO = "acme/shop"
BASE = "b" * 40
POLICY = Policy(limits=Limits(checks_quiet_s=0))


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.now


class FakeForge:
    """One forge. `calls` are (method, arguments) in order."""

    def __init__(self) -> None:
        self.full_names = {REPO.lower(): REPO}
        self.issues: dict[int, IssueInfo] = {}
        self.labels: dict[int, Labelling] = {}
        self.permissions: dict[str, str] = {"rita": "write", "ada": "admin"}
        self.files: dict[str, bytes] = {}
        self.refs: dict[str, str] = {"main": BASE}
        self.pulls: dict[int, PullInfo] = {}
        self.snapshots: dict[int, PullSnapshot] = {}
        self.comments: dict[tuple[int, str], str] = {}
        self.statuses: list[tuple[str, str, str]] = []
        self.undelivered: list[str] = []
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.trouble: dict[str, list[Exception]] = defaultdict(list)
        self.meanwhile: dict[str, Callable[[], object]] = {}

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)

    async def _called(self, method: str, *arguments: Any) -> None:
        self.calls.append((method, arguments))
        await asyncio.sleep(0)
        if self.trouble[method]:
            raise self.trouble[method].pop(0)

    async def _finished(self, method: str) -> None:
        act = self.meanwhile.pop(method, None)
        if act is not None:
            await asyncio.to_thread(act)

    # ------------------------------------------------------------ reading

    async def identity(self) -> str:
        return "windlass-bot"

    async def repositories(self) -> tuple[str, ...]:
        await self._called("repositories")
        return tuple(self.full_names.values())

    async def repository(self, repo: str) -> RepositoryInfo:
        await self._called("repository", repo)
        if repo.lower() not in self.full_names:
            raise NotFound(f"no repository {repo}")
        name = self.full_names[repo.lower()]
        number = sorted(self.full_names).index(repo.lower()) + 1
        return RepositoryInfo(id=number, full_name=name, default_branch="main", clone_url="x")

    async def issue(self, repo: str, number: int) -> IssueInfo:
        await self._called("issue", repo, number)
        if number not in self.issues:
            raise NotFound(f"no issue {number}")
        return self.issues[number]

    async def labelled_issues(self, repo: str, label: str) -> tuple[int, ...]:
        await self._called("labelled_issues", repo, label)
        return tuple(n for n, i in self.issues.items() if label in i.snapshot.labels and i.state == "open")

    async def labelling(self, repo: str, number: int, label: str) -> Labelling | None:
        await self._called("labelling", repo, number)
        return self.labels.get(number)

    async def permission(self, repo: str, login: str) -> str:
        await self._called("permission", repo, login)
        return self.permissions.get(login, "none")

    async def file(self, repo: str, path: str, ref: str) -> bytes | None:
        await self._called("file", repo, path)
        return self.files.get(path)

    async def ref(self, repo: str, branch: str) -> str | None:
        await self._called("ref", repo, branch)
        return self.refs.get(branch)

    async def find_pull(self, repo: str, branch: str) -> PullInfo | None:
        await self._called("find_pull", repo, branch)
        found = [p for p in self.pulls.values() if p.head_ref == branch]
        return next((p for p in found if p.state == "open"), found[-1] if found else None)

    async def pull_snapshot(self, repo: str, number: int) -> PullSnapshot:
        await self._called("pull_snapshot", repo, number)
        return self.snapshots[number]

    async def check_log(self, repo: str, check: Check) -> str:
        return "log"

    async def credential(self, repo: str, *, write: bool) -> GitCredential:
        await self._called("credential", repo, write)
        return GitCredential(url="x")

    async def failed_deliveries(self, since_ms: int) -> tuple[str, ...]:
        await self._called("failed_deliveries", since_ms)
        return tuple(self.undelivered)

    # ------------------------------------------------------------ writing

    async def create_ref(self, repo: str, branch: str, sha: str) -> None:
        await self._called("create_ref", repo, branch)
        if branch in self.refs:
            raise Conflict("it exists")
        self.refs[branch] = sha
        await self._finished("create_ref")

    async def delete_ref(self, repo: str, branch: str) -> None:
        await self._called("delete_ref", repo, branch)
        self.refs.pop(branch, None)

    async def create_pull(self, repo: str, *, head: str, base: str, title: str, body: str) -> PullInfo:
        await self._called("create_pull", repo, head)
        if any(p.head_ref == head and p.state == "open" for p in self.pulls.values()):
            raise Conflict("a pull request exists")
        number = 100 + len(self.pulls)
        self.pulls[number] = PullInfo(
            number=number,
            url=f"https://forge/{number}",
            state="open",
            is_merged=False,
            head_sha=self.refs.get(head, ""),
            head_ref=head,
            base_ref=base,
            title=title,
            body=body,
            author="windlass-bot",
        )
        await self._finished("create_pull")
        return self.pulls[number]

    async def update_pull(
        self, repo: str, number: int, *, title: str | None = None, body: str | None = None, state: str | None = None
    ) -> None:
        await self._called("update_pull", repo, number, state)
        given = {"title": title, "body": body, "state": state}
        changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        self.pulls[number] = dataclasses.replace(self.pulls[number], **changes)

    async def add_labels(self, repo: str, number: int, labels: Sequence[str]) -> None:
        await self._called("add_labels", repo, number)
        self.pulls[number] = dataclasses.replace(self.pulls[number], labels=tuple(labels))

    async def upsert_comment(self, repo: str, number: int, *, marker: str, body: str) -> int:
        await self._called("upsert_comment", repo, number)
        self.comments[number, marker] = body
        await self._finished("upsert_comment")
        return 1

    async def set_status(
        self, repo: str, sha: str, *, context: str, state: str, description: str, target_url: str = ""
    ) -> None:
        await self._called("set_status", repo, sha)
        self.statuses.append((sha, context, state))

    async def upsert_check_run(
        self, repo: str, sha: str, *, name: str, external_id: str, summary: str, text: str
    ) -> bool:
        await self._called("upsert_check_run", repo, sha, text)
        return True

    async def rerun_check(self, repo: str, check_id: int) -> None:
        await self._called("rerun_check", repo, check_id)

    async def redeliver(self, delivery_id: str) -> None:
        await self._called("redeliver", delivery_id)

    async def close(self) -> None:
        return None


class FakeRepositories:
    """Branches are the forge's; trees and commits are names made from what goes into them."""

    def __init__(self, forge: FakeForge) -> None:
        self.forge = forge
        self.after_push: Callable[[], object] | None = None

    async def fetch(self, repo: str, credential: GitCredential, branches: Sequence[str]) -> Mapping[str, str]:
        return {name: self.forge.refs[name] for name in branches if name in self.forge.refs}

    async def is_ancestor(self, repo: str, ancestor: str, descendant: str) -> bool:
        return ancestor == descendant

    async def restore(self, repo: str, patch: Any, diff: bytes) -> str:
        return str(patch.tree_sha)

    async def commit(self, repo: str, *, tree_sha: str, parent_sha: str, **_more: Any) -> str:
        return "c" * 40

    async def push(self, repo: str, credential: GitCredential, *, sha: str, branch: str, expected_sha: str) -> None:
        if self.forge.refs.get(branch) not in {expected_sha, sha}:
            raise Conflict("elsewhere")
        self.forge.refs[branch] = sha
        if self.after_push is not None:
            await asyncio.to_thread(self.after_push)


class FakeRunner:
    """Knows the names of runs, nothing else."""

    def __init__(self) -> None:
        self.runs: set[str] = set()
        self.stopped: list[str] = []

    async def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)

    async def discard(self, run_id: str) -> None:
        self.runs.discard(run_id)

    async def reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        gone = tuple(sorted(run for run in self.runs if not is_wanted(run)))
        self.runs -= set(gone)
        return gone


class FakeNotifier:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def notify(self, subject: str, text: str) -> None:
        self.sent.append((subject, text))


class World:
    """Everything the engine needs around one store."""

    def __init__(self, store: Store, home: Path, *, translate: Any = None, secrets: tuple[str, ...] = ()) -> None:
        self.store = store
        self.clock = FakeClock()
        self.forge = FakeForge()
        self.repositories = FakeRepositories(self.forge)
        self.runner = FakeRunner()
        self.notifier = FakeNotifier()
        self.blobs = DirectoryBlobs(home / "blobs")
        self.told: list[tuple[str, str]] = []
        ids = itertools.count(1)
        self.door = Door(
            store,
            self.clock,
            new_id=lambda: f"job{next(ids)}wxyz",
            on_change=lambda job, _why: self.told.append((job.id, job.state.value)),
        )
        self.intake = Intake(
            store, self.forge, self.door, self.clock, translate=translate or (lambda *_: ()), default_policy=POLICY
        )
        (home / "workspaces").mkdir()
        self.workspaces = home / "workspaces"
        self.outside = Outside(
            store=store,
            forge=self.forge,
            repositories=self.repositories,  # type: ignore[arg-type]
            runner=self.runner,  # type: ignore[arg-type]
            agents={},
            blobs=self.blobs,
            prompts=JinjaPrompts(self.repositories, TEMPLATES),  # type: ignore[arg-type]
            notifier=self.notifier,
            clock=self.clock,
            settings=StageSettings(workspaces=self.workspaces, secrets=secrets),
        )

    def file_issue(self, number: int = 7, *, by: str = "rita", label: str = "AI-Ready", state: str = "open") -> None:
        snapshot = IssueSnapshot(number=number, title="Crash", body="It fails.", author="olga", labels=(label,))
        self.forge.issues[number] = IssueInfo(snapshot=snapshot, state=state)
        self.forge.labels[number] = Labelling(id=f"label{number}", by=by, by_is_bot=False, at_ms=1)

    def ask(self, number: int = 7, **changes: Any) -> Job:
        """Open a job through the door."""
        event = asked(number, **changes)
        job = self.door.request(event, POLICY).job
        assert job is not None
        return job

    def now(self, job: Job) -> Job:
        found = self.store.job(job.id)
        assert found is not None
        return found


def asked(number: int = 7, **changes: Any) -> IssueLabelled:
    issue = IssueSnapshot(number=number, title="Crash", body="It fails.", author="olga", labels=("AI-Ready",))
    event = IssueLabelled(
        repository=REPO, issue=issue, requested_by="rita", may_request=True, epoch=f"e{number}", base_ref="main"
    )
    return dataclasses.replace(event, **changes)
