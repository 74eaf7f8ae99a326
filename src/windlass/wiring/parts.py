"""From settings to a running engine: every adapter is chosen here, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import secrets as randomness
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from windlass.adapters.blobs import DirectoryBlobs, open_blobs
from windlass.adapters.gateway import LocalGateway
from windlass.adapters.git import GitRepositories
from windlass.adapters.github import AppAuth, TokenAuth, github_forge, translate
from windlass.adapters.logs import SecretRedactor, correlation_key
from windlass.adapters.notify import LogNotifier
from windlass.adapters.prompts import JinjaPrompts
from windlass.adapters.runners.routed import RoutedRunner
from windlass.adapters.signing import Ed25519FileSigner, verify_ed25519
from windlass.adapters.storage import SqlStore, make_engine, migrate
from windlass.adapters.storage.execution_logs import SqlLogIndex
from windlass.adapters.storage.replicas import SqlReplicas
from windlass.config import Settings, secret
from windlass.core import policy as policies
from windlass.core.errors import Refused, WindlassError
from windlass.core.job import Job
from windlass.core.policy import Policy
from windlass.engine.bell import Bell
from windlass.engine.durable import QUEUE_NAMES, Durable, DurableSettings, Enqueuer
from windlass.engine.effects import Executor
from windlass.engine.execution_log import ExecutionLog
from windlass.engine.intake import Intake
from windlass.engine.journal import Journal
from windlass.engine.ledger import Ledger
from windlass.engine.loop import Door, OnChange
from windlass.engine.queries import Queries
from windlass.engine.reconcile import Reconciler
from windlass.engine.schedule import Duty, Schedule
from windlass.engine.stages.context import Outside, StageSettings
from windlass.ports import Blobs, Forge
from windlass.wiring.agents import agent_keys, agents_of, labelled_keys, sandbox_limits
from windlass.wiring.gateway import gateway_of, left, tended
from windlass.wiring.runners import guarded_runner

log = logging.getLogger("windlass.wiring")

TEMPLATES = Path(__file__).resolve().parent.parent / "prompts"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000


def new_job_id() -> str:
    """`j` and 20 characters that sort by time: 9 of milliseconds, 11 of chance."""
    number = (time.time_ns() // 1_000_000) << 55 | randomness.randbits(55)
    text = ""
    for _ in range(20):
        number, digit = divmod(number, 32)
        text = _ALPHABET[digit] + text
    return f"j{text}"


@dataclass(kw_only=True)
class Windlass:
    """A whole engine, not yet started. `forge_secrets` are values that must never be written anywhere."""

    settings: Settings
    engine: sa.Engine
    store: SqlStore
    forge: Forge
    runner: RoutedRunner
    outside: Outside
    door: Door
    intake: Intake
    queries: Queries
    ledger: Ledger
    durable: Durable
    reconciler: Reconciler
    executor: Executor
    journal: Journal
    clock: SystemClock
    lock: IO[str] | None
    gateway: LocalGateway | None = None
    schedule: Schedule = field(default_factory=Schedule)
    is_started: bool = False

    async def start(self) -> None:
        """Begin to work."""
        await self.durable.start(self.executor.carry_out)
        self.schedule.start(self._duties())
        self.is_started = True

    async def stop(self) -> None:
        """Claim nothing more, end what is short, leave agents at work, close everything."""
        self.is_started = False
        await self.schedule.stop()
        await self.durable.drain(self.settings.engine.drain_s, lambda: frozenset(self.outside.waiting))
        with contextlib.suppress(WindlassError):
            await asyncio.to_thread(self.journal.write)
            await asyncio.to_thread(self.ledger.checkpoint)
        await left(self.gateway)
        await self.close()

    async def close(self) -> None:
        """Let go of everything that is open; for an engine that was never started, or is stopped."""
        await self.runner.close()
        await self.forge.close()
        await asyncio.to_thread(self.store.close)
        if self.lock is not None:
            self.lock.close()

    async def is_ready(self) -> str:
        """Why no work can be taken, or ''."""
        if not self.is_started:
            return "starting or stopping"
        try:
            await asyncio.to_thread(self.store.ledger_size)
        except WindlassError as error:
            return error.message
        return ""

    def _duties(self) -> list[Duty]:
        tuned, repair = self.settings.engine, self.reconciler
        period_s = tuned.reconcile_period_s
        owner = self.durable.executor_id
        return [
            Duty(
                name="deliveries", period_s=1.0, act=lambda: self.intake.process_some(owner), wake=self.intake.arrived
            ),
            Duty(name="deadlines", period_s=1.0, act=lambda: asyncio.to_thread(repair.deadlines)),
            Duty(name="issues", period_s=period_s, act=repair.issues),
            Duty(name="withdrawn", period_s=period_s * 5, act=repair.look_at_withdrawn, is_at_start=False),
            Duty(
                name="pulls",
                period_s=period_s,
                act=lambda: asyncio.to_thread(repair.look_again, tuned.reconcile_batch, period_s),
            ),
            Duty(
                name="orders",
                period_s=max(period_s / 4, 1.0),
                act=lambda: asyncio.to_thread(repair.orders, max(period_s / 2, 5.0)),
                is_at_start=False,
            ),
            Duty(name="redelivery", period_s=period_s * 10, act=lambda: repair.deliveries(3 * 86400)),
            Duty(name="reaper", period_s=period_s, act=repair.reap),
            Duty(name="gateway", period_s=1.0, act=lambda: tended(self.gateway, self.outside.runner)),
            Duty(name="steps", period_s=1.0, act=lambda: asyncio.to_thread(self.journal.write)),
            Duty(name="ledger", period_s=2.0, act=lambda: asyncio.to_thread(self.ledger.sequence)),
            Duty(
                name="checkpoint",
                period_s=tuned.checkpoint_period_s,
                act=lambda: asyncio.to_thread(self.ledger.checkpoint),
                is_at_start=False,
            ),
            Duty(name="forget", period_s=600.0, act=lambda: asyncio.to_thread(self._forget), is_at_start=False),
        ]

    def _forget(self) -> int:
        return self.durable.forget_finished(self.clock.now_ms() - 3_600_000)


def build(settings: Settings, *, on_change: OnChange | None = None, webhook_url: str = "") -> Windlass:
    """Join the parts. Raises Refused (bad_config, …) before anything is started."""
    state = _state_dir(settings)
    with contextlib.ExitStack() as opened:
        lock = None if settings.database_url else opened.enter_context(_only_one(state / "windlass.lock"))
        engine = make_engine(settings.database_url or f"sqlite:///{state / 'windlass.sqlite'}")
        opened.callback(engine.dispose)
        windlass = _joined(settings, state, engine, lock, on_change, webhook_url)
        opened.pop_all()
    return windlass


def _joined(
    settings: Settings, state: Path, engine: sa.Engine, lock: IO[str] | None, on_change: OnChange | None, hook: str
) -> Windlass:
    migrate(engine)
    clock = SystemClock()
    bell = Bell(*QUEUE_NAMES)
    enqueue = Enqueuer(engine, bell)
    store = SqlStore(engine, clock=clock, enqueue=enqueue)
    forge, hidden = _forge(settings, clock, hook)
    hidden = (*hidden, *agent_keys(settings))
    blobs = _blobs(settings, state)
    redactor = SecretRedactor(key=correlation_key(state / "redaction-key"), known=(*hidden, *known_secrets(settings)))
    steps = ExecutionLog(store, SqlLogIndex(store.connections), blobs, redactor, clock)
    journal = Journal(steps)
    runner, inner = guarded_runner(settings.sandbox, state, instance=settings.instance)
    _insist_on_sandbox(settings, inner)
    repositories = GitRepositories(state / "mirrors")
    gateway = gateway_of(settings.gateway, state / "gateway", labelled_keys(settings))
    outside = Outside(
        store=store,
        forge=forge,
        repositories=repositories,
        runner=runner,
        agents=agents_of(settings, gateway),
        blobs=blobs,
        prompts=JinjaPrompts(repositories, TEMPLATES),
        notifier=LogNotifier(),
        clock=clock,
        settings=_stage_settings(settings, state, hidden),
        redactor=redactor,
        steps=steps,
    )
    door = Door(store, clock, new_id=new_job_id, on_change=_ringing(bell, journal, on_change))
    policy = policies.parse(settings.policy) if settings.policy else Policy()
    held = (*hidden, *known_secrets(settings))
    intake = Intake(store, forge, door, clock, translate=translate, default_policy=policy, secrets=held)
    durable = Durable(engine, SqlReplicas(engine), _durable_settings(settings), bell, is_alone=lock is not None)
    orders = _Orders(durable, enqueue)
    signer = Ed25519FileSigner(state / "ledger-key.pem", f"windlass/{settings.instance}")
    return Windlass(
        settings=settings,
        engine=engine,
        store=store,
        forge=forge,
        runner=inner,
        outside=outside,
        door=door,
        intake=intake,
        queries=Queries(store, blobs, steps),
        ledger=Ledger(
            store, signer, blobs, clock, f"windlass.dev/{settings.instance}", verify_signature=verify_ed25519
        ),
        durable=durable,
        reconciler=Reconciler(store, forge, runner, clock, door, intake, orders, state / "workspaces"),
        executor=Executor(outside, door),
        journal=journal,
        clock=clock,
        lock=lock,
        gateway=gateway,
    )


def _ringing(bell: Bell, journal: Journal, on_change: OnChange | None) -> OnChange:
    """What hears of a committed change: first the queues, then the step log, then whoever asked."""

    def tell(job: Job, why: Sequence[str]) -> None:
        bell.ring()
        journal.touch(job.id)
        if on_change is not None:
            on_change(job, why)

    return tell


class _Orders:
    """Durable execution as the reconciler sees it."""

    def __init__(self, durable: Durable, enqueue: Enqueuer) -> None:
        self.is_lost = durable.is_lost
        self.again = enqueue.again


def _blobs(settings: Settings, state: Path) -> Blobs:
    """A directory of the state, or the object store that the settings name."""
    given = settings.blobs
    if not given.url:
        return DirectoryBlobs(state / "blobs")
    key = secret(given.secret_access_key, given.secret_access_key_file, "the object store's key")
    if given.url.startswith("az://"):
        options = {"account_name": given.access_key_id, "account_key": key}
    elif given.url.startswith("gs://"):
        account = given.service_account_file
        options = {"service_account_path": str(account.expanduser()) if account else None}
    else:
        options = {
            "access_key_id": given.access_key_id,
            "secret_access_key": key,
            "endpoint": given.endpoint,
            "region": given.region,
        }
    told = {name: value for name, value in options.items() if value}
    return open_blobs(given.url, told, allows_http=given.allows_http)


def known_secrets(settings: Settings) -> tuple[str, ...]:
    """Every secret value that the settings hold or name."""
    given = settings.forge
    token = secret(given.token, given.token_file, "the forge token")
    key = secret(None, given.app_private_key_file, "the App's private key")
    return tuple(value for value in (token, key, *webhook_secrets(settings), *agent_keys(settings)) if value)


def webhook_secrets(settings: Settings) -> tuple[str, ...]:
    """The live webhook secrets, the newer first."""
    forge = settings.forge
    first = secret(forge.webhook_secret, forge.webhook_secret_file, "the webhook secret")
    old = forge.webhook_secret_old.get_secret_value() if forge.webhook_secret_old else None
    return tuple(value for value in (first, old) if value)


def _state_dir(settings: Settings) -> Path:
    state = settings.state_dir.expanduser().absolute()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / "workspaces").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Refused(f"{state} cannot be used", code="bad_config", hint=f"set state_dir: {error.strerror}") from error
    return state


def _only_one(path: Path) -> IO[str]:
    """One process per SQLite file: limits and claims are exact only then."""
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Refused(
            f"another Windlass uses {path.parent}",
            code="already_running",
            hint="stop it, choose another state_dir, or use PostgreSQL for several processes",
        ) from None
    return lock


def _forge(settings: Settings, clock: SystemClock, webhook_url: str) -> tuple[Forge, tuple[str, ...]]:
    given = settings.forge
    token = secret(given.token, given.token_file, "the forge token")
    if given.app_id and given.app_private_key_file:
        key = secret(None, given.app_private_key_file, "the App's private key") or ""
        auth: AppAuth | TokenAuth = AppAuth(
            app_id=given.app_id, private_key_pem=key, installation_id=given.installation_id
        )
        hidden: tuple[str, ...] = (key,)
    elif token:
        auth, hidden = TokenAuth(token=token), (token,)
    else:
        raise Refused(
            "no way to log in to the forge",
            code="bad_config",
            hint="set WINDLASS_FORGE_APP_ID and WINDLASS_FORGE_APP_PRIVATE_KEY_FILE, or WINDLASS_FORGE_TOKEN_FILE",
        )
    forge = github_forge(
        api_url=given.api_url,
        auth=auth,
        clock=clock,
        timeout_s=given.timeout_s,
        min_write_spacing_s=given.write_spacing_s if _is_hosted(given.api_url) else 0.0,
        webhook_url=webhook_url,
    )
    return forge, (*hidden, *webhook_secrets(settings))


def _is_hosted(api_url: str) -> bool:
    return "://127.0.0.1" not in api_url and "://localhost" not in api_url


def _stage_settings(settings: Settings, state: Path, hidden: Sequence[str]) -> StageSettings:
    return StageSettings(
        workspaces=state / "workspaces",
        default_agent=settings.default_agent,
        test_command=settings.test_command,
        reads=tuple(path.expanduser().absolute() for path in settings.sandbox.reads),
        setup_egress=settings.sandbox.setup_egress,
        public_url=settings.api.public_url,
        sandbox_limits=sandbox_limits(settings),
        secrets=tuple(hidden),
    )


def _durable_settings(settings: Settings) -> DurableSettings:
    tuned = settings.engine
    return DurableSettings(
        agent_slots=tuned.agent_slots,
        agent_slots_per_repository=tuned.agent_slots_per_repository,
        test_slots=tuned.test_slots,
        light_slots=tuned.light_slots,
        poll_interval_s=tuned.poll_interval_s,
        replica_ttl_s=tuned.replica_ttl_s,
        stranded_grace_s=max(15.0, tuned.replica_ttl_s * 2),
    )


def _insist_on_sandbox(settings: Settings, runner: RoutedRunner) -> None:
    notice = runner.notice()
    if not notice:
        return
    if settings.sandbox.is_required:
        raise Refused(
            f"agents cannot be isolated here: {notice}", code="no_sandbox", hint="install bubblewrap or an engine"
        )
    log.warning("agents are not isolated on this machine", extra={"notice": notice})
