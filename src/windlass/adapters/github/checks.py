"""Check runs: our own report, what a failed one printed, and asking for one to be run again.

What a check printed is hostile text; at most 64 KiB from its end leave here. A log store on another host is asked
without any credential.
"""

from __future__ import annotations

from typing import Any

from windlass.adapters.github.address import repository_vars
from windlass.adapters.github.keys import Access, Need
from windlass.adapters.github.limits import body, one_line
from windlass.adapters.github.payload import name, text, whole
from windlass.adapters.github.session import Session
from windlass.adapters.github.shapes import ACTIONS_APP
from windlass.core.errors import Failed, Forbidden, NotFound, Refused, Unavailable
from windlass.core.events import Check

LOG_BYTES = 64 << 10
MAX_ANNOTATIONS = 200
MAX_NAME_CHARS = 100
REPO = "/repos/{owner}/{name}"


class Checks:
    """Check runs of one forge."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def upsert(self, repo: str, sha: str, *, name: str, external_id: str, summary: str, text: str) -> bool:
        """A neutral, completed check run with a text; False when we may not write check runs (only Apps may)."""
        report = _report(name, external_id, summary, text)
        try:
            found = await self._ours(repo, sha, report["name"], external_id)
            if found is None:
                await self._write(repo, "POST", REPO + "/check-runs", report | {"head_sha": sha})
            elif not _says(found, report):
                template = REPO + "/check-runs/{id}"
                await self._write(repo, "PATCH", template, report, id=str(whole(found, "id")))
        except Forbidden as exc:
            if exc.code == "bad_credentials":
                raise
            return False
        return True

    async def rerun(self, repo: str, check_id: int) -> None:
        """Ask for one run again: GitHub Actions by its job, every other App by a request to it."""
        run = await self._run(repo, check_id)
        names = {"id": str(check_id), **repository_vars(repo)}
        if name(run, "app", "slug") == ACTIONS_APP:
            try:
                access = Access(need=Need.ACTIONS, repo=repo)
                await self._session.send(access, "POST", REPO + "/actions/jobs/{id}/rerun", **names)
            except (Forbidden, NotFound):
                pass
            else:
                return
        access = Access(need=Need.CHECKS, repo=repo)
        await self._session.send(access, "POST", REPO + "/check-runs/{id}/rerequest", **names)

    async def log(self, repo: str, check: Check) -> str:
        """Output, annotations and, of GitHub Actions, the job's log; the last 64 KiB."""
        if check.source != "check_run":
            return _last("\n".join(part for part in (check.name, check.summary, check.url) if part))
        run = await self._run(repo, check.id)
        parts = [text(run, "output", key) for key in ("title", "summary", "text")]
        if whole(run, "output", "annotations_count"):
            parts += await self._annotations(repo, check.id)
        if name(run, "app", "slug") == ACTIONS_APP:
            parts.append(await self._job_log(repo, check.id))
        return _last("\n".join(part for part in parts if part))

    async def _run(self, repo: str, check_id: int) -> Any:
        access = Access(need=Need.READ, repo=repo)
        return await self._session.get(access, REPO + "/check-runs/{id}", id=str(check_id), **repository_vars(repo))

    async def _annotations(self, repo: str, check_id: int) -> list[str]:
        template = REPO + "/check-runs/{id}/annotations{?per_page}"
        access, names = Access(need=Need.READ, repo=repo), repository_vars(repo)
        try:
            listed = await self._session.pages(access, template, most=MAX_ANNOTATIONS, id=str(check_id), **names)
        except (Forbidden, NotFound):
            return []
        return [_annotation(item) for item in listed]

    async def _job_log(self, repo: str, job_id: int) -> str:
        """The log is a gain, not a need: a store that does not answer costs it."""
        access, names = Access(need=Need.READ, repo=repo), repository_vars(repo)
        template = REPO + "/actions/jobs/{id}/logs"
        try:
            end = await self._session.tail(access, template, limit_bytes=LOG_BYTES, id=str(job_id), **names)
        except (Refused, Unavailable, Failed):
            return ""
        return end.decode("utf-8", "replace")

    async def _ours(self, repo: str, sha: str, run_name: str, external_id: str) -> Any | None:
        listed = await self._session.pages(
            Access(need=Need.READ, repo=repo),
            REPO + "/commits/{sha}/check-runs{?check_name,filter,per_page}",
            key="check_runs",
            sha=sha,
            check_name=run_name,
            filter="latest",
            **repository_vars(repo),
        )
        return next((run for run in listed if text(run, "external_id") == external_id), None)

    async def _write(self, repo: str, method: str, template: str, data: Any, **values: str) -> None:
        access = Access(need=Need.CHECKS, repo=repo)
        await self._session.send(access, method, template, data, **values, **repository_vars(repo))


def _report(run_name: str, external_id: str, summary: str, full: str) -> dict[str, Any]:
    output = {"title": one_line(run_name, 255), "summary": body(summary), "text": body(full)}
    return {
        "name": one_line(run_name, MAX_NAME_CHARS),
        "external_id": external_id,
        "status": "completed",
        "conclusion": "neutral",
        "output": output,
    }


def _says(run: Any, report: dict[str, Any]) -> bool:
    output = report["output"]
    return name(run, "status") == "completed" and all(
        text(run, "output", key) == output[key] for key in ("summary", "text")
    )


def _annotation(item: Any) -> str:
    place = f"{text(item, 'path')}:{whole(item, 'start_line')}"
    return f"{place}: {name(item, 'annotation_level')}: {text(item, 'message')}"


def _last(log: str) -> str:
    end = log.encode("utf-8", "replace")[-LOG_BYTES:]
    return end.decode("utf-8", "ignore")
