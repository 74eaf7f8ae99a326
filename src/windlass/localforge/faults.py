"""What can go wrong on purpose, so that Windlass is tried against a forge as bad as the real one on a bad day.

All odds are probabilities in [0, 1], drawn from one seeded generator. Faults never touch set-up calls, pages or the
`/_localforge` endpoints.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from windlass.core.errors import Refused

_SECONDS: Final = frozenset({"delay_s", "reorder_window_s", "api_timeout_s", "retry_after_s"})


@dataclass(slots=True, kw_only=True)
class Faults:
    """The switches; set the fields at any time.

    Deliveries: `drop` (the attempt fails and is logged as failed), `lose` (not even logged), `duplicate` (sent twice
    under one GUID), `reorder` (held back up to `reorder_window_s`), `delay_s` (every delivery waits that long).
    API: `api_5xx` (502 before anything happened), `api_rate_limited` (403, primary limit), `api_secondary` (403 with
    `retry-after`), `api_timeout` (no answer for `api_timeout_s`, nothing applied), `api_lost_response` (the call is
    applied, then 502). Git: `git_push_5xx` (nothing applied), `git_push_lost_response` (applied, then 502).
    """

    drop: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_window_s: float = 0.5
    delay_s: float = 0.0
    api_5xx: float = 0.0
    api_rate_limited: float = 0.0
    api_secondary: float = 0.0
    api_timeout: float = 0.0
    api_timeout_s: float = 30.0
    api_lost_response: float = 0.0
    retry_after_s: float = 1.0
    git_push_5xx: float = 0.0
    git_push_lost_response: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def change(self, values: Mapping[str, Any]) -> None:
        """Set several switches. Raises Refused (code bad_fault) on an unknown name or a value out of range."""
        known = {item.name for item in fields(self)} - {"counts"}
        for name, value in values.items():
            if name not in known or isinstance(value, bool) or not isinstance(value, int | float):
                raise Refused(f"not a fault: {name}", hint=f"known: {', '.join(sorted(known))}", code="bad_fault")
            if value < 0 or (value > 1 and name not in _SECONDS):
                raise Refused(f"{name} is out of range: {value}", hint="odds are in [0, 1]", code="bad_fault")
        for name, value in values.items():
            setattr(self, name, float(value))

    def calm(self) -> None:
        """Everything off; the counts stay."""
        self.change(
            {item.name: 0.0 for item in fields(self) if item.name not in _SECONDS | {"counts"}} | {"delay_s": 0}
        )

    def as_json(self) -> dict[str, Any]:
        """The switches and how often each struck."""
        return asdict(self)


class Dice:
    """The seeded generator behind the faults."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = random.Random(seed)  # noqa: S311 - faults must repeat, not surprise

    def strikes(self, name: str) -> bool:
        """Whether the fault `name` happens now; counted when it does."""
        odds: float = getattr(self._faults, name)
        if odds <= 0 or self._random.random() >= odds:
            return False
        self._faults.counts[name] = self._faults.counts.get(name, 0) + 1
        return True

    def within(self, seconds: float) -> float:
        """Some time in [0, seconds)."""
        return self._random.random() * seconds
