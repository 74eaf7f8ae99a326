"""`windlass serve` as an operator runs it: SIGTERM drains, the next process goes on, the agent never notices."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import yaml

from tests.stories.harness import MEND, WAIT, WEBHOOK_SECRET, Town, town
from windlass.core.job import State

STAMPED = "cat /proc/sys/kernel/random/uuid > stamp.txt; " + WAIT + MEND


async def test_sigterm_drains_and_the_next_process_adopts_the_agent_that_is_still_at_work(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url, agent=STAMPED) as here:
        port = int(here.api_url.rsplit(":", 1)[1])
        await here.stop_engine()
        first = await _serve(here, port)
        number = await here.ask()
        run_id = await _agent_at_work(here)
        stamp = here.settings.state_dir / "workspaces" / run_id / "workspace" / "stamp.txt"
        await here.until_true(lambda: stamp.exists() and stamp.read_text())
        execution = stamp.read_text()
        await _drain(first)
        assert stamp.read_text() == execution
        assert here.processes() != []
        second = await _serve(here, port)
        (stamp.parent / "go").touch()
        await here.until_true(lambda: here.pulls(f"ai-{number}"), 60)
        await _drain(second)
        await here.start_engine(port)
        job = await here.until(number, State.REVIEWING)
        assert here.content(job, "stamp.txt") == execution
        assert here.outcomes(job) == ["completed"]


async def _serve(here: Town, port: int) -> asyncio.subprocess.Process:
    """A `windlass serve` of its own on the town's state, ready for work."""
    given = here.settings.model_dump(mode="json", exclude_unset=True)
    given["forge"] |= {"token": here.tokens[here.bot], "webhook_secret": WEBHOOK_SECRET}
    given["api"] = {"port": port}
    config = here.root / "windlass.yml"
    config.write_text(yaml.safe_dump(given))
    log = (here.root / "serve.log").open("ab")
    command = (sys.executable, "-W", "ignore", "-m", "windlass", "serve", "--config", str(config))
    process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    log.close()
    for _ in range(600):
        assert process.returncode is None, (here.root / "serve.log").read_text()[-2000:]
        try:
            if (await here.call("GET", "/readyz")).is_success:
                return process
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("it did not become ready")


async def _agent_at_work(here: Town) -> str:
    """The id of the run whose workspace is there."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [path.parent.name for path in (here.settings.state_dir / "workspaces").glob("*-r*/workspace")]
        return bool(found)

    await here.until_true(look)
    return found[0]


async def _drain(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
