"""Signed notes against a note that another implementation signed, and against everything that is almost a note."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from windlass.adapters.signing import verify_ed25519
from windlass.core import notes
from windlass.core.errors import Refused
from windlass.core.notes import Checkpoint, NoteSignature, Proof, VerifyKey

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifyKey(name="windlass.example/log", public_key=PRIVATE.public_key().public_bytes_raw())
OTHER = VerifyKey(
    name=KEY.name, public_key=Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
)
TEXT = "windlass.example/log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
NOTE = notes.sign(TEXT, KEY, PRIVATE.sign)

# Made and published by the Go implementation of the format.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_of_another_implementation_verifies() -> None:
    key = notes.parse_vkey(GO_KEY)
    note = notes.parse_note(GO_NOTE)
    assert key.encode() == GO_KEY
    assert note.encode() == GO_NOTE
    assert notes.signers(note, [key], verify_ed25519) == (key,)
    assert notes.signers(notes.parse_note(GO_NOTE.replace("problem is", "problem was")), [key], verify_ed25519) == ()


def test_the_key_id_is_the_hash_of_name_and_key() -> None:
    assert notes.parse_vkey(GO_KEY).id.hex() == "c74f20a3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("Peter", "Pater"),
        GO_KEY.replace("ARpc", "AhpC"),
        GO_KEY + "\n",
        GO_KEY[:-1],
        "Peter Neumann+" + GO_KEY.split("+", 1)[1],
        "+" + GO_KEY.split("+", 1)[1],
    ],
)
def test_what_is_almost_a_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        notes.parse_vkey(text)


def test_a_note_survives_the_round_trip() -> None:
    assert notes.parse_note(NOTE.encode()) == NOTE
    assert notes.signers(NOTE, [KEY], verify_ed25519) == (KEY,)


def test_a_signature_of_an_unknown_key_counts_for_nothing() -> None:
    assert notes.signers(NOTE, [OTHER], verify_ed25519) == ()
    assert notes.signers(NOTE, [OTHER, KEY], verify_ed25519) == (KEY,)


def test_one_false_line_in_the_name_of_a_known_key_spoils_the_note() -> None:
    false = NoteSignature(name=OTHER.name, key_id=OTHER.id, signature=NOTE.signatures[0].signature)
    note = notes.Note(text=TEXT, signatures=(*NOTE.signatures, false))
    assert notes.signers(note, [KEY], verify_ed25519) == (KEY,)
    assert notes.signers(note, [KEY, OTHER], verify_ed25519) == ()


def test_the_same_line_twice_spoils_the_note() -> None:
    note = notes.Note(text=TEXT, signatures=NOTE.signatures * 2)
    assert notes.signers(note, [KEY], verify_ed25519) == ()


SIGNATURE = NOTE.encode().split("\n\n")[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT,
        NOTE.encode()[:-1],
        NOTE.encode() + "\n",
        NOTE.encode().replace("— ", "- "),
        NOTE.encode().replace("— ", "—  "),
        NOTE.encode().replace("\n3\n", "\n3\r\n"),
        NOTE.encode().replace("=\n", "\n", 2),
        TEXT + "\n— name AAAA\n",
        TEXT + "\n— name AAAAAA=\n",
        TEXT + "\n" + SIGNATURE * 17,
    ],
)
def test_what_is_almost_a_note_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        notes.parse_note(text)


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "a\x00b\n"])
def test_only_plain_text_is_signed(text: str) -> None:
    with pytest.raises(Refused):
        notes.sign(text, KEY, PRIVATE.sign)


def test_a_checkpoint_is_three_lines_and_whatever_follows() -> None:
    head = notes.parse_checkpoint(TEXT)
    assert (head.origin, head.size, head.extensions) == ("windlass.example/log", 3, ())
    assert head.text() == TEXT
    assert notes.parse_checkpoint(TEXT + "more\n").extensions == ("more",)


@given(size=st.integers(0, 2**53), root=st.binary(min_size=32, max_size=32))
def test_every_checkpoint_survives_the_round_trip(size: int, root: bytes) -> None:
    head = Checkpoint(origin="a/b", size=size, root=root)
    assert notes.parse_checkpoint(head.text()) == head


@pytest.mark.parametrize(
    "text",
    [
        "origin\n3\n",
        TEXT[:-1],
        TEXT.replace("\n3\n", "\n03\n"),
        TEXT.replace("\n3\n", "\n-3\n"),
        TEXT.replace("\n3\n", "\n+3\n"),
        TEXT.replace("\n3\n", "\n٣\n"),
        TEXT.replace("\n3\n", "\n3 \n"),
        TEXT.replace("\n3\n", "\n\n"),
        TEXT.replace("q2I=", "q2J="),
        TEXT.replace("CsUY", "UY"),
        TEXT + "\nx\n",
        "\n" + TEXT.split("\n", 1)[1],
    ],
)
def test_what_is_almost_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        notes.parse_checkpoint(text)


@given(index=st.integers(0, 2**50), hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=20))
def test_every_proof_survives_the_round_trip(index: int, hashes: list[bytes]) -> None:
    proof = Proof(index=index, hashes=tuple(hashes), checkpoint=NOTE.encode())
    assert notes.parse_proof(proof.encode()) == proof


@pytest.mark.parametrize("old", ["c2sp.org/tlog-proof@v1", "index 5", "AAAA", "\n\nwindlass"])
def test_what_is_almost_a_proof_is_refused(old: str) -> None:
    text = Proof(index=5, hashes=(bytes(32),), checkpoint=NOTE.encode()).encode()
    with pytest.raises(Refused):
        notes.parse_proof(text.replace(old, "x" if old != "\n\nwindlass" else "\nwindlass", 1))


def test_a_pin_is_read_in_every_form_people_keep() -> None:
    raw = base64.b64encode(KEY.public_key).decode()
    assert notes.parse_pin(KEY.encode() + "\n") == notes.Pin(public_key=KEY.public_key, name=KEY.name)
    assert notes.parse_pin(raw).public_key == KEY.public_key
    assert notes.parse_pin(notes.pem(KEY.public_key)).public_key == KEY.public_key


@given(public_key=st.binary(min_size=32, max_size=32))
def test_no_raw_key_is_taken_for_another_form(public_key: bytes) -> None:
    assert notes.parse_pin(base64.b64encode(public_key).decode()) == notes.Pin(public_key=public_key)
    key = VerifyKey(name="n", public_key=public_key)
    assert notes.parse_pin(key.encode()) == notes.Pin(public_key=public_key, name="n")


def test_a_raw_key_with_plus_signs_in_it_is_still_a_raw_key() -> None:
    raw = base64.b64decode("AA+01234567+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    assert notes.parse_pin(base64.b64encode(raw).decode()).public_key == raw


@pytest.mark.parametrize("text", ["", "hello", "AAAA", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        notes.parse_pin(text)
