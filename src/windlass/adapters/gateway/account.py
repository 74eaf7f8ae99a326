"""What one run has spent on its model and what it may still spend: arithmetic, without files, clocks or a network.

Keeps the rule that money which may have been spent counts as spent: a paid call holds its upper estimate before it is
sent on, the answer replaces the estimate, and a call whose answer was lost keeps it. Everything that happens is an
entry, a small mapping; applying the same entries again gives the same account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Any

from windlass.core.agent_events import Usage
from windlass.core.agent_events.model import plus

NANO = Decimal("0.000000001")
MAX_TOKENS = 10**12  # more than that in one answer is a fault of the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one call came to, as the provider's answer says. None: not said; `usd` None: no price is known."""

    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    usd: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class Account:
    """One run's money. `limit_usd` None is no limit."""

    limit_usd: Decimal | None = None
    refusal: str = ""
    is_closed: bool = False
    _held: dict[int, Decimal | None] = field(default_factory=dict)
    _calls: int = 0
    _settled_usd: Decimal = Decimal(0)
    _has_unknown: bool = False
    _input: int | None = None
    _output: int | None = None
    _cached: int | None = None
    _by_model: dict[str, int] = field(default_factory=dict)

    @property
    def spent_usd(self) -> Decimal:
        """What is spent or may be: settled calls, and the estimates of those without an answer."""
        return self._settled_usd + sum((usd for usd in self._held.values() if usd is not None), Decimal(0))

    def why_not(self, usd: Decimal | None) -> str:
        """Why a call that may cost so much cannot be paid; '' when it can."""
        if self.limit_usd is None:
            return ""
        if usd is None:
            return f"no price is known, so the budget of ${shown(self.limit_usd)} cannot be kept"
        if self.spent_usd + usd <= self.limit_usd:
            return ""
        return (
            f"the run's money budget is used up: of ${shown(self.limit_usd)}, ${shown(self.spent_usd)} are spent or "
            f"held, and this call may cost ${shown(usd)}"
        )

    def hold(self, usd: Decimal | None) -> dict[str, Any]:
        """The entry that holds the estimate for the next call; its number is in `hold`."""
        return {"hold": self._calls + 1, "usd": None if usd is None else exact(usd)}

    def settle(self, call: int, bill: Bill) -> dict[str, Any]:
        """The entry that puts what a call came to in the place of its estimate."""
        counts = {"in": bill.input_tokens, "out": bill.output_tokens, "cached": bill.cached_tokens}
        told = {name: count for name, count in counts.items() if count is not None}
        usd = None if bill.usd is None else exact(bill.usd)
        return {"settle": call, "model": bill.model, **told, "usd": usd}

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take one entry in. What does not fit (a call that is not open) changes nothing."""
        match entry:
            case {"hold": int(call)}:
                self._calls = max(self._calls, call)
                self._held[call] = _money(entry.get("usd"))
            case {"settle": int(call)} if call in self._held:
                self._take(self._held.pop(call), entry)
            case {"release": int(call)}:
                self._held.pop(call, None)
            case {"refused": str(why)}:
                self.refusal = why
            case {"closed": bool(is_closed)}:
                self.is_closed = is_closed
            case _:
                pass

    def usage(self) -> Usage | None:
        """What is known of the run's use; None when it never made a paid call."""
        if not self._calls:
            return None
        is_unknown = self._has_unknown or None in self._held.values()
        return Usage(
            model=max(self._by_model, key=lambda name: self._by_model[name], default=""),
            input_tokens=self._input,
            output_tokens=self._output,
            cached_tokens=self._cached,
            cost_usd=None if is_unknown else exact(self.spent_usd),
        )

    def _take(self, held: Decimal | None, entry: Mapping[str, Any]) -> None:
        usd = _money(entry.get("usd"))
        usd = held if usd is None else usd
        if usd is None:
            self._has_unknown = True
        else:
            self._settled_usd += usd
        self._input = plus(self._input, _count(entry.get("in")))
        self._output = plus(self._output, _count(entry.get("out")))
        self._cached = plus(self._cached, _count(entry.get("cached")))
        if model := entry.get("model"):
            tokens = (_count(entry.get("in")) or 0) + (_count(entry.get("out")) or 0)
            self._by_model[model] = self._by_model.get(model, 0) + tokens


def replayed(limit_usd: Decimal | None, entries: Iterator[Mapping[str, Any]]) -> Account:
    """The account that these entries come to."""
    account = Account(limit_usd=limit_usd)
    for entry in entries:
        account.apply(entry)
    return account


def exact(usd: Decimal) -> str:
    """Dollars as text, nine places at most, rounded up."""
    text = f"{usd.quantize(NANO, rounding=ROUND_UP):f}"
    return text.rstrip("0").rstrip(".") or "0"


def shown(usd: Decimal) -> str:
    """Dollars for people: cents, or as many places as it takes to say something."""
    return f"{usd:.2f}" if usd >= Decimal("0.1") or not usd else f"{usd:.3g}"


def _money(value: Any) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= MAX_TOKENS else None
