"""A plain tar file (POSIX ustar) that has exactly one form for the same members.

Keeps the rule that no byte is without meaning: reading accepts only what `pack` would have written, so padding,
owners, times, links, devices, sparse files and trailing bytes cannot carry anything. Refuses names that leave the
directory, names that occur twice and more members than anybody needs. Nothing is compressed, so nothing explodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from windlass.core.errors import Refused

BLOCK = 512
MAX_MEMBERS = 50_000
MAX_NAME = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_END = bytes(2 * BLOCK)


def pack(members: Mapping[str, bytes]) -> bytes:
    """The one tar file that holds these members, in their order. Raises Refused (bad_archive) for unusable names."""
    parts: list[bytes] = []
    for name, data in members.items():
        parts += (_header(name, len(data)), data, bytes(-len(data) % BLOCK))
    return b"".join((*parts, _END))


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of a tar file that `pack` made, in order. Raises Refused (bad_archive) for any other bytes."""
    members: dict[str, bytes] = {}
    at = 0
    while data[at : at + BLOCK] != bytes(BLOCK):
        name, size = _read_header(data[at : at + BLOCK])
        if name in members:
            raise _bad(f"the member {name} is there twice")
        if len(members) >= MAX_MEMBERS:
            raise _bad(f"more than {MAX_MEMBERS} members")
        start = at + BLOCK
        at = start + size + -size % BLOCK
        if at > len(data):
            raise _bad("the file ends in the middle of a member")
        if any(data[start + size : at]):
            raise _bad(f"there are bytes after the end of {name}")
        members[name] = data[start : start + size]
    if data[at:] != _END:
        raise _bad("the file does not end where its members do")
    return members


def _header(name: str, size: int) -> bytes:
    if not is_plain_name(name):
        raise _bad(f"{name[:120]!r} cannot name a member")
    owner = b"0000000\0" * 2
    numbers = b"0000644\0" + owner + b"%011o\0" % size + b"00000000000\0"
    rest = b"0" + bytes(100) + b"ustar\0" + b"00"
    block = name.encode("ascii").ljust(MAX_NAME, b"\0") + numbers + b" " * 8 + rest
    checksum = b"%06o\0 " % sum(block)
    return (block[:148] + checksum + block[156:]).ljust(BLOCK, b"\0")


def _read_header(block: bytes) -> tuple[str, int]:
    name = block[:MAX_NAME].rstrip(b"\0").decode("ascii", "replace")
    size_text = block[124:135]
    if not re.fullmatch(rb"[0-7]{11}", size_text):
        raise _bad("a member's header is damaged")
    size = int(size_text, 8)
    if not is_plain_name(name) or _header(name, size) != block:
        raise _bad("a member's header is not in the one form that is accepted")
    return name, size


def is_plain_name(name: str) -> bool:
    """Whether a name is a relative path of letters, digits, dot, dash and underscore that stays where it is put."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def _bad(why: str) -> Refused:
    return Refused(
        f"this is not an evidence bundle: {why}",
        hint="get the file again from where it was exported",
        code="bad_archive",
    )
