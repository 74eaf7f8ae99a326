"""What an operator says about the gateway, and what is known of the providers: plain data, quick to import.

The rest of the gateway runs in a process of its own, and what that needs (prices of every model) is loaded only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

MILLION = Decimal(1_000_000)
# The providers' own addresses; each ends where the paths of its dialect begin.
UPSTREAMS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPrice:
    """The operator's price of models whose name matches `pattern`, in US dollars per million tokens."""

    pattern: str
    input_usd: Decimal
    output_usd: Decimal
    cached_usd: Decimal | None = None

    def cost(self, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> Decimal:
        """For so many tokens, the cached ones among the input."""
        cached = self.input_usd if self.cached_usd is None else self.cached_usd
        fresh = max(0, input_tokens - cached_tokens)
        return (fresh * self.input_usd + cached_tokens * cached + output_tokens * self.output_usd) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """How the gateway works. Times in seconds, sizes in bytes."""

    prices: Sequence[OwnPrice] = ()
    run_limit_usd: Decimal | None = None
    allows_http: bool = False
    proxy_url: str = ""
    ca_file: str = ""
    idle_s: float = 600.0
    silent_s: float = 6 * 3600.0
    largest_body_bytes: int = 32 << 20
    output_tokens: int = 16_000

    def told(self) -> dict[str, Any]:
        """As plain data."""
        prices = [{k: None if v is None else str(v) for k, v in asdict(price).items()} for price in self.prices]
        ours = {"allows_http", "run_limit_usd", "prices"}
        return {**{name: getattr(self, name) for name in self.__slots__ if name not in ours}, "prices": prices}
