"""Whole jobs whose agents may reach some hosts: what they tried is told, and on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories.harness import FILES, MEND, town
from tests.support.web import world_on_loopback
from windlass.config import AgentSettings
from windlass.core.job import State

pytestmark = [pytest.mark.needs("squid"), pytest.mark.needs("bubblewrap"), pytest.mark.timeout(180)]
TRY = """python3 - <<'PROGRAM'
import os, urllib.error, urllib.request
os.environ["NO_PROXY"] = os.environ["no_proxy"] = ""  # the host of this test is on loopback
for url in URLS:
    try:
        print(url, urllib.request.urlopen(url, timeout=20).status)
    except urllib.error.HTTPError as error:
        print(url, error.code)
PROGRAM
"""


@pytest.fixture
def registry() -> Iterator[int]:
    """A host that somebody needs, by port."""
    with world_on_loopback() as port:
        yield port


async def test_an_agent_reaches_its_hosts_and_what_it_tried_is_on_record(tmp_path: Path, registry: int) -> None:
    urls = [f"http://localhost:{registry}/", "http://elsewhere.example/steal"]
    agent = AgentSettings(command=TRY.replace("URLS", json.dumps(urls)) + MEND, egress=(f"localhost:{registry}",))
    async with town(tmp_path, agent=agent) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        lines = (await here.call("GET", f"/api/v1/jobs/{job.id}/logs?limit=1000")).json()["lines"]
        told = [(line["level"], line["text"]) for line in lines if line["kind"] == "egress"]
        assert told == [
            ("info", f"GET localhost:{registry} let through"),
            ("warning", "GET elsewhere.example:80 refused"),
        ]
        printed = [line["text"] for line in lines if line["kind"] == "output"]
        assert f"{urls[0]} 200" in printed
        assert f"{urls[1]} 403" in printed
        records = [json.loads(one.body) for one in here.windlass.store.records(job.id)]
        (denied,) = [
            found["data"]["outcome"]["denied_hosts"]
            for found in records
            if found["kind"] == "result" and found["data"]["effect"] == "StartRun"
        ]
        assert denied == ["elsewhere.example:80"]
        (run,) = here.windlass.store.runs(job.id)
        assert run.bytes_out is not None
        assert run.bytes_out > 0


async def test_a_set_up_reaches_what_the_operator_allows_and_the_agent_does_not(tmp_path: Path, registry: int) -> None:
    ask = TRY.replace("URLS", json.dumps([f"http://localhost:{registry}/"]))
    rules = {
        "setup_command": f"mkdir -p kept; {{ {ask.rstrip()}\n}} > kept/state; grep -q 200 kept/state",
        "test_command": "grep -q 200 kept/state && sh tests/check.sh",
    }
    files = {**FILES, ".gitignore": "/kept/\n"}
    agent = AgentSettings(command=f"env | grep -i proxy && exit 1; grep -q 200 kept/state && {MEND}")
    allowed = {"setup_egress": [f"localhost:{registry}"]}
    async with town(tmp_path, agent=agent, policy=rules, files=files, sandbox=allowed) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert job.verification is not None
        assert job.verification.red_to_green
