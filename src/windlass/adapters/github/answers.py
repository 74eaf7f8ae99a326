"""Sorts the forge's answers by who has to act. Everything that is not a success becomes one of our errors here.

| answer | error |
|---|---|
| 403 or 429 that speaks of a limit | Unavailable (rate_limited, secondary_rate_limited) with `retry_after_s` |
| 5xx, 408 | Unavailable (server_error) |
| 401 · 403, 451 | Forbidden (bad_credentials · forbidden) |
| 404, 410 | NotFound |
| 409, 422 'already exists' | Conflict |
| other 4xx | Refused, with GitHub's own words |
| 3xx that leads nowhere | Failed |

GitHub's words are hostile text: one line, cut, without the credential that was sent.
Source: docs.github.com, "Rate limits for the REST API" and "Troubleshooting the REST API".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from windlass.adapters.github.payload import dig, text
from windlass.core.errors import Conflict, Failed, Forbidden, NotFound, Refused, Unavailable, WindlassError

MAX_WORDS_CHARS = 400
SECONDARY_PAUSE_S = 60.0
SHORTEST_SECRET_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer. `headers` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def problem(answer: Answer, *, call: str, now_ms: int, secret: str = "") -> WindlassError | None:
    """What is wrong with an answer to `call` ('GET /path'), or None. `secret` never shows in it."""
    status = answer.status
    if 200 <= status < 300:
        return None
    words = _words(answer.body, secret)
    message = f"{call} answered {status}{': ' if words else ''}{words}"
    if status in {403, 429}:
        return _limited(answer, message, words, now_ms) or _forbidden(message)
    if status >= 500 or status == 408:
        hint = "nothing to do but wait; what was asked may have been done"
        return Unavailable(message, hint=hint, code="server_error", retry_after_s=retry_after_s(answer.headers))
    return _refusal(status, message, words)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The header Retry-After in seconds (GitHub sends no dates), at most a day, or None."""
    return _seconds(headers.get("retry-after"))


def unreadable(call: str) -> Unavailable:
    """An answer that is not what GitHub says there: a proxy's page, a cut body."""
    return Unavailable(
        f"{call} answered with something that is not the forge's",
        hint="look for a proxy or a login page between Windlass and the forge",
        code="bad_answer",
    )


def _refusal(status: int, message: str, words: str) -> WindlassError:
    if status == 401:
        hint = "check the token, or the App's id, its private key and this machine's clock"
        return Forbidden(message, hint=hint, code="bad_credentials")
    if status == 451:
        return _forbidden(message)
    if status in {404, 410}:
        hint = "check the name, and that the App is installed there or the token may see it"
        return NotFound(message, hint=hint)
    if status == 409 or (status == 422 and _says_exists(words)):
        return Conflict(message, hint="look at what is there; nothing was changed")
    if status >= 400:
        return Refused(message, hint="the forge names the reason; change the request", code="forge_refused")
    return Failed(message, hint="check the forge's API URL", code="unexpected_redirect")


def _forbidden(message: str) -> Forbidden:
    return Forbidden(message, hint="check the App's or the token's permissions on this repository")


def _limited(answer: Answer, message: str, words: str, now_ms: int) -> Unavailable | None:
    asked_s = retry_after_s(answer.headers)
    if answer.headers.get("x-ratelimit-remaining") == "0":
        reset_s = _seconds(answer.headers.get("x-ratelimit-reset"), most=4e9)
        wait_s = asked_s if asked_s is not None else max(1.0, (reset_s or 0.0) - now_ms / 1000)
        return _wait(message, "rate_limited", wait_s)
    is_limit = asked_s is not None or answer.status == 429 or _says_limit(words)
    return (
        _wait(message, "secondary_rate_limited", SECONDARY_PAUSE_S if asked_s is None else asked_s)
        if is_limit
        else None
    )


def _wait(message: str, code: str, wait_s: float) -> Unavailable:
    wait_s = min(wait_s, 86_400.0)
    hint = f"nothing to do; calls go on in {wait_s:.0f} s"
    return Unavailable(message, hint=hint, code=code, retry_after_s=wait_s)


def _says_limit(words: str) -> bool:
    lower = words.lower()
    return "rate limit" in lower or "abuse detection" in lower


def _says_exists(words: str) -> bool:
    lower = words.lower()
    return "already exists" in lower or "already_exists" in lower


def _seconds(value: str | None, *, most: float = 86_400.0) -> float | None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 12:
        return None
    return min(float(value), most)


def _words(body: bytes, secret: str) -> str:
    """GitHub's `message` and `errors` on one line; '' when the body is not GitHub's."""
    try:
        data = json.loads(body[: 1 << 20])
    except (ValueError, RecursionError):
        return ""
    parts = [text(data, "message"), *_errors(dig(data, "errors"))]
    line = " ".join("; ".join(part for part in parts if part).split())
    if len(secret) >= SHORTEST_SECRET_CHARS:
        line = line.replace(secret, "[credential]")
    return line if len(line) <= MAX_WORDS_CHARS else line[: MAX_WORDS_CHARS - 1] + "…"


def _errors(errors: Any) -> list[str]:
    if isinstance(errors, str):
        return [errors]
    if not isinstance(errors, list):
        return []
    return [_error(item) for item in errors[:10]]


def _error(item: Any) -> str:
    if isinstance(item, str):
        return item
    said = text(item, "message")
    field = ".".join(part for part in (text(item, "resource"), text(item, "field")) if part)
    return said or " ".join(part for part in (field, text(item, "code")) if part)
