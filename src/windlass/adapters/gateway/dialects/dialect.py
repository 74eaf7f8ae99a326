"""What the gateway asks of a wire format: which calls there are, what one may cost, what an answer says was used.

A call that no dialect lists is not passed on. Everything a run sends is hostile: only what is read here is believed,
and what is sent on is written anew from what was read, so that nothing can mean one thing here and another there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from genai_prices import Usage

Document = dict[str, Any]

# What makes a provider read more than stands in the request: pictures, files, stored conversations, tools of its own.
OPEN_ENDED = (
    *(b'"type":"image', b'"type":"document"', b'"type":"file', b'"type":"input_image"', b'"type":"input_file"'),
    *(b'"type":"input_audio"', b'"type":"web_', b'"type":"code_', b'"type":"computer', b'"type":"mcp'),
    *(b'"type":"tool_search', b'"type":"item_reference"', b'"web_search_options"', b'"mcp_servers":'),
    *(b'"previous_response_id":"', b'"conversation":', b'"prompt":{', b'"file_id":', b'"container":'),
    *(b'"inlineData":', b'"inline_data":', b'"fileData":', b'"file_data":', b'"cachedContent":'),
    *(b'"cached_content":', b'"googleSearch', b'"google_search', b'"urlContext"', b'"url_context"'),
    *(b'"codeExecution"', b'"code_execution"'),
)  # fmt: skip
SEARCHES = (b'"type":"web_search', b'"googleSearch', b'"google_search', b'"web_search_options"')
MOST_SEARCHES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One kind of call. `path` is below the upstream's address; `is_paid`: it costs money and so needs a body."""

    kind: str
    path: str
    is_paid: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One paid call, as far as money is concerned. `output_tokens` None: it does not say how much may be written.

    `is_open_ended`: the provider may read more than the `input_bytes` of the request; `context`: the service's tier.
    """

    model: str
    input_bytes: int = 0
    output_tokens: int | None = None
    answers: int = 1
    searches: int = 0
    is_stream: bool = False
    is_open_ended: bool = False
    is_long_context: bool = False
    writes_cache: bool = False
    has_media: bool = False
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an answer says: the model that gave it and what was used."""

    model: str
    usage: Usage
    context: Mapping[str, str] = field(default_factory=dict)


class Reader(Protocol):
    """Reads one answer while it passes. Refuses nothing: what it cannot read, it has not seen."""

    @property
    def is_complete(self) -> bool:
        """Whether the answer has said its last word on what was used."""

    def event(self, data: bytes) -> bool:
        """Take in one event of a stream; False when it must be kept from the run, because only we asked for it."""

    def whole(self, document: Any) -> None:
        """Take in an answer that came in one piece."""

    def found(self) -> Found | None:
        """What was used, once the answer has ended as it should; None when it did not say."""


class Dialect(Protocol):
    """One wire format."""

    name: str

    def route(self, method: str, path: str) -> Route | None:
        """The call that a method and a path mean, or None."""

    def headers(self, key: str, host: str) -> Mapping[str, str]:
        """What shows the real key to the provider."""

    def ask(self, route: Route, body: Document) -> Ask:
        """What a paid call wants. Raises BadRequest."""

    def bounded(self, route: Route, body: Document, output_tokens: int) -> None:
        """Write a bound on what may be written into a request that names none."""

    def prepare(self, route: Route, body: Document) -> bool:
        """Have the answer say what it used; True when the run did not ask for that and must not see it."""

    def reader(self, route: Route, *, hides_usage: bool) -> Reader:
        """A fresh reader for the answer to a paid call."""

    def error(self, status: int, kind: str, message: str) -> Document:
        """An error in the provider's own form."""


class BadRequest(Exception):
    """A request that cannot be passed on; the text says why."""


def weighed(ask: Ask, body: bytes, headers: Mapping[str, str]) -> Ask:
    """The ask, with what the request's own bytes (compact JSON) and headers say about its price."""
    return Ask(
        model=ask.model,
        input_bytes=len(body),
        output_tokens=ask.output_tokens,
        answers=ask.answers,
        searches=MOST_SEARCHES if any(sign in body for sign in SEARCHES) else 0,
        is_stream=ask.is_stream,
        is_open_ended=any(sign in body for sign in OPEN_ENDED),
        is_long_context="context-" in headers.get("anthropic-beta", ""),
        writes_cache=b'"cache_control"' in body or ask.writes_cache,
        has_media=ask.has_media,
        context=ask.context,
    )


def text_of(body: Mapping[str, Any], name: str) -> str:
    """A text in a request; '' when it is not there. Raises BadRequest when it is something else."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 300:
        raise BadRequest(f"{name} is not a short text")
    return value


def number_of(body: Mapping[str, Any], *names: str) -> int | None:
    """The largest of some numbers in a request; None when none is there. Raises BadRequest when one is no count."""
    found = [value for name in names if (value := body.get(name)) is not None]
    for value in found:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10**9:
            raise BadRequest(f"{' or '.join(names)} is not a count")
    return max(found, default=None)


def section_of(body: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A part of a request, under whichever name; empty when it is not there. Raises BadRequest."""
    for name in names:
        value = body.get(name)
        if value is not None:
            if not isinstance(value, dict):
                raise BadRequest(f"{name} is not an object")
            return value
    return {}


def tier_of(body: Mapping[str, Any], *names: str) -> dict[str, str]:
    """The service's tier and the like, where the request or answer names it."""
    return {name: value for name in names if isinstance(value := body.get(name), str) and len(value) < 40}
