"""Keeping known secret values out of what is written: exact values and their usual encodings.

Rules that find unknown secrets are not here; this guards the credentials that Windlass itself holds.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

MASK = "[redacted]"
_SHORTEST = 8
_SHORTEST_LINE = 16


def variants(secret: str) -> tuple[str, ...]:
    """A secret as it is, as JSON text, percent-encoded, in hex, and in base64 at each of the three byte alignments.

    The lines of a secret of several lines (a private key) are variants too, because they may come indented or wrapped.
    """
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, _percent(raw), _percent(raw).lower(), raw.hex(), raw.hex().upper()}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for lead in range(3):
        for alphabet in (b"+/", b"-_"):
            text = base64.b64encode(b"\x00" * lead + raw, alphabet).decode().rstrip("=")
            # The first characters depend on what stands before the secret, the last on what stands behind.
            found.add(text[(0, 2, 3)[lead] : len(text) - 1])
    lines = [line.strip() for line in secret.splitlines()]
    found |= {line for line in lines if len(lines) > 1 and len(line) >= _SHORTEST_LINE and not line.startswith("-----")}
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
    found = {variant for secret in secrets if len(secret) >= _SHORTEST for variant in variants(secret)}
    # The longest first, over all secrets: where one secret holds another, nothing of the longer one stays behind.
    for variant in sorted(found, key=lambda v: (-len(v), v)):
        text = text.replace(variant, MASK)
    return text
