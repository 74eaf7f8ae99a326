"""The ledger over a store: what it signs, what it refuses to sign, what it finds, what it hands out."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.support.memory_ledger import ORIGIN, SmallLog, make_job

from windlass.adapters.signing import Ed25519FileSigner, verify_ed25519
from windlass.core import bundle, merkle, notes
from windlass.core.errors import Broken, NotFound, Refused
from windlass.core.evidence import parse, seal
from windlass.core.notes import Pin, VerifyKey
from windlass.core.records import RecordDraft
from windlass.engine.ledger import Ledger


@pytest.fixture
def log(tmp_path: Path) -> SmallLog:
    small = SmallLog(tmp_path)
    small.tell_two_jobs()
    return small


def note_line(number: int) -> RecordDraft:
    return RecordDraft(kind="decision", data={"number": number})


def test_sequencing_gives_every_record_one_place(log: SmallLog) -> None:
    assert log.ledger.sequence() == 21
    assert log.ledger.sequence() == 0
    assert [row.leaf_index for row in log.store.records()] == list(range(21))


def test_more_than_one_batch_is_sequenced(tmp_path: Path) -> None:
    log = SmallLog(tmp_path)
    log.write(None, *(note_line(number) for number in range(2100)))
    assert log.ledger.sequence() == 2100


def test_a_checkpoint_signs_size_and_root(log: SmallLog) -> None:
    log.ledger.sequence()
    note = notes.parse_note(log.ledger.checkpoint())
    head = notes.parse_checkpoint(note.text)
    assert (head.origin, head.size) == (ORIGIN, 21)
    assert head.root == merkle.root_of([row.leaf_hash for row in log.store.records()])
    assert notes.signers(note, [notes.parse_vkey(log.ledger.vkey)], verify_ed25519)


def test_a_checkpoint_is_signed_only_when_the_log_grew(log: SmallLog) -> None:
    log.ledger.sequence()
    first = log.ledger.checkpoint()
    assert log.ledger.checkpoint() == first
    assert log.open().checkpoint() == first
    log.write(None, note_line(1))
    assert log.ledger.checkpoint() == first
    log.ledger.sequence()
    assert log.ledger.checkpoint() != first
    assert [size for size, _ in log.store.checkpoints()] == [21, 22]


def test_an_empty_log_has_a_checkpoint_too(tmp_path: Path) -> None:
    log = SmallLog(tmp_path)
    head = notes.parse_checkpoint(notes.parse_note(log.ledger.checkpoint()).text)
    assert (head.size, head.root) == (0, merkle.EMPTY_ROOT)
    assert log.ledger.verify().is_sound


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 700, 1300])
def test_proofs_hold_across_blocks(size: int, tmp_path: Path) -> None:
    log = SmallLog(tmp_path)
    log.write(None, *(note_line(number) for number in range(size)))
    log.ledger.sequence()
    leaves = log.store.leaf_hashes(0, size)
    root = merkle.root_of(leaves)
    for index in sorted({0, size // 2, size - 1, min(255, size - 1), min(256, size - 1), min(512, size - 1)}):
        proof = log.ledger.inclusion(index, size)
        assert proof == merkle.inclusion_proof(leaves, index)
        assert merkle.is_included(leaves[index], index, size, proof, root)
        proof = log.ledger.consistency(index, size)
        assert merkle.is_consistent(index, merkle.root_of(leaves[:index]), size, root, proof)
        smaller = max(1, size - 3)
        if index < smaller:
            assert log.ledger.inclusion(index, smaller) == merkle.inclusion_proof(leaves[:smaller], index)


def test_places_beyond_the_log_are_not_found(log: SmallLog) -> None:
    log.ledger.sequence()
    for index, size in ((21, 21), (0, 22), (-2, 5)):
        with pytest.raises(NotFound):
            log.ledger.inclusion(index, size)
    with pytest.raises(NotFound):
        log.ledger.consistency(3, 22)


def test_a_sound_log_verifies(log: SmallLog) -> None:
    log.ledger.sequence()
    log.ledger.checkpoint()
    log.write("job-1", note_line(1))
    log.ledger.sequence()
    log.ledger.checkpoint()
    log.write("job-1", note_line(2))
    report = log.ledger.verify()
    assert report.is_sound, report.problems
    assert (report.size, report.checkpoints) == (22, 2)


def reseal(log: SmallLog, at: int, *, also_hash: bool) -> None:
    """Change what record `at` says, as somebody with the database could."""
    row = log.store.rows[at]
    told = parse(row.body)
    body, leaf = seal(
        told.kind, {**told.data, "changed": True}, id=row.id, job_id=row.job_id, job_seq=row.job_seq, at_ms=row.at_ms
    )
    log.store.set(at, body=body, **({"leaf_hash": leaf} if also_hash else {}))


def test_a_changed_record_is_found(log: SmallLog) -> None:
    log.ledger.export("job-1", log.root / "b.tar")
    reseal(log, 4, also_hash=False)
    problems = log.ledger.verify().problems
    assert any("entry 4" in line and "stored hash" in line for line in problems)
    assert any("do not lead to its root" in line for line in problems)


def test_a_record_changed_with_its_hash_is_found(log: SmallLog) -> None:
    log.ledger.export("job-1", log.root / "b.tar")
    reseal(log, 4, also_hash=True)
    assert not log.ledger.verify().is_sound
    with pytest.raises(Broken, match="do not lead to the kept checkpoint"):
        log.open().checkpoint()
    with pytest.raises(Broken):
        log.open().export("job-1", log.root / "c.tar")
    assert not (log.root / "c.tar").exists()


def test_a_removed_record_is_found(log: SmallLog) -> None:
    log.ledger.export("job-1", log.root / "b.tar")
    del log.store.rows[7]
    assert not log.ledger.verify().is_sound
    with pytest.raises(Broken):
        log.ledger.checkpoint()


def test_a_log_cut_off_at_its_end_is_found(log: SmallLog) -> None:
    log.ledger.export("job-1", log.root / "b.tar")
    del log.store.rows[-2:]
    assert any("only 20 entries" in line for line in log.ledger.verify().problems)
    for ledger in (log.ledger, log.open()):
        with pytest.raises(Broken, match="has 20 entries"):
            ledger.checkpoint()


def test_columns_that_contradict_the_bytes_are_found(log: SmallLog) -> None:
    log.ledger.sequence()
    log.store.set(3, kind="merge")
    assert any("entry 3: the table says" in line for line in log.ledger.verify().problems)


def test_a_gap_in_a_jobs_numbers_is_found(log: SmallLog) -> None:
    row = log.store.rows[-2]
    body, leaf = seal("decision", {}, id="late", job_id="job-1", job_seq=12, at_ms=row.at_ms)
    with log.store.transaction() as transaction:
        transaction.add_records("job-1", [note_line(1)], row.at_ms)
    log.store.set(-1, id="late", job_seq=12, body=body, leaf_hash=leaf, at_ms=row.at_ms)
    log.ledger.sequence()
    assert any("record 12 of job job-1, where 10 should be" in line for line in log.ledger.verify().problems)


def test_a_forged_checkpoint_is_found(log: SmallLog) -> None:
    log.ledger.sequence()
    log.ledger.checkpoint()
    signer = Ed25519FileSigner(log.root / "other.key", ORIGIN)
    root, note = log.store.checkpoint_rows[21]
    forged = notes.sign(
        notes.parse_note(note).text, VerifyKey(name=ORIGIN, public_key=signer.public_key()), signer.sign
    )
    log.store.checkpoint_rows[21] = (root, forged.encode())
    assert any("not signed by a known key" in line for line in log.ledger.verify().problems)
    with pytest.raises(Broken) as caught:
        log.open().checkpoint()
    assert caught.value.code == "ledger_unknown_key"


def test_an_older_key_is_known_when_it_is_named(log: SmallLog) -> None:
    log.ledger.sequence()
    log.ledger.checkpoint()
    older = notes.parse_vkey(log.ledger.vkey)
    signer = Ed25519FileSigner(log.root / "new.key", ORIGIN)
    renewed = Ledger(
        log.store, signer, log.blobs, log.clock, ORIGIN, verify_signature=verify_ed25519, older_keys=[older]
    )
    log.write(None, note_line(1))
    summary = renewed.export("job-1", log.root / "b.tar")
    assert renewed.verify().is_sound
    pin = notes.parse_pin(summary.vkey)
    contents = bundle.decode((log.root / "b.tar").read_bytes())
    assert bundle.verify(contents, pinned_key=pin, verify_signature=verify_ed25519).ok
    assert older.public_key != pin.public_key


def test_an_export_closes_the_job_and_says_what_it_is(log: SmallLog) -> None:
    summary = log.ledger.export("job-1", log.root / "b.tar")
    assert (summary.records, summary.blobs, summary.absent_blobs) == (11, 2, ("e" * 64,))
    closing = parse(log.ledger.records("job-1")[-1].body)
    assert (closing.kind, closing.data["records"], closing.data["state"]) == ("export", 10, "merged")
    pin = Pin(public_key=notes.parse_pin(summary.vkey).public_key)
    contents = bundle.decode((log.root / "b.tar").read_bytes())
    verdict = bundle.verify(contents, pinned_key=pin, verify_signature=verify_ed25519)
    assert verdict.ok
    assert (verdict.root, verdict.fingerprint) == (summary.root, summary.fingerprint)
    assert {row.job_id for row in log.store.rows} == {"job-1", "job-2", None}
    assert all(parse(data).job == "job-1" for name, data in contents.members.items() if name.startswith("records/"))


def test_a_bundle_can_be_had_as_bytes(log: SmallLog) -> None:
    contents = bundle.decode(log.ledger.export_bytes("job-2"))
    verdict = bundle.verify(contents, pinned_key=None, verify_signature=verify_ed25519)
    assert verdict.ok
    assert verdict.job == "job-2"


def test_nothing_is_lost_when_both_jobs_are_exported_at_once(log: SmallLog) -> None:
    errors: list[Exception] = []

    def export(job: str, name: str, ledger: Ledger) -> None:
        try:
            for _ in range(5):
                ledger.export(job, log.root / name)
        except Exception as error:
            errors.append(error)

    shared = log.open()
    threads = [
        threading.Thread(target=export, args=(job, f"{job}-{number}.tar", ledger))
        for job in ("job-1", "job-2")
        for number, ledger in enumerate((shared, log.open()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert log.ledger.verify().is_sound
    for path in log.root.glob("job-*.tar"):
        assert bundle.verify(bundle.decode(path.read_bytes()), pinned_key=None, verify_signature=verify_ed25519).ok


def test_blobs_above_the_limits_are_left_out_and_named(log: SmallLog) -> None:
    summary = log.ledger.export("job-1", log.root / "b.tar", max_blob_bytes=20)
    assert set(summary.absent_blobs) == {"e" * 64, log.log}
    summary = log.ledger.export("job-1", log.root / "b.tar", max_blobs_bytes=0)
    assert set(summary.absent_blobs) == {"e" * 64, log.log, log.patch}
    contents = bundle.decode((log.root / "b.tar").read_bytes())
    assert bundle.verify(contents, pinned_key=None, verify_signature=verify_ed25519).ok


def test_a_damaged_blob_stops_the_export(log: SmallLog) -> None:
    (log.root / "blobs" / "sha256" / log.patch[:2] / log.patch).write_bytes(b"other")
    with pytest.raises(Broken):
        log.ledger.export("job-1", log.root / "b.tar")


def test_an_unknown_job_is_not_found_and_leaves_no_record(log: SmallLog) -> None:
    with pytest.raises(NotFound) as caught:
        log.ledger.export("job-9", log.root / "b.tar")
    assert caught.value.code == "no_job"
    assert len(log.store.rows) == 21


def test_a_job_whose_records_contradict_each_other_gets_no_bundle(log: SmallLog) -> None:
    log.store.jobs_by_id["job-3"] = make_job("job-3", 3)
    log.write("job-3", RecordDraft(kind="approval", data={"by": "eve", "head_sha": "f" * 40}))
    with pytest.raises(Broken, match="do not prove themselves"):
        log.ledger.export("job-3", log.root / "b.tar")
    assert not (log.root / "b.tar").exists()


def test_a_place_that_cannot_be_written_is_refused(log: SmallLog) -> None:
    (log.root / "directory").mkdir()
    for path in (log.root / "no" / "b.tar", log.root / "directory", log.root / "log.key" / "b.tar"):
        with pytest.raises(Refused) as caught:
            log.ledger.export("job-1", path)
        assert caught.value.code == "bad_destination"
    assert not [path for path in log.root.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("origin", ["", "two words", "a\nb", "windlass.dev/bundle/v1"])
def test_origins_that_could_be_mistaken_are_refused(origin: str, tmp_path: Path) -> None:
    log = SmallLog(tmp_path)
    with pytest.raises(Refused):
        Ledger(log.store, log.signer, log.blobs, log.clock, origin, verify_signature=verify_ed25519)
