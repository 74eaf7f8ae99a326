"""Everything that is stored as JSON comes back equal, whatever is in it."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import re
import types
import typing
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.storage_samples import sample_job

from windlass.adapters.storage import codec
from windlass.core.effects import Effect, Order
from windlass.core.errors import Broken, Refused
from windlass.core.events import Event
from windlass.core.job import Job
from windlass.core.policy import Policy
from windlass.core.roles import ROLES

# Two halves of a pair beside one another are not two lone surrogates to JSON; no reader of ours makes such a text.
PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
HOSTILE = st.text(st.characters(categories=["L", "N", "P", "Zs", "Cc", "Cs", "Cf", "So"]), max_size=20).filter(
    lambda text: not PAIR.search(text)
)


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as our dataclasses use it: NUL and lone surrogates in text, finite floats."""
    origin, arguments = typing.get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([any_of(a) for a in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(any_of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(any_of, arguments))
    if origin is collections.abc.Mapping:
        return st.dictionaries(st.sampled_from(ROLES), any_of(arguments[1]), max_size=2)  # keys are names of ours
    if kind is type(None):
        return st.none()
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{f.name: any_of(hints[f.name]) for f in dataclasses.fields(kind)})
    simple = {
        str: HOSTILE,
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }
    return simple[kind]


QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(any_of(Job))
def test_a_job_comes_back_equal(job: Job) -> None:
    text = codec.encode_job(job)
    assert text.isascii()
    assert codec.decode_job(text) == job


@QUICK
@given(any_of(Policy))
def test_a_policy_comes_back_equal(policy: Policy) -> None:
    assert codec.decode_policy(codec.encode_policy(policy)) == policy


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda k: k.__name__)
def test_every_event_comes_back_equal(kind: type[Any]) -> None:
    @settings(QUICK, max_examples=8)
    @given(any_of(kind))
    def check(event: Event) -> None:
        found = codec.decode_event(codec.encode_event(event))
        assert type(found) is kind
        assert found == event

    check()


@pytest.mark.parametrize("kind", get_args(Effect), ids=lambda k: k.__name__)
def test_every_order_comes_back_equal(kind: type[Any]) -> None:
    @settings(QUICK, max_examples=8)
    @given(any_of(kind), st.integers(0, 2**31), st.floats(0, 1e9))
    def check(effect: Effect, seq: int, delay_s: float) -> None:
        order = Order(seq=seq, effect=effect, delay_s=delay_s)
        found = codec.decode_order(codec.encode_order(order))
        assert type(found.effect) is kind
        assert found == order

    check()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", object()])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(Refused) as caught:
        codec.dump(value)
    assert caught.value.code == "not_json"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"kind":"Nothing"}', '{"kind":3}', '{"kind":["x"]}', "[" * 100_000]
)
def test_foreign_json_is_broken(text: str) -> None:
    for decode in (codec.decode_event, codec.decode_order, codec.decode_job):
        with pytest.raises(Broken) as caught:
            decode(text)
        assert caught.value.code == "stored_json"
        assert "\n" not in caught.value.message


def test_a_field_of_a_wrong_type_is_named() -> None:
    text = codec.encode_job(sample_job()).replace('"queued"', '"nowhere"')
    with pytest.raises(Broken, match="state"):
        codec.decode_job(text)
