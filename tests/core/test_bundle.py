"""A real bundle verifies; no bundle that differs from it in anything does."""

from __future__ import annotations

import functools
import hashlib
import io
import random
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory_ledger import ORIGIN, SmallLog, story_of
from windlass.adapters.signing import Ed25519FileSigner, verify_ed25519
from windlass.core import bundle, bundle_layout, canonical, notes, story, ustar
from windlass.core.bundle import Verdict
from windlass.core.bundle_layout import BundleContents, Ingredients, LoggedRecord
from windlass.core.errors import Refused
from windlass.core.evidence import parse, seal
from windlass.core.merkle import inclusion_proof, leaf_hash, root_of
from windlass.core.notes import Checkpoint, Pin, VerifyKey
from windlass.core.records import RecordDraft

Members = dict[str, bytes]


@functools.cache
def exported() -> tuple[bytes, bytes, bytes, Pin]:
    """Bundles of job-1 and job-2, a later one of job-1, and the key that made them; made once, by the real parts."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        log = SmallLog(root)
        log.tell_two_jobs()
        files = []
        for job in ("job-1", "job-2", "job-1"):
            log.ledger.export(job, root / "b.tar")
            files.append((root / "b.tar").read_bytes())
        key = notes.parse_vkey(log.ledger.vkey)
        return files[0], files[1], files[2], Pin(public_key=key.public_key, name=key.name)


def judge(data: bytes, pin: Pin | None = None) -> Verdict:
    return bundle.verify(bundle.decode(data), pinned_key=pin or exported()[3], verify_signature=verify_ed25519)


def is_ok(data: bytes) -> bool:
    try:
        return judge(data).ok
    except Refused:
        return False


def members() -> Members:
    return ustar.unpack(exported()[0])


def test_a_real_bundle_verifies_and_says_what_it_is() -> None:
    verdict = judge(exported()[0])
    assert verdict.problems == ()
    assert verdict.ok
    assert verdict.is_signer_pinned
    assert (verdict.job, verdict.state, verdict.records, verdict.blobs) == ("job-1", "merged", 11, 2)
    assert verdict.origin == ORIGIN
    assert verdict.proven
    assert not any("pinned" in line for line in verdict.not_proven)
    assert any("clock" in line for line in verdict.not_proven)
    assert any("1 blobs" in line for line in verdict.not_proven)


def test_without_a_pinned_key_the_verdict_says_so() -> None:
    verdict = bundle.verify(bundle.decode(exported()[0]), pinned_key=None, verify_signature=verify_ed25519)
    assert verdict.ok
    assert not verdict.is_signer_pinned
    assert "not pinned" in verdict.not_proven[0]


def test_a_later_bundle_holds_the_earlier_closing_record_too() -> None:
    verdict = judge(exported()[2])
    assert verdict.ok
    assert verdict.records == 12


def test_common_tools_open_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(exported()[0])) as archive:
        assert {one.name: archive.extractfile(one).read() for one in archive} == members()  # type: ignore[union-attr]


def test_no_byte_can_be_changed() -> None:
    data = exported()[0]
    chance = random.Random(1)
    for at in range(0, len(data), 5):
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        assert not is_ok(bytes(changed)), f"byte {at} carries nothing"


def test_no_byte_of_any_member_can_be_changed_in_a_well_formed_file() -> None:
    original, chance = members(), random.Random(2)
    for name, data in original.items():
        for at in {0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(12))}:
            changed = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
            assert not is_ok(ustar.pack({**original, name: changed})), f"{name}, byte {at}"


def test_no_end_can_be_cut_off_and_none_added() -> None:
    data = exported()[0]
    for end in {*range(0, len(data), 97), *range(len(data) - 1100, len(data))}:
        assert not is_ok(data[:end])
    for tail in (b"\0", bytes(512), bytes(10240), b"x"):
        assert not is_ok(data + tail)
    assert not is_ok(bytes(512) + data)
    assert not is_ok(data + data)


def test_no_member_can_be_missing() -> None:
    for name in members():
        assert not is_ok(ustar.pack({other: data for other, data in members().items() if other != name})), name


def test_no_member_can_be_added() -> None:
    for name in (
        "extra",
        "records/000011.json",
        "records/000099.json",
        "blobs/" + "0" * 64,
        "proofs/000011.tlog-proof",
    ):
        assert not is_ok(ustar.pack({**members(), name: members()["records/000000.json"]})), name


def test_no_member_can_come_twice() -> None:
    data = exported()[0]
    assert not is_ok(data[:1024] + data)
    with pytest.raises(Refused, match="twice"):
        bundle.decode(ustar.pack({"manifest.json": b""})[:512] + ustar.pack({"manifest.json": b""}))


def test_no_two_members_can_change_places() -> None:
    names = list(members())
    for at in range(len(names) - 1):
        swapped = [*names[:at], names[at + 1], names[at], *names[at + 2 :]]
        assert not is_ok(ustar.pack({name: members()[name] for name in swapped}))
        contents = {**members(), names[at]: members()[names[at + 1]], names[at + 1]: members()[names[at]]}
        assert not is_ok(ustar.pack(contents))


@pytest.mark.parametrize("which", [1, 2])
def test_nothing_can_be_taken_from_another_bundle(which: int) -> None:
    other = ustar.unpack(exported()[which])
    for name, data in members().items():
        if name in other and other[name] != data:
            assert not is_ok(ustar.pack({**members(), name: other[name]})), name
    for prefix in ("records/", "proofs/", "checkpoint"):
        taken = {name: data for name, data in other.items() if name.startswith(prefix) and name in members()}
        if any(members()[name] != data for name, data in taken.items()):
            assert not is_ok(ustar.pack({**members(), **taken})), prefix


def resigned(change: Callable[[Members], None], root: Path) -> Members:
    """What somebody with another key makes of the bundle: changed, then summed up and signed anew in our name."""
    signer = Ed25519FileSigner(root / "other.key", ORIGIN)
    key = VerifyKey(name=ORIGIN, public_key=signer.public_key())
    found = members()
    change(found)
    head = notes.parse_note(found["checkpoint"].decode())
    checkpoint = notes.sign(head.text, key, signer.sign).encode()
    for name in [name for name in found if name.startswith("proofs/")]:
        proof = notes.parse_proof(found[name].decode())
        found[name] = notes.Proof(index=proof.index, hashes=proof.hashes, checkpoint=checkpoint).encode().encode()
    found |= {"checkpoint": checkpoint.encode(), "vkey": f"{key.encode()}\n".encode()}
    found |= {"key.pem": notes.pem(key.public_key).encode()}
    found["SHA256SUMS"] = notes.sign(bundle_layout.sums_text(found), key, signer.sign).encode().encode()
    return found


def test_another_signer_is_found_only_with_a_pinned_key(tmp_path: Path) -> None:
    forged = ustar.pack(resigned(lambda _found: None, tmp_path))
    pinned = judge(forged)
    assert not pinned.ok
    assert not pinned.is_signer_pinned
    assert any("not by the given key" in problem for problem in pinned.problems)
    unpinned = bundle.verify(bundle.decode(forged), pinned_key=None, verify_signature=verify_ed25519)
    assert unpinned.ok
    assert not unpinned.is_signer_pinned
    assert unpinned.fingerprint != judge(exported()[0]).fingerprint


def test_a_pinned_name_must_be_the_signers_name() -> None:
    pin = Pin(public_key=exported()[3].public_key, name="somebody.example/else")
    assert not judge(exported()[0], pin).ok
    assert judge(exported()[0], Pin(public_key=pin.public_key)).ok


def drop(name: str) -> Callable[[Members], None]:
    return lambda found: found.pop(name) and None


def put(name: str, data: bytes) -> Callable[[Members], None]:
    return lambda found: found.update({name: data})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (drop("records/000010.json"), "does not belong here"),
        (drop("proofs/000003.tlog-proof"), "is missing"),
        (put("manifest.json", b"{}"), "manifest.json does not say"),
        (put("blobs/" + hashlib.sha256(b"x").hexdigest(), b"x"), "not named by any record"),
        (put("records/000002.json", b"{}"), "not a record"),
        (put("records/000002.json", b"\xff"), "not JSON"),
        (put("records/000002.json", b"[" * 60_000), "not JSON"),
        (put("proofs/000002.tlog-proof", members()["proofs/000003.tlog-proof"]), "not in the log at this place"),
        (put("records/000002.json", members()["records/000001.json"]), "twice"),
    ],
)
def test_even_a_signer_cannot_make_contradictions_pass(
    change: Callable[[Members], None], problem: str, tmp_path: Path
) -> None:
    forged = BundleContents(members=resigned(change, tmp_path))
    verdict = bundle.verify(forged, pinned_key=None, verify_signature=verify_ed25519)
    assert not verdict.ok
    assert verdict.proven == ()
    assert any(problem in line for line in verdict.problems), verdict.problems


# ------------------------------------------------------------------ stories that do not hold together


def told(drafts: list[RecordDraft], root: Path, *, close: bool = True, **override: Any) -> Verdict:
    """The verdict on a bundle that the operator's own key made of these records, whatever they say."""
    signer = Ed25519FileSigner(root / "own.key", ORIGIN)
    key = VerifyKey(name=ORIGIN, public_key=signer.public_key())
    bodies: list[bytes] = []
    for number, draft in enumerate(drafts):
        place: dict[str, Any] = {"id": f"r{number}", "job_id": "job-1", "job_seq": number, "at_ms": number}
        bodies.append(seal(draft.kind, draft.data, **{**place, **override.get(f"at_{number}", {})})[0])
    if close:
        data = {**story.closing(bodies, state="merged", reason=""), **override.get("closing", {})}
        bodies.append(seal("export", data, id="end", job_id="job-1", job_seq=len(bodies), at_ms=99)[0])
    leaves = [leaf_hash(body) for body in bodies]
    head = Checkpoint(origin=ORIGIN, size=len(leaves), root=root_of(leaves))
    records = [LoggedRecord(body=b, index=n, proof=inclusion_proof(leaves, n)) for n, b in enumerate(bodies)]
    what = Ingredients(
        job="job-1",
        head=head,
        checkpoint=notes.sign(head.text(), key, signer.sign).encode(),
        key=key,
        records=tuple(records),
        blobs={},
        absent_blobs=tuple({digest for body in bodies for digest in bundle.blob_digests(parse(body).data)}),
    )
    contents = bundle.decode(bundle.encode(bundle_layout.compose(what, signer.sign)))
    return bundle.verify(contents, pinned_key=None, verify_signature=verify_ed25519)


HEAD = "c" * 40
GOOD = story_of("1" * 64, "2" * 64, HEAD)


def without(*kinds: str) -> list[RecordDraft]:
    return [draft for draft in GOOD if draft.kind not in kinds]


def draft(kind: str, **data: Any) -> RecordDraft:
    return RecordDraft(kind=kind, data=data)


def test_a_good_story_told_by_hand_verifies(tmp_path: Path) -> None:
    verdict = told(GOOD, tmp_path)
    assert verdict.problems == ()
    assert verdict.ok


@pytest.mark.parametrize(
    ("drafts", "problem"),
    [
        (without("intent"), "nobody had intended"),
        ([GOOD[0], *reversed(GOOD[1:3])], "nobody had intended"),
        ([draft("intent", effect="StartRun")], "lacks seq"),
        ([draft("intent", effect="StartRun", seq=True)], "lacks seq"),
        ([draft("result", effect="StartRun", seq=1, outcome="fine")], "lacks outcome"),
        ([*GOOD[:7], draft("approval", by="grace", head_sha="d" * 40)], "not the head at that time"),
        ([draft("approval", by="grace", head_sha=HEAD)], "not the head at that time"),
        (without("approval"), "gate was opened"),
        ([*GOOD[:7], draft("gate", head_sha=HEAD, state="success")], "gate was opened"),
        ([*GOOD[:7], draft("intent", effect="SetCommitStatus", seq=3, order={"state": "success", "sha": [1]})], "gate"),
        ([*GOOD[:7], GOOD[-1]], "no recorded approval names"),
        ([*GOOD[:9], draft("merge", head_sha="d" * 40, approved_by="grace")], "not the head at that time"),
        ([*GOOD, draft("export", records=10, leaves_sha256="0" * 64, state="merged")], "closing record does not fit"),
    ],
)
def test_a_story_that_contradicts_itself_is_found(drafts: list[RecordDraft], problem: str, tmp_path: Path) -> None:
    verdict = told(drafts, tmp_path)
    assert not verdict.ok
    assert any(problem in line for line in verdict.problems), verdict.problems


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ({"close": False}, "not a closing record"),
        ({"closing": {"records": 9}}, "does not fit"),
        ({"closing": {"leaves_sha256": "0" * 64}}, "does not fit"),
        ({"at_4": {"job_seq": 5}}, "says that it is record 5"),
        ({"at_4": {"job_id": "job-2"}}, "another job"),
        ({"at_4": {"id": "r3"}}, "twice"),
        ({"at_4": {"job_id": None, "job_seq": None}}, "another job"),
    ],
)
def test_wrong_places_and_closings_are_found(override: dict[str, Any], problem: str, tmp_path: Path) -> None:
    verdict = told(GOOD, tmp_path, **override)
    assert not verdict.ok
    assert any(problem in line for line in verdict.problems), verdict.problems


def test_a_merge_without_approval_is_said_aloud(tmp_path: Path) -> None:
    drafts = [*GOOD[:7], draft("merge", head_sha=HEAD, merged_by="eve", approved_by=None)]
    verdict = told(drafts, tmp_path)
    assert verdict.ok
    assert any("merged without" in line for line in verdict.not_proven)


def test_a_head_that_somebody_else_pushed_is_said_aloud(tmp_path: Path) -> None:
    seen = {"kind": "PullRequestObserved", "pull": {"head_sha": "d" * 40}}
    look = draft("intent", effect="Observe", seq=5), draft("result", effect="Observe", seq=5, outcome=seen)
    yes = draft("approval", by="grace", head_sha="d" * 40), draft("merge", head_sha="d" * 40, approved_by="grace")
    verdict = told([*GOOD[:7], *look, *yes], tmp_path)
    assert verdict.ok
    assert any("somebody else pushed it" in line for line in verdict.not_proven)


def test_an_approval_seen_only_with_the_merge_counts(tmp_path: Path) -> None:
    assert told([*GOOD[:7], GOOD[9], GOOD[7]], tmp_path).ok


# ------------------------------------------------------------------ files that are no bundle


def foreign_tar(**changes: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo(changes.pop("name", "manifest.json"))
        for name, value in changes.items():
            setattr(info, name, value)
        archive.addfile(info)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tar",
        bytes(512),
        bytes(1024),
        b"\x1f\x8b" + bytes(2000),
        ustar.pack({}),
        ustar.pack({"manifest.json": b"{}"}),
        foreign_tar(),
        foreign_tar(name="../../etc/passwd"),
        foreign_tar(name="/etc/passwd"),
        foreign_tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        foreign_tar(type=tarfile.CHRTYPE),
        foreign_tar(mode=0o4755),
        foreign_tar(mtime=1),
        b"manifest.json".ljust(124, b"\0") + b"77777777777\0" + bytes(2000),
    ],
)
def test_what_is_no_bundle_is_refused_at_the_door(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        bundle.decode(data)
    assert caught.value.code == "bad_archive"
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a/../b", ".hidden", "a//b", "a\n", "ä", "a" * 101, "a b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        ustar.pack({name: b""})


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_members_of_every_size_survive(size: int) -> None:
    found = {"a": b"x" * size, "b/c": b"y"}
    assert ustar.unpack(ustar.pack(found)) == found


def test_an_empty_set_of_members_is_a_verdict_not_a_crash() -> None:
    verdict = bundle.verify(BundleContents(members={}), pinned_key=None, verify_signature=verify_ed25519)
    assert not verdict.ok
    assert verdict.fingerprint == ""
    assert verdict.not_proven


def test_the_manifest_is_canonical_json() -> None:
    manifest = canonical.decode(members()["manifest.json"])
    assert (manifest["schema"], manifest["records"], manifest["job"]) == ("windlass.dev/bundle/v1", 11, "job-1")
