"""`windlass reconcile` against a server that answers: counts in lines, problems with their exit code."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from windlass.faces.cli import exits
from windlass.faces.cli.main import windlass

ANSWER = {"deadlines": 0, "orders": 1, "reaped": 0, "looks": 3, "issues": 2, "withdrawn": 0, "redelivered": 0}


class Server(http.server.ThreadingHTTPServer):
    """Answers every call with the same document."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}
        self.asked: list[tuple[str, str, str]] = []
        super().__init__(("127.0.0.1", 0), Asked)


class Asked(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers["Authorization"]))
        body = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Tools:
    """What the wiring supplies."""

    def __init__(self, server: Server) -> None:
        self._port = server.server_address[1]

    def api_address(self, config: Path | None) -> tuple[str, str]:
        return f"http://127.0.0.1:{self._port}", "a-token"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def test_it_prints_how_much_each_part_found(server: Server) -> None:
    server.answer = {**ANSWER, "problems": {}}
    result = CliRunner().invoke(windlass, ["reconcile"], obj=Tools(server))
    assert result.exit_code == 0, result.output
    assert {line.split()[0]: int(line.split()[1]) for line in result.stdout.splitlines()} == ANSWER
    assert server.asked == [("POST", "/api/v1/reconcile", "Bearer a-token")]


def test_a_part_that_could_not_be_done_is_named_and_ends_with_6(server: Server) -> None:
    server.answer = {**ANSWER, "issues": 0, "problems": {"issues": "the forge\x1b[2J is away"}}
    result = CliRunner().invoke(windlass, ["reconcile"], obj=Tools(server))
    assert result.exit_code == exits.UNAVAILABLE
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "not done: the forge" in lines["issues"]
    assert "\x1b" not in result.stdout
    assert lines["looks"].split() == ["looks", "3"]


def test_json_is_the_servers_answer(server: Server) -> None:
    server.answer = {**ANSWER, "problems": {}}
    result = CliRunner().invoke(windlass, ["reconcile", "--json"], obj=Tools(server))
    assert json.loads(result.stdout) == server.answer
