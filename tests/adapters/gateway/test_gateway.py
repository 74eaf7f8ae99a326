"""A living gateway between runs and a provider that does as it is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from windlass.adapters.gateway import GatewayOptions, OwnPrice
from windlass.core.agent_events import Usage
from windlass.core.errors import Refused
from windlass.ports import Grant

from .desk import KEY, Desk, Run, desk_of, until
from .provider import Answer, Heard, Provider, chunks, events, message, pieces, provider, response, whole

OPTIONS = GatewayOptions(
    prices=[OwnPrice(pattern="cheap-*", input_usd=Decimal(1), output_usd=Decimal(1))],
    largest_body_bytes=3 << 20,
)
STREAMS: dict[str, tuple[list[Any], str]] = {
    "anthropic": (message(), "claude-sonnet-4-5-20250929"),
    "openai": (chunks(), "gpt-4o-2024-11-20"),
    "gemini": (pieces(), "gemini-2.5-pro"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with provider() as here, desk_of(tmp_path_factory.mktemp("gw") / "gateway", here, OPTIONS) as found:
        yield found
        assert (found.root / "log").read_text() == "", "nothing of all that was a surprise"


@pytest.fixture(autouse=True)
def _fresh(desk: Desk) -> None:
    desk.provider.heard.clear()
    desk.provider.left = threading.Event()
    desk.provider.answer = lambda heard: whole({})


def endless(left: threading.Event) -> Iterator[bytes]:
    while not left.is_set():
        yield b"data: {}\n\n"
        time.sleep(0.01)


def say(desk: Desk, answer: Answer) -> None:
    desk.provider.answer = lambda heard: answer


# ------------------------------------------------------------------ passing on


@pytest.mark.parametrize("protocol", STREAMS)
def test_a_stream_is_passed_on_counted_and_priced(desk: Desk, protocol: str) -> None:
    documents, model = STREAMS[protocol]
    say(desk, events(*documents))
    run = desk.run(protocol)
    answer = run.post(model=model, stream=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    shown = [d for d in documents if not (isinstance(d, dict) and d.get("choices") == [])]
    assert answer.content == b"".join(events(*shown).pieces), "all but the chunk that only the gateway asked for"
    usage = run.usage
    assert usage is not None
    assert (usage.model, usage.input_tokens, usage.output_tokens) == (model, 1000, 200)
    assert usage.cost_usd is not None
    assert Decimal(usage.cost_usd) > 0
    assert [next(iter(json.loads(line))) for line in run.lines] == ["hold", "settle"]


def test_a_response_is_counted(desk: Desk) -> None:
    say(desk, events(*response()))
    run = desk.run("openai")
    assert run.post("/v1/responses", model="gpt-5.1-codex", stream=True).status_code == 200
    assert run.usage == Usage(
        model="gpt-5.1-codex", input_tokens=1000, output_tokens=200, cached_tokens=400, cost_usd="0.0028"
    )


def test_the_provider_sees_the_real_key_and_the_run_never_does(desk: Desk) -> None:
    def echo(heard: Heard) -> Answer:
        return whole({"you said": heard.headers, "it is": KEY}, echoed=f"key {KEY}")

    desk.provider.answer = echo
    for protocol, shown in (("anthropic", "x-api-key"), ("openai", "authorization"), ("gemini", "x-goog-api-key")):
        run = desk.run(protocol)
        with run.client(
            **{"x-api-key": "", shown: f"{'Bearer ' * (protocol == 'openai')}{run.admission.key}"}
        ) as client:
            answer = client.post(run.path, json={"max_tokens": 5})
        heard = {name.lower(): value for name, value in desk.provider.heard[-1].headers.items()}
        assert heard[shown].endswith(KEY)
        assert not any(run.admission.key in value for value in heard.values())
        assert KEY not in answer.text + str(answer.headers)
        assert answer.text.count("[redacted]") == 2
        assert answer.headers["echoed"] == "key [redacted]"
        assert run.admission.key.startswith("wlk_")


def test_a_key_in_the_address_goes_no_further(desk: Desk) -> None:
    run = desk.run("gemini")
    say(desk, whole(pieces()[-1]))
    with run.client(**{"x-api-key": ""}) as client:
        answer = client.post(f"/v1beta/models/gemini-2.5-pro:generateContent?key={run.admission.key}&alt=json", json={})
    assert answer.status_code == 200
    assert desk.provider.heard[-1].path == "/v1beta/models/gemini-2.5-pro:generateContent?alt=json"


def test_headers_that_choose_who_pays_or_lead_elsewhere_are_dropped(desk: Desk) -> None:
    run = desk.run("openai")
    headers = {
        "OpenAI-Organization": "org-evil",
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
        "Host": "evil.example",
        "Connection": "keep-alive, X-Secret",
        "X-Secret": "1",
        "X-Stainless-Lang": "python",
        "Accept-Encoding": "br",
    }
    say(desk, whole({}, Set_Cookie="s=1", Location="https://evil.example", X_Request_Id="req-1"))
    with run.client(**headers) as client:
        answer = client.post(run.path, json={"model": "m"})
    heard = {name.lower(): value for name, value in desk.provider.heard[-1].headers.items()}
    assert heard["host"] == desk.provider.url.removeprefix("http://")
    assert {"openai-organization", "cookie", "x-forwarded-for", "x-secret"}.isdisjoint(heard)
    assert (heard["x-stainless-lang"], heard["accept-encoding"]) == ("python", "identity")
    assert {"set-cookie", "location"}.isdisjoint(answer.headers)
    assert answer.headers["x-request-id"] == "req-1"


def test_each_piece_passes_when_it_comes(desk: Desk) -> None:
    first, rest = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        parts = list(events(*message()).pieces)
        yield parts[0]
        assert rest.wait(60)
        yield from parts[1:]

    say(desk, Answer(pieces=slowly(), kind="text/event-stream"))
    run = desk.run()
    with run.client() as client, client.stream("POST", run.path, json={"model": "m", "max_tokens": 5}) as answer:
        for data in answer.iter_raw():
            if b"message_start" in data:
                assert not first.is_set()
                first.set()
                rest.set()
    assert first.is_set(), "the first event came while the provider still held the second back"


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_the_providers_refusals_are_passed_on_and_cost_nothing(desk: Desk, status: int) -> None:
    say(desk, whole({"type": "error", "error": {"message": f"bad key {KEY}"}}, status, retry_after="7"))
    run = desk.run(limit_usd=5)
    answer = run.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    assert answer.json()["error"]["message"] == "bad key [redacted]"
    assert run.usage == Usage(cost_usd="0")


def test_a_redirect_is_not_followed(desk: Desk) -> None:
    say(desk, whole({}, 307, Location=f"{desk.provider.url}/v1/elsewhere"))
    answer = desk.run().post()
    assert answer.status_code == 502
    assert len(desk.provider.heard) == 1


def test_a_provider_that_is_not_there_costs_nothing(desk: Desk) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    run = desk.run(limit_usd=1)
    desk.gateway.forget(run.name)
    run.grant = Grant(protocol="anthropic", upstream=gone, key=KEY, cost_limit_usd=1)
    run.admission = desk.gateway.admit(run.name, run.grant)
    answer = run.post()
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"
    assert run.usage == Usage(cost_usd="0")


def test_counting_and_listing_are_free(desk: Desk) -> None:
    run = desk.run(limit_usd=0.000001)
    assert run.post("/v1/messages/count_tokens").status_code == 200
    with run.client() as client:
        assert client.get("/v1/models").status_code == 200
        assert client.head("/").status_code == 200
    assert run.usage is None


# ------------------------------------------------------------------ who may


@pytest.mark.parametrize("key", ["", "wlk_" + "0" * 48, KEY, "Bearer x"])
def test_an_unknown_key_opens_nothing(desk: Desk, key: str) -> None:
    run = desk.run()
    with run.client(**{"x-api-key": key}) as client:
        answer = client.post(run.path, json={})
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert desk.provider.heard == []


def test_a_closed_runs_key_is_worth_nothing(desk: Desk) -> None:
    say(desk, whole({**message()[0]["message"], "usage": {"input_tokens": 1, "output_tokens": 1}}))
    run = desk.run()
    assert run.post().status_code == 200
    desk.gateway.close(run.name)
    desk.gateway.close(run.name)
    assert run.post().status_code == 401
    assert run.usage is not None
    desk.gateway.forget(run.name)
    desk.gateway.forget(run.name)
    assert (run.usage, desk.gateway.refusal(run.name)) == (None, None)


def test_closing_a_run_ends_what_is_going_on(desk: Desk) -> None:
    say(desk, Answer(pieces=endless(desk.provider.left), kind="text/event-stream"))
    run = desk.run(limit_usd=1)
    body = {"model": "claude-sonnet-4-5", "max_tokens": 5}
    with run.client() as client, client.stream("POST", run.path, json=body) as answer:
        data = answer.iter_raw()
        next(data)
        desk.gateway.close(run.name)
        with pytest.raises(httpx.HTTPError):
            list(data)
    assert desk.provider.left.wait(60), "the provider is not left talking"
    assert run.usage is not None
    assert Decimal(run.usage.cost_usd or 0) > 0, "what was lost keeps its estimate"


def test_only_listed_calls_are_passed_on(desk: Desk) -> None:
    run = desk.run()
    for path in (
        "/v1/files",
        "/v1/messages/batches",
        "/v1/chat/completions",
        "/v1/messages/%2e%2e/files",
        "/v1//messages",
    ):
        answer = run.post(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["type"] == "not_found_error"
    assert desk.provider.heard == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b'{"max_tokens": NaN}', b"[" * 100_000, b'{"model": 1}'])
def test_what_is_no_request_is_refused(desk: Desk, body: bytes) -> None:
    run = desk.run()
    with run.client() as client:
        answer = client.post(run.path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert desk.provider.heard == []


def test_a_name_that_stands_twice_means_the_same_on_both_sides(desk: Desk) -> None:
    run = desk.run(limit_usd=1)
    with run.client() as client:
        client.post(
            run.path, content=b'{"model":"claude-sonnet-4-5","max_tokens":60000,"max_tokens":5,"m":"\\ud800 \xc3\xa9"}'
        )
    assert desk.provider.heard[0].body == b'{"model":"claude-sonnet-4-5","max_tokens":5,"m":"\\ud800 \\u00e9"}'


@pytest.mark.parametrize(
    "line",
    [
        *["GET /v1/models?a=%ff&b=[]#c HTTP/1.1", "POST /v1/messages HTTP/1.0", "GET * HTTP/1.1", "PUT x HTTP/1.1"],
        *[
            "GET http://evil.example/v1/models HTTP/1.1",
            "CONNECT evil.example:443 HTTP/1.1",
            "nonsense",
            "GET /v1/models",
        ],
        *["GET /v1/models?" + "x" * 60_000 + " HTTP/1.1", "POST /v1/messages?key=%00 HTTP/1.1"],
    ],
    ids=lambda line: line[:30],
)
def test_strange_requests_reach_nobody_else(desk: Desk, line: str) -> None:
    run = desk.run()
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(10)
        wire.connect(str(run.admission.inlet.socket))
        head = f"{line}\r\nHost: x\r\nx-api-key: {run.admission.key}\r\nX-Odd: \xe9\r\nContent-Length: 2\r\n"
        wire.sendall(head.encode("latin-1") + b"Connection: close\r\n\r\n{}")
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
    assert answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), answer[:300]
    assert run.post("/v1/messages/count_tokens").status_code == 200, "and it goes on"


def test_the_operators_proxy_is_used(tmp_path: Path) -> None:
    with provider() as proxy:
        nowhere = Provider(url="http://127.0.0.1:9", answer=lambda heard: whole({}))
        options = GatewayOptions(proxy_url=proxy.url)
        with desk_of(tmp_path / "gateway", nowhere, options) as desk:
            assert desk.run().post().status_code == 200
        assert proxy.heard[0].path == "http://127.0.0.1:9/v1/messages"


def test_a_compressed_request_is_refused(desk: Desk) -> None:
    with desk.run().client(**{"Content-Encoding": "gzip"}) as client:
        assert client.post("/v1/messages", content=b"x").status_code == 415


def test_a_compressed_answer_is_read_all_the_same(desk: Desk) -> None:
    import gzip

    data = gzip.compress(b"".join(events(*message()).pieces))
    say(desk, Answer(pieces=[data[:50], data[50:]], kind="text/event-stream", headers={"Content_Encoding": "gzip"}))
    run = desk.run()
    answer = run.post(stream=True)
    assert "content-encoding" not in answer.headers
    assert b"message_stop" in answer.content
    assert run.usage is not None
    assert run.usage.output_tokens == 200


# ------------------------------------------------------------------ large, slow, broken


def test_huge_requests_are_refused_and_large_ones_wait_their_turn(desk: Desk) -> None:
    run = desk.run()
    assert run.post(system="x" * (3 << 20)).status_code == 413
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: run.post(system="x" * (2 << 20)).status_code, range(8)))
    assert answers == [200] * 8
    assert run.post(system="x" * 2000).status_code == 200


def test_a_huge_answer_passes_in_bounded_memory(desk: Desk) -> None:
    piece = b"data: " + b"x" * 65_000 + b"\n\n"
    count = 1600  # 100 MB

    def many() -> Iterator[bytes]:
        for _ in range(count):
            yield piece
        yield from events(*message()).pieces

    say(desk, Answer(pieces=many(), kind="text/event-stream"))
    run = desk.run()
    size = 0
    before = memory(desk.pid)
    with run.client() as client, client.stream("POST", run.path, json={"model": "m", "max_tokens": 5}) as answer:
        for data in answer.iter_raw():
            size += len(data)
    assert size > count * len(piece)
    assert memory(desk.pid) - before < 40 << 20
    assert run.usage is not None
    assert run.usage.output_tokens == 200


def head_of(run: Run, size: int) -> bytes:
    """A request, up to its body."""
    lines = ("POST /v1/messages HTTP/1.1", "Host: x", f"x-api-key: {run.admission.key}", f"Content-Length: {size}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def memory(pid: int) -> int:
    """The most that a process ever had in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("protocol", STREAMS)
def test_an_answer_that_breaks_off_keeps_its_estimate(desk: Desk, protocol: str) -> None:
    documents, model = STREAMS[protocol]
    cut = events(*documents[: 2 if protocol == "anthropic" else 1], is_cut=True)
    say(desk, cut)
    run = desk.run(protocol, limit_usd=5)
    with pytest.raises(httpx.RemoteProtocolError):
        run.post(model=model, stream=True)
    held = json.loads(run.lines[0])["usd"]
    assert run.usage == Usage(cost_usd=held)
    assert Decimal(held) > 0


def test_a_provider_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    go = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"data: {}\n\n"
        go.wait(60)

    def never(heard: Heard) -> Answer:
        go.wait(60)
        return whole({})

    with provider() as here, desk_of(tmp_path / "gateway", here, GatewayOptions(idle_s=0.5)) as desk:
        run = desk.run(limit_usd=5)
        say(desk, Answer(pieces=silent(), kind="text/event-stream"))
        with pytest.raises(httpx.RemoteProtocolError):
            run.post(stream=True)
        here.answer = never
        assert run.post().status_code == 504
        go.set()
        assert len(run.lines) == 2, "both estimates stay"


def test_a_run_that_leaves_ends_the_call(desk: Desk) -> None:
    say(desk, Answer(pieces=endless(desk.provider.left), kind="text/event-stream"))
    run = desk.run(limit_usd=5)
    with (
        run.client() as client,
        client.stream("POST", run.path, json={"model": "claude-sonnet-4-5", "max_tokens": 5}) as a,
    ):
        next(a.iter_raw())
    assert desk.provider.left.wait(60)
    assert run.usage is not None
    assert Decimal(run.usage.cost_usd or 0) > 0


def test_a_run_that_leaves_before_the_answer_ends_the_call(desk: Desk) -> None:
    asked, go = threading.Event(), threading.Event()

    def late(heard: Heard) -> Answer:
        asked.set()
        go.wait(60)
        return Answer(pieces=(b"x" * 100_000 for _ in range(100)))

    desk.provider.answer = late
    run = desk.run(limit_usd=5)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(run.admission.inlet.socket))
        body = b'{"model":"claude-sonnet-4-5","max_tokens":5}'
        line.sendall(head_of(run, len(body)) + body)
        assert asked.wait(60)
    go.set()
    assert desk.provider.left.wait(60)
    assert len(run.lines) == 1


def test_a_run_that_sends_half_a_request_holds_nobody_up(desk: Desk) -> None:
    run = desk.run()
    lines = []
    for _ in range(40):
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(run.admission.inlet.socket))
        line.sendall(head_of(run, 9) + b"{")
        lines.append(line)
    until(lambda: run.post().status_code == 429)
    assert desk.run().post().status_code == 200, "another run is not concerned"
    for line in lines:
        line.close()
    until(lambda: run.post().status_code == 200)


# ------------------------------------------------------------------ money


def test_a_call_that_the_budget_does_not_cover_is_refused(desk: Desk) -> None:
    for protocol, kind in (("anthropic", "billing_error"), ("openai", "insufficient_quota"), ("gemini", None)):
        run = desk.run(protocol, limit_usd=0.001)
        answer = run.post(model="gemini-2.5-pro" if protocol == "gemini" else "gpt-4o")
        assert answer.status_code == 402
        error = answer.json()["error"]
        assert (error.get("type"), error.get("status")) == (kind, None if kind else "RESOURCE_EXHAUSTED")
        assert "the run's money budget is used up: of $0.001" in error["message"]
        assert desk.gateway.refusal(run.name)
    assert desk.provider.heard == []


def test_a_budget_needs_a_price_and_says_where_to_give_it(desk: Desk) -> None:
    run = desk.run(limit_usd=5)
    answer = run.post(model="my-model")
    assert answer.status_code == 402
    assert "no price is known" in answer.json()["error"]["message"]
    assert "my-model; gateway.prices can name its price" in answer.json()["error"]["message"]
    say(desk, whole({"model": "cheap-1", "usage": {"prompt_tokens": 1000, "completion_tokens": 200}}))
    cheap = desk.run("openai", limit_usd=5)
    assert cheap.post(model="cheap-1").status_code == 200
    assert cheap.usage is not None
    assert cheap.usage.cost_usd == "0.0012"


def test_without_a_budget_an_unknown_price_stays_unknown(desk: Desk) -> None:
    say(desk, whole({"model": "my-model", "usage": {"prompt_tokens": 10, "completion_tokens": 2}}))
    run = desk.run("openai")
    assert run.post(model="my-model").status_code == 200
    assert run.usage == Usage(model="my-model", input_tokens=10, output_tokens=2, cached_tokens=0, cost_usd=None)
    assert "max_tokens" in desk.provider.heard[0].document, "as it was asked"
    with run.client() as client:
        client.post(run.path, json={"model": "my-model"})
    assert "max_tokens" not in desk.provider.heard[1].document, "without a budget nothing is bounded"


def test_with_a_budget_every_answer_is_bounded(desk: Desk) -> None:
    run = desk.run("openai", limit_usd=5)
    with run.client() as client:
        client.post(run.path, json={"model": "gpt-4o", "stream": True})
        client.post("/v1/responses", json={"model": "gpt-5.1-codex"})
    first, second = (heard.document for heard in desk.provider.heard)
    assert first == {"model": "gpt-4o", "stream": True, "max_tokens": 16000, "stream_options": {"include_usage": True}}
    assert second == {"model": "gpt-5.1-codex", "max_output_tokens": 16000}


def test_calls_at_the_same_time_never_spend_more_than_the_budget(desk: Desk) -> None:
    """Each call costs exactly what is held for it, and the budget has room for five of them."""
    go = threading.Event()

    def dear(heard: Heard) -> Answer:
        go.wait(60)
        time.sleep(0.05)
        usage = {"prompt_tokens": len(heard.body) + 2000, "completion_tokens": 100_000}
        return whole({"model": "cheap-1", "usage": usage})

    desk.provider.answer = dear
    size = len(b'{"model":"cheap-1","max_tokens":100000}')
    one = (size + 2000 + 100_000) / 1e6
    run = desk.run("openai", limit_usd=round(one * 5.5, 6))

    def call(_: int) -> int:
        return run.post(model="cheap-1", max_tokens=100_000).status_code

    with ThreadPoolExecutor(20) as threads:
        waiting = [threads.submit(call, n) for n in range(20)]
        until(lambda: sum(f.done() for f in waiting) == 15)
        go.set()
        answers = [f.result() for f in waiting]
    assert sorted(set(answers)) == [200, 402]
    assert answers.count(200) == 5
    assert run.usage is not None
    assert Decimal(run.usage.cost_usd or 0) == Decimal(str(round(one, 6))) * 5


def test_a_full_budget_is_known_when_the_run_has_read_its_last_answer(desk: Desk) -> None:
    say(desk, events(*message()))
    for _ in range(20):
        run = desk.run()
        with run.client() as client, client.stream("POST", run.path, json={"model": "m", "max_tokens": 5}) as answer:
            for data in answer.iter_raw():
                if b"message_stop" in data:
                    break
        assert run.usage is not None
        assert run.usage.output_tokens == 200


# ------------------------------------------------------------------ admission


def test_admission_is_the_same_each_time(desk: Desk) -> None:
    run = desk.run(limit_usd=1)
    assert desk.gateway.admit(run.name, run.grant) == run.admission
    again = desk.gateway.admit(run.name, Grant(protocol="openai", upstream="https://x", key=KEY, cost_limit_usd=100))
    assert again.key == run.admission.key
    assert run.post(max_tokens=1_000_000).status_code == 402, "the first budget stays"
    assert desk.run().admission.key != run.admission.key


@pytest.mark.parametrize(
    ("protocol", "upstream", "key", "why"),
    [
        ("smtp", "https://x", KEY, "does not speak"),
        ("openai", "http://models.example.org/v1", KEY, "would show the key"),
        ("openai", "ftp://x", KEY, "not an address"),
        ("openai", "https://", KEY, "not an address"),
        ("openai", "https://u:p@x/", KEY, "not an address"),
        ("openai", "https://[", KEY, "not an address"),
        ("openai", "https://x", "", "no key"),
    ],
)
def test_what_cannot_be_granted_is_refused(desk: Desk, protocol: str, upstream: str, key: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as error:
        desk.gateway.admit("x1", Grant(protocol=protocol, upstream=upstream, key=key))
    assert error.value.code == "gateway_unusable"
    assert error.value.hint


def test_the_upstreams_own_path_and_query_stay(desk: Desk) -> None:
    run = desk.run("openai")
    desk.gateway.forget(run.name)
    upstream = f"{desk.provider.url}/openai/deployments/d?api-version=2025-01-01"
    admission = desk.gateway.admit(run.name, Grant(protocol="openai", upstream=upstream, key=KEY))
    with run.client(**{"x-api-key": admission.key}) as client:
        client.post("/v1/chat/completions?x=1", json={"model": "m"})
    assert desk.provider.heard[0].path == "/openai/deployments/d/chat/completions?api-version=2025-01-01&x=1"


def test_the_providers_certificate_is_verified(tmp_path: Path) -> None:
    from .tls import certificate, tls_provider

    trusted, _ = certificate(tmp_path)
    with tls_provider(tmp_path) as url:
        for options, status in ((GatewayOptions(), 502), (GatewayOptions(ca_file=str(trusted)), 200)):
            told = Provider(url=url, answer=lambda heard: whole({}))
            with desk_of(tmp_path / f"gateway-{status}", told, options) as desk:
                assert desk.run().post().status_code == status
