"""The key file: made once, whole and private; anything else refused."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from windlass.adapters.signing import Ed25519FileSigner, verify_ed25519
from windlass.core.errors import Failed, Refused

NAME = "windlass.example/log"


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = Ed25519FileSigner(tmp_path / "key", NAME)
    second = Ed25519FileSigner(tmp_path / "key", NAME)
    assert first.public_key() == second.public_key()
    assert len(first.public_key()) == 32
    assert first.sign(b"m") == second.sign(b"m")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Ed25519FileSigner(tmp_path / "key", NAME)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_many_who_start_at_once_share_one_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        found.append(Ed25519FileSigner(tmp_path / "key", NAME).public_key())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_signatures_hold_for_their_message_only(tmp_path: Path) -> None:
    signer = Ed25519FileSigner(tmp_path / "key", NAME)
    signature = signer.sign(b"message")
    assert len(signature) == 64
    assert verify_ed25519(signer.public_key(), b"message", signature)
    assert not verify_ed25519(signer.public_key(), b"massage", signature)
    assert not verify_ed25519(signer.public_key(), b"message", signature[:-1])
    assert not verify_ed25519(signer.public_key(), b"message", bytes(64))
    assert not verify_ed25519(b"short", b"message", signature)
    assert not verify_ed25519(bytes(32), b"message", signature)


def test_it_verifies_what_rfc_8032_signed() -> None:
    public_key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert verify_ed25519(public_key, b"\x72", signature)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused(mode: int, tmp_path: Path) -> None:
    Ed25519FileSigner(tmp_path / "key", NAME)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(Refused, match="by others") as caught:
        Ed25519FileSigner(tmp_path / "key", NAME)
    assert caught.value.code == "unsafe_key_file"
    assert "chmod 600" in caught.value.hint


def test_files_that_hold_no_such_key_are_refused_and_kept(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    texts = [
        b"",
        b"not a key",
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    ]
    for text in texts:
        path = tmp_path / "key"
        path.write_bytes(text)
        path.chmod(0o600)
        with pytest.raises(Refused) as caught:
            Ed25519FileSigner(path, NAME)
        assert caught.value.code == "bad_key_file"
        assert path.read_bytes() == text


def test_links_directories_and_pipes_are_no_key_files(tmp_path: Path) -> None:
    Ed25519FileSigner(tmp_path / "real", NAME)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "dangling", "directory", "pipe"):
        with pytest.raises((Refused, Failed)):
            Ed25519FileSigner(tmp_path / name, NAME)
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_directory_is_a_clear_failure(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        Ed25519FileSigner(tmp_path / "no" / "key", NAME)
    assert caught.value.code == "key_file"


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak"])
def test_names_that_no_note_can_carry_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        Ed25519FileSigner(tmp_path / "key", name)
    assert not (tmp_path / "key").exists()


def test_it_does_not_show_the_key(tmp_path: Path) -> None:
    signer = Ed25519FileSigner(tmp_path / "key", NAME)
    secret = "".join((tmp_path / "key").read_text().splitlines()[1:-1])
    assert secret not in repr(signer)
    assert "key" in repr(signer)
