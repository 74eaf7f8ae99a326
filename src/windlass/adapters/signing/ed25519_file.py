"""An Ed25519 signing key in a file (PEM, PKCS #8), made on first use.

Keeps the rule that only its owner can read the key. Refuses a key file that others may read, that is a link, or that
holds another kind of key. The key is read once; to change it, replace the file and start again.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from windlass.core.errors import Failed, Refused
from windlass.core.notes import check_name

_MAX_FILE_BYTES = 16_384


class Ed25519FileSigner:
    """Fills `ports.Signer`. `name` is the key's name in signed notes, e.g. `example.com/windlass`.

    Raises Refused (bad_key_name, unsafe_key_file, bad_key_file) and Failed (key_file) when it is made.
    """

    def __init__(self, path: Path, name: str) -> None:
        check_name(name)
        self.name = name
        self._path = path
        try:
            self._key = _read_or_make(path)
        except OSError as error:
            raise Failed(
                f"the signing key {path} cannot be read or made: {error.strerror}",
                hint="check that its directory exists and belongs to this user",
                code="key_file",
            ) from error

    def __repr__(self) -> str:
        return f"Ed25519FileSigner(path={str(self._path)!r}, name={self.name!r})"

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature (RFC 8032), 64 bytes; the same message gives the same signature."""
        return self._key.sign(message)

    def public_key(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is by the raw key (32 bytes) over `message`; False for anything malformed."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _read_or_make(path: Path) -> Ed25519PrivateKey:
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path)
        return _read(path)


def _read(path: Path) -> Ed25519PrivateKey:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check_safe(path, os.fstat(descriptor))
        text = file.read(_MAX_FILE_BYTES)
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as error:
        raise _bad(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad(path)
    return key


def _check_safe(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _bad(path)
    if status.st_mode & 0o077:
        raise Refused(
            f"the signing key {path} may be read or written by others",
            hint=f"chmod 600 {path}; if others have had access to it, make a new key",
            code="unsafe_key_file",
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise Refused(
            f"the signing key {path} belongs to another user",
            hint=f"chown it to the user that Windlass runs as (uid {os.geteuid()})",
            code="unsafe_key_file",
        )


def _make(path: Path) -> None:
    """Write a new key beside `path`, then link it there: it is never seen half written, and never replaces another."""
    text = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path, follow_symlinks=False)
        except FileExistsError:
            return  # another process was first; its key is the key
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _bad(path: Path) -> Refused:
    return Refused(
        f"{path} is not an Ed25519 private key in PEM (PKCS #8, no password)",
        hint="move it away to have a new key made, or make one with `openssl genpkey -algorithm ed25519`",
        code="bad_key_file",
    )
