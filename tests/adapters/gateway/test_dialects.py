"""What the gateway understands of each wire format: which calls, how dear they may be, what answers say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.adapters.gateway import UPSTREAMS
from windlass.adapters.gateway.dialects import DIALECTS
from windlass.adapters.gateway.dialects.dialect import BadRequest, Found, Reader, weighed

from .provider import chunks, message, pieces, response

GENERATE = "/v1beta/models/m:generateContent"
PAID = {
    "/v1/messages": "anthropic",
    "/v1/chat/completions": "openai",
    "/v1/responses": "openai",
    "/v1/responses/compact": "openai",
    "/v1/embeddings": "openai",
    "/v1beta/models/gemini-2.5-pro:generateContent": "gemini",
    "/v1beta/models/gemini-2.5-pro:streamGenerateContent": "gemini",
}
FREE = {
    ("POST", "/v1/messages/count_tokens"): "anthropic",
    ("GET", "/v1/models/claude-sonnet-4-5"): "anthropic",
    ("GET", "/v1/models"): "openai",
    ("POST", "/v1/responses/input_tokens"): "openai",
    ("POST", "/v1beta/models/gemini-2.5-pro:countTokens"): "gemini",
    ("GET", "/v1beta/models"): "gemini",
}
NEVER = [
    *[("POST", path) for path in ("/", "/v1", "/v1/files", "/v1/messages/batches", "/v1/models", "/v1beta/files")],
    *[("POST", path) for path in ("/v1/fine_tuning/jobs", "/v1/images/generations", "http://evil/v1/messages")],
    *[
        ("POST", "/v1/messages/../files"),
        ("POST", "//v1/messages"),
        ("GET", "/v1/messages"),
        ("DELETE", "/v1/models/x"),
    ],
    *[("GET", "/v1/responses/r1"), ("GET", "/v1/organization/admin_api_keys"), ("GET", "/v1beta/models/x%2e%2e")],
    *[("POST", "/v1beta/models/x:batchGenerateContent"), ("POST", "/v1beta/models/x/../y:generateContent")],
    *[("GET", "/v1/models/../files"), ("GET", "/v1/models/.."), ("POST", "/v1/messages\n")],
    ("POST", "/v1/messages%2f..%2ffiles"),
]


def test_every_provider_has_its_dialect() -> None:
    assert set(DIALECTS) == set(UPSTREAMS)


@pytest.mark.parametrize("path", PAID)
def test_calls_that_cost_money(path: str) -> None:
    routes = {name: dialect.route("POST", path) for name, dialect in DIALECTS.items()}
    assert [name for name, route in routes.items() if route is not None] == [PAID[path]]
    route = routes[PAID[path]]
    assert route is not None
    assert route.is_paid


@pytest.mark.parametrize(("method", "path"), FREE)
def test_calls_that_cost_nothing(method: str, path: str) -> None:
    route = DIALECTS[FREE[method, path]].route(method, path)
    assert route is not None
    assert not route.is_paid


@pytest.mark.parametrize(("method", "path"), NEVER)
def test_everything_else_is_not_passed_on(method: str, path: str) -> None:
    assert [name for name, dialect in DIALECTS.items() if dialect.route(method, path)] == []


def ask(protocol: str, path: str, body: dict[str, Any]) -> Any:
    dialect = DIALECTS[protocol]
    route = dialect.route("POST", path)
    assert route is not None
    return dialect.ask(route, body)


@pytest.mark.parametrize(
    ("protocol", "path", "body", "tokens", "answers"),
    [
        ("anthropic", "/v1/messages", {"max_tokens": 7}, 7, 1),
        ("anthropic", "/v1/messages", {}, None, 1),
        ("openai", "/v1/chat/completions", {"max_tokens": 5, "max_completion_tokens": 9, "n": 3}, 9, 3),
        ("openai", "/v1/responses", {"max_output_tokens": 8, "max_tokens": 1}, 8, 1),
        ("openai", "/v1/embeddings", {"input": "x"}, 0, 1),
        ("gemini", GENERATE, {"generationConfig": {"maxOutputTokens": 4, "candidateCount": 2}}, 4, 2),
        ("gemini", GENERATE, {"generation_config": {"max_output_tokens": 4}}, 4, 1),
    ],
)  # fmt: skip
def test_how_much_may_be_written(
    protocol: str, path: str, body: dict[str, Any], tokens: int | None, answers: int
) -> None:
    found = ask(protocol, path, body)
    assert (found.output_tokens, found.answers) == (tokens, answers)
    if tokens is None:
        dialect = DIALECTS[protocol]
        route = dialect.route("POST", path)
        assert route is not None
        dialect.bounded(route, body, 123)
        assert dialect.ask(route, body).output_tokens == 123


@pytest.mark.parametrize(
    ("protocol", "path", "name"),
    [
        ("openai", "/v1/responses", "max_output_tokens"),
        ("openai", "/v1/chat/completions", "max_tokens"),
        ("gemini", "/v1beta/models/m:generateContent", "generationConfig"),
    ],
)
def test_a_bound_is_written_where_there_is_none(protocol: str, path: str, name: str) -> None:
    dialect, body = DIALECTS[protocol], {"model": "m"}
    route = dialect.route("POST", path)
    assert route is not None
    dialect.bounded(route, body, 321)
    assert name in body
    assert dialect.ask(route, body).output_tokens == 321


def test_newer_models_of_openai_are_bounded_by_the_newer_name() -> None:
    body = {"model": "gpt-5.1"}
    route = DIALECTS["openai"].route("POST", "/v1/chat/completions")
    assert route is not None
    DIALECTS["openai"].bounded(route, body, 5)
    assert body == {"model": "gpt-5.1", "max_completion_tokens": 5}


@pytest.mark.parametrize(
    ("protocol", "path", "body"),
    [
        ("anthropic", "/v1/messages", {"model": ["x"]}),
        ("anthropic", "/v1/messages", {"max_tokens": "many"}),
        ("anthropic", "/v1/messages", {"max_tokens": -1}),
        ("openai", "/v1/chat/completions", {"max_tokens": True}),
        ("openai", "/v1/chat/completions", {"n": 1.5}),
        ("openai", "/v1/responses", {"background": True}),
        ("gemini", "/v1beta/models/m:generateContent", {"generationConfig": [1]}),
    ],
)
def test_what_cannot_be_priced_is_not_passed_on(protocol: str, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        ask(protocol, path, body)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "data": "x"}},
        {"type": "input_image", "image_url": "https://x"},
        {"type": "document", "source": {}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"previous_response_id": "resp_1"},
        {"fileData": {"fileUri": "https://x"}},
        {"cachedContent": "cachedContents/1"},
        {"googleSearch": {}},
    ],
)
def test_what_a_provider_reads_beyond_the_request_is_seen(part: Any) -> None:
    plain = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": 'say "type":"image" please'}]}
    bare = ask("anthropic", "/v1/messages", plain)
    for body, is_open in ((plain, False), ({**plain, "x": [part]}, True)):
        data = json.dumps(body, separators=(",", ":")).encode()
        assert weighed(bare, data, {}).is_open_ended is is_open


def reader(protocol: str, path: str, *, hides: bool = False) -> Reader:
    dialect = DIALECTS[protocol]
    route = dialect.route("POST", path)
    assert route is not None
    return dialect.reader(route, hides_usage=hides)


STREAMS: dict[str, tuple[str, str, list[Any], str, int]] = {
    "messages": ("anthropic", "/v1/messages", message(), "claude-sonnet-4-5-20250929", 0),
    "chat": ("openai", "/v1/chat/completions", chunks(), "gpt-4o-2024-11-20", 400),
    "responses": ("openai", "/v1/responses", response(), "gpt-5.1-codex", 400),
    "gemini": ("gemini", "/v1beta/models/gemini-2.5-pro:streamGenerateContent", pieces(), "gemini-2.5-pro", 0),
}


def counts(found: Found | None) -> tuple[str, int, int, int]:
    assert found is not None
    names = ("input_tokens", "output_tokens", "cache_read_tokens")
    return found.model, *(int(found.usage.reported_value(name)) for name in names)  # type: ignore[return-value]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_counted_at_its_end_and_not_before(name: str) -> None:
    protocol, path, documents, model, cached = STREAMS[name]
    it = reader(protocol, path)
    for document in documents:
        assert not it.is_complete
        it.event(document.encode() if isinstance(document, str) else json.dumps(document).encode())
    assert it.is_complete
    assert counts(it.found()) == (model, 1000, 200, cached)


def test_anthropic_counts_what_went_to_and_came_from_the_cache() -> None:
    it = reader("anthropic", "/v1/messages")
    for event in message(input_tokens=100, cache_read_input_tokens=600, cache_creation_input_tokens=300):
        it.event(json.dumps(event).encode())
    found = it.found()
    assert counts(found) == ("claude-sonnet-4-5-20250929", 1000, 200, 600)
    assert found is not None
    assert found.usage.reported_value("cache_write_tokens") == 300


@pytest.mark.parametrize("name", ["messages", "responses", "gemini"])
def test_an_answer_that_broke_off_says_nothing(name: str) -> None:
    protocol, path, documents, _, _ = STREAMS[name]
    it = reader(protocol, path)
    for document in documents[: 2 if name == "messages" else -1]:
        it.event(json.dumps(document).encode())
    assert it.found() is None


def test_only_what_we_asked_for_is_kept_back() -> None:
    for hides, shown in ((True, [True, True, False, True]), (False, [True] * 4)):
        it = reader("openai", "/v1/chat/completions", hides=hides)
        assert [it.event((c if isinstance(c, str) else json.dumps(c)).encode()) for c in chunks()] == shown
    it = reader("openai", "/v1/chat/completions", hides=True)
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert it.event(json.dumps(last).encode()), "a chunk with a choice is the run's"


@pytest.mark.parametrize(
    ("protocol", "path", "document"),
    [
        (
            "anthropic",
            "/v1/messages",
            {**message()[0]["message"], "usage": {"input_tokens": 1000, "output_tokens": 200}},
        ),
        ("openai", "/v1/chat/completions", {"model": "m", "usage": chunks()[2]["usage"]}),
        ("openai", "/v1/responses", response()[-1]["response"]),
        ("openai", "/v1/embeddings", {"model": "m", "usage": {"prompt_tokens": 1000, "total_tokens": 1000}}),
        ("gemini", "/v1beta/models/m:generateContent", pieces()[-1]),
        ("gemini", "/v1beta/models/m:streamGenerateContent", pieces()),
    ],
)
def test_whole_answers_are_counted(protocol: str, path: str, document: Any) -> None:
    it = reader(protocol, path)
    it.whole(document)
    _, read, written, _ = counts(it.found())
    assert (read, written) == (1000, 0 if path.endswith("embeddings") else 200)


NONSENSE: list[Any] = [
    *[None, [], "x", 3, {}, {"usage": []}, {"usage": {"input_tokens": -1, "output_tokens": 1}}],
    {"usage": {"input_tokens": "1", "output_tokens": 1}},
    {"usage": {"prompt_tokens": 1e300, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": 10**15, "completion_tokens": 1}},
    {"usageMetadata": {"promptTokenCount": None}},
    {"model": ["x"], "usage": {"prompt_tokens": 1.5, "completion_tokens": 1}},
    {"candidates": 3, "usageMetadata": {"promptTokenCount": -3}},
    {"type": "message", "usage": {"input_tokens": True, "output_tokens": None}},
]


@pytest.mark.parametrize("document", NONSENSE, ids=lambda d: json.dumps(d)[:40])
def test_nonsense_counts_for_nothing(document: Any) -> None:
    for protocol, path, *_ in STREAMS.values():
        for is_whole in (True, False):
            it = reader(protocol, path)
            if is_whole:
                it.whole(document)
            else:
                it.event(json.dumps(document).encode())
            assert it.found() is None


@given(st.binary(max_size=200))
def test_any_bytes_may_come(data: bytes) -> None:
    for protocol, path, *_ in STREAMS.values():
        it = reader(protocol, path)
        it.event(data)
        it.event(b'{"type":"message_delta","usage":' + data + b"}")
        it.found()


@pytest.mark.parametrize(
    "kind", ["authentication", "not_found", "too_large", "budget", "busy", "upstream", "timeout", "invalid"]
)
def test_errors_have_the_providers_own_shape(kind: str) -> None:
    anthropic = DIALECTS["anthropic"].error(402, kind, "no")
    assert (anthropic["type"], anthropic["error"]["message"]) == ("error", "no")
    openai = DIALECTS["openai"].error(402, kind, "no")["error"]
    assert set(openai) == {"message", "type", "param", "code"}
    assert DIALECTS["gemini"].error(402, kind, "no")["error"]["code"] == 402
