"""Keeping known secret values out of what is written: exact values and their usual encodings.

Rules that find unknown secrets are not here (`adapters/logs`); this guards the credentials that Windlass itself holds.
`encodings` is every form a value is looked for in the step logs; `mask` is the small, exact guard that needs nothing
but this module. Refused: values of fewer than eight characters, which would mask ordinary words.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable

MASK = "[redacted]"
SHORTEST = 8
_SHORTEST_LINE = 16
_PIECE = 12
_SHORTEST_WITH_PIECES = 20
_PIECE_ENTROPY_BITS = 2.9
_TOKEN = re.compile(r"[A-Za-z0-9_+/=.~-]+")


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
    return tuple(sorted((v for v in found if len(v) >= SHORTEST), key=len, reverse=True))


def encodings(secret: str) -> frozenset[str]:
    """Every form of a secret that is looked for: `variants`, and forms that only a program would write.

    URL forms, HTML, JSON in JSON, hex (plain, with colons, escaped), base32, base64 of base64, UTF-16 escapes, and
    reversed.
    """
    raw = secret.encode("utf-8", "surrogatepass")
    once = base64.b64encode(raw).decode().rstrip("=")
    found = {*variants(secret), secret.strip(), html.escape(secret), secret[::-1]}
    found |= {_percent(raw).replace("%20", "+"), json.dumps(json.dumps(secret)[1:-1])[1:-1]}
    found |= {raw.hex(":"), raw.hex(":").upper(), "".join(f"\\x{byte:02x}" for byte in raw)}
    found |= {"".join(f"\\u{ord(c):04x}" for c in secret), base64.b32encode(raw).decode().rstrip("=")[:-1]}
    found |= set(variants(once[:-1]))
    return frozenset(form for form in found if len(form) >= SHORTEST)


def pieces(secret: str) -> frozenset[str]:
    """Stretches of 12 characters of a long random token: a token that was cut or halved is still found by them."""
    found: set[str] = set()
    for line in secret.splitlines():
        token = line.strip()
        if len(token) >= _SHORTEST_WITH_PIECES and _TOKEN.fullmatch(token) and not token.startswith("-----"):
            found |= {token[at : at + _PIECE] for at in range(len(token) - _PIECE + 1)}
    return frozenset(piece for piece in found if entropy_bits(piece) >= _PIECE_ENTROPY_BITS)


def entropy_bits(text: str) -> float:
    """Shannon entropy of a text, in bits per character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def _percent(raw: bytes) -> str:
    """RFC 3986 percent-encoding of everything but the unreserved characters."""
    kept = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in raw)


def mask(text: str, secrets: Iterable[str]) -> str:
    """`text` with every variant of every secret (of at least 8 characters) replaced.

    >>> mask("token=hunter2hunter2;", ["hunter2hunter2"])
    'token=[redacted];'
    """
    found = {variant for secret in secrets if len(secret) >= SHORTEST for variant in variants(secret)}
    # The longest first, over all secrets: where one secret holds another, nothing of the longer one stays behind.
    for variant in sorted(found, key=lambda v: (-len(v), v)):
        text = text.replace(variant, MASK)
    return text
