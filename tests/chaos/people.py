"""The people of a chaos run: they ask, review, approve, merge, close and stop as their scripts say, and never hurry.

They see what a person sees; when to look is taken from Windlass's own tables, to spare the machine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from tests.chaos.forge import REQUESTER, REVIEWER, ForgeProcess
from tests.chaos.scripts import Part
from windlass.core.job import Job, State


@dataclass(kw_only=True)
class Asked:
    """One issue that was asked for, and what its people did so far."""

    part: Part
    issue: int
    first_seen_s: float = 0.0
    criticised: str = ""
    approved: str = ""
    is_stopped: bool = False


@dataclass(kw_only=True)
class People:
    """Everybody. `asked` is keyed by (repository, issue number)."""

    forge: ForgeProcess
    api_url: str
    api_token: str
    asked: dict[tuple[str, int], Asked] = field(default_factory=dict)

    async def ask(self, part: Part) -> None:
        """Open the issue, once, and label it."""
        number = await self._open(part)
        self.asked[(part.repository, number)] = Asked(part=part, issue=number)
        labels = {"labels": ["AI-Ready"]}
        answer = await self.forge.insist(REQUESTER, "POST", part.repository, f"/issues/{number}/labels", labels)
        assert answer.is_success, answer.text

    async def _open(self, part: Part) -> int:
        """An answer may be lost after the issue was opened: look before opening again."""
        for _ in range(50):
            content = {"title": part.title, "body": part.body}
            answer = await self.forge.say(REQUESTER, "POST", part.repository, "/issues", content)
            if answer.status_code == 201:
                return int(answer.json()["number"])
            listed = await self.forge.everything(part.repository, "/issues?state=all")
            found = [item["number"] for item in listed if item["title"] == part.title]
            if found:
                return int(found[0])
        raise AssertionError(f"{part.title} could not be opened")

    def is_over(self, job: Job) -> bool:
        """Whether a job is where its script ends."""
        script = self.asked[(job.repository, job.issue.number)].part.script
        return job.state is script.state and job.reason is script.reason

    async def act(self, jobs: Mapping[tuple[str, int], Job]) -> None:
        """Do what is due on every job that is not over."""
        for key, asked in self.asked.items():
            job = jobs.get(key)
            if job is None or job.is_terminal:
                continue
            asked.first_seen_s = asked.first_seen_s or time.monotonic()
            try:
                await self._play(asked, job)
            except httpx.HTTPError:
                continue  # a replica was killed while it was called, or none is up: next time

    async def _play(self, asked: Asked, job: Job) -> None:
        match asked.part.script.name:
            case "stopped":
                await self._stop(asked, job)
            case "closed" if job.pull_number is not None:
                await self._say(job, "PATCH", f"/pulls/{job.pull_number}", {"state": "closed"})
            case "plain" | "ci_mended" if job.state is State.REVIEWING:
                await self._finish(asked, job)
            case "reviewed" if job.state is State.REVIEWING:
                if asked.criticised in {"", job.head_sha}:
                    await self._criticise(asked, job)
                else:
                    await self._finish(asked, job)

    async def _stop(self, asked: Asked, job: Job) -> None:
        if time.monotonic() - asked.first_seen_s < asked.part.stop_after_s:
            return
        headers = {"Authorization": f"Bearer {self.api_token}", "Idempotency-Key": f"stop-{job.id}"}
        body = {"job": job.id, "requested_by": REQUESTER}
        answer = await self.forge.client.post(f"{self.api_url}/stop-job", json=body, headers=headers, timeout=5)
        asked.is_stopped = answer.status_code == 202

    async def _criticise(self, asked: Asked, job: Job) -> None:
        if asked.criticised:
            return
        body = {"event": "REQUEST_CHANGES", "commit_id": job.head_sha, "body": "Please do it again, better."}
        if (await self._say(job, "POST", f"/pulls/{job.pull_number}/reviews", body)).is_success:
            asked.criticised = str(job.head_sha)

    async def _finish(self, asked: Asked, job: Job) -> None:
        """Approve this head, and merge it once the gate lets it through."""
        head = str(job.head_sha)
        if asked.approved != head:
            body = {"event": "APPROVE", "commit_id": head, "body": "Looks right."}
            if (await self._say(job, "POST", f"/pulls/{job.pull_number}/reviews", body)).is_success:
                asked.approved = head
        elif job.approval is not None and job.approval.head_sha == head:
            await self._say(job, "PUT", f"/pulls/{job.pull_number}/merge", {"sha": head, "merge_method": "merge"})

    async def _say(self, job: Job, method: str, path: str, content: object) -> httpx.Response:
        return await self.forge.say(REVIEWER, method, job.repository, path, content)
