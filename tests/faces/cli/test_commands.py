"""The commands against a server that answers anything: exit codes, JSON, and hostile words that stay words."""

from __future__ import annotations

import http.server
import json
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from tests.core.jobs import opened

from windlass import __version__
from windlass.core.errors import Failed, NotFound, Refused, Unavailable, WindlassError
from windlass.core.job import Job, TaskType
from windlass.core.policy import Policy
from windlass.core.records import plain
from windlass.core.roles import parse_workflow
from windlass.faces.cli import exits
from windlass.faces.cli.live import Teller
from windlass.faces.cli.main import windlass
from windlass.faces.cli.options import RunOptions, RunSummary

EVIL = "\x1b[2J\x1b]0;owned\x07 two\nlines\r\u202eback \u200bhidden"
JOB = {
    "job": "j1",
    "state": "escalated",
    "reason": "tests_failed",
    "detail": EVIL,
    "repository": "acme/shop",
    "issue": 7,
    "title": EVIL,
    "pull_request": 4,
    "is_new": True,
}


class Server(http.server.ThreadingHTTPServer):
    """Answers every call with what the test put there."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.authorization = ""
        super().__init__(("127.0.0.1", 0), Asked)

    def says(self, document: Any, status: int = 200) -> None:
        self.status, self.body = status, document if isinstance(document, bytes) else json.dumps(document).encode()


class Asked(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.command, self.path, json.loads(self.rfile.read(length) or b"{}")))
        self.server.authorization = self.headers["Authorization"]
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *args: object) -> None:
        pass


class Tools:
    """What the wiring supplies."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.error: WindlassError | None = None
        self.options: RunOptions | None = None

    def _maybe_fail(self) -> None:
        if self.error is not None:
            raise self.error

    def api_address(self, config: Path | None) -> tuple[str, str]:
        self._maybe_fail()
        return self.base, "a-token"

    def serve(self, config: Path | None) -> None:
        self._maybe_fail()

    def demo(self, **_given: object) -> int:
        self._maybe_fail()
        return 0

    def run(self, options: RunOptions, on_change: object) -> RunSummary:
        self.options = options
        self._maybe_fail()
        document = {
            "job": "j1",
            "state": "escalated",
            "reason": "agent_failed",
            "detail": EVIL,
            "branch": "ai-1",
            "pull_request": {"number": 1, "title": EVIL},
            "evidence": {"bundle": "/x"},
        }
        return RunSummary(exit_code=exits.ESCALATED, document=document, workdir=Path("/w"), notice="NO SANDBOX")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def tools(server: Server) -> Tools:
    return Tools(f"http://127.0.0.1:{server.server_address[1]}")


def call(tools: Tools, *args: str | Path, text: str | bytes | None = None) -> Result:
    return CliRunner().invoke(windlass, [str(arg) for arg in args], obj=tools, input=text)


def assert_tame(output: str) -> None:
    wild = [c for c in output if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}]
    assert not wild
    assert "two lines" in output


def every_command(group: click.Group = windlass, *before: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*before, name))
        if isinstance(command, click.Group):
            found += every_command(command, *before, name)
    return found


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_says_what_it_does(tools: Tools, command: tuple[str, ...]) -> None:
    found = call(tools, *command, "--help")
    assert found.exit_code == 0
    assert len(found.output.splitlines()) >= 5
    assert call(tools, *command, "--no-such-option").exit_code == 2


def test_version_and_exit_codes_are_told(tools: Tools) -> None:
    assert __version__ in call(tools, "--version").output
    assert "3 a person is needed" in " ".join(call(tools, "--help").output.split())


def test_start_and_stop(tools: Tools, server: Server) -> None:
    server.says(JOB)
    found = call(tools, "start-job", "acme/shop", "7", "--agent", "codex", "--type", "bugfix", "--as", "rita")
    assert (found.exit_code, found.output) == (0, "j1 opened: escalated\n")
    body = {"repository": "acme/shop", "issue": 7, "agent": "codex", "type": "bugfix", "requested_by": "rita"}
    assert server.asked == [("POST", "/start-job", body)]
    assert server.authorization == "Bearer a-token"
    server.says(JOB | {"is_new": False})
    assert "under way already" in call(tools, "start-job", "acme/shop", "7").output
    found = call(tools, "stop-job", "j1", "--reason", "enough", "--json")
    assert json.loads(found.output)["job"] == "j1"
    assert server.asked[-1] == ("POST", "/stop-job", {"job": "j1", "reason": "enough", "requested_by": "operator"})


def test_status_shows_hostile_titles_as_words(tools: Tools, server: Server) -> None:
    server.says({"jobs": [JOB], "counts": {}})
    found = call(tools, "status", "--state", "queued", "--state", "running", "--repository", "acme/shop")
    assert found.exit_code == 0
    assert len(found.output.splitlines()) == 1
    assert_tame(found.output)
    assert server.asked[0][1] == "/status?state=queued&state=running&repository=acme%2Fshop&limit=50"
    as_json = call(tools, "status", "--json").output
    assert json.loads(as_json)["jobs"] == [JOB]
    assert "\x1b" not in as_json
    server.says({"jobs": [], "counts": {}})
    assert call(tools, "status").output == "no jobs\n"


def test_status_of_one_job_shows_its_workflow_and_every_run(tools: Tools, server: Server) -> None:
    run = {
        "id": "j1-r3",
        "role": "reviewer",
        "agent": "codex",
        "outcome": "completed",
        "status": "finished",
        "candidate": 0,
        "started_at_ms": 1_000,
        "finished_at_ms": 3_500,
        "cpu_s": "1.000",
        "peak_memory_bytes": 5 << 20,
        "bytes_out": 12,
        "model": f"m{EVIL}",
        "model_access": "gateway",
        "image_digest": "sha256:" + "a" * 64,
        "detail": EVIL,
        **{f"{what}_digest": what[0] * 64 for what in ("prompt", "patch", "findings", "report", "log")},
        "findings": [{"path": "a.py", "line": 3, "severity": "major", "text": EVIL}],
    }
    job = plain(opened(Policy(workflow=parse_workflow(["coder", {"parallel": ["reviewer", "reviewer"]}]))).job)
    details = {"job": {**job, "step": 1}, "runs": [run], "orders": []}
    server.says({"jobs": [JOB], "counts": {}, **details})
    found = call(tools, "status", "j1")
    assert found.exit_code == 0, found.output
    assert_tame(found.output)
    assert "workflow   coder → [reviewer + reviewer]" in found.output
    assert "run r3     reviewer, codex: completed, 2.5 s, 1.0 s CPU, 5 MiB, 12 bytes out" in found.output
    assert "prompt pppppppppppp, patch pppppppppppp, findings ffffffffffff" in found.output
    assert "major a.py:3: " in found.output
    assert server.asked[-1][1] == "/api/v1/jobs/j1"
    assert json.loads(call(tools, "status", "j1", "--json").output)["details"]["runs"] == [run]


def test_why_shows_hostile_reasons_and_fails_when_history_does_not_hold(tools: Tools, server: Server) -> None:
    event = {
        "number": 1,
        "at_ms": 0,
        "event": "StopRequested",
        "source": "queued",
        "target": "cancelled",
        "why": [EVIL],
        "is_replayed": True,
    }
    server.says([event])
    found = call(tools, "why", "j1")
    assert found.exit_code == 0
    assert "queued → cancelled" in found.output
    assert len(found.output.splitlines()) == 2, "a reason cannot pass for a line of ours"
    assert_tame(found.output)
    server.says([event | {"is_replayed": False}])
    found = call(tools, "why", "j1")
    assert found.exit_code == exits.FAILED
    assert "NOT REPRODUCED" in found.output


@pytest.mark.parametrize("job", ["../x", "a b", "a/b", "x?y", "%2e"])
def test_what_is_no_id_never_becomes_an_address(tools: Tools, server: Server, job: str) -> None:
    assert call(tools, "why", job).exit_code == 2
    assert server.asked == []


COMMANDS = [["status"], ["start-job", "a/b", "1"], ["stop-job", "j1"], ["why", "j1"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.parametrize(
    ("status", "body", "exit_code", "said"),
    [
        (404, {"code": "not_found", "message": f"no job {EVIL}", "hint": EVIL}, 4, "no job"),
        (403, {"code": "forbidden", "message": "two lines no", "hint": ""}, 4, "no"),
        (503, {"code": "unavailable", "message": "two lines away", "hint": ""}, 6, "away"),
        (500, b"<html>two lines</html>", 6, "HTTP 500"),
        (404, b"[1]", 4, "HTTP 404"),
        (200, b"<html>another server</html>", 4, "not an answer of Windlass"),
    ],
)
def test_error_answers(
    tools: Tools, server: Server, command: list[str], status: int, body: Any, exit_code: int, said: str
) -> None:
    server.says(body, status)
    found = call(tools, *command)
    assert found.exit_code == exit_code
    assert said in found.stderr
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert "\x1b" not in found.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_server_that_does_not_run(command: list[str]) -> None:
    found = call(Tools("http://127.0.0.1:9"), *command)
    assert found.exit_code == exits.UNAVAILABLE
    assert "no server answers" in found.stderr
    assert "windlass serve" in found.stderr
    tools = Tools("")
    tools.error = NotFound("there is no api-token", hint="start `windlass serve` once")
    found = call(tools, *command)
    assert (found.exit_code, found.stderr) == (4, "windlass: there is no api-token (start `windlass serve` once)\n")


@pytest.mark.parametrize(("error", "code"), [(Refused("x"), 4), (Unavailable("x"), 6), (Failed("x"), 5)])
def test_exit_codes_of_errors(tools: Tools, tmp_path: Path, error: WindlassError, code: int) -> None:
    tools.error = error
    issue = tmp_path / "issue.md"
    issue.write_text("Mend it")
    assert call(tools, "serve").exit_code == code
    assert call(tools, "demo").exit_code == code
    found = call(tools, "run", "--repo", tmp_path, "--issue", issue, "--json")
    assert found.exit_code == code
    document = json.loads(found.stdout.splitlines()[-1])
    assert document["job"] is None
    assert document["message"] == "x"


def test_run_hands_everything_on_and_prints_json_last(tools: Tools, tmp_path: Path) -> None:
    found = call(
        tools, "run", "--repo", tmp_path, "--issue", "-", "--type", "feature", "--json", text="A title\n\nBody"
    )
    assert found.exit_code == exits.ESCALATED
    assert json.loads(found.stdout.splitlines()[-1])["state"] == "escalated"
    assert_tame(found.stderr)
    assert "NOTE: NO SANDBOX" in found.stderr
    assert tools.options is not None
    assert (tools.options.issue_text, tools.options.task_type) == ("A title\n\nBody", TaskType.FEATURE)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"\xff\xfe", "not UTF-8"), (b"x" * ((1 << 20) + 1), "larger than 1 MiB")],
)
def test_an_issue_that_is_no_text_is_refused(tools: Tools, tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "issue").write_bytes(data)
    for source, text in ((tmp_path / "issue", None), ("-", data)):
        found = call(tools, "run", "--repo", tmp_path, "--issue", source, text=text)
        assert found.exit_code == 4
        assert said in found.stderr
    assert call(tools, "run", "--repo", tmp_path, "--issue", tmp_path / "absent").exit_code == 4


def test_options_that_contradict_each_other(tools: Tools, tmp_path: Path) -> None:
    given = ("run", "--repo", tmp_path, "--issue", "-")
    found = call(tools, *given, "--agent", "a", "--agent-command", "b", text="x")
    assert (found.exit_code, "exclude each other" in found.stderr) == (4, True)
    found = call(tools, *given, "--agent-env", "NO_SUCH_VARIABLE_HERE", text="x")
    assert (found.exit_code, "is not set" in found.stderr) == (4, True)


def test_what_happens_is_told_without_terminal_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    job: Job = opened().job
    teller = Teller(to_stdout=True)
    teller.on_change(job, [EVIL, "[bold]not markup[/bold]", "an older look at it"])
    teller.on_change(job, [])
    said = capsys.readouterr().out
    assert said.count("queued") == 1
    assert "[bold]not markup[/bold]" in said
    assert "older look" not in said
    assert_tame(said)
    Teller(is_quiet=True).on_change(job, ["x"])
    assert capsys.readouterr().out == ""
