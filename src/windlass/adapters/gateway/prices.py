"""What a call may cost at most, and what it did cost: the operator's own prices, then those that come with Windlass.

The bundled list (`genai-prices`) is data inside the package; nothing is ever asked of a network. A model that neither
knows has no price, and no price is never taken for a price of nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from genai_prices import Usage
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, Provider

from windlass.adapters.gateway.dialects.dialect import Ask, Found
from windlass.adapters.gateway.options import OwnPrice

OVERHEAD_TOKENS = 2_000  # what a provider adds around a request by itself: instructions for tools, separators
UNKNOWN_WINDOW = 1_000_000  # how much a model can read when nobody says so
DEAREST = ("priority",)  # tiers that a provider may choose by itself when a request leaves it open


class Prices:
    """Prices of models, by their name and where they are asked."""

    def __init__(self, own: Sequence[OwnPrice] = ()) -> None:
        self._own = tuple(own)

    def ceiling(self, ask: Ask, upstream: str) -> Decimal | None:
        """The most that a call may cost; None when no price is known, or nothing bounds what it may write."""
        if ask.output_tokens is None:
            return None
        written = ask.output_tokens * ask.answers
        own = self._own_price(ask.model)
        if own is not None:
            read = UNKNOWN_WINDOW if ask.is_open_ended else ask.input_bytes + OVERHEAD_TOKENS
            return own.cost(input_tokens=max(read, ask.input_bytes), output_tokens=written)
        known = self._known(ask.model, upstream)
        if known is None:
            return None
        provider, model = known
        costs = [_cost(model, provider, usage, tier) for usage in _worst(ask, model, written) for tier in _tiers(ask)]
        return max((cost for cost in costs if cost is not None), default=None)

    def cost(self, ask: Ask, found: Found, upstream: str) -> Decimal | None:
        """What a call did cost, by the model that answered, else by the one that was asked for."""
        for name in dict.fromkeys((found.model, ask.model)):
            own = self._own_price(name)
            if own is not None:
                usage = found.usage
                read, written = _whole(usage, "input_tokens"), _whole(usage, "output_tokens")
                cached = _whole(usage, "cache_read_tokens")
                return own.cost(input_tokens=read, output_tokens=written, cached_tokens=cached)
            known = self._known(name, upstream)
            if known is not None:
                provider, model = known
                return _cost(model, provider, found.usage, {**ask.context, **found.context})
        return None

    def _own_price(self, model: str) -> OwnPrice | None:
        name = model.lower()
        return next((price for price in self._own if fnmatchcase(name, price.pattern.lower())), None)

    def _known(self, model: str, upstream: str) -> tuple[Provider, ModelInfo] | None:
        """By the provider's address; a model behind an address of the operator's own by its name alone."""
        snapshot: DataSnapshot = get_snapshot()
        for address in (upstream, None):
            try:
                return snapshot.find_provider_model(model, None, None, address) if model else None
            except LookupError:
                continue
        return None


def _worst(ask: Ask, model: ModelInfo, written: int) -> Iterator[Usage]:
    """The dearest ways in which a request could be counted."""
    window = model.context_window or UNKNOWN_WINDOW
    read = ask.input_bytes + OVERHEAD_TOKENS  # a token stands for a byte at least
    if ask.is_open_ended:
        read = max(read, window)
    elif not ask.is_long_context:
        read = min(read, window)
    both = {"input_tokens": read, "output_tokens": written, "web_searches": ask.searches}
    yield Usage(**both)
    if ask.writes_cache:
        yield Usage(**both, cache_write_tokens=read)
        yield Usage(**both, cache_write_tokens=read, cache_write_1h_tokens=read)
    if ask.has_media:
        yield Usage(**both, input_audio_tokens=read, output_audio_tokens=written)
        yield Usage(**both, output_image_tokens=written)


def _tiers(ask: Ask) -> Iterator[Mapping[str, str]]:
    yield ask.context
    if ask.context.get("service_tier", "auto") == "auto":
        yield from ({**ask.context, "service_tier": tier} for tier in DEAREST)


def _cost(model: ModelInfo, provider: Provider, usage: Usage, context: Mapping[str, str]) -> Decimal | None:
    try:
        found = model.calc_price(
            usage, provider, genai_request_timestamp=datetime.now(tz=UTC), price_context=dict(context) or None
        )
    except (ValueError, LookupError, ArithmeticError):
        return None
    return found.total_price


def _whole(usage: Usage, name: str) -> int:
    value: Any = usage.reported_value(name)
    return int(value)
