"""One JSON text per value: RFC 8785 for the part of JSON that records use, and strict reading of it.

Keeps the rule that the same value always has the same bytes, so that its hash means something. Refuses floats (their
text is a matter of taste), integers that other languages cannot hold, lone surrogates and keys that are not text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from windlass.core.errors import Refused

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64

_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')


def encode(value: Any) -> bytes:
    """The RFC 8785 bytes. Lists and tuples are arrays, any Mapping with text keys is an object.

    Raises Refused (not_canonical) for floats, integers beyond ±(2^53-1), lone surrogates, other types, and
    nesting deeper than 64.
    """
    try:
        return _text(value, 0).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _not_canonical("a text holds half a character (a lone surrogate)") from error


def decode(data: bytes) -> Any:
    """The value whose canonical bytes are exactly `data`. Raises Refused (not_canonical) for all other bytes."""
    try:
        value = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise _not_canonical("this is not JSON in UTF-8") from error
    if encode(value) != data:
        raise _not_canonical("these bytes are not the canonical form of their value")
    return value


def _text(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise _not_canonical(f"nested deeper than {MAX_DEPTH}")
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _number(value)
        case str():
            return _string(value)
        case Mapping():
            return _object(value, depth)
        case list() | tuple():
            return "[" + ",".join(_text(item, depth + 1) for item in value) + "]"
        case _:
            raise _not_canonical(f"{type(value).__name__} has no place in a record")


def _object(value: Mapping[Any, Any], depth: int) -> str:
    if not all(isinstance(key, str) for key in value):
        raise _not_canonical("a key is not text")
    # RFC 8785 sorts by UTF-16 code units; big-endian bytes compare the same way.
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{_string(key)}:{_text(value[key], depth + 1)}" for key in keys) + "}"


def _number(value: int) -> str:
    if abs(value) > MAX_INTEGER:
        raise _not_canonical("an integer is beyond what every JSON reader can hold (2^53-1)")
    return int.__repr__(value)


def _string(value: str) -> str:
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def _escape(found: re.Match[str]) -> str:
    char = found.group()
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


def _integer(text: str) -> int:
    if len(text) > 17:
        raise ValueError("too many digits")
    return int(text)


def _no_float(_text: str) -> NoReturn:
    raise ValueError("no floats")


def _not_canonical(message: str) -> Refused:
    return Refused(
        message,
        hint="send numbers with fractions and large numbers as text, and other values as plain JSON",
        code="not_canonical",
    )
