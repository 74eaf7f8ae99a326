"""The model gateway beside a direct call: time to the first byte of an answer, and the speed of a stream.

A scripted provider on loopback answers at once, so that what is measured is the way and not the model; a real one needs
hundreds of milliseconds for its first byte. Direct and through the gateway take turns in the same run.
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.gateway import LocalGateway
from windlass.ports import Grant

KEY = "sk-benchmark-0123456789"
BODY_BYTES = 200_000  # a conversation of some length: about 50,000 tokens
DELTA = "a few words of an answer, "


@contextmanager
def provider(events: int) -> Iterator[str]:
    """Anthropic's stream of so many pieces, written as fast as it is taken."""
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": DELTA}}
    first = _event(
        {"type": "message_start", "message": {**head, "usage": {"input_tokens": 50_000, "output_tokens": 1}}}
    )
    last = _event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": events}})
    parts = [first, *([_event(piece)] * events), last, _event({"type": "message_stop"})]

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:  # type: ignore[override]
            """Quiet."""

        def do_POST(self) -> None:
            """The stream."""
            self.rfile.read(int(self.headers["Content-Length"]))
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in parts:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _event(document: dict[str, object]) -> bytes:
    return f"event: {document['type']}\ndata: {json.dumps(document)}\n\n".encode()


def asked(client: httpx.Client, key: str) -> tuple[float, float, int]:
    """One call: (seconds to the first byte, seconds in all, bytes)."""
    content = "x" * BODY_BYTES
    body = {"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": [{"role": "user", "content": content}]}
    began, first, size = time.perf_counter(), 0.0, 0
    with client.stream("POST", "/v1/messages", json=body, headers={"x-api-key": key}) as answer:
        answer.raise_for_status()
        for data in answer.iter_raw():
            first = first or time.perf_counter() - began
            size += len(data)
    return first, time.perf_counter() - began, size


def measured(root: Path, events: int, rounds: int) -> dict[str, list[tuple[float, float, int]]]:
    """The calls of both ways, taking turns."""
    gateway = LocalGateway(root)
    found: dict[str, list[tuple[float, float, int]]] = {"direct": [], "gateway": []}
    with provider(events) as url:
        limit = 1_000_000.0  # the money is held before each call, as in real work
        admission = gateway.admit("bench", Grant(protocol="anthropic", upstream=url, key=KEY, cost_limit_usd=limit))
        uds = httpx.HTTPTransport(uds=str(admission.inlet.socket))
        with httpx.Client(base_url=url, timeout=60) as direct, httpx.Client(transport=uds, base_url=url) as through:
            for _ in range(rounds + 1):
                found["direct"].append(asked(direct, KEY))
                found["gateway"].append(asked(through, admission.key))
    gateway.forget("bench")
    gateway.stop()
    return {way: calls[1:] for way, calls in found.items()}  # the first ones open connections


def run(size: Size) -> list[Figure]:
    """Both figures."""
    with tempfile.TemporaryDirectory() as folder:
        short = measured(Path(folder) / "a", 20, size.of(60, 3))
        long = measured(Path(folder) / "b", size.of(20_000, 500), size.of(5, 2))
    first = {way: Spread.of([call[0] * 1000 for call in calls]) for way, calls in short.items()}
    speed = {way: Spread.of([call[2] / call[1] / 1e6 for call in calls]) for way, calls in long.items()}
    added = first["gateway"].p50 - first["direct"].p50
    pieces = size.of(20_000, 500) / min(call[1] for call in long["gateway"])
    return [
        Figure(
            name="model call: time to the first byte",
            unit="ms",
            ours=first["gateway"],
            others={"direct": first["direct"]},
            notes=(f"{added:.1f} ms are added to a request of {BODY_BYTES // 1000} kB, which is read whole",),
        ),
        Figure(
            name="model call: a stream",
            unit="MB/s",
            ours=speed["gateway"],
            others={"direct": speed["direct"]},
            is_rate=True,
            notes=(f"{pieces:,.0f} pieces a second; a model writes about a hundred",),
        ),
    ]
