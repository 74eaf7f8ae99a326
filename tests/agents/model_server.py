"""A scripted model on loopback: answers every agent's first turn with one shell command, the next with a closing text.

Speaks the wire formats that coding agents use (chat completions, responses, messages, generateContent), each as
server-sent events or plain JSON. It has no opinion: what it says is given. It keeps every request for the test to see.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHELLS = ("exec_command", "shell_command", "shell", "local_shell", "run_shell_command", "Bash", "bash")
INPUT_TOKENS, OUTPUT_TOKENS = 100, 20


@dataclass(kw_only=True)
class Request:
    """One call as it came in."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(kw_only=True)
class ScriptedModel:
    """Where it listens, what it says, and what it heard."""

    url: str
    command: str
    closing: str
    refuses: bool = False
    requests: list[Request] = field(default_factory=list)


@contextlib.contextmanager
def scripted_model(command: str, closing: str, *, refuses: bool = False) -> Iterator[ScriptedModel]:
    """A model that has `command` run once in a shell and then says `closing`; or that refuses every key."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    model = ScriptedModel(url=url, command=command, closing=closing, refuses=refuses)
    server.model = model  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def model(self) -> ScriptedModel:
        return self.server.model  # type: ignore[attr-defined,no-any-return]

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Quiet."""

    def do_HEAD(self) -> None:
        self._give(b"", "text/plain")

    def do_GET(self) -> None:
        models = [{"id": "scripted", "object": "model", "slug": "scripted"}]
        self._give(json.dumps({"object": "list", "data": models, "models": []}).encode(), "application/json")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(size) or b"{}")
        except ValueError:
            body = {}
        path = self.path.partition("?")[0]
        self.model.requests.append(Request(path=path, headers=dict(self.headers), body=body))
        if self.model.refuses:
            refusal = {"type": "authentication_error", "message": "invalid key"}
            self._give(json.dumps({"error": refusal}).encode(), "application/json", 401)
        elif path.endswith("/chat/completions"):
            self._answer(chat(self.model, body), named=False, is_done_said=True, is_stream=bool(body.get("stream")))
        elif path.endswith("/responses"):
            self._answer(responses(self.model, body), named=True, is_stream=True)
        elif path.endswith("/count_tokens"):
            self._give(json.dumps({"input_tokens": INPUT_TOKENS}).encode(), "application/json")
        elif path.endswith("/messages"):
            self._answer(messages(self.model, body), named=True, is_stream=bool(body.get("stream")))
        elif ":streamGenerateContent" in path or ":generateContent" in path:
            self._answer(generate(self.model, body), named=False, is_stream="stream" in path)
        else:
            self._give(b"{}", "application/json")

    def _answer(
        self, events: list[dict[str, Any]], *, named: bool, is_stream: bool, is_done_said: bool = False
    ) -> None:
        if not is_stream:
            self._give(json.dumps(events[-1]).encode(), "application/json")
            return
        text = ""
        for event in events[:-1]:
            text += f"event: {event['type']}\n" if named else ""
            text += f"data: {json.dumps(event)}\n\n"
        self._give((text + ("data: [DONE]\n\n" if is_done_said else "")).encode(), "text/event-stream")

    def _give(self, data: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


# Each of these gives the events of a stream, and behind them the whole answer for who did not ask for a stream.


def chat(model: ScriptedModel, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Chat completions."""
    tools = [t["function"] for t in body.get("tools", []) if t.get("type") == "function"]
    is_answered = any(m.get("role") == "tool" for m in body.get("messages", []))
    call = None if is_answered else shell_call(model, tools, "parameters")
    delta: dict[str, Any] = {"role": "assistant", "content": model.closing if call is None else ""}
    if call is not None:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        delta["tool_calls"] = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    usage["total_tokens"] = INPUT_TOKENS + OUTPUT_TOKENS
    reason = "stop" if call is None else "tool_calls"
    head = {"id": "c1", "created": 1, "model": body.get("model", "scripted")}
    chunk = {**head, "object": "chat.completion.chunk"}
    return [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**chunk, "choices": [], "usage": usage},
        {
            **head,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": delta, "finish_reason": reason}],
            "usage": usage,
        },
    ]


def responses(model: ScriptedModel, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Responses."""
    is_answered = any(i.get("type") == "function_call_output" for i in body.get("input", []) if isinstance(i, dict))
    call = None if is_answered else shell_call(model, body.get("tools", []), "parameters")
    if call is None:
        content = [{"type": "output_text", "text": model.closing, "annotations": []}]
        item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": content}
    else:
        item = {"type": "function_call", "id": "f1", "call_id": "call_1", "name": call[0], "status": "completed"}
        item["arguments"] = json.dumps(call[1])
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    whole = {"id": "r1", "object": "response", "status": "completed", "output": [item], "usage": usage}
    whole["model"] = body.get("model", "scripted")
    return [
        {"type": "response.created", "response": {"id": "r1", "object": "response", "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
        whole,
    ]


def messages(model: ScriptedModel, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Messages."""
    parts = [p for m in body.get("messages", []) if isinstance(m.get("content"), list) for p in m["content"]]
    is_answered = any(part.get("type") == "tool_result" for part in parts)
    call = None if is_answered else shell_call(model, body.get("tools", []), "input_schema")
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body.get("model", "scripted")}
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
    if call is None:
        block: dict[str, Any] = {"type": "text", "text": model.closing}
        empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": model.closing}
    else:
        block = {"type": "tool_use", "id": "toolu_1", "name": call[0], "input": call[1]}
        empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
    stop = {"stop_reason": "end_turn" if call is None else "tool_use", "stop_sequence": None}
    return [
        {"type": "message_start", "message": {**head, "content": [], "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": OUTPUT_TOKENS}},
        {"type": "message_stop"},
        {**head, "content": [block], **stop, "usage": usage},
    ]


def generate(model: ScriptedModel, body: dict[str, Any]) -> list[dict[str, Any]]:
    """generateContent."""
    tools = [f for t in body.get("tools", []) for f in t.get("functionDeclarations", [])]
    is_answered = any("functionResponse" in p for c in body.get("contents", []) for p in c.get("parts", []))
    key = "parametersJsonSchema" if any("parametersJsonSchema" in tool for tool in tools) else "parameters"
    call = None if is_answered else shell_call(model, tools, key)
    part = {"text": model.closing} if call is None else {"functionCall": {"name": call[0], "args": call[1]}}
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS}
    usage["totalTokenCount"] = INPUT_TOKENS + OUTPUT_TOKENS
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    whole = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}
    return [whole, whole]


def shell_call(model: ScriptedModel, tools: list[dict[str, Any]], key: str) -> tuple[str, dict[str, Any]] | None:
    """(tool, arguments) that run the command with whatever shell the agent offers; None when it offers none."""
    offered = {tool.get("name"): tool.get(key) or {} for tool in tools}
    name = next((name for name in SHELLS if name in offered), None)
    if name is None:
        return None
    wanted = offered[name].get("properties", {})
    arguments: dict[str, Any] = {}
    for required in offered[name].get("required", []):
        kind = wanted.get(required, {}).get("type")
        arguments[required] = {"boolean": False, "number": 1, "integer": 1}.get(kind, "run the command")
    text = "cmd" if "cmd" in wanted else "command"
    is_list = wanted.get(text, {}).get("type") == "array"
    arguments[text] = ["sh", "-c", model.command] if is_list else model.command
    return name, arguments
