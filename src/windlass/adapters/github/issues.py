"""Issues: reading them, who labelled them, labels, and our one comment.

Our comment is found by its hidden marker among comments that we wrote ourselves; a marker in somebody else's comment
means nothing. What says the right thing already is left alone, so nothing of ours calls for an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from windlass.adapters.github.address import repository_vars
from windlass.adapters.github.answers import unreadable
from windlass.adapters.github.keys import Access, Need
from windlass.adapters.github.limits import labels as fitting_labels
from windlass.adapters.github.limits import marked
from windlass.adapters.github.payload import dig, name, repository, text, whole
from windlass.adapters.github.session import Session, together
from windlass.adapters.github.shapes import is_human, read_comment, read_issue, read_labelling, read_labels
from windlass.adapters.github.snapshot import permission_of
from windlass.core.errors import NotFound
from windlass.core.prompt import Comment
from windlass.ports import IssueInfo, Labelling

ISSUE = "/repos/{owner}/{name}/issues/{number}"
COMMENT = "/repos/{owner}/{name}/issues/comments/{id}"

MOST_COMMENTS = 1_000
MOST_AUTHORS = 50
LOOKUPS_AT_ONCE = 8


class Issues:
    """Issues of one forge. `identity` tells the login that we write under."""

    def __init__(self, session: Session, identity: Callable[[], Awaitable[str]]) -> None:
        self._session = session
        self._identity = identity
        self._locks: WeakValueDictionary[tuple[str, int, str], asyncio.Lock] = WeakValueDictionary()

    async def read(self, repo: str, number: int) -> IssueInfo:
        """One issue. Raises NotFound (code issue_moved) when it lives in another repository now."""
        data = await self._data(repo, number)
        there = repository({"of": "/".join(text(data, "repository_url").split("/")[-2:])}, "of")
        if there and there.lower() != repo.lower():
            await self._demand_renamed(repo, there)
        return read_issue(data)

    async def labelled(self, repo: str, label: str) -> tuple[int, ...]:
        """Open issues with a label; a comma would mean two labels, so such a label is looked for here."""
        query: dict[str, Any] = {"state": "open"} if "," in label else {"state": "open", "labels": label}
        template = "/repos/{owner}/{name}/issues{?state,labels,per_page}"
        listed = await self._session.pages(_reading(repo), template, **query, **repository_vars(repo))
        found = [whole(item, "number") for item in listed if dig(item, "pull_request") is None and _has(item, label)]
        return tuple(dict.fromkeys(number for number in found if number > 0))

    async def labelling(self, repo: str, number: int, label: str) -> Labelling | None:
        """Who put the label on, last, when it is still there."""
        if not _has(await self._data(repo, number), label):
            return None
        values = {"number": str(number), **repository_vars(repo)}
        return read_labelling(await self._session.pages(_reading(repo), ISSUE + "/events{?per_page}", **values), label)

    async def comments(self, repo: str, number: int) -> tuple[Comment, ...]:
        """What was said, oldest first. The permissions of those who spoke last are looked up, each once.

        Beyond MOST_AUTHORS people have no permission here: somebody floods the issue, and lookups cost our rate limit.
        """
        values = {"number": str(number), **repository_vars(repo)}
        template = ISSUE + "/comments{?per_page}"
        listed = await self._session.pages(_reading(repo), template, most=MOST_COMMENTS, **values)
        speakers = [name(item, "user", "login") for item in reversed(listed) if is_human(dig(item, "user"))]
        people = [login for login in dict.fromkeys(speakers) if login][:MOST_AUTHORS]
        permissions: dict[str, str] = {}
        for start in range(0, len(people), LOOKUPS_AT_ONCE):
            some = people[start : start + LOOKUPS_AT_ONCE]
            held = await together(*(permission_of(self._session, repo, login) for login in some))
            permissions |= dict(zip(some, held, strict=True))
        return tuple(sorted((read_comment(item, permissions) for item in listed), key=lambda one: one.created_at_ms))

    async def add_labels(self, repo: str, number: int, labels: Sequence[str]) -> None:
        """Labels that are there already are left out."""
        held = {label.casefold() for label in read_labels(await self._data(repo, number))}
        missing = [label for label in fitting_labels(list(labels)) if label.casefold() not in held]
        if missing:
            values = {"number": str(number), **repository_vars(repo)}
            await self._session.send(_conversing(repo), "POST", ISSUE + "/labels", {"labels": missing}, **values)

    async def upsert_comment(self, repo: str, number: int, marker: str, body: str) -> int:
        """The id of our comment. Copies that a lost answer left behind are deleted."""
        lock = self._locks.setdefault((repo, number, marker), asyncio.Lock())
        async with lock:
            ours = await self._ours(repo, number, marker)
            wanted = marked(body, marker)
            if not ours:
                return await self._create_comment(repo, number, wanted)
            first, *copies = ours
            for copy in copies:
                await self._change(repo, "DELETE", whole(copy, "id"), None)
            if text(first, "body") != wanted:
                await self._change(repo, "PATCH", whole(first, "id"), {"body": wanted})
            return whole(first, "id")

    async def _data(self, repo: str, number: int) -> Any:
        return await self._session.get(_reading(repo), ISSUE, number=str(number), **repository_vars(repo))

    async def _demand_renamed(self, repo: str, there: str) -> None:
        now = await self._session.get(_reading(repo), "/repos/{owner}/{name}", **repository_vars(repo))
        if repository(now, "full_name").lower() != there.lower():
            raise NotFound(
                f"The issue was moved from {repo} to {there}",
                hint="label it again where it is now",
                code="issue_moved",
            )

    async def _ours(self, repo: str, number: int, marker: str) -> list[dict[str, Any]]:
        login = (await self._identity()).lower()
        values = {"number": str(number), **repository_vars(repo)}
        listed = await self._session.pages(_reading(repo), ISSUE + "/comments{?per_page}", **values)
        mine = [item for item in listed if name(item, "user", "login").lower() == login]
        return sorted((item for item in mine if marker in text(item, "body")), key=lambda item: whole(item, "id"))

    async def _create_comment(self, repo: str, number: int, body: str) -> int:
        values = {"number": str(number), **repository_vars(repo)}
        made = await self._session.send(_conversing(repo), "POST", ISSUE + "/comments", {"body": body}, **values)
        if whole(made, "id") <= 0:
            raise unreadable("POST comment")
        return whole(made, "id")

    async def _change(self, repo: str, method: str, comment_id: int, data: Any) -> None:
        await self._session.send(_conversing(repo), method, COMMENT, data, id=str(comment_id), **repository_vars(repo))


def _reading(repo: str) -> Access:
    return Access(need=Need.READ, repo=repo)


def _conversing(repo: str) -> Access:
    return Access(need=Need.CONVERSE, repo=repo)


def _has(item: Any, label: str) -> bool:
    return label.casefold() in {held.casefold() for held in read_labels(item)}
