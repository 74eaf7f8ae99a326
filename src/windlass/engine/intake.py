"""How requests and hints come in: raw deliveries are stored first, then translated, re-read, and made events.

A delivery is answered when it is on disk and counts as processed when its events are; between the two any crash only
means that it is processed again, which changes nothing. What a webhook claims is never believed: who put the label
on, and whether they may, is read from the forge.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import yaml

from windlass.core import policy as policies
from windlass.core.errors import NotFound, Refused, Unavailable, WindlassError
from windlass.core.events import IssueLabelled, IssueWithdrawn, PullRequestTouched, StopRequested
from windlass.core.hints import Hint, Ignored, IssueHint, PullHint, RepositoryHint
from windlass.core.job import IssueSnapshot, Job, State, TaskType
from windlass.core.policy import Policy
from windlass.core.redaction import mask
from windlass.engine.loop import Door, Handled
from windlass.ports import Clock, Delivery, Forge, RepositoryInfo, Store

log = logging.getLogger("windlass.intake")

POLICY_PATH = ".github/windlass.yml"
_LEASE_MS = 120_000
_LARGEST_POLICY = 64 * 1024
_DEEPEST_POLICY = 8
_ISSUE_ACTIONS = frozenset({"opened", "labeled", "unlabeled", "closed", "reopened", "deleted", "transferred"})

Translate = Callable[[str, bytes], Sequence[Hint]]
_Waiting = tuple[Delivery, asyncio.Future[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What `start-job` asks for. `idempotency_key` makes a repeated call the same call."""

    repository: str
    issue: int
    requested_by: str
    idempotency_key: str
    agent: str = ""
    task_type: TaskType | None = None


class Intake:
    """Everything that may become an event."""

    def __init__(
        self,
        store: Store,
        forge: Forge,
        door: Door,
        clock: Clock,
        *,
        translate: Translate,
        default_policy: Policy,
        secrets: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._forge = forge
        self._door = door
        self._clock = clock
        self._translate = translate
        self._default_policy = default_policy
        self._secrets = tuple(secrets)
        self._waiting: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        self.arrived = asyncio.Event()

    # ------------------------------------------------------------ deliveries

    async def receive(self, delivery: Delivery) -> bool:
        """Store one raw delivery; False when it was known. Returns only when it is on disk.

        Calls that come in while a commit is under way share the next one.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, future))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="deliveries-commit")
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._commit(batch)
            except Refused as error:
                if len(batch) == 1:
                    _tell_all(batch, error)
                for one in batch if len(batch) > 1 else ():
                    await self._commit_alone(one)  # one that cannot be stored must not take the others with it
            except Exception as error:  # noqa: BLE001 whatever it was, nobody may wait for ever
                _tell_all(batch, error)

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        fresh = await asyncio.to_thread(self._store.put_deliveries, [delivery for delivery, _ in batch])
        for (_, future), is_new in zip(batch, fresh, strict=True):
            if not future.done():
                future.set_result(is_new)
        self.arrived.set()

    async def _commit_alone(self, one: _Waiting) -> None:
        try:
            await self._commit([one])
        except Exception as error:  # noqa: BLE001 see above
            _tell_all([one], error)

    async def process_some(self, owner: str, limit: int = 20) -> int:
        """Process stored deliveries; how many there were."""
        now_ms = self._clock.now_ms()
        batch = await asyncio.to_thread(self._store.claim_deliveries, owner, limit, _LEASE_MS, now_ms)
        await asyncio.gather(*(self._process(delivery) for delivery in batch))
        return len(batch)

    async def _process(self, delivery: Delivery) -> None:
        try:
            outcome = await self._consider(delivery)
        except Refused as error:
            outcome = f"refused: {error}"
        except Exception as error:  # noqa: BLE001 whatever it was, the delivery must not be lost
            await self._give_back(delivery, error)
            return
        await asyncio.to_thread(self._mark, delivery.id, outcome[:500])

    def _mark(self, delivery_id: str, outcome: str) -> None:
        with self._store.transaction() as tx:
            tx.mark_delivery(delivery_id, at_ms=self._clock.now_ms(), outcome=outcome)

    async def _give_back(self, delivery: Delivery, error: Exception) -> None:
        wait_ms = min(300_000, 500 * 2 ** min(delivery.attempts, 10))
        if isinstance(error, Unavailable) and error.retry_after_s:
            wait_ms = max(wait_ms, int(error.retry_after_s * 1000))
        if not isinstance(error, WindlassError):
            log.exception("a delivery could not be processed; it stays", extra={"delivery": delivery.id})
        await asyncio.to_thread(
            self._store.release_delivery,
            delivery.id,
            retry_at_ms=self._clock.now_ms() + wait_ms,
            error=f"{type(error).__name__}: {error}"[:500],
        )

    async def _consider(self, delivery: Delivery) -> str:
        outcomes = []
        for number, hint in enumerate(self._translate(delivery.event, delivery.body)):
            outcomes.append(await self._take(hint, f"{delivery.id}:{number}"))
        return "; ".join(outcomes) or "nothing to do"

    async def _take(self, hint: Hint, key: str) -> str:
        match hint:
            case IssueHint():
                if hint.action not in _ISSUE_ACTIONS:
                    return f"issue {hint.action}: nothing to do"
                return await self.look_at_issue(hint.repository, hint.number, key=key)
            case PullHint():
                return await self._touch(hint, key)
            case RepositoryHint():
                await self.learn_repository(hint.repository)
                return hint.what
            case Ignored():
                return f"ignored: {hint.why}"

    async def _touch(self, hint: PullHint, key: str) -> str:
        found = await asyncio.to_thread(
            lambda: self._store.find_jobs(hint.repository, branch=hint.branch, sha=hint.sha, pull_number=hint.number)
        )
        for job_id in found:
            event = PullRequestTouched(what=hint.what)
            await asyncio.to_thread(self._door.handle, event, job_id=job_id, dedup=f"{key}:{job_id}")
        return f"{hint.what}: {len(found)} job(s)"

    # ------------------------------------------------------------ requests

    async def look_at_issue(self, repository: str, number: int, *, key: str) -> str:
        """Read an issue and its label as they are now, and open or withdraw its job. `key` dedups a withdrawal."""
        active = await asyncio.to_thread(self._active, repository, number)
        policy, problem = await self._rules(repository, active)
        label = active.policy.label if active else policy.label
        try:
            info = await self._forge.issue(repository, number)
            labelling = None
            if not info.is_pull_request and info.state == "open" and label in info.snapshot.labels:
                labelling = await self._forge.labelling(repository, number, label)
        except NotFound:
            return await self._withdraw(active, "deleted", key)
        if info.is_pull_request:
            return "a pull request, not an issue"
        if labelling is None:
            return await self._withdraw(active, "closed" if info.state != "open" else "unlabelled", key)
        permission, there = await asyncio.gather(
            self._forge.permission(repository, labelling.by), self._forge.repository(repository)
        )
        handled = await self._open(
            IssueLabelled(
                repository=repository,
                issue=self._masked(info.snapshot),
                requested_by=labelling.by,
                may_request=permission in policy.requesters and not labelling.by_is_bot,
                epoch=labelling.id,
                base_ref=policy.base or there.default_branch,
                problem=problem,
            ),
            policy,
            there,
        )
        return _words(handled)

    async def _rules(self, repository: str, active: Job | None) -> tuple[Policy, str]:
        """What to decide by, and what is wrong with the policy file (then the defaults), or ''.

        A job under way keeps the rules it began with; a file that is broken since must not hold a stop up.
        """
        if active is not None and active.state is not State.ESCALATED:
            return active.policy, ""
        try:
            return await self.policy(repository), ""
        except Refused as error:
            if error.code != "bad_policy":
                raise
            return self._default_policy, str(error)

    def _masked(self, issue: IssueSnapshot) -> IssueSnapshot:
        """The request without credentials of ours: from here on its text is in prompts, records and commits."""
        title, body = (mask(text, self._secrets) for text in (issue.title, issue.body))
        return dataclasses.replace(issue, title=title, body=body)

    async def start(self, request: StartRequest) -> Handled:
        """Open a job on request; the same request again gives the same job. Raises NotFound, Refused, Unavailable."""
        # The forge's own spelling of the name: Acme/Shop and acme/shop are one repository with one job per issue.
        there = await self._forge.repository(request.repository)
        repository = there.full_name
        policy = await self.policy(repository)
        info = await self._forge.issue(repository, request.issue)
        if info.is_pull_request or info.state != "open":
            what = "a pull request" if info.is_pull_request else "closed"
            raise Refused(f"#{request.issue} is {what}", code="bad_issue", hint="name an open issue")
        event = IssueLabelled(
            repository=repository,
            issue=self._masked(info.snapshot),
            requested_by=request.requested_by,
            may_request=True,
            epoch=f"start:{request.idempotency_key}",
            base_ref=policy.base or there.default_branch,
            source="start-job",
            task_type=request.task_type,
            agent=request.agent,
        )
        handled = await self._open(event, policy, there)
        if handled.is_new or handled.job is not None:
            return handled
        latest = await asyncio.to_thread(self._store.latest_job, repository, request.issue)
        return dataclasses.replace(handled, job=latest if latest and latest.epoch == event.epoch else None)

    async def stop(self, job_id: str, *, by: str, why: str, key: str) -> Handled:
        """Stop a job. Raises NotFound."""
        if await asyncio.to_thread(self._store.job, job_id) is None:
            raise NotFound(f"there is no job {job_id}", hint="`windlass status` lists the jobs")
        event = StopRequested(by=by, why=why)
        return await asyncio.to_thread(self._door.handle, event, job_id=job_id, dedup=f"stop:{job_id}:{key}")

    async def policy(self, repository: str) -> Policy:
        """The repository's own rules from its default branch. Raises Refused (bad_policy)."""
        info = await self._forge.repository(repository)
        try:
            data = await self._forge.file(repository, POLICY_PATH, info.default_branch)
        except NotFound:
            data = None
        if data is None:
            return self._default_policy
        return parse_policy(data, self._default_policy)

    async def learn_repository(self, repository: str) -> None:
        """Keep what the forge says of a repository."""
        await self._keep(await self._forge.repository(repository))

    async def _keep(self, there: RepositoryInfo) -> None:
        await asyncio.to_thread(
            lambda: self._store.save_repository(there.full_name, default_branch=there.default_branch, forge_id=there.id)
        )

    async def _open(self, event: IssueLabelled, policy: Policy, there: RepositoryInfo) -> Handled:
        await self._keep(there)
        return await asyncio.to_thread(self._door.request, event, policy)

    async def _withdraw(self, active: Job | None, how: str, key: str) -> str:
        if active is None:
            return f"{how}: no job"
        event = IssueWithdrawn(how=how)
        await asyncio.to_thread(self._door.handle, event, job_id=active.id, dedup=f"{key}:withdrawn")
        return f"{how}: {active.id}"

    def _active(self, repository: str, number: int) -> Job | None:
        job = self._store.latest_job(repository, number)
        return None if job is None or job.is_terminal else job


def parse_policy(data: bytes, defaults: Policy) -> Policy:
    """A policy file's bytes, over an operator's defaults. Raises Refused (bad_policy) with what to change."""
    if len(data) > _LARGEST_POLICY:
        raise Refused(f"{POLICY_PATH} has {len(data)} bytes", code="bad_policy", hint="64 KiB at most")
    try:
        text = data.decode("utf-8")
        _insist_on_simple(text)
        document = yaml.safe_load(text)
    except Refused:
        raise
    except Exception as error:
        # Not only YAMLError: the loader answers `2001-99-99` or `!!bool x` with ValueError, KeyError and others.
        where = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
        raise Refused(f"{POLICY_PATH} is not YAML: {where}", code="bad_policy", hint="mend the file") from error
    parsed = policies.parse(document, digest=hashlib.sha256(data).hexdigest())
    given = set(document or {})
    unset = [f.name for f in dataclasses.fields(Policy) if f.name not in given | {"digest", "limits"}]
    limits_given = set((document or {}).get("limits") or {})
    limits = {f.name: getattr(defaults.limits, f.name) for f in dataclasses.fields(defaults.limits)}
    limits |= {name: getattr(parsed.limits, name) for name in limits_given}
    return dataclasses.replace(
        parsed, limits=policies.Limits(**limits), **{name: getattr(defaults, name) for name in unset}
    )


def _insist_on_simple(text: str) -> None:
    """Refuse what makes a small file cost minutes or gigabytes: references to other parts, and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST_POLICY:
            raise Refused(f"{POLICY_PATH} is nested too deep", code="bad_policy", hint="write plain keys and values")
        if isinstance(event, yaml.AliasEvent):
            hint = "write the value out in each place"
            raise Refused(f"{POLICY_PATH} has an alias (*name)", code="bad_policy", hint=hint)


def _tell_all(batch: Sequence[_Waiting], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _words(handled: Handled) -> str:
    if handled.is_opened and handled.job is not None:
        return f"job {handled.job.id} opened"
    if not handled.is_new:
        return "known already"
    return "; ".join(handled.why) or "nothing to do"
