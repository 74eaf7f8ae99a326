"""What a repository holds: files, branches, commit statuses, and pull requests as things to find, open and change."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from windlass.adapters.github.address import repository_vars, segments
from windlass.adapters.github.answers import unreadable
from windlass.adapters.github.keys import Access, Need
from windlass.adapters.github.limits import MAX_DESCRIPTION_CHARS, MAX_TITLE_CHARS, one_line
from windlass.adapters.github.limits import body as fitting_body
from windlass.adapters.github.payload import dig, name, repository, sha, text, whole
from windlass.adapters.github.session import Session
from windlass.adapters.github.shapes import read_pull
from windlass.core.errors import Conflict, NotFound, Refused
from windlass.ports import PullInfo

REPO = "/repos/{owner}/{name}"
STATES = frozenset({"pending", "success", "failure", "error"})


class Contents:
    """Files, refs, statuses and pull requests of one forge."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def file(self, repo: str, path: str, ref: str) -> bytes | None:
        """A regular file's bytes; None for what is not there, a directory, a link or a submodule."""
        access, template = _reading(repo), REPO + "/contents{/path*}{?ref}"
        values = {"path": segments(path), "ref": ref, **repository_vars(repo)}
        try:
            found = await self._session.get(access, template, **values)
            if name(found, "type") != "file":
                return None
            if name(found, "encoding") == "base64":
                return _decoded(text(found, "content"))
            return await self._session.raw(access, template, **values)
        except NotFound:
            return None

    async def ref(self, repo: str, branch: str) -> str | None:
        """The tip of a branch; None when it, or any commit, is missing."""
        template = REPO + "/git/ref/heads{/branch*}"
        values = {"branch": segments(branch), **repository_vars(repo)}
        try:
            found = await self._session.get(_reading(repo), template, **values)
        except (NotFound, Conflict):
            return None
        if name(found, "ref") != f"refs/heads/{branch}":
            return None
        return sha(found, "object", "sha") or None

    async def create_ref(self, repo: str, branch: str, at_sha: str) -> None:
        """Raises Conflict when the branch exists."""
        segments(branch)
        access, data = Access(need=Need.REFS, repo=repo), {"ref": f"refs/heads/{branch}", "sha": at_sha}
        await self._session.send(access, "POST", REPO + "/git/refs", data, **repository_vars(repo))

    async def delete_ref(self, repo: str, branch: str) -> None:
        """Fine when the branch is not there; GitHub says 422 to that."""
        access, template = Access(need=Need.REFS, repo=repo), REPO + "/git/refs/heads{/branch*}"
        values = {"branch": segments(branch), **repository_vars(repo)}
        try:
            await self._session.send(access, "DELETE", template, **values)
        except NotFound:
            return
        except Refused as exc:
            if "does not exist" not in exc.message:
                raise

    async def find_pull(self, repo: str, branch: str) -> PullInfo | None:
        """An open one from this repository's own branch, else the newest."""
        owner = repo.partition("/")[0]
        template = REPO + "/pulls{?head,state,per_page}"
        values = {"head": f"{owner}:{branch}", "state": "all", **repository_vars(repo)}
        listed = await self._session.pages(_reading(repo), template, **values)
        pulls = [read_pull(item) for item in listed if _is_from(item, repo, branch)]
        return max(pulls, key=lambda pull: (pull.state == "open", pull.number), default=None)

    async def create_pull(self, repo: str, *, head: str, base: str, title: str, body: str) -> PullInfo:
        """Raises Conflict when one is open from that head."""
        data = {"head": head, "base": base, "title": _title(title), "body": fitting_body(body)}
        access = Access(need=Need.PULLS, repo=repo)
        return read_pull(await self._session.send(access, "POST", REPO + "/pulls", data, **repository_vars(repo)))

    async def update_pull(
        self, repo: str, number: int, *, title: str | None, body: str | None, state: str | None
    ) -> None:
        """Change what is given."""
        data = {
            key: value
            for key, value in (
                ("title", None if title is None else _title(title)),
                ("body", None if body is None else fitting_body(body)),
                ("state", state),
            )
            if value is not None
        }
        if data:
            values = {"number": str(number), **repository_vars(repo)}
            access = Access(need=Need.PULLS, repo=repo)
            await self._session.send(access, "PATCH", REPO + "/pulls/{number}", data, **values)

    async def set_status(
        self, repo: str, at_sha: str, *, context: str, state: str, description: str, target_url: str
    ) -> None:
        """Left alone when the newest status of this context says the same; GitHub keeps at most 1,000."""
        if state not in STATES:
            hint = f"one of {', '.join(sorted(STATES))}"
            raise Refused(f"{state[:40]!r} is not the state of a commit status", hint=hint, code="bad_name")
        data = {"state": state, "context": context, "description": one_line(description, MAX_DESCRIPTION_CHARS)}
        if target_url:
            data["target_url"] = target_url
        values = {"sha": at_sha, **repository_vars(repo)}
        listed = await self._session.pages(_reading(repo), REPO + "/commits/{sha}/statuses{?per_page}", **values)
        same = [item for item in listed if text(item, "context") == context]
        newest = max(same, key=lambda item: whole(item, "id"), default=None)
        if newest is None or not _says(newest, data):
            access = Access(need=Need.STATUSES, repo=repo)
            await self._session.send(access, "POST", REPO + "/statuses/{sha}", data, **values)


def _reading(repo: str) -> Access:
    return Access(need=Need.READ, repo=repo)


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except binascii.Error as exc:
        raise unreadable("GET contents") from exc


def _is_from(item: Any, repo: str, branch: str) -> bool:
    """A fork's branch may have the same name; a deleted fork has no repository at all."""
    is_own = repository(item, "head", "repo", "full_name").lower() == repo.lower()
    return is_own and name(item, "head", "ref") == branch and dig(item, "number") is not None


def _title(title: str) -> str:
    return one_line(title, MAX_TITLE_CHARS)


def _says(status: Any, data: dict[str, str]) -> bool:
    keys = ("state", "description", "target_url")
    return all(text(status, key) == data.get(key, "") for key in keys)
