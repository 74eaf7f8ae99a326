"""`POST /api/v1/reconcile` over a real engine and forge: what no webhook told is found when it is asked for."""

from __future__ import annotations

from pathlib import Path

import httpx

from windlass.faces.cli.options import RunOptions
from windlass.wiring import example, local, service


async def test_reconciling_on_demand_makes_up_for_a_lost_webhook(tmp_path: Path) -> None:
    source = example.make(tmp_path / "bill")
    options = RunOptions(repo=source, issue_text=example.issue_body(), title=example.TITLE)
    async with local.session(options, tmp_path / "work", lambda _job, _why: None) as here:
        here.forge.faults.lose = 1.0
        settings = here.windlass.settings
        token = service.api_token(settings.state_dir)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.api.port}", trust_env=False, timeout=60
        ) as client:
            refused = await client.post("/api/v1/reconcile")
            assert refused.status_code == 401
            quiet = await client.post("/api/v1/reconcile", headers={"Authorization": f"Bearer {token}"})
            assert quiet.status_code == 200
            assert quiet.json()["issues"] == 0
            number = await here.ask(example.TITLE, options.issue_text)
            answer = await client.post("/api/v1/reconcile", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
            assert answer.json()["problems"] == {}
            (job,) = here.windlass.queries.jobs()
            assert job.issue.number == number

            here.forge.faults.api_5xx = 1.0
            broken = await client.post("/api/v1/reconcile", headers={"Authorization": f"Bearer {token}"})
            assert broken.status_code == 200
            assert "issues" in broken.json()["problems"]
            assert "issues" not in {name for name, count in broken.json().items() if count and name != "problems"}
