"""Engines: what a URL gives, and the clear error for one that cannot be used."""

from __future__ import annotations

import dataclasses
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.postgres import drop_database
from tests.support.storage_samples import sample_job
from tests.support.stores import Opened, open_store

from windlass.adapters.storage import database, make_engine, migrate
from windlass.core.errors import Broken, Failed, Refused, Unavailable


def test_sqlite_survives_a_power_cut_and_holds_its_references(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/new/deeper/x.db")
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "recursive_triggers")
            }
            assert found == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 30000,
                "recursive_triggers": 1,
            }
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true", "postgresql://u@h"],
)
def test_other_urls_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(Refused) as caught:
        make_engine(url)
    assert caught.value.code == "database_url"
    assert caught.value.hint


def test_a_password_is_never_told(tmp_path: Path) -> None:
    for url in ("mysql://ann:hunter2@h/d", "postgresql://ann:hunter2@127.0.0.1:1/d?connect_timeout=2"):
        with pytest.raises((Refused, Unavailable)) as caught:
            make_engine(url)
        assert "hunter2" not in str(caught.value)


def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as caught:
        make_engine(f"sqlite:///{tmp_path}/file/x.db")
    assert caught.value.code == "database_directory"
    with pytest.raises(Failed) as failed:
        make_engine(f"sqlite:///{tmp_path}")
    assert failed.value.code == "database_file"


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello " * 1000)
    with pytest.raises(Broken) as caught:
        make_engine(f"sqlite:///{tmp_path}/x.db")
    assert caught.value.code == "database_damaged"


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            make_engine(f"postgresql://u:p@127.0.0.1:{port}/d")
    assert caught.value.code == "database_unreachable"
    assert "\n" not in caught.value.message


@pytest.mark.needs("postgres")
def test_a_missing_database_or_user_is_refused(postgres_url: str) -> None:
    for changed in ({"database": "nowhere"}, {"username": "nobody"}):
        url = sa.make_url(postgres_url).set(**changed)
        with pytest.raises(Refused) as caught:
            make_engine(url.render_as_string(hide_password=False))
        assert caught.value.code == "database_login"


@pytest.mark.needs("postgres")
def test_an_old_server_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_engine(postgres_url.replace("postgresql://", "postgres://")).dispose()
    monkeypatch.setattr(database, "OLDEST_POSTGRES", 99)
    with pytest.raises(Refused, match="too old") as caught:
        make_engine(postgres_url)
    assert caught.value.code == "database_too_old"


def test_a_busy_sqlite_is_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    engine = make_engine(url)
    migrate(engine)
    opened = open_store(url)
    sa.event.listen(opened.engine, "checkout", lambda raw, *_: raw.execute("PRAGMA busy_timeout=20"))
    with engine.connect() as holder:
        holder.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught, opened.store.transaction():
            pass
        assert opened.store.jobs() == (), "a reader does not need the write lock"
    assert caught.value.code == "database_busy"
    assert caught.value.retry_after_s
    engine.dispose()
    opened.store.close()


def test_a_full_disk_fails_and_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    opened = open_store(url)
    job = sample_job()
    with opened.store.transaction() as transaction:
        transaction.insert_job(job)
    pages = opened.rows("PRAGMA page_count")[0]["page_count"]
    sa.event.listen(opened.engine, "checkout", lambda raw, *_: raw.execute(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(Failed) as caught, opened.store.transaction() as transaction:
        transaction.save_job(dataclasses.replace(job, detail="x" * 500_000))
    assert caught.value.code == "database_full"
    assert opened.store.job(job.id) == job
    opened.store.close()


def test_a_read_only_sqlite_fails(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    opened = open_store(url)
    sa.event.listen(opened.engine, "checkout", lambda raw, *_: raw.execute("PRAGMA query_only=ON"))
    with pytest.raises(Failed) as caught:
        opened.store.set_config("k", 1, by="ann", at_ms=1)
    assert caught.value.code == "database_read_only"
    opened.store.close()


def test_a_database_that_was_not_migrated_is_broken(database_url: str) -> None:
    opened = open_store(database_url)
    with pytest.raises(Broken) as caught:
        opened.store.jobs()
    assert caught.value.code == "database_schema"
    opened.store.close()


@pytest.mark.needs("postgres")
def test_a_lost_connection_is_unavailable(postgres_url: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("make_postgres_database")(request.getfixturevalue("postgres_template"))
    opened = open_store(url)

    def lose_it() -> None:
        with opened.store.transaction() as transaction:
            drop_database(postgres_url, str(sa.make_url(url).database))
            transaction.lock_job("x")

    with pytest.raises(Unavailable) as lost:
        lose_it()
    assert lost.value.code == "database_unreachable"
    with pytest.raises(Unavailable):
        opened.store.jobs()
    opened.store.close()


@pytest.mark.needs("postgres")
def test_one_of_two_in_a_deadlock_is_told_to_try_again(request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("make_postgres_database")(request.getfixturevalue("postgres_template"))
    opened, jobs, gate = open_store(url), [sample_job(1), sample_job(2)], threading.Barrier(2)
    with opened.store.transaction() as transaction:
        for job in jobs:
            transaction.insert_job(job)

    def cross(number: int) -> str:
        try:
            with opened.store.transaction() as transaction:
                transaction.lock_job(jobs[number].id)
                gate.wait(10)
                transaction.lock_job(jobs[1 - number].id)
        except Unavailable as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(cross, range(2))) == ["database_busy", "done"]
    opened.store.close()


def test_values_that_no_column_holds_are_refused(opened: Opened) -> None:
    with pytest.raises(Refused), opened.store.transaction() as transaction:
        transaction.insert_job(sample_job(seq=2**70))
    with pytest.raises(Refused):
        opened.store.set_config("k\0", 1, by="\ud800", at_ms=1)


def test_the_library_is_new_enough() -> None:
    assert sqlite3.sqlite_version_info >= database.OLDEST_SQLITE
