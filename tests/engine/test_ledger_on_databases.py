"""The ledger over the real store, on SQLite and on PostgreSQL: sequence, sign, verify, export, several at once."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from tests.support.memory_ledger import ORIGIN, SmallLog, story_of
from tests.support.storage_samples import sample_issue, sample_job
from tests.support.stores import Opened

from windlass.adapters.signing import verify_ed25519
from windlass.core import bundle, notes
from windlass.core.notes import Pin


def open_log(opened: Opened, root: Path) -> tuple[SmallLog, tuple[str, str]]:
    log = SmallLog(root, opened.store)
    jobs = (sample_job(1), sample_job(2, issue=sample_issue(2)))
    for job, head in zip(jobs, ("c" * 40, "9" * 40), strict=True):
        with opened.store.transaction() as transaction:
            transaction.insert_job(job)
        log.write(job.id, *story_of(log.patch, log.log, head))
    return log, (jobs[0].id, jobs[1].id)


def verdict_of(log: SmallLog, path: Path) -> bundle.Verdict:
    pin = Pin(public_key=notes.parse_vkey(log.ledger.vkey).public_key, name=ORIGIN)
    return bundle.verify(bundle.decode(path.read_bytes()), pinned_key=pin, verify_signature=verify_ed25519)


def test_what_the_real_store_keeps_is_exported_and_verifies(opened: Opened, tmp_path: Path) -> None:
    log, (first, _) = open_log(opened, tmp_path)
    summary = log.ledger.export(first, tmp_path / "b.tar")
    assert (summary.records, summary.size) == (11, 21)
    verdict = verdict_of(log, tmp_path / "b.tar")
    assert verdict.ok, verdict.problems
    assert verdict.job == first
    report = log.open().verify()
    assert report.is_sound, report.problems
    assert (report.size, report.checkpoints, report.root) == (21, 1, summary.root)


def test_several_processes_share_one_log(opened: Opened, tmp_path: Path) -> None:
    log, jobs = open_log(opened, tmp_path)
    errors: list[Exception] = []

    def export(job: str, name: str) -> None:
        ledger = log.open()
        try:
            for _ in range(3):
                ledger.export(job, tmp_path / name)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=export, args=(job, f"out-{at}-{copy}.tar"))
        for at, job in enumerate(jobs)
        for copy in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert log.ledger.verify().is_sound
    assert [verdict_of(log, path).problems for path in tmp_path.glob("out-*.tar")] == [()] * 4


def test_a_row_changed_behind_the_triggers_is_found(opened: Opened, tmp_path: Path) -> None:
    log, (first, _) = open_log(opened, tmp_path)
    log.ledger.export(first, tmp_path / "b.tar")
    with opened.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            names = connection.execute(sa.text("select name from sqlite_master where type = 'trigger'")).scalars()
            for name in list(names):
                connection.execute(sa.text(f'drop trigger "{name}"'))
        else:
            connection.execute(sa.text("set session_replication_role = replica"))
        changed = connection.execute(
            sa.text("update compliance_records set body = :body where job_id = :job and job_seq = 3"),
            {"body": b"{}", "job": first},
        )
        assert changed.rowcount == 1
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("set session_replication_role = origin"))
    report = log.open().verify()
    assert not report.is_sound
    assert any("stored hash" in line for line in report.problems)
