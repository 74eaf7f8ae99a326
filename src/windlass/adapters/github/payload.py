"""Reads JSON that somebody else wrote, without ever trusting its shape.

Every look into a payload or an answer goes through here: a missing key, a null or a wrong type gives the empty
value. What cannot be stored (a lone surrogate, NUL, other control characters in a name) does not come through.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

MAX_NAME_CHARS = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_BUT_SPACES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def dig(data: Any, *path: str) -> Any:
    """The value at `path`, or None as soon as something on the way is not an object."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def text(data: Any, *path: str) -> str:
    """A string of any length, or ''; NUL and lone surrogates are replaced, so that it can be stored."""
    value = dig(data, *path)
    if not isinstance(value, str):
        return ""
    storable = value.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL_BUT_SPACES.sub("\N{REPLACEMENT CHARACTER}", storable)


def name(data: Any, *path: str) -> str:
    """A short string without control characters (login, branch, check), or ''."""
    value = dig(data, *path)
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS or _CONTROL.search(value):
        return ""
    return value if value.isascii() or value == text(data, *path) else ""


def whole(data: Any, *path: str) -> int:
    """An integer, or 0; true is not 1."""
    value = dig(data, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else 0


def claim(data: Any, *path: str) -> bool | None:
    """A boolean, or None."""
    value = dig(data, *path)
    return value if isinstance(value, bool) else None


def objects(data: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list; whatever else is in it is left out."""
    value = dig(data, *path)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def sha(data: Any, *path: str) -> str:
    """A full object id in hex that is not all zeros (GitHub's word for 'none'), or ''."""
    value = dig(data, *path)
    return value if isinstance(value, str) and _SHA.fullmatch(value) and value.strip("0") else ""


def repository(data: Any, *path: str) -> str:
    """`owner/name`, or ''."""
    value = dig(data, *path)
    return value if isinstance(value, str) and is_repository(value) else ""


def is_repository(full_name: str) -> bool:
    """Whether this is `owner/name` and neither part steps out of a path."""
    return _REPOSITORY.fullmatch(full_name) is not None and not set(full_name.split("/")) & {".", ".."}


def instant_ms(data: Any, *path: str) -> int:
    """An ISO 8601 instant as milliseconds since the Unix epoch, or 0."""
    value = dig(data, *path)
    if not isinstance(value, str):
        return 0
    try:
        read = datetime.fromisoformat(value)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return int((aware - _EPOCH).total_seconds() * 1000)
    except (ValueError, OverflowError):
        return 0
