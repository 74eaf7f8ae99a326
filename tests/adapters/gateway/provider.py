"""A provider of models on loopback that does as it is told: what it answers, how slowly, and where it breaks off."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One call as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Answer:
    """What is given. `pieces` may wait between one and the next; `is_cut`: it breaks off behind the last one."""

    pieces: Iterable[bytes] = ()
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False


@dataclass(kw_only=True)
class Provider:
    """Where it listens, what it answers next, and what it heard."""

    url: str
    answer: Callable[[Heard], Answer]
    heard: list[Heard] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """A provider that answers `{}` until it is told otherwise. `left` is set when a reader leaves in the middle."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    found = Provider(url=f"http://127.0.0.1:{server.server_port}", answer=lambda heard: whole({}))
    server.provider = found  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def whole(document: Any, status: int = 200, **headers: str) -> Answer:
    """An answer in one piece."""
    return Answer(pieces=[json.dumps(document).encode()], status=status, headers=headers)


def events(*documents: Any, **more: Any) -> Answer:
    """An answer as server-sent events; a text stands for itself."""
    pieces = [f"data: {d if isinstance(d, str) else json.dumps(d)}\n\n".encode() for d in documents]
    return Answer(pieces=pieces, kind="text/event-stream", **more)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:  # type: ignore[override]
        """Quiet."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        told: Provider = self.server.provider  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        heard = Heard(method=self.command, path=self.path, headers=dict(self.headers), body=body)
        told.heard.append(heard)
        left = told.left
        answer = told.answer(heard)
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            for name, value in answer.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in answer.pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if not answer.is_cut:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            left.set()
        self.close_connection = answer.is_cut


# ------------------------------------------------------------ what providers say, with 1000 tokens read and 200 written


def message(model: str = "claude-sonnet-4-5-20250929", **usage: int) -> list[dict[str, Any]]:
    """Anthropic's stream."""
    used = {"input_tokens": 1000, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, **usage}
    head = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": []}
    return [
        {"type": "message_start", "message": {**head, "usage": {**used, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 200}},
        {"type": "message_stop"},
    ]


def chunks(model: str = "gpt-4o-2024-11-20") -> list[Any]:
    """OpenAI's stream of chat completions, as it is with include_usage."""
    head = {"id": "c", "object": "chat.completion.chunk", "model": model}
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": 400}}
    return [
        {**head, "choices": [{"index": 0, "delta": {"content": "hello"}}], "usage": None},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None},
        {**head, "choices": [], "usage": usage},
        "[DONE]",
    ]


def response(model: str = "gpt-5.1-codex") -> list[dict[str, Any]]:
    """OpenAI's stream of a response."""
    usage = {"input_tokens": 1000, "output_tokens": 200, "input_tokens_details": {"cached_tokens": 400}}
    body = {"id": "r", "object": "response", "model": model, "status": "completed", "usage": usage}
    return [
        {"type": "response.created", "response": {**body, "usage": None, "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "hello"},
        {"type": "response.completed", "response": body},
    ]


def pieces(model: str = "gemini-2.5-pro") -> list[dict[str, Any]]:
    """Gemini's stream."""
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 50, "thoughtsTokenCount": 0, "totalTokenCount": 1050}
    part = {"content": {"role": "model", "parts": [{"text": "hello"}]}, "index": 0}
    return [
        {"candidates": [part], "modelVersion": model, "usageMetadata": usage},
        {
            "candidates": [{**part, "finishReason": "STOP"}],
            "modelVersion": model,
            "usageMetadata": {**usage, "candidatesTokenCount": 150, "thoughtsTokenCount": 50},
        },
    ]
