"""Anthropic's Messages: one call that costs money, one that counts, and the list of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from windlass.adapters.gateway.dialects.counting import counted, object_in, object_of
from windlass.adapters.gateway.dialects.dialect import Ask, Document, Found, Route, number_of, text_of, tier_of

TYPES = {
    "authentication": "authentication_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "budget": "billing_error",
    "busy": "rate_limit_error",
    "upstream": "api_error",
    "timeout": "timeout_error",
}
_MODEL = re.compile(r"/v1/models(?:/[A-Za-z0-9][A-Za-z0-9._:@-]{0,199})?")


class Anthropic:
    """Fills Dialect."""

    name = "anthropic"

    def route(self, method: str, path: str) -> Route | None:
        """Messages, counting, models."""
        if method == "POST" and path == "/v1/messages":
            return Route(kind="messages", path=path, is_paid=True)
        if method == "POST" and path == "/v1/messages/count_tokens":
            return Route(kind="count", path=path)
        if method == "GET" and _MODEL.fullmatch(path):
            return Route(kind="models", path=path)
        return None

    def headers(self, key: str, host: str) -> Mapping[str, str]:  # noqa: ARG002 - the same everywhere
        """The key."""
        return {"x-api-key": key}

    def ask(self, route: Route, body: Document) -> Ask:  # noqa: ARG002 - there is one paid call
        """Its `max_tokens` is required by the provider."""
        return Ask(
            model=text_of(body, "model"),
            output_tokens=number_of(body, "max_tokens"),
            is_stream=body.get("stream") is True,
            context=tier_of(body, "service_tier", "speed"),
        )

    def bounded(self, route: Route, body: Document, output_tokens: int) -> None:  # noqa: ARG002
        """As for the others."""
        body["max_tokens"] = output_tokens

    def prepare(self, route: Route, body: Document) -> bool:  # noqa: ARG002
        """Every answer says what it used."""
        return False

    def reader(self, route: Route, *, hides_usage: bool) -> MessagesReader:  # noqa: ARG002
        """A reader of one message."""
        return MessagesReader()

    def error(self, status: int, kind: str, message: str) -> Document:  # noqa: ARG002
        """As the provider says it."""
        return {"type": "error", "error": {"type": TYPES.get(kind, "invalid_request_error"), "message": message}}


class MessagesReader:
    """`message_start` names model and input, `message_delta` the output up to then; `message_stop` ends it."""

    def __init__(self) -> None:
        self._model = ""
        self._usage: dict[str, Any] = {}
        self._has_delta = False
        self.is_complete = False

    def event(self, data: bytes) -> bool:
        """Only three kinds of event matter."""
        if b"message_" in data:
            document = object_of(data)
            match document.get("type"):
                case "message_start":
                    message = object_in(document, "message")
                    self._model = str(message.get("model", ""))
                    self._add(message)
                case "message_delta":
                    self._add(document)
                    self._has_delta = True
                case "message_stop":
                    self.is_complete = self._has_delta
                case _:
                    pass
        return True

    def whole(self, document: Any) -> None:
        """A message."""
        if isinstance(document, dict) and document.get("type") == "message":
            self._model = str(document.get("model", ""))
            self._add(document)
            self._has_delta = self.is_complete = True

    def found(self) -> Found | None:
        """None without the closing count."""
        if not self._has_delta:
            return None
        context = tier_of(self._usage, "service_tier", "speed")
        return counted("anthropic", "default", {"model": self._model, "usage": self._usage}, context)

    def _add(self, document: Mapping[str, Any]) -> None:
        self._usage.update({k: v for k, v in object_in(document, "usage").items() if v is not None})
