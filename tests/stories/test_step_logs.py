"""A job's step log as people see it: live, by pages, after a restart, and without secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner, Result

from tests.stories.harness import MEND, WAIT, Plan, Town, town
from windlass.core.job import State
from windlass.faces.cli.main import windlass

LEAK = "gh" + "p_" + "9aZ3kLm8QwErTyUiOpAsDfGhJkLzXcVbNm12"
TALK = f"echo one; printf '\\033[31m{LEAK[:9]}\\033[0m{LEAK[9:]}\\n'; echo two; {WAIT} echo three; {MEND}"


async def pages(here: Town, job: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor, has_more = "", True
    while has_more:
        asked = "&".join(f"{name}={value}" for name, value in {**query, "cursor": cursor}.items())
        answer = await here.call("GET", f"/api/v1/jobs/{job}/logs?{asked}")
        assert answer.is_success, answer.text
        page = answer.json()
        found += page["lines"]
        cursor, has_more = page["cursor"], page["has_more"]
    return found


async def live(here: Town, job: str, last: str = "") -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) until the stream ends."""
    token = (here.settings.state_dir / "api-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", "Last-Event-ID": last}
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("GET", f"{here.api_url}/api/v1/jobs/{job}/logs", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        told: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                told[name] = value
            elif "data" in told:
                yield told.get("event", ""), told.get("id", ""), json.loads(told["data"])
                told = {}


def printed(lines: list[dict[str, Any]]) -> list[str]:
    return [line["text"] for line in lines if line["kind"] == "output" and not line["run"].startswith("verify")]


async def test_a_log_is_live_complete_and_without_secrets(tmp_path: Path) -> None:
    async with town(tmp_path, plan=Plan(agent=TALK)) as here:
        number = await here.ask()
        job = await here.until(number, State.RUNNING)
        seen, last = [], ""
        async for _, at, line in live(here, job.id):
            seen.append(line)
            last = at
            if line["text"] == "two":
                break
        go(here)
        end: dict[str, Any] = {}
        async for event, _, line in live(here, job.id, last):
            end = line if event == "end" else end
            if event != "end":
                seen.append(line)
        assert end == {"job": job.id, "state": "reviewing"}
        assert [text if "secret" not in text else "…" for text in printed(seen)] == ["one", "…", "two", "three"]
        everything = json.dumps(seen)
        assert LEAK not in everything
        assert LEAK[9:] not in everything
        assert "«secret:github-pat:" in str(printed(seen))
        kinds = {line["kind"] for line in seen}
        assert {"prompt", "run", "output", "change", "result", "verification", "decision", "notice"} <= kinds
        again = await pages(here, job.id, limit=5)
        assert [line for line in seen if line not in again] == []
        assert len({json.dumps(line) for line in again}) == len(again) >= len(seen)
        finished = [e.event for e in here.windlass.store.events(job.id) if e.event.kind == "RunFinished"]
        assert finished[0].redactions == ("github-pat: 1",)  # type: ignore[union-attr]


async def test_a_restart_in_the_middle_of_a_run_loses_no_line_and_doubles_none(tmp_path: Path) -> None:
    async with town(tmp_path, plan=Plan(agent=TALK)) as here:
        number = await here.ask()
        job = await here.until(number, State.RUNNING)
        while "two" not in printed(await pages(here, job.id)):
            await asyncio.sleep(0.05)
        await here.restart()
        go(here)
        job = await here.until(number, State.REVIEWING)
        lines = await pages(here, job.id)
        assert [text for text in printed(lines) if "secret" not in text] == ["one", "two", "three"]
        assert [line["seq"] for line in lines if line["kind"] == "output" and line["text"] == "three"] == [3]
        warnings = await pages(here, job.id, level="warning")
        assert [line["kind"] for line in warnings] == ["notice"]
        nothing = await pages(here, job.id, to="2001-01-01T00:00:00Z")
        assert nothing == []
        for options in (["logs", job.id], ["logs", "-f", job.id], ["report", job.id]):
            shown = await asyncio.to_thread(command, here, options)
            assert (shown.exit_code, LEAK in shown.output) == (0, False), shown.output
            assert ("output       three\n" in shown.output) == (options[0] == "logs")


async def test_bad_questions_are_answered_as_such(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        for query in ("level=loud", "from=yesterday", "cursor=x", "limit=0"):
            answer = await here.call("GET", f"/api/v1/jobs/{job.id}/logs?{query}&follow=true")
            assert answer.status_code == 400, query
        assert (await here.call("GET", "/api/v1/jobs/nobody/logs")).status_code == 404
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{here.api_url}/api/v1/jobs/{job.id}/logs?follow=1")).status_code == 401
        reports = (await here.call("GET", f"/api/v1/jobs/{job.id}/reports")).json()
        assert len(reports) == 1


class Asked:
    """The tools of the command line, as far as these commands use them."""

    def __init__(self, here: Town) -> None:
        self._here = here

    def api_address(self, _config: Path | None) -> tuple[str, str]:
        return self._here.api_url, (self._here.settings.state_dir / "api-token").read_text().strip()


def command(here: Town, options: list[str]) -> Result:
    """One command, as a person gives it."""
    return CliRunner().invoke(windlass, options, obj=Asked(here))


def go(here: Town) -> None:
    """Let the waiting agent go on."""
    (workspace,) = (here.settings.state_dir / "workspaces").glob("*/workspace")
    (workspace / "go").touch()
