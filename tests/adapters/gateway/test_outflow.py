"""Answers on their way: read whatever their pieces are, and never with the key in them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from windlass.adapters.gateway import outflow
from windlass.adapters.gateway.dialects import DIALECTS
from windlass.adapters.gateway.outflow import Events, Masked, Outflow, Passing, Whole, flow_of

from .provider import chunks, message, pieces, response

SECRET = b"sk-secret-0123456789"
CUTS = st.lists(st.integers(0, 4000), max_size=30)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def through(flow: Outflow | Masked | Events, data: list[bytes]) -> bytes:
    return b"".join(flow.feed(piece) for piece in data) + flow.end()


class Seen:
    """A reader that notes what it is shown, and hides what it is told to."""

    def __init__(self, hidden: bytes = b"") -> None:
        self.events: list[bytes] = []
        self.is_complete = False
        self._hidden = hidden

    def event(self, data: bytes) -> bool:
        self.events.append(data)
        return not self._hidden or self._hidden not in data

    def whole(self, document: Any) -> None:
        self.events.append(json.dumps(document).encode())

    def found(self) -> None:
        return None


@given(st.lists(st.sampled_from([SECRET, b"sk-", b"sk-secret", b"x", b"\n\n", b"sk-sk-secret-0123"])), CUTS)
def test_a_secret_never_passes_however_it_is_cut(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    passed = through(Masked(SECRET), cut(data, places))
    assert SECRET not in passed
    assert passed == data.replace(SECRET, b"[redacted]")


def test_nothing_is_held_that_cannot_become_the_secret() -> None:
    masked = Masked(SECRET)
    assert masked.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert masked.feed(b"data: sk-sec") == b"data: "
    assert masked.feed(b"ond\n\n") == b"sk-second\n\n"


STREAM = b"event: a\r\ndata: one\r\n\r\n: a comment\n\ndata: two\ndata: more\n\ndata:three\n\ndata: last"


@given(CUTS)
def test_events_are_the_same_however_they_are_cut(places: list[int]) -> None:
    reader = Seen()
    assert through(Events(reader, can_hide=False), cut(STREAM, places)) == STREAM
    assert reader.events == [b"one", b"two\nmore", b"three", b"last"]


@given(CUTS)
def test_a_hidden_event_is_taken_out_whole(places: list[int]) -> None:
    passed = through(Events(Seen(b"two"), can_hide=True), cut(STREAM, places))
    assert passed == STREAM.replace(b"data: two\ndata: more\n\n", b"")


def test_an_event_that_is_too_long_passes_unread(monkeypatch: Any) -> None:
    monkeypatch.setattr(outflow, "MAX_EVENT_BYTES", 1000)
    for can_hide in (False, True):
        reader = Seen()
        long = b"data: " + b"x" * 5000 + b"\n\ndata: after\n\n"
        flow = Events(reader, can_hide=can_hide)
        assert through(flow, cut(long, list(range(0, 5000, 100)))) == long
        assert reader.events[-1] == b"after"
        assert len(reader.events) == 1


def test_an_answer_that_is_too_long_passes_unread(monkeypatch: Any) -> None:
    monkeypatch.setattr(outflow, "MAX_ANSWER_BYTES", 1000)
    reader = Seen()
    flow = Outflow(Whole(reader), SECRET)
    assert through(flow, [b"[" + b"1," * 1000, b"1]"]) == b"[" + b"1," * 1000 + b"1]"
    assert reader.events == []


def test_what_is_not_read_is_still_masked() -> None:
    flow = Outflow(flow_of("text/plain", None, can_hide=False), SECRET)
    assert through(flow, [b"your key sk-secret-", b"0123456789 is wrong"]) == b"your key [redacted] is wrong"
    assert isinstance(flow_of("text/event-stream; charset=utf-8", Seen(), can_hide=False), Events)
    assert isinstance(flow_of("", Seen(), can_hide=False), Whole)
    assert Passing().end() == b""


ROUTES = {
    "anthropic": ("/v1/messages", message()),
    "chat": ("/v1/chat/completions", chunks()),
    "responses": ("/v1/responses", response()),
    "gemini": ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", pieces()),
}


@given(
    st.sampled_from(sorted(ROUTES)), CUTS, st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=3)), max_size=4)
)
def test_damaged_answers_break_nothing(name: str, places: list[int], damage: list[tuple[int, bytes]]) -> None:
    path, documents = ROUTES[name]
    dialect = DIALECTS.get(name) or DIALECTS["openai"]
    route = dialect.route("POST", path)
    assert route is not None
    data = b"".join(b"data: %s\n\n" % (d if isinstance(d, str) else json.dumps(d)).encode() for d in documents)
    for at, bytes_ in damage:
        data = data[:at] + bytes_ + data[at + len(bytes_) :]
    reader = dialect.reader(route, hides_usage=False)
    passed = through(Outflow(Events(reader, can_hide=False), SECRET), cut(data, places))
    assert passed == data
    reader.found()
