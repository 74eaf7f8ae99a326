"""Google's Gemini API: the model stands in the path, and each piece of an answer counts everything up to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from windlass.adapters.gateway.dialects.counting import counted, object_in, object_of
from windlass.adapters.gateway.dialects.dialect import Ask, Document, Found, Route, number_of, section_of

STATUSES = {
    "authentication": "UNAUTHENTICATED",
    "not_found": "NOT_FOUND",
    "budget": "RESOURCE_EXHAUSTED",
    "busy": "RESOURCE_EXHAUSTED",
    "upstream": "UNAVAILABLE",
    "timeout": "DEADLINE_EXCEEDED",
}
PAID = {"generateContent": "generate", "streamGenerateContent": "stream"}
_CALL = re.compile(r"/(?:v1|v1beta|v1alpha)/models/([A-Za-z0-9][A-Za-z0-9._-]{0,199}):([A-Za-z]{1,40})")
_MODEL = re.compile(r"/(?:v1|v1beta|v1alpha)/models(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,199})?")


class Gemini:
    """Fills Dialect."""

    name = "gemini"

    def route(self, method: str, path: str) -> Route | None:
        """Generating, counting, models."""
        call = _CALL.fullmatch(path) if method == "POST" else None
        if call and call[2] in PAID:
            return Route(kind=PAID[call[2]], path=path, is_paid=True, model=call[1])
        if call and call[2] == "countTokens":
            return Route(kind="count", path=path)
        if method == "GET" and _MODEL.fullmatch(path):
            return Route(kind="models", path=path)
        return None

    def headers(self, key: str, host: str) -> Mapping[str, str]:  # noqa: ARG002
        """The key."""
        return {"x-goog-api-key": key}

    def ask(self, route: Route, body: Document) -> Ask:
        """Its bound stands in the generation's settings; thoughts count as output."""
        settings = section_of(body, "generationConfig", "generation_config")
        modalities = settings.get("responseModalities") or settings.get("response_modalities")
        return Ask(
            model=route.model,
            output_tokens=number_of(settings, "maxOutputTokens", "max_output_tokens"),
            answers=max(1, number_of(settings, "candidateCount", "candidate_count") or 1),
            is_stream=route.kind == "stream",
            has_media=bool(modalities) or "image" in route.model,
        )

    def bounded(self, route: Route, body: Document, output_tokens: int) -> None:  # noqa: ARG002
        """Under the name that the request already uses."""
        name = "generation_config" if "generation_config" in body else "generationConfig"
        body[name] = {**section_of(body, name), "maxOutputTokens": output_tokens}

    def prepare(self, route: Route, body: Document) -> bool:  # noqa: ARG002
        """Every answer says what it used."""
        return False

    def reader(self, route: Route, *, hides_usage: bool) -> GenerateReader:  # noqa: ARG002
        """A reader of one answer."""
        return GenerateReader()

    def error(self, status: int, kind: str, message: str) -> Document:
        """As the provider says it."""
        return {"error": {"code": status, "message": message, "status": STATUSES.get(kind, "INVALID_ARGUMENT")}}


class GenerateReader:
    """The last piece counts; it is the one that says why the answer ended."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}
        self._model = ""
        self.is_complete = False

    def event(self, data: bytes) -> bool:
        """A piece."""
        if b"sageMetadata" in data:
            self._take(object_of(data))
        return True

    def whole(self, document: Any) -> None:
        """An answer, or the list of its pieces."""
        for piece in document if isinstance(document, list) else [document]:
            if isinstance(piece, dict):
                self._take(piece)

    def found(self) -> Found | None:
        """None when no piece said it, or the last one is missing."""
        if not self.is_complete:
            return None
        return counted("google", "default", {**self._last, "modelVersion": self._model}, _tier(self._last))

    def _take(self, piece: Mapping[str, Any]) -> None:
        self._model = str(piece.get("modelVersion") or self._model)
        if not object_in(piece, "usageMetadata"):
            return
        self._last = dict(piece)
        candidates = piece.get("candidates")
        parts = candidates if isinstance(candidates, list) else []
        is_ended = any(isinstance(part, dict) and part.get("finishReason") for part in parts)
        self.is_complete = self.is_complete or is_ended or bool(object_in(piece, "promptFeedback"))


def _tier(answer: Mapping[str, Any]) -> dict[str, str]:
    tier = object_in(answer, "usageMetadata").get("serviceTier")
    return {"service_tier": tier.lower()} if isinstance(tier, str) and len(tier) < 40 else {}
