"""Durable execution with real processes on real databases: takeover, limits, priorities, fairness, drains, losses."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.engine.cluster import Cluster, cluster

from windlass.engine.durable import DurableSettings

A_NEVER_MS = 32_000_000_000_000


@pytest.fixture
async def shared(migrated_url: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    """On SQLite (one replica at a time), then on PostgreSQL."""
    async with cluster(migrated_url, tmp_path) as made:
        yield made


@pytest.fixture
async def many(
    make_postgres_database: Callable[..., str], postgres_template: str, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """On PostgreSQL, where several replicas share the work."""
    async with cluster(make_postgres_database(postgres_template), tmp_path) as made:
        yield made


async def start_all(shared: Cluster, **settings: object) -> None:
    replicas = 1 if shared.engine.dialect.name == "sqlite" else 2
    await asyncio.gather(*(shared.start(replica_ttl_s=6.0, **settings) for _ in range(replicas)))


def most_at_once(shared: Cluster, prefix: str) -> int:
    """How many whose names hold `prefix` were at work together; lines are written inside the slot."""
    now = most = 0
    for line in shared.lines():
        if prefix in line["job"]:
            now += 1 if line["what"] == "begin" else -1
            most = max(most, now)
    return most


async def test_limits_hold_and_no_repository_starves_another(shared: Cluster) -> None:
    big, other = [f"brief-agent-big-{n}" for n in range(50)], [f"brief-agent-other-{n}" for n in range(10)]
    shared.order(*big, queue="agent", repository="acme/big")
    shared.order(*other, queue="agent", repository="acme/other")
    shared.order("brief-agent-small-1", queue="agent", repository="acme/small")
    tests_big = [f"brief-tests-big-{n}" for n in range(40)]
    shared.order(*tests_big, queue="tests", repository="acme/big")
    shared.order("brief-tests-small-1", queue="tests", repository="acme/small")
    await start_all(shared, agent_slots=3, agent_slots_per_repository=2, test_slots=1)
    await shared.until(lambda: len(shared.ended()) == 102)
    assert len(set(shared.begun())) == len(shared.begun()) == 102, "each once"
    assert 2 <= most_at_once(shared, "agent") <= 3
    for repository in ("agent-big", "agent-other", "agent-small"):
        assert most_at_once(shared, repository) <= 2
    assert most_at_once(shared, "tests") <= len(shared.replicas)
    for queue, alone in (("agent", "brief-agent-small-1"), ("tests", "brief-tests-small-1")):
        order = [job for job in shared.begun() if queue in job]
        assert order.index(alone) < 30, f"the one {queue} order of the small repository waited for all the others"


async def test_what_is_wanted_sooner_begins_sooner(shared: Cluster) -> None:
    usual, urgent = [f"brief-usual-{n}" for n in range(12)], ["brief-urgent-1", "brief-urgent-2"]
    shared.order(*usual, priority=50)
    shared.order("brief-middle-1", priority=20)
    shared.order(*urgent, priority=1)
    await shared.start(light_slots=1)
    await shared.until(lambda: len(shared.ended()) == 15)
    assert shared.begun() == [*urgent, "brief-middle-1", *usual]


async def test_an_order_waits_for_its_time(shared: Cluster) -> None:
    await shared.start()
    at = time.monotonic()
    shared.order("quick-later", delay_s=1.5)
    shared.order("quick-now")
    await shared.until(lambda: "quick-now" in shared.ended())
    await shared.until(lambda: "quick-later" in shared.ended())
    assert shared.begun() == ["quick-now", "quick-later"]
    assert time.monotonic() - at >= 1.4


@pytest.mark.needs("postgres")
async def test_a_dead_replicas_work_is_taken_over_within_ten_seconds(
    many: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = DurableSettings()
    settings = {"replica_ttl_s": usual.replica_ttl_s, "poll_interval_s": usual.poll_interval_s, "agent_slots": 4}
    first = await many.start(**settings)
    held = [f"hold-agent-{n}" for n in range(4)]
    for number, job in enumerate(held):
        many.order(job, queue="agent", repository=f"acme/{number % 2}")
    many.order("hold-light", "wait-light")
    held += ["hold-light", "wait-light"]
    await many.until(lambda: set(many.begun()) == set(held))
    second = await many.start(**settings)
    await first.kill()
    took_s = await many.until(lambda: set(many.begun_by(second)) == set(held))
    with capsys.disabled():
        print(f" taken over after {took_s:.1f} s", end="")
    assert took_s < 10.0
    many.order("quick-after", queue="agent", repository="acme/9")
    assert Counter(many.begun()) == dict.fromkeys(held, 2)


async def test_what_a_killed_process_held_is_carried_out_by_the_next(shared: Cluster) -> None:
    """Also: rows that another process enqueued and claimed run here, because the version is a constant."""
    shared.order("hold-1", "quick-1")
    shared.order("hold-2", queue="agent")
    first = await shared.start()
    await shared.until(lambda: len(shared.begun()) == 3 and shared.statuses()["quick-1"] == "SUCCESS")
    await first.kill()
    shared.order("quick-2")
    await shared.start()
    await shared.until(lambda: Counter(shared.begun()) == {"hold-1": 2, "hold-2": 2, "quick-1": 1, "quick-2": 1})
    assert {row[0] for row in shared.rows("application_version")} == {"1"}


@pytest.mark.needs("postgres")
async def test_a_replica_declared_dead_stops_itself_and_another_goes_on(many: Cluster) -> None:
    first, second = await asyncio.gather(many.start(), many.start())
    many.order("hold-1", "hold-2")
    await many.until(lambda: len(many.begun()) == 2)
    held = set(many.begun_by(first))
    first.send(signal.SIGSTOP)
    try:
        many.order("quick-meanwhile-1", "quick-meanwhile-2")
        await many.until(lambda: first.executor_id not in many.replicas_known())
        await many.until(lambda: held <= set(many.begun_by(second)))
    finally:
        first.send(signal.SIGCONT)
    assert await first.ended() == 70
    await many.until(lambda: {"quick-meanwhile-1", "quick-meanwhile-2"} <= set(many.ended()))
    many.order("quick-after")
    await many.until(lambda: "quick-after" in many.ended())
    assert second.process.returncode is None


async def test_a_claim_that_was_never_begun_is_put_back_and_a_long_one_left_alone(shared: Cluster) -> None:
    shared.order("hold-long")
    replica = await shared.start()
    await shared.until(lambda: shared.begun() == ["hold-long"])
    with shared.engine.begin() as connection:
        for job, queue in (("quick-light", "light"), ("quick-agent", "agent"), ("quick-tests", "tests")):
            shared.order_in(connection, job, queue=queue, repository="acme/a")
        strand = f"update {shared.table} set status='PENDING', executor_id=:who, updated_at=updated_at - 60000"
        changed = connection.execute(sa.text(f"{strand} where status='ENQUEUED'"), {"who": replica.executor_id})
        assert changed.rowcount == 3
    shared.change("update TABLE set updated_at=updated_at - 60000 where workflow_uuid='hold-long:1'")
    await shared.until(lambda: len(shared.ended()) == 3)
    assert sorted(shared.begun()) == ["hold-long", "quick-agent", "quick-light", "quick-tests"]


@pytest.mark.needs("postgres")
async def test_a_database_away_longer_than_a_replica_may_be_silent_costs_nothing(
    many: Cluster, make_postgres_database: Callable[..., str]
) -> None:
    replica = await many.start(replica_ttl_s=1.0)
    many.order("hold-1", "short-1")
    await many.until(lambda: len(many.begun()) == 2)
    name = many.engine.url.database
    many.order("quick-before", delay_s=1.0)
    many.engine.dispose()
    admin = sa.create_engine(
        sa.make_url(make_postgres_database()).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f'alter database "{name}" allow_connections false')
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        connection.exec_driver_sql(kill, (name,))
        await asyncio.sleep(2.5)
        assert replica.process.returncode is None
        connection.exec_driver_sql(f'alter database "{name}" allow_connections true')
    admin.dispose()
    many.order("quick-after")
    await many.until(lambda: {"quick-after", "quick-before", "short-1"} <= set(many.ended()))
    await many.until(lambda: many.statuses()["short-1"] == "SUCCESS")
    assert replica.process.returncode is None, "nobody took over, so it goes on"
    begun = Counter(many.begun())
    assert begun["hold-1"] == begun["quick-before"] == begun["quick-after"] == 1
    assert begun["short-1"] <= 2, "it ended while the database was away, so it may be asked for once more"


async def test_a_drain_lets_the_short_end_and_leaves_the_waiting_to_the_next(shared: Cluster) -> None:
    first = await shared.start()
    shared.order("short-1", "wait-1")
    shared.order("wait-2", queue="agent")
    await shared.until(lambda: len(shared.begun()) == 3)
    first.send(signal.SIGTERM)
    assert await first.ended() == 0
    assert shared.ended() == ["short-1"]
    shared.order("quick-1")
    await shared.start()
    await shared.until(lambda: Counter(shared.begun())["wait-2"] == 2 and Counter(shared.begun())["wait-1"] == 2)
    await shared.until(lambda: "quick-1" in shared.ended())


async def test_lost_rows_are_known_as_lost_and_can_be_put_back(shared: Cluster) -> None:
    replica = await shared.start()
    shared.order("quick-done", "hold-running", "fails-1")
    shared.order("quick-error", "quick-cancelled", "quick-deleted", "quick-waits", delay_s=3600)
    await shared.until(lambda: set(shared.begun()) == {"quick-done", "hold-running", "fails-1"})
    await shared.until(lambda: shared.statuses()["quick-done"] == "SUCCESS" and shared.statuses()["fails-1"] == "ERROR")
    for job, status in (("quick-error", "ERROR"), ("quick-cancelled", "CANCELLED")):
        shared.change("update TABLE set status=:status where workflow_uuid=:name", status=status, name=f"{job}:1")
    shared.change("delete from TABLE where workflow_uuid='quick-deleted:1'")
    lost = {
        job: await replica.ask(do="is_lost", job=job, seq=1)
        for job in (*shared.statuses(), "quick-deleted", "quick-erro", "quick-error:1")
    }
    assert lost == {
        "quick-done": True,
        "hold-running": False,
        "fails-1": True,
        "quick-error": True,
        "quick-cancelled": True,
        "quick-deleted": True,
        "quick-waits": False,
        "quick-erro": True,
        "quick-error:1": True,
    }
    for job in ("quick-error", "quick-cancelled", "quick-deleted"):
        await replica.ask(do="again", job=job, seq=1)
    await shared.until(lambda: {"quick-error", "quick-cancelled", "quick-deleted"} <= set(shared.ended()))
    await replica.ask(do="again", job="hold-running", seq=1)
    await shared.until(lambda: Counter(shared.begun())["hold-running"] == 2)
    assert not await replica.ask(do="is_lost", job="hold-running", seq=1)
    assert await replica.ask(do="forget", before_ms=0) == 0
    await shared.until(lambda: sum(s == "SUCCESS" for _, s in shared.rows("workflow_uuid, status")) == 4)
    forgotten = await replica.ask(do="forget", before_ms=A_NEVER_MS)
    assert forgotten == 7
    left = Counter(status for _, status in shared.rows("workflow_uuid, status"))
    assert left == {"PENDING": 2, "DELAYED": 1}


@pytest.mark.needs("postgres")
async def test_a_replica_that_was_slow_does_not_bury_itself(many: Cluster) -> None:
    replica = await many.start(replica_ttl_s=1.0, slowness_s=1.4)
    many.order("hold-1", "quick-later", delay_s=0.0)
    many.order("quick-much-later", delay_s=4.0)
    await many.until(lambda: "quick-much-later" in many.ended())
    assert replica.process.returncode is None
    assert replica.executor_id in many.replicas_known()
    assert Counter(many.begun())["hold-1"] == 1
