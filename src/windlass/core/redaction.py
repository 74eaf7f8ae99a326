"""Keeping known secret values out of what is written: exact values and their usual encodings.

Rules that find unknown secrets are not here; this guards the credentials that Windlass itself holds.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

MASK = "[redacted]"
_SHORTEST = 8


def variants(secret: str) -> tuple[str, ...]:
    """A secret as it is, percent-encoded, in hex, and in base64 at each of the three byte alignments."""
    raw = secret.encode()
    found = {secret, _percent(raw), raw.hex()}
    for lead in range(3):
        text = base64.b64encode(b"\x00" * lead + raw).decode().rstrip("=")
        # The first characters depend on what stands before the secret, the last on what stands behind.
        found.add(text[(0, 2, 3)[lead] : len(text) - 1])
    return tuple(sorted((v for v in found if len(v) >= _SHORTEST), key=len, reverse=True))


def _percent(raw: bytes) -> str:
    """RFC 3986 percent-encoding of everything but the unreserved characters."""
    kept = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in raw)


def mask(text: str, secrets: Iterable[str]) -> str:
    """`text` with every variant of every secret (of at least 8 characters) replaced.

    >>> mask("token=hunter2hunter2;", ["hunter2hunter2"])
    'token=[redacted];'
    """
    for secret in secrets:
        if len(secret) < _SHORTEST:
            continue
        for variant in variants(secret):
            text = text.replace(variant, MASK)
    return text
