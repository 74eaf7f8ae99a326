"""ports.Store over SQLAlchemy: jobs, events, effects, runs and configuration, on SQLite or PostgreSQL.

Kept: a commit that returned is on disk; reads take no write lock; nothing of SQLAlchemy leaves. The inbox of
deliveries is in `inbox`, the ledger's tables are in `ledger`, one atomic change is in `transaction`. Refused:
everything the tables' rules refuse, as WindlassError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from windlass.adapters.storage import codec
from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.inbox import Inbox
from windlass.adapters.storage.ledger import LedgerTables
from windlass.adapters.storage.models import (
    ACTIVE,
    agent_jobs,
    agent_runs,
    agents,
    effects,
    events,
    prompt_templates,
    pushed_commits,
    repositories,
    run_places,
    system_config,
)
from windlass.adapters.storage.rows import (
    RUN_COLUMNS,
    SNAPSHOT,
    TimeOrderedIds,
    effect_of,
    event_of,
    insert,
    is_postgres,
    run_of,
    run_rows,
    upsert,
)
from windlass.adapters.storage.transaction import Enqueue, Parts, Seal, SqlTransaction
from windlass.adapters.storage.usage import UsageTable
from windlass.core import evidence
from windlass.core.job import Job, State
from windlass.ports import Clock, RunRecord, StoredEffect, StoredEvent

_CONFIG_LOCK = 7270_02


class SqlStore(Inbox, LedgerTables, UsageTable):
    """Fills ports.Store. The engine's database must have been migrated (`migrate`).

    `seal` makes a record's exact bytes and leaf hash; `enqueue` hands an order to durable execution inside the
    live transaction (None: orders are only written). All methods block and may be called from any thread.
    """

    def __init__(
        self, engine: sa.Engine, *, clock: Clock, enqueue: Enqueue | None = None, seal: Seal = evidence.seal
    ) -> None:
        self._connections = Connections(engine)
        self._parts = Parts(seal=seal, clock=clock, enqueue=enqueue, ids=TimeOrderedIds())

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """One atomic change: commits when the block ends normally, else undoes everything.

        Raises Unavailable (database_busy, database_unreachable): the whole block may be tried again.
        """
        with self._connections.writing() as connection:
            yield SqlTransaction(connection, self._parts)

    @property
    def connections(self) -> Connections:
        """For the other readers and writers of this package."""
        return self._connections

    def close(self) -> None:
        """Let go of every connection."""
        self._connections.close()

    # ------------------------------------------------------------------ jobs

    def job(self, job_id: str) -> Job | None:
        """One job."""
        found = self._jobs(sa.select(SNAPSHOT).where(agent_jobs.c.id == job_id))
        return found[0] if found else None

    def jobs(
        self, *, states: Sequence[State] | None = None, repository: str | None = None, limit: int = 100
    ) -> tuple[Job, ...]:
        """Jobs, newest first."""
        query = sa.select(SNAPSHOT).order_by(agent_jobs.c.created_at_ms.desc(), agent_jobs.c.id.desc()).limit(limit)
        if states is not None:
            query = query.where(agent_jobs.c.state.in_([s.value for s in states]))
        if repository is not None:
            query = query.where(agent_jobs.c.repository == repository)
        return self._jobs(query)

    def find_jobs(
        self, repository: str, *, branch: str = "", sha: str = "", pull_number: int | None = None
    ) -> tuple[str, ...]:
        """Ids of active jobs that any of the hints given concerns; none without a hint."""
        hints: list[sa.ColumnElement[bool]] = []
        if branch:
            hints.append(agent_jobs.c.branch == branch)
        if pull_number is not None:
            hints.append(agent_jobs.c.pull_number == pull_number)
        if sha:
            pushed = sa.select(pushed_commits.c.job_id).where(pushed_commits.c.sha == sha)
            hints += [agent_jobs.c.head_sha == sha, agent_jobs.c.branch_sha == sha, agent_jobs.c.id.in_(pushed)]
        if not hints:
            return ()
        active = (agent_jobs.c.repository == repository, ACTIVE)
        query = sa.select(agent_jobs.c.id).where(*active, sa.or_(*hints)).order_by(agent_jobs.c.id)
        with self._connections.reading() as connection:
            return tuple(connection.scalars(query))

    def jobs_with_pull(self, after: str, limit: int) -> tuple[str, ...]:
        """Ids above `after`, in order, of active jobs that have a pull request."""
        watched = (ACTIVE, agent_jobs.c.pull_number.is_not(None), agent_jobs.c.id > after)
        query = sa.select(agent_jobs.c.id).where(*watched).order_by(agent_jobs.c.id).limit(limit)
        with self._connections.reading() as connection:
            return tuple(connection.scalars(query))

    def jobs_by_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Ids that begin with `prefix`, in order."""
        query = sa.select(agent_jobs.c.id).where(agent_jobs.c.id >= prefix).order_by(agent_jobs.c.id).limit(limit)
        with self._connections.reading() as connection:
            return tuple(found for found in connection.scalars(query) if found.startswith(prefix))

    def count_jobs(self) -> dict[str, int]:
        """State → number of jobs in it."""
        query = sa.select(agent_jobs.c.state, sa.func.count().label("number")).group_by(agent_jobs.c.state)
        with self._connections.reading() as connection:
            return {row.state: row.number for row in connection.execute(query)}

    def latest_job(self, repository: str, issue_number: int) -> Job | None:
        """The newest job on an issue, whatever its state."""
        query = (
            sa.select(SNAPSHOT)
            .where(agent_jobs.c.repository == repository, agent_jobs.c.issue_number == issue_number)
            .order_by(agent_jobs.c.created_at_ms.desc(), agent_jobs.c.id.desc())
            .limit(1)
        )
        found = self._jobs(query)
        return found[0] if found else None

    def due_jobs(self, now_ms: int, limit: int) -> tuple[tuple[str, int], ...]:
        """(job id, deadline) of active jobs whose deadline has passed, earliest first."""
        query = (
            sa.select(agent_jobs.c.id, agent_jobs.c.deadline_at_ms)
            .where(ACTIVE, agent_jobs.c.deadline_at_ms <= now_ms)
            .order_by(agent_jobs.c.deadline_at_ms, agent_jobs.c.id)
            .limit(limit)
        )
        with self._connections.reading() as connection:
            return tuple((row.id, row.deadline_at_ms) for row in connection.execute(query))

    def _jobs(self, query: sa.Select[str]) -> tuple[Job, ...]:
        with self._connections.reading() as connection:
            snapshots = connection.scalars(query).all()
        return tuple(codec.decode_job(snapshot) for snapshot in snapshots)

    def events(self, job_id: str) -> tuple[StoredEvent, ...]:
        """A job's events, oldest first."""
        query = sa.select(events).where(events.c.job_id == job_id).order_by(events.c.number)
        with self._connections.reading() as connection:
            return tuple(event_of(row) for row in connection.execute(query).mappings())

    # ------------------------------------------------------------------ effects

    def effects(self, job_id: str) -> tuple[StoredEffect, ...]:
        """A job's orders, oldest first."""
        return self._effects(sa.select(effects).where(effects.c.job_id == job_id).order_by(effects.c.seq))

    def claim_effect(self, job_id: str, seq: int) -> StoredEffect | None:
        """Begin to carry out an effect: a new claim. None when it is done, failed, void or unknown."""
        statement = (
            sa.update(effects)
            .where(effects.c.job_id == job_id, effects.c.seq == seq, effects.c.status == "ordered")
            .values(claim=effects.c.claim + 1, claimed_at_ms=self._parts.clock.now_ms())
            .returning(*effects.c)
        )
        with self._connections.writing() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else effect_of(row)

    def is_current(self, job_id: str, seq: int, claim: int) -> bool:
        """Whether this claim may still write to the outside."""
        mine = (effects.c.job_id == job_id, effects.c.seq == seq, effects.c.claim == claim)
        query = sa.select(sa.exists().where(*mine, effects.c.status == "ordered"))
        with self._connections.reading() as connection:
            return bool(connection.scalar(query))

    def is_open(self, job_id: str, seq: int) -> bool:
        """Whether an order waits or is being carried out."""
        query = sa.select(
            sa.exists().where(effects.c.job_id == job_id, effects.c.seq == seq, effects.c.status == "ordered")
        )
        with self._connections.reading() as connection:
            return bool(connection.scalar(query))

    def open_effects(self, older_than_ms: int, limit: int) -> tuple[StoredEffect, ...]:
        """Orders that are not closed and were given before `older_than_ms`, oldest first."""
        return self._effects(
            sa.select(effects)
            .where(effects.c.status == sa.literal_column("'ordered'"), effects.c.ordered_at_ms < older_than_ms)
            .order_by(effects.c.ordered_at_ms, effects.c.job_id, effects.c.seq)
            .limit(limit)
        )

    def _effects(self, query: sa.Select[Any]) -> tuple[StoredEffect, ...]:
        with self._connections.reading() as connection:
            return tuple(effect_of(row) for row in connection.execute(query).mappings())

    # ------------------------------------------------------------------ runs

    def save_run(self, run: RunRecord) -> None:
        """Insert or update one run; its agent becomes known by name. Raises Conflict for an unknown job."""
        row, place = run_rows(run)
        with self._connections.writing() as connection:
            known = insert(connection, agents).on_conflict_do_nothing()
            connection.execute(known, {"name": row["agent"], "created_at_ms": self._parts.clock.now_ms()})
            connection.execute(upsert(connection, agent_runs, ("id",)), row)
            connection.execute(upsert(connection, run_places, ("run_id",)), place)

    def runs(self, job_id: str) -> tuple[RunRecord, ...]:
        """A job's runs, oldest first."""
        both = agent_runs.outerjoin(run_places, run_places.c.run_id == agent_runs.c.id)
        query = sa.select(*RUN_COLUMNS).select_from(both).where(agent_runs.c.job_id == job_id)
        query = query.order_by(agent_runs.c.number)
        with self._connections.reading() as connection:
            return tuple(run_of(row) for row in connection.execute(query).mappings())

    # ------------------------------------------------------------------ repositories and configuration

    def repositories(self) -> tuple[str, ...]:
        """Full names of the repositories that are known and not disabled, by name."""
        query = sa.select(repositories.c.full_name).where(repositories.c.is_enabled).order_by(repositories.c.full_name)
        with self._connections.reading() as connection:
            return tuple(connection.scalars(query))

    def save_repository(self, full_name: str, *, default_branch: str, forge_id: int | None) -> None:
        """Insert or update one repository. When the forge's id was another name's, that name is renamed away."""
        now = self._parts.clock.now_ms()
        row = {"full_name": full_name, "default_branch": default_branch, "created_at_ms": now, "updated_at_ms": now}
        changed = {"default_branch": default_branch, "updated_at_ms": now}
        if forge_id is not None:
            row["forge_id"] = changed["forge_id"] = forge_id
        with self._connections.writing() as connection:
            if forge_id is not None:
                other = (repositories.c.forge_id == forge_id, repositories.c.full_name != full_name)
                connection.execute(sa.update(repositories).where(*other).values(forge_id=None, is_enabled=False))
            statement = insert(connection, repositories)
            key = [repositories.c.full_name]
            connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), row)

    def know_template(self, name: str, digest: str, body: str) -> None:
        """Keep a version of a prompt template, and which one is in use. Raises Refused for an unknown task type."""
        task_type, _, role = name.partition("/")
        mine = (prompt_templates.c.task_type == task_type, prompt_templates.c.role == role)
        newest = sa.select(prompt_templates.c.digest).where(*mine, prompt_templates.c.is_active)
        with self._connections.reading() as connection:
            if list(connection.scalars(newest)) == [digest]:
                return
        row = {"task_type": task_type, "role": role, "digest": digest, "body": body, "is_active": True}
        row["created_at_ms"] = self._parts.clock.now_ms()
        with self._connections.writing() as connection:
            connection.execute(sa.update(prompt_templates).where(*mine).values(is_active=False))
            connection.execute(insert(connection, prompt_templates).on_conflict_do_nothing(), row)
            known = (*mine, prompt_templates.c.digest == digest)
            connection.execute(sa.update(prompt_templates).where(*known).values(is_active=True))

    def get_config(self, key: str) -> Any | None:
        """The newest value of SystemConfig, or None."""
        newest = sa.select(system_config.c.value).where(system_config.c.key == key)
        with self._connections.reading() as connection:
            value = connection.scalar(newest.order_by(system_config.c.version.desc()).limit(1))
        return None if value is None else codec.load(value)

    def set_config(self, key: str, value: Any, *, by: str, at_ms: int, why: str = "") -> int:
        """A new version of a value of SystemConfig; its number. Raises Refused for what is not JSON."""
        row = {"key": key, "value": codec.dump(value), "by": by, "at_ms": at_ms, "why": why}
        newest = sa.select(sa.func.coalesce(sa.func.max(system_config.c.version), 0)).where(system_config.c.key == key)
        with self._connections.writing() as connection:
            if is_postgres(connection):
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CONFIG_LOCK)))
            version = int(connection.scalars(newest).one()) + 1
            connection.execute(sa.insert(system_config), {**row, "version": version})
        return version
