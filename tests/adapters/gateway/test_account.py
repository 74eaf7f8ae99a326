"""The arithmetic of one run's money, and its file."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.adapters.gateway import books
from windlass.adapters.gateway.account import Account, Bill, exact, replayed
from windlass.adapters.gateway.books import Head
from windlass.core.agent_events import Usage
from windlass.core.errors import Refused

MONEY = st.decimals(min_value=0, max_value=3, places=6)
# What may happen to calls in flight: a new one, an answer (at most what was held), an answer lost, a refusal of the
# provider's.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), MONEY),
        st.tuples(st.sampled_from(["answer", "release"]), st.tuples(st.integers(0, 20), st.integers(0, 100))),
    ),
    max_size=60,
)
HEAD = Head(run="r1", key_sha256="0" * 64, protocol="anthropic", upstream="https://x", limit_usd="5")


@given(STEPS, st.decimals(min_value=0, max_value=10, places=4))
def test_concurrent_calls_never_spend_more_than_the_limit(steps: list[tuple[str, object]], limit: Decimal) -> None:
    account, flying, paid = Account(limit_usd=limit), {}, Decimal(0)
    entries = []

    def put(entry: dict[str, object]) -> None:
        entries.append(json.loads(json.dumps(entry)))
        account.apply(entries[-1])

    for what, value in steps:
        if what == "call":
            assert isinstance(value, Decimal)
            if not account.why_not(value):
                entry = account.hold(value)
                put(entry)
                flying[entry["hold"]] = value
        elif flying:
            number, share = value  # type: ignore[misc]
            call = sorted(flying)[number % len(flying)]
            held = flying.pop(call)
            if what == "release":
                put({"release": call})
            else:
                real = (held * share / 100).quantize(Decimal("0.000001"))
                paid += real
                put(account.settle(call, Bill(usd=real, input_tokens=1, output_tokens=1)))
        assert account.spent_usd <= limit
        assert account.spent_usd >= paid + sum(flying.values()), "what may have been spent counts as spent"
    again = replayed(limit, iter(entries))
    assert (again.spent_usd, again.usage()) == (account.spent_usd, account.usage()), "a restart forgets nothing"


def test_what_is_not_known_is_not_zero() -> None:
    account = Account()
    assert account.usage() is None
    account.apply(account.hold(None))
    assert account.usage() == Usage()
    account.apply(account.settle(1, Bill(model="m", input_tokens=10, output_tokens=2)))
    account.apply(account.hold(Decimal("0.5")))
    assert account.usage() == Usage(model="m", input_tokens=10, output_tokens=2, cost_usd=None)


def test_an_answer_without_a_price_keeps_the_estimate() -> None:
    account = Account(limit_usd=Decimal(1))
    account.apply(account.hold(Decimal("0.25")))
    account.apply(account.settle(1, Bill(model="m", input_tokens=10, output_tokens=2, usd=None)))
    usage = account.usage()
    assert usage is not None
    assert usage.cost_usd == "0.25"


def test_a_refusal_says_what_is_left_and_what_was_asked() -> None:
    account = Account(limit_usd=Decimal("1.00"))
    account.apply(account.hold(Decimal("0.7")))
    assert "of $1.00, $0.70 are spent or held, and this call may cost $0.40" in account.why_not(Decimal("0.4"))
    assert "no price is known" in account.why_not(None)
    assert account.why_not(Decimal("0.3")) == ""
    assert Account().why_not(None) == ""


def test_the_model_that_did_most_gives_its_name() -> None:
    account = Account()
    for model, tokens in (("small", 10), ("large", 500), ("small", 20)):
        entry = account.hold(None)
        account.apply(entry)
        account.apply(account.settle(entry["hold"], Bill(model=model, input_tokens=tokens, output_tokens=0)))
    usage = account.usage()
    assert usage is not None
    assert usage.model == "large"
    assert usage.input_tokens == 530


def test_strange_entries_change_nothing() -> None:
    account = Account(limit_usd=Decimal(1))
    for entry in ({}, {"settle": 7, "usd": "1"}, {"release": 3}, {"hold": "x"}, {"hold": 1, "usd": "lots"}, {"x": 1}):
        account.apply(entry)
    account.apply({"settle": 1, "in": -5, "out": 10**20, "usd": "NaN-ish", "model": 3})
    assert account.spent_usd == 0


@pytest.mark.parametrize(("usd", "text"), [("0", "0"), ("1.50", "1.5"), ("0.0000000001", "0.000000001"), ("12", "12")])
def test_money_is_written_exactly_and_rounded_up(usd: str, text: str) -> None:
    assert exact(Decimal(usd)) == text


def test_a_line_that_a_kill_cut_is_passed_over(tmp_path: Path) -> None:
    book = books.create(tmp_path, HEAD)
    book.hold(Decimal(1))
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + b'{"hold":2,"us')
    again = books.load(book.path)
    assert again.account.spent_usd == 1
    assert again.hold(Decimal(2)) == 2
    assert books.load(book.path).account.spent_usd == 3


def test_files_are_private_and_hold_no_key(tmp_path: Path) -> None:
    book = books.create(tmp_path, HEAD)
    assert book.path.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(book.path.read_text())) == set(Head.__slots__)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 300, "a\0b"])
def test_only_ids_of_runs_become_names_of_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="not a run id"):
        books.path_of(tmp_path, name)


def test_what_is_no_account_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("nonsense\n")
    (tmp_path / "b.jsonl").write_text('{"run": "b"}\n')
    books.create(tmp_path, HEAD)
    assert [book.head.run for book in books.load_all(tmp_path)] == ["r1"]
