"""OpenAI's chat completions, responses and embeddings, and the many servers that speak like them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from windlass.adapters.gateway.dialects.counting import counted, object_in, object_of
from windlass.adapters.gateway.dialects.dialect import (
    Ask,
    BadRequest,
    Document,
    Found,
    Reader,
    Route,
    number_of,
    text_of,
    tier_of,
)

KINDS = {
    "authentication": ("invalid_request_error", "invalid_api_key"),
    "not_found": ("invalid_request_error", "not_found"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "budget": ("insufficient_quota", "insufficient_quota"),
    "busy": ("rate_limit_error", "rate_limit_exceeded"),
    "upstream": ("server_error", "bad_gateway"),
    "timeout": ("server_error", "timeout"),
}
PAID = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/responses/compact": "responses",
    "/v1/embeddings": "embeddings",
}
ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_MODEL = re.compile(r"/v1/models(?:/[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}){0,3}")


class OpenAI:
    """Fills Dialect. The upstream's address ends where the paths of calls begin, usually with /v1."""

    name = "openai"

    def route(self, method: str, path: str) -> Route | None:
        """What coding agents call, and nothing that is stored or goes on behind one's back."""
        below = path.removeprefix("/v1")
        if method == "POST" and path in PAID:
            return Route(kind=PAID[path], path=below, is_paid=True)
        if method == "POST" and path == "/v1/responses/input_tokens":
            return Route(kind="count", path=below)
        if method == "GET" and _MODEL.fullmatch(path):
            return Route(kind="models", path=below)
        return None

    def headers(self, key: str, host: str) -> Mapping[str, str]:
        """The key; Azure wants it by another name."""
        return {"authorization": f"Bearer {key}", **({"api-key": key} if host.endswith(".azure.com") else {})}

    def ask(self, route: Route, body: Document) -> Ask:
        """Refuses work in the background: nobody could say what it cost."""
        if body.get("background"):
            raise BadRequest("background is not passed on: nothing would tell what it used")
        model, tier = text_of(body, "model"), tier_of(body, "service_tier")
        if route.kind == "embeddings":
            return Ask(model=model, output_tokens=0, context=tier)
        names = ("max_output_tokens",) if route.kind == "responses" else ("max_completion_tokens", "max_tokens")
        return Ask(
            model=model,
            output_tokens=number_of(body, *names),
            answers=max(1, number_of(body, "n") or 1) if route.kind == "chat" else 1,
            is_stream=body.get("stream") is True,
            writes_cache=True,  # without being asked, where a provider bills it
            has_media="audio" in repr(body.get("modalities")),
            context=tier,
        )

    def bounded(self, route: Route, body: Document, output_tokens: int) -> None:
        """OpenAI's newer models know only the newer name, many servers only the older one."""
        if route.kind == "responses":
            body["max_output_tokens"] = output_tokens
        elif re.match(r"(?:.*/)?(?:gpt-[5-9]|o[1-9])", text_of(body, "model")):
            body["max_completion_tokens"] = output_tokens
        else:
            body["max_tokens"] = output_tokens

    def prepare(self, route: Route, body: Document) -> bool:
        """A stream of chat completions says what it used only when it is asked."""
        if route.kind != "chat" or body.get("stream") is not True:
            return False
        options = body.get("stream_options")
        options = options if isinstance(options, dict) else {}
        body["stream_options"] = {**options, "include_usage": True}
        return options.get("include_usage") is not True

    def reader(self, route: Route, *, hides_usage: bool) -> Reader:
        """A reader of one answer."""
        return ChatReader(hides_usage=hides_usage) if route.kind == "chat" else ResponsesReader(route.kind)

    def error(self, status: int, kind: str, message: str) -> Document:  # noqa: ARG002
        """As the provider says it."""
        type_, code = KINDS.get(kind, ("invalid_request_error", None))
        return {"error": {"message": message, "type": type_, "param": None, "code": code}}


class ChatReader:
    """The last chunk with a `usage` counts; `[DONE]` ends it."""

    def __init__(self, *, hides_usage: bool) -> None:
        self._hides_usage = hides_usage
        self._last: dict[str, Any] = {}
        self._model = ""
        self.is_complete = False

    def event(self, data: bytes) -> bool:
        """A chunk without choices is the one that only we asked for."""
        if data.strip() == b"[DONE]":
            self.is_complete = bool(self._last)
        elif b'"usage"' in data or not self._model:
            chunk = object_of(data)
            self._model = str(chunk.get("model") or self._model)
            if object_in(chunk, "usage"):
                self._last = chunk
                return not (self._hides_usage and chunk.get("choices") == [])
        return True

    def whole(self, document: Any) -> None:
        """A completion."""
        if isinstance(document, dict):
            self._last, self.is_complete = document, True

    def found(self) -> Found | None:
        """None when no chunk said it."""
        answer = {**self._last, "model": self._last.get("model") or self._model}
        return counted("openai", "chat", answer, tier_of(self._last, "service_tier"))


class ResponsesReader:
    """The event that ends a response holds all of it; an embedding says it like an old completion."""

    def __init__(self, kind: str) -> None:
        self._flavor = "responses" if kind == "responses" else "embeddings"
        self._last: dict[str, Any] = {}
        self.is_complete = False

    def event(self, data: bytes) -> bool:
        """Only the last one matters."""
        if b'"response.' in data and b'"usage"' in data:
            document = object_of(data)
            if document.get("type") in ENDINGS:
                self.whole(object_in(document, "response"))
        return True

    def whole(self, document: Any) -> None:
        """A response."""
        if isinstance(document, dict) and object_in(document, "usage"):
            self._last, self.is_complete = document, True

    def found(self) -> Found | None:
        """None when it never ended, or failed without a count."""
        return counted("openai", self._flavor, self._last, tier_of(self._last, "service_tier"))
