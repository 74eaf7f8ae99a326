"""Starting, stopping, saving, going on; and the forge as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.localforge.conformance import ForgeMaker
from tests.localforge.conftest import REPO, Mailbox, furnish
from tests.localforge.test_rules import signed
from windlass.core.errors import Broken, Unavailable
from windlass.localforge import LocalForge


class SlowClock:
    """A clock that tests wind."""

    def __init__(self) -> None:
        self.at_ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.at_ms


async def test_a_restart_goes_on(conforming_forge: ForgeMaker, source: Path, tmp_path: Path, mailbox: Mailbox) -> None:
    first = await conforming_forge(root=tmp_path / "same")
    desk = furnish(first, source)
    first.set_webhook(REPO, mailbox.url, "x", ["issues"])
    number = first.open_issue(REPO, "ann", "Bug", "Text", ["AI-Ready"])
    opened = await desk.pull()
    first.approve(REPO, opened["number"], "ann", "Fine")
    await desk.green("ai-1")
    await first.idle()
    first.set_check_mode(REPO, "tests", "hangs")
    await desk.branch("ai-2")
    await first.stop()
    second = LocalForge(tmp_path / "same")
    second.set_check_mode(REPO, "tests", "run")
    await second.start()
    desk.forge = second
    for client in desk.clients.values():
        await client.aclose()
    desk.clients.clear()
    assert (await desk.call("ann", f"GET /issues/{number}"))["labels"][0]["name"] == "AI-Ready"
    assert (await desk.call("ann", f"GET /pulls/{opened['number']}/reviews"))[0]["state"] == "APPROVED"
    assert second.refs(REPO)["refs/heads/ai-1"] == opened["head"]["sha"]
    assert [delivery.event for delivery in second.deliveries()] == ["ping", "issues", "issues"]
    (run,) = await desk.green("ai-2")  # what was cut off is run again
    assert run["conclusion"] == "success"
    await second.stop()


async def test_after_a_kill_pull_requests_follow_their_branches(
    conforming_forge: ForgeMaker, source: Path, tmp_path: Path
) -> None:
    first = await conforming_forge(root=tmp_path / "same")
    desk = furnish(first, source)
    opened = await desk.pull()
    first.save()
    saved = (tmp_path / "same" / "localforge.json").read_bytes()
    sha = await desk.branch("ai-1", {"two.txt": b"2"})
    await first.stop()
    (tmp_path / "same" / "localforge.json").write_bytes(saved)  # as a kill within the second leaves it
    second = LocalForge(tmp_path / "same")
    await second.start()
    pull = second.site.repository(REPO).issues[opened["number"]].pull
    assert pull is not None
    async with asyncio.timeout(10):
        while pull.head_sha != sha:
            await asyncio.sleep(0.01)
    await second.stop()


async def test_state_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "localforge.json").write_text('{"accounts": 3}')
    with pytest.raises(Broken):
        LocalForge(tmp_path)


async def test_a_taken_port_is_said(conforming_forge: ForgeMaker, tmp_path: Path) -> None:
    first = await conforming_forge()
    with pytest.raises(Unavailable):
        await LocalForge(tmp_path / "other").start(port=int(first.base_url.rpartition(":")[2]))


async def test_installation_tokens_last_an_hour(conforming_forge: ForgeMaker, source: Path) -> None:
    clock = SlowClock()
    desk = furnish(await conforming_forge(clock=clock), source)
    app = desk.forge.create_app()
    now = clock.at_ms // 1000
    client = desk.client(token=signed(app, iat=now, exp=now + 60))
    minted = (await client.post(f"/app/installations/{app.installation_id}/access_tokens")).json()
    assert minted["expires_at"] == "2027-01-15T09:00:00Z"
    bot = desk.client(token=minted["token"])
    clock.at_ms += 3_599_000
    assert (await bot.get("/installation/repositories")).status_code == 200
    clock.at_ms += 1_000
    assert (await bot.get("/installation/repositories")).status_code == 401


async def test_the_hourly_limit_is_enforced_when_asked(conforming_forge: ForgeMaker, source: Path) -> None:
    clock = SlowClock()
    desk = furnish(await conforming_forge(clock=clock, rate_limit=2), source)
    client = desk.client("eve")
    replies = [(await client.get(f"/repos/{REPO}")) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 403]
    assert replies[-1].headers["x-ratelimit-remaining"] == "0"
    assert int(replies[-1].headers["x-ratelimit-reset"]) == clock.at_ms // 1000 + 3600
    clock.at_ms += 3_600_000
    assert (await client.get(f"/repos/{REPO}")).status_code == 200


async def test_as_a_process(tmp_path: Path, source: Path) -> None:
    config = {
        "users": [{"login": "ann", "grants": {REPO: "admin"}}],
        "repositories": [{"full_name": REPO, "source": str(source), "checks": {"tests": "true"}}],
        "apps": [{"slug": "windlass", "owner": "acme"}],
        "webhooks": [{"url": "http://127.0.0.1:9/hook", "secret": "x"}],
        "faults": {"drop": 0.1},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    argv = ["-m", "windlass.localforge", "--root", str(tmp_path / "root"), "--config", str(tmp_path / "config.json")]
    for _ in range(2):  # the second time it goes on where it was
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        headers = {"Authorization": f"token {ready['tokens']['ann']}"}
        async with httpx.AsyncClient(base_url=ready["api_url"], headers=headers) as client:
            assert (await client.get(f"/repos/{REPO}")).json()["permissions"]["admin"] is True
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert ready["apps"] == {}


async def test_a_bad_configuration_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"userz": []}')
    argv = ["-m", "windlass.localforge", "--root", str(tmp_path), "--config", str(tmp_path / "config.json")]
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 4
    assert said.count(b"\n") == 1
