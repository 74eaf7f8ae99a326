"""What goes on the ledger, as plain JSON: no floats, no long texts, nothing that cannot be hashed the same twice.

A record names what was decided upon by digests and identifiers; long texts (issue bodies, feedback) are replaced by
their SHA-256 and length, so that hostile or personal text never becomes immutable.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDraft:
    """One entry for the ledger before it has a place: `kind` and plain JSON `data` (no floats)."""

    kind: str
    data: Mapping[str, Any]


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def plain(value: object) -> Any:
    """Any of our dataclasses as JSON without floats: times become strings with three decimals.

    >>> plain({"a": 1.5, "b": (1, None)})
    {'a': '1.500', 'b': [1, None]}
    """
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str):
        return _short(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"no plain form for {type(value).__name__}")


def _short(text: str) -> Any:
    if len(text) <= LONGEST_TEXT:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return {"sha256": digest(raw), "length": len(raw)}
