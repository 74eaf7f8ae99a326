"""What calls may cost and do cost."""

from __future__ import annotations

import socket
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage
from hypothesis import given
from hypothesis import strategies as st

from windlass.adapters.gateway.dialects.dialect import Ask, Found
from windlass.adapters.gateway.options import OwnPrice
from windlass.adapters.gateway.prices import Prices

ANTHROPIC = "https://api.anthropic.com"
OWN = OwnPrice(pattern="qwen3-*", input_usd=Decimal("0.2"), output_usd=Decimal("0.8"), cached_usd=Decimal("0.02"))


def used(**counts: int) -> Found:
    return Found(model="", usage=Usage(**counts))


def test_known_models_have_the_providers_price() -> None:
    found = Prices().cost(Ask(model="claude-sonnet-4-5"), used(input_tokens=1000, output_tokens=200), ANTHROPIC)
    assert found == Decimal("0.006")


def test_a_model_behind_an_address_of_ones_own_is_known_by_its_name() -> None:
    found = Prices().cost(
        Ask(model="claude-sonnet-4-5"), used(input_tokens=1000, output_tokens=200), "http://127.0.0.1:8000"
    )
    assert found == Decimal("0.006")


def test_an_unknown_model_has_no_price() -> None:
    prices = Prices()
    assert prices.ceiling(Ask(model="my-own-model", output_tokens=10), "https://models.example.org/v1") is None
    assert prices.cost(Ask(model="my-own-model"), used(input_tokens=1, output_tokens=1), "https://x") is None
    assert prices.cost(Ask(model=""), used(input_tokens=1, output_tokens=1), ANTHROPIC) is None


def test_own_prices_come_first_and_match_by_pattern() -> None:
    prices = Prices([OWN, OwnPrice(pattern="claude-*", input_usd=Decimal(1), output_usd=Decimal(1))])
    found = used(input_tokens=1_000_000, output_tokens=1_000_000, cache_read_tokens=500_000)
    assert prices.cost(Ask(model="Qwen3-coder"), found, "https://x") == Decimal("0.91")
    assert prices.cost(Ask(model="claude-sonnet-4-5"), found, ANTHROPIC) == 2


def test_the_model_that_answered_decides() -> None:
    found = Found(model="claude-opus-4-1", usage=Usage(input_tokens=1000, output_tokens=0))
    assert Prices().cost(Ask(model="claude-sonnet-4-5"), found, ANTHROPIC) == Decimal("0.015")
    scripted = Found(model="scripted", usage=Usage(input_tokens=1000, output_tokens=0))
    assert Prices().cost(Ask(model="claude-sonnet-4-5"), scripted, ANTHROPIC) == Decimal("0.003")


def test_without_a_bound_on_the_answer_there_is_no_ceiling() -> None:
    assert Prices().ceiling(Ask(model="claude-sonnet-4-5"), ANTHROPIC) is None


def test_contradictory_counts_have_no_cost() -> None:
    assert Prices().cost(Ask(model="claude-sonnet-4-5"), used(input_tokens=1, cache_read_tokens=5), ANTHROPIC) is None


MODELS = ["claude-sonnet-4-5", "gpt-5.1-codex", "gpt-4o", "gemini-2.5-pro", "qwen3-coder", "claude-opus-4-1"]
COUNTS = st.integers(0, 150_000)


@given(
    model=st.sampled_from(MODELS),
    read=COUNTS,
    written=st.integers(0, 20_000),
    cached=st.integers(0, 100),
    stored=st.integers(0, 100),
    tier=st.sampled_from(["", "default", "priority", "flex"]),
)  # fmt: skip
def test_no_answer_costs_more_than_was_held(
    model: str, read: int, written: int, cached: int, stored: int, tier: str
) -> None:
    """Whatever part of the input is read from or written to a cache, as long as a token stands for a byte or more."""
    context = {"service_tier": tier} if tier else {}
    ask = Ask(model=model, input_bytes=read, output_tokens=20_000, writes_cache=True, context=context)
    prices = Prices([OWN])
    hit = read * cached // 100
    put = (read - hit) * stored // 100
    usage: dict[str, Any] = {"input_tokens": read, "output_tokens": written, "cache_read_tokens": hit}
    usage |= {"cache_write_tokens": put} if "claude" in model else {}
    held, paid = prices.ceiling(ask, "https://x"), prices.cost(ask, used(**usage), "https://x")
    assert held is not None
    assert paid is not None
    assert paid <= held


def test_what_is_open_ended_is_held_at_the_whole_window() -> None:
    small = Ask(model="claude-sonnet-4-5", input_bytes=100, output_tokens=1)
    large = Ask(model="claude-sonnet-4-5", input_bytes=100, output_tokens=1, is_open_ended=True)
    ours = Ask(model="qwen3-x", input_bytes=100, output_tokens=1, is_open_ended=True)
    prices = Prices([OWN])
    held = [prices.ceiling(ask, ANTHROPIC) for ask in (small, large, ours)]
    assert None not in held
    least = [Decimal(0), Decimal("0.6"), Decimal("0.2")]
    assert [usd >= floor for usd, floor in zip(held, least, strict=True)] == [True] * 3  # type: ignore[operator]
    assert held[0] < Decimal("0.01")  # type: ignore[operator]


def test_no_price_is_ever_asked_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    test_known_models_have_the_providers_price()
    test_an_unknown_model_has_no_price()
