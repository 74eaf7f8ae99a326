"""Heartbeats: who is alive, who may be buried, and how one learns of one's own burial."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.support.stores import Opened

from windlass.adapters.storage.replicas import SqlReplicas
from windlass.ports import Delivery


def beat(replicas: SqlReplicas, name: str, ttl_s: float = 600) -> bool:
    return replicas.beat(name, host="here", pid=1, ttl_s=ttl_s)


def test_a_replica_lives_until_its_row_expires(opened: Opened) -> None:
    one, two = SqlReplicas(opened.engine), SqlReplicas(opened.engine)
    assert beat(one, "a")
    assert beat(two, "b", ttl_s=0)
    assert one.live() == {"a"}
    assert beat(two, "b")
    assert one.live() == {"a", "b"}
    one.leave("a")
    assert two.live() == {"b"}


def test_only_an_expired_replica_is_buried_and_it_learns_of_it(opened: Opened) -> None:
    one, two = SqlReplicas(opened.engine), SqlReplicas(opened.engine)
    beat(one, "a")
    assert not two.bury("a")
    assert beat(one, "a", ttl_s=0), "expired but not buried: it goes on"
    assert two.bury("a")
    assert not beat(one, "a")
    assert two.live() == frozenset()
    assert two.bury("a"), "nothing is left to bury"


def test_a_restarted_replica_that_found_its_old_row_learns_of_its_burial_too(opened: Opened) -> None:
    beat(SqlReplicas(opened.engine), "a")
    restarted, other = SqlReplicas(opened.engine), SqlReplicas(opened.engine)
    assert beat(restarted, "a", ttl_s=0)
    assert other.bury("a")
    assert not beat(restarted, "a")


def test_many_may_join_at_once(opened: Opened) -> None:
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda n: beat(SqlReplicas(opened.engine), f"r{n}"), range(6)))
    assert len(SqlReplicas(opened.engine).live()) == 6


def test_who_is_alone_buries_at_once(opened: Opened) -> None:
    one, two = SqlReplicas(opened.engine), SqlReplicas(opened.engine)
    beat(one, "a")
    assert beat(two, "b")
    assert two.known() == {"a", "b"}
    assert two.bury("a", is_certain=True)
    assert two.known() == {"b"}


def test_the_deliveries_of_a_dead_replica_are_free_again(opened: Opened) -> None:
    store, replicas = opened.store, SqlReplicas(opened.engine)
    beat(replicas, "a", ttl_s=0)
    store.put_deliveries([Delivery(id=name, event="push", body=b"{}", received_at_ms=1) for name in ("d1", "d2")])
    store.claim_deliveries("a", 1, 60_000, 10)
    store.claim_deliveries("b", 1, 60_000, 10)
    assert replicas.bury("a")
    assert [one.id for one in store.claim_deliveries("c", 9, 60_000, 10)] == ["d1"]
    replicas.leave("b")
    assert [one.id for one in store.claim_deliveries("c", 9, 60_000, 10)] == ["d2"]
