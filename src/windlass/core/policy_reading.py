"""How a policy is read key by key: what is wrong is named with its path, what was found and what is wanted.

Refuses nothing by itself; hostile values are shown cut, because some take gigabytes when they are written out in full.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Set
from typing import Any

from windlass.core.errors import Refused

# A few references to one another make a text of gigabytes when such a value is written out in full.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother, _BRIEF.maxlong = 2, 60, 60, 30
_BRIEF.maxlist = _BRIEF.maxdict = _BRIEF.maxset = _BRIEF.maxtuple = 3


def mapping_of(value: object, what: str) -> Mapping[str, Any]:
    """The value as a mapping of names. Raises Refused (bad_policy)."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise wrong(what, value, "a mapping of keys to values")
    return value


def no_unknown(mapping: Mapping[str, Any], known: Set[str], prefix: str) -> None:
    """Raises Refused (bad_policy) for a key that is not known."""
    for key in mapping:
        if key not in known:
            raise Refused(
                f"unknown key {prefix}{_one_line(key)} in the policy",
                code="bad_policy",
                hint=f"known keys here: {', '.join(sorted(known))}",
            )


def wrong(key: str, found: object, wanted: str) -> Refused:
    """What is to be raised for a value that cannot be."""
    return Refused(f"{key} in the policy is {_BRIEF.repr(found)}", code="bad_policy", hint=f"it must be {wanted}")


def _one_line(key: str) -> str:
    return key if key.isprintable() and len(key) <= 60 else _BRIEF.repr(key)
