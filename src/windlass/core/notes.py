"""Signed notes and checkpoints, as C2SP writes them (signed-note, tlog-checkpoint, tlog-proof), and Ed25519 keys.

Keeps the rule that a text counts only after a signature by a key that we were given. Refuses everything that is not
byte for byte what we would have written ourselves: spare spaces, leading zeros, base64 with stray bits, controls.
The arithmetic of Ed25519 is not here; whoever verifies passes it in as `verify`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from windlass.core.errors import Refused
from windlass.core.merkle import HASH_BYTES

VerifySignature = Callable[[bytes, bytes, bytes], bool]
"""(raw public key of 32 bytes, message, signature of 64 bytes) → whether the signature is that key's."""

PROOF_LINE = "c2sp.org/tlog-proof@v1"
MAX_NOTE_BYTES = 16 << 20
MAX_SIGNATURES = 16

_ED25519 = b"\x01"
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_ID_BYTES = 4
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: SubjectPublicKeyInfo of Ed25519
_PEM_BEGIN = "-----BEGIN PUBLIC KEY-----"
_PEM_END = "-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyKey:
    """A named Ed25519 public key. `public_key`: 32 raw bytes."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != _KEY_BYTES:
            raise _malformed("an Ed25519 public key has 32 bytes")

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || newline || 0x01 || key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:_ID_BYTES]

    def encode(self) -> str:
        """The one-line form `name+id+key` that C2SP tools read."""
        return f"{self.name}+{self.id.hex()}+{_b64(_ED25519 + self.public_key)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A key that an auditor got by another way than the bundle. `name` is '' when only the key itself is known."""

    public_key: bytes
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line. `key_id`: 4 bytes; `signature`: what the key made, 64 bytes for Ed25519."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text (it ends in a newline) and its signature lines."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> str:
        """The note as it is stored and sent."""
        lines = (f"— {one.name} {_b64(one.key_id + one.signature)}\n" for one in self.signatures)
        return f"{self.text}\n{''.join(lines)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of a log: `size` leaves with `root` (32 bytes), in the log called `origin`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), _b64(self.root), *self.extensions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That leaf `index` is in the tree of `checkpoint` (the note's exact text)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def encode(self) -> str:
        """The text of a `.tlog-proof` file."""
        lines = [PROOF_LINE, f"index {self.index}", *(_b64(one) for one in self.hashes)]
        return "\n".join(lines) + "\n\n" + self.checkpoint


# ------------------------------------------------------------------ keys


def check_name(name: str) -> None:
    """Raises Refused unless `name` may name a key: not empty, printable, no spaces and no plus."""
    if not name or "+" in name or any(char.isspace() or not char.isprintable() for char in name):
        raise Refused(
            f"{name!r} cannot name a signing key",
            hint="use a name like example.com/windlass, without spaces and plus signs",
            code="bad_key_name",
        )


def parse_vkey(text: str) -> VerifyKey:
    """Read `name+id+key`. Raises Refused (malformed_note) when it is not exactly one Ed25519 key."""
    parts = text.split("+", 2)  # base64 may hold a plus; names and ids may not
    if len(parts) != 3:
        raise _malformed("a verifier key looks like name+id+key")
    kind_and_key = _unb64(parts[2], "the verifier key")
    if kind_and_key[:1] != _ED25519:
        raise _malformed("only Ed25519 verifier keys (type 1) are known here")
    key = VerifyKey(name=parts[0], public_key=kind_and_key[1:])
    if key.id.hex() != parts[1]:
        raise _malformed("the verifier key's id does not belong to its name and key")
    return key


def parse_pin(text: str) -> Pin:
    """Read a trusted key as people keep it: a verifier key, a PEM public key, or 32 bytes in base64."""
    text = text.strip()
    if text.startswith("-----"):
        return Pin(public_key=parse_pem(text))
    if text.count("+") >= 2 and _looks_like_vkey(text):
        key = parse_vkey(text)
        return Pin(public_key=key.public_key, name=key.name)
    raw = _unb64(text, "the public key")
    if len(raw) != _KEY_BYTES:
        raise _malformed("an Ed25519 public key has 32 bytes")
    return Pin(public_key=raw)


def _looks_like_vkey(text: str) -> bool:
    key_id = text.split("+", 2)[1]
    return len(key_id) == 2 * _ID_BYTES and all(char in "0123456789abcdef" for char in key_id) and len(text) > 44


def pem(public_key: bytes) -> str:
    """The public key as SubjectPublicKeyInfo in PEM (RFC 8410), which openssl reads."""
    return f"{_PEM_BEGIN}\n{_b64(_SPKI_PREFIX + public_key)}\n{_PEM_END}\n"


def parse_pem(text: str) -> bytes:
    """The 32 raw bytes of an Ed25519 public key in PEM. Raises Refused for anything else, private keys too."""
    lines = text.split()
    body = "".join(text.strip().splitlines()[1:-1]) if lines else ""
    if not text.strip().startswith(_PEM_BEGIN) or not text.strip().endswith(_PEM_END):
        raise _malformed("this PEM text is not one public key")
    der = _unb64(body, "the PEM text")
    if der[: len(_SPKI_PREFIX)] != _SPKI_PREFIX or len(der) != len(_SPKI_PREFIX) + _KEY_BYTES:
        raise _malformed("this PEM text is not an Ed25519 public key")
    return der[len(_SPKI_PREFIX) :]


def fingerprint(public_key: bytes) -> str:
    """SHA-256, in hex, of the key's DER form: `openssl pkey -pubin -in key.pem -outform DER | sha256sum`."""
    return hashlib.sha256(_SPKI_PREFIX + public_key).hexdigest()


# ------------------------------------------------------------------ notes


def sign(text: str, key: VerifyKey, sign_bytes: Callable[[bytes], bytes]) -> Note:
    """A note over `text` by `key`; `sign_bytes` makes the 64-byte Ed25519 signature."""
    check_text(text)
    signature = NoteSignature(name=key.name, key_id=key.id, signature=sign_bytes(text.encode()))
    return Note(text=text, signatures=(signature,))


def check_text(text: str) -> None:
    """Raises Refused unless `text` may be a note's text: ends in a newline, no other control characters."""
    if not text.endswith("\n") or any(ord(char) < 0x20 and char != "\n" for char in text):
        raise _malformed("a note's text ends in a newline and holds no control characters")


def parse_note(text: str) -> Note:
    """Read a signed note. Raises Refused (malformed_note); says nothing about whether a signature is any good."""
    if len(text) > MAX_NOTE_BYTES:
        raise _malformed("the note is too long")
    body, separator, tail = text.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise _malformed("a note is a text, an empty line, and signature lines")
    body += "\n"
    check_text(body)
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _malformed(f"more than {MAX_SIGNATURES} signatures")
    return Note(text=body, signatures=tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise _malformed("a signature line looks like '— name base64'")
    check_name(parts[1])
    raw = _unb64(parts[2], "a signature")
    if len(raw) <= _ID_BYTES:
        raise _malformed("a signature is too short")
    return NoteSignature(name=parts[1], key_id=raw[:_ID_BYTES], signature=raw[_ID_BYTES:])


def signers(note: Note, keys: Sequence[VerifyKey], verify: VerifySignature) -> tuple[VerifyKey, ...]:
    """Which of `keys` signed the note; empty when none did, or when a line in the name of one of them is false."""
    found: list[VerifyKey] = []
    for line in note.signatures:
        key = next((key for key in keys if (key.name, key.id) == (line.name, line.key_id)), None)
        if key is None:
            continue
        is_sound = len(line.signature) == _SIGNATURE_BYTES and key not in found
        if not is_sound or not verify(key.public_key, note.text.encode(), line.signature):
            return ()
        found.append(key)
    return tuple(found)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text (the signed part). Raises Refused (malformed_note)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise _malformed("a checkpoint has at least an origin, a size and a root, one per line")
    root = _unb64(lines[2], "the root")
    if len(root) != HASH_BYTES:
        raise _malformed("the root is not a SHA-256 hash")
    return Checkpoint(origin=lines[0], size=_decimal(lines[1]), root=root, extensions=tuple(lines[3:-1]))


def parse_proof(text: str) -> Proof:
    """Read a `.tlog-proof` without extra data. Raises Refused (malformed_note)."""
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 2 or lines[0] != PROOF_LINE or not lines[1].startswith("index "):
        raise _malformed("this is not a log proof")
    hashes = tuple(_unb64(line, "a proof hash") for line in lines[2:])
    if any(len(one) != HASH_BYTES for one in hashes):
        raise _malformed("a proof hash is not a SHA-256 hash")
    return Proof(index=_decimal(lines[1].removeprefix("index ")), hashes=hashes, checkpoint=checkpoint)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0") or len(text) > 18:
        raise _malformed("a number is written in plain decimal digits")
    return int(text)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"{what} is not base64") from error
    if _b64(data) != text:
        raise _malformed(f"{what} is not in canonical base64")
    return data


def _malformed(message: str) -> Refused:
    return Refused(message, hint="get the text again from where it was made", code="malformed_note")
