"""Variables of the caller's own environment that are handed to an agent, each named by the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from windlass.core.errors import Refused


def given_variables(names: Sequence[str]) -> Mapping[str, str]:
    """Their values. Raises Refused (bad_option) for one that is not set."""
    missing = [name for name in names if name not in os.environ]
    if missing:
        hint = "set it or leave --agent-env out"
        raise Refused(f"the variable {missing[0]} is not set", code="bad_option", hint=hint)
    return {name: os.environ[name] for name in names}
