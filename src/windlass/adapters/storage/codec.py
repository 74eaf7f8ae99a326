"""The core's plain data as JSON text and back, exactly.

JSON is ASCII, so NUL characters and lone surrogates of hostile text survive on both databases. Unions are told
apart by `kind` alone. Refused: NaN and infinities, a kind that this version does not know, JSON that is not ours
(Broken: only we write it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from windlass.core.effects import Effect, Order
from windlass.core.errors import Broken, Refused
from windlass.core.events import Event
from windlass.core.job import Job
from windlass.core.policy import Policy

T = TypeVar("T")

_JOB = TypeAdapter(Job)
_POLICY = TypeAdapter(Policy)
_EVENTS: Mapping[str, TypeAdapter[Any]] = {c.__name__: TypeAdapter(c) for c in get_args(Event)}
_EFFECTS: Mapping[str, TypeAdapter[Any]] = {c.__name__: TypeAdapter(c) for c in get_args(Effect)}


def dump(value: Any) -> str:
    """Plain JSON data as text. Raises Refused (code not_json) for what JSON cannot say."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(
            f"not plain JSON: {error}", code="not_json", hint="only finite numbers and plain types"
        ) from error


def load(text: str) -> Any:
    """JSON text as plain data. Raises Broken (code stored_json)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken("JSON", str(error)) from error


def encode_job(job: Job) -> str:
    """A job as JSON text."""
    return dump(_JOB.dump_python(job, mode="json"))


def decode_job(text: str) -> Job:
    """A job out of JSON text. Raises Broken (code stored_json)."""
    return _revive(_JOB, load(text), "job")


def encode_policy(policy: Policy) -> str:
    """A policy as JSON text."""
    return dump(_POLICY.dump_python(policy, mode="json"))


def decode_policy(text: str) -> Policy:
    """A policy out of JSON text. Raises Broken (code stored_json)."""
    return _revive(_POLICY, load(text), "policy")


def encode_event(event: Event) -> str:
    """An event as JSON text."""
    return dump(_EVENTS[event.kind].dump_python(event, mode="json"))


def decode_event(text: str) -> Event:
    """An event out of JSON text. Raises Broken (code stored_json)."""
    data = load(text)
    event: Event = _revive(_by_kind(_EVENTS, data, "event"), data, "event")
    return event


def encode_order(order: Order) -> str:
    """An order with its effect as JSON text."""
    effect = _EFFECTS[order.effect.kind].dump_python(order.effect, mode="json")
    return dump({"seq": order.seq, "delay_s": order.delay_s, "effect": effect})


def decode_order(text: str) -> Order:
    """An order out of JSON text. Raises Broken (code stored_json)."""
    data = load(text)
    if not isinstance(data, dict) or not {"seq", "delay_s", "effect"} <= data.keys():
        raise _broken("order", "seq, delay_s and effect are expected")
    effect = _revive(_by_kind(_EFFECTS, data["effect"], "effect"), data["effect"], "effect")
    return Order(seq=int(data["seq"]), effect=effect, delay_s=float(data["delay_s"]))


def _by_kind(adapters: Mapping[str, TypeAdapter[Any]], data: Any, what: str) -> TypeAdapter[Any]:
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in adapters:
        raise _broken(what, f"unknown kind {kind!r}"[:100])
    return adapters[kind]


def _revive(adapter: TypeAdapter[T], data: Any, what: str) -> T:
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _broken(what, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _broken(what: str, why: str) -> Broken:
    hint = "the row was changed by hand, or written by a newer version of Windlass"
    return Broken(f"a stored {what} cannot be read: {why}", code="stored_json", hint=hint)
