"""From the label to the pull request: a warm engine against a bare script, on the same forge, turn by turn.

The agent is one `sed`, so what remains is overhead. The engine is `windlass serve` as a process of its own with its
defaults (SQLite, durable orders, ledger, bubblewrap where the machine has it); the script runs its tests plainly.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.bare_script import Script
from benchmarks.figures import Figure, Size, Spread
from benchmarks.processes import free_port, module, running
from windlass.adapters.runners.process import ProcessRunner
from windlass.wiring import example

OURS, BARE = "bench/ours", "bench/bare"
SECRET = "benchmark-webhook-secret"
LABEL = "AI-Ready"
LONGEST_JOB_S = 60.0
AGENT = (
    "sed -i 's/return \\[share\\] \\* people/"
    "left = total_cents % people\\n    return [share + (1 if i < left else 0) for i in range(people)]/' bill/split.py"
)
TESTS = "python3 -m unittest discover -s tests -t ."
_NUMBER = re.compile(r"(?<=/)\d+(?=/|$)|[0-9a-f]{40}|(?<=/)ai-\d+")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call that the forge answered."""

    came_s: float
    done_s: float
    method: str
    path: str
    status: int

    @property
    def place(self) -> str:
        """Method and path below the repository, without numbers."""
        tail = self.path.split("/bench/", 1)[-1]
        _, _, below = tail.partition("/")
        if ".git/" in tail:
            return f"{self.method} git {tail.split('.git/', 1)[1]}"
        return f"{self.method} /{_NUMBER.sub('N', below)}"


class Forge:
    """The forge's process and what it tells."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self.ready: dict[str, Any] = json.loads(self._lines.readline())
        self._calls: queue.Queue[Call] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._lines:
            self._calls.put(Call(*json.loads(line)))

    def take(self, timeout_s: float) -> Call:
        """The next call. Raises queue.Empty."""
        return self._calls.get(timeout=timeout_s)

    def drain(self, quiet_s: float) -> list[Call]:
        """All calls until none came for so long."""
        found = []
        while True:
            try:
                found.append(self.take(quiet_s))
            except queue.Empty:
                return found


def run(size: Size) -> list[Figure]:
    """The figures."""
    rounds, warm = size.of(24, 1), size.of(3, 0)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = free_port()
        forge = stack.enter_context(_forge(home, port))
        stack.enter_context(_engine(home, port, forge.ready))
        arena = stack.enter_context(Arena.over(forge))
        for _ in range(warm):
            arena.ours()
            arena.bare()
        arena.ours_calls.clear()
        arena.bare_calls.clear()
        times = [_round(arena, number) for number in range(rounds)]
        return _figures(times, arena, rounds, ProcessRunner(home / "probe", instance="bench").isolation())


def _round(arena: Arena, number: int) -> tuple[tuple[float, float], tuple[float, float]]:
    if number % 2:
        bare = arena.bare()
        return arena.ours(), bare
    return arena.ours(), arena.bare()


def _figures(
    times: list[tuple[tuple[float, float], tuple[float, float]]], arena: Arena, rounds: int, isolation: str
) -> list[Figure]:
    sandbox = f"tests and agent in {isolation}; the script runs them plainly, base then head"
    counts = (
        _told("HTTP calls per job, Windlass", arena.ours_calls, rounds),
        _told("HTTP calls per job, script", arena.bare_calls, rounds),
    )
    return [
        Figure(
            name=name,
            unit="ms",
            ours=Spread.of(1000 * ours[which] for ours, _ in times),
            others={"bare script": Spread.of(1000 * bare[which] for _, bare in times)},
            target=1.5,
            notes=notes,
        )
        for which, name, notes in (
            (0, "label → pull request opened", (sandbox, *counts)),
            (1, "label → labels, comment and status written", ()),
        )
    ]


def _told(what: str, calls: Counter[str], rounds: int) -> str:
    listed = ", ".join(f"{count / rounds:.3g} {place}" for place, count in sorted(calls.items()))
    return f"{what}: {sum(calls.values()) / rounds:.3g} ({listed})"


class Arena:
    """Where both sides take their turns."""

    def __init__(self, forge: Forge, person: httpx.Client, api: httpx.Client) -> None:
        self._forge = forge
        self._person = person
        ready = forge.ready
        self._script = Script(
            api=api,
            base_url=ready["base_url"],
            token=ready["tokens"]["script"],
            repository=BARE,
            agent_command=AGENT,
            test_command=TESTS,
        )
        self.ours_calls: Counter[str] = Counter()
        self.bare_calls: Counter[str] = Counter()

    @classmethod
    @contextlib.contextmanager
    def over(cls, forge: Forge) -> Iterator[Arena]:
        """An arena whose clients are closed at the end."""
        with _client(forge, "requester") as person, _client(forge, "script") as api:
            yield cls(forge, person, api)

    def ours(self) -> tuple[float, float]:
        """Seconds from the label to the pull request, and to everything that belongs to it."""
        number, came_s = self._label(OURS)
        found = self._until(OURS, came_s, is_ours=True)
        self._settle(OURS, number)
        return found

    def bare(self) -> tuple[float, float]:
        """The same of the script."""
        number, came_s = self._label(BARE)
        self._script.run(number)
        found = self._until(BARE, came_s, is_ours=False)
        self._settle(BARE, number)
        return found

    def _label(self, repository: str) -> tuple[int, float]:
        issue = {"title": "Splitting a bill loses cents", "body": "Ten euros for three: where is the last cent?"}
        made = self._person.post(f"/repos/{repository}/issues", json=issue)
        made.raise_for_status()
        number = int(made.json()["number"])
        self._forge.drain(0.3)
        came_s = time.monotonic()
        answer = self._person.post(f"/repos/{repository}/issues/{number}/labels", json={"labels": [LABEL]})
        answer.raise_for_status()
        return number, came_s

    def _until(self, repository: str, came_s: float, *, is_ours: bool) -> tuple[float, float]:
        """Watch the calls until the pull request stands with all that belongs to it."""
        calls = self.ours_calls if is_ours else self.bare_calls
        opened_s, left = 0.0, {"POST /labels", "POST comment", "POST /statuses/N"}
        last_s = came_s
        while left or not opened_s:
            try:
                call = self._forge.take(LONGEST_JOB_S)
            except queue.Empty:
                raise RuntimeError(f"{repository}: nothing came for {LONGEST_JOB_S:.0f} s, {left} missing") from None
            if f"/{repository}" not in call.path:
                continue
            calls[call.place] += 1
            if call.status >= 300:
                continue
            if call.place == "POST /pulls":
                opened_s = call.done_s
            what = _belongs(call, is_open=bool(opened_s))
            if what in left:
                left.remove(what)
                last_s = max(last_s, call.done_s)
        return opened_s - came_s, last_s - came_s

    def _settle(self, repository: str, number: int) -> None:
        """Let the forge's CI and the engine come to rest, then take the issue away: turns must not overlap."""
        rest = [call for call in self._forge.drain(0.7) if f"/{repository}" in call.path]
        calls = self.ours_calls if repository == OURS else self.bare_calls
        calls.update(call.place for call in rest)
        self._person.patch(f"/repos/{repository}/issues/{number}", json={"state": "closed"})
        self._forge.drain(0.3)


def _belongs(call: Call, *, is_open: bool) -> str:
    """What of a finished job this call wrote."""
    if not is_open:
        return ""
    if call.place == "POST /issues/N/labels":
        return "POST /labels"
    if call.place in {"POST /issues/N/comments", "PATCH /issues/comments/N"}:
        return "POST comment"
    return call.place


def _client(forge: Forge, login: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {forge.ready['tokens'][login]}"}
    return httpx.Client(base_url=forge.ready["api_url"], headers=headers, timeout=30, trust_env=False)


@contextlib.contextmanager
def _forge(home: Path, engine_port: int) -> Iterator[Forge]:
    source = example.make(_made(home / "source"))
    repository = {"source": str(source), "checks": {"tests": "true"}}
    hook = {"repository": OURS, "url": f"http://127.0.0.1:{engine_port}/webhooks/github", "secret": SECRET}
    config = {
        "repositories": [{"full_name": name, **repository} for name in (OURS, BARE)],
        "users": [
            {"login": "windlass-bot", "is_bot": True, "grants": {OURS: "write"}},
            {"login": "script", "is_bot": True, "grants": {BARE: "write"}},
            {"login": "requester", "grants": {OURS: "write", BARE: "write"}},
        ],
        "webhooks": [hook],
    }
    setup = home / "forge.json"
    setup.write_text(json.dumps({"root": str(home / "forge"), "config": config}))
    with running(module("benchmarks.forge_process", setup), home / "forge.log") as process:
        yield Forge(process)


@contextlib.contextmanager
def _engine(home: Path, port: int, ready: dict[str, Any]) -> Iterator[None]:
    settings = {
        "state_dir": str(home / "state"),
        "instance": f"bench-{os.getpid()}",
        "forge": {
            "api_url": ready["api_url"],
            "token": ready["tokens"]["windlass-bot"],
            "webhook_secret": SECRET,
        },
        "api": {"port": port},
        "agents": {"sed": {"command": AGENT}},
        "default_agent": "sed",
        "test_command": TESTS,
    }
    config = home / "windlass.yml"
    config.write_text(yaml.safe_dump(settings))
    with running(module("windlass", "serve", "--config", config), home / "engine.log"):
        _wait_ready(port, home / "engine.log")
        yield


def _wait_ready(port: int, log: Path) -> None:
    until = time.monotonic() + LONGEST_JOB_S
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the engine did not start: {log.read_text()[-2000:]}")


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory
