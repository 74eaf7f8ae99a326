"""Webhook calls that the forge could not deliver: it never tries again by itself.

An App sees its own. With a token, only hooks that point at our own webhook URL, on repositories that were asked
about before, are looked at; other people's hooks are never touched. GitHub keeps deliveries for three days, GitHub
Enterprise Server for seven. Source: docs.github.com, "Handling failed webhook deliveries".
"""

from __future__ import annotations

from typing import Any

from windlass.adapters.github.address import repository_vars
from windlass.adapters.github.keys import Access, Need
from windlass.adapters.github.payload import instant_ms, name, text, whole
from windlass.adapters.github.session import Session
from windlass.core.errors import Forbidden, NotFound, Refused

MAX_DELIVERIES = 2_000
HOOKS = "/repos/{owner}/{name}/hooks"


class AppDeliveries:
    """Of the App's one webhook. Ids are the forge's."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def failed(self, since_ms: int) -> tuple[str, ...]:
        """Newest attempt of every call since then that no attempt delivered."""
        access = Access(need=Need.APP)
        listed = await self._session.pages(access, "/app/hook/deliveries{?per_page}", most=MAX_DELIVERIES)
        return tuple(str(number) for number in _undelivered(listed, since_ms))

    async def redeliver(self, delivery_id: str) -> None:
        """Once more, under the same GUID."""
        access = Access(need=Need.APP)
        template = "/app/hook/deliveries/{id}/attempts"
        await self._session.send(access, "POST", template, id=str(_number(delivery_id)))


class HookDeliveries:
    """Of repository hooks that point at `webhook_url`. Ids are `owner/name/hook/delivery`."""

    def __init__(self, session: Session, *, webhook_url: str, known: set[str]) -> None:
        self._session = session
        self._webhook_url = webhook_url
        self._known = known

    async def failed(self, since_ms: int) -> tuple[str, ...]:
        """As far as we may read hooks; () without a webhook URL."""
        if not self._webhook_url:
            return ()
        return tuple([key for repo in sorted(self._known) for key in await self._failed_of(repo, since_ms)])

    async def redeliver(self, delivery_id: str) -> None:
        """Once more, under the same GUID."""
        owner, repo_name, hook, number = _parts(delivery_id)
        access = Access(need=Need.READ, repo=f"{owner}/{repo_name}")
        values = {"hook": str(_number(hook)), "id": str(_number(number)), **repository_vars(access.repo)}
        await self._session.send(access, "POST", HOOKS + "/{hook}/deliveries/{id}/attempts", **values)

    async def _failed_of(self, repo: str, since_ms: int) -> list[str]:
        access, names = Access(need=Need.READ, repo=repo), repository_vars(repo)
        found: list[str] = []
        try:
            for hook in await self._session.pages(access, HOOKS + "{?per_page}", **names):
                if text(hook, "config", "url") != self._webhook_url:
                    continue
                hook_id = str(whole(hook, "id"))
                template = HOOKS + "/{hook}/deliveries{?per_page}"
                listed = await self._session.pages(access, template, most=MAX_DELIVERIES, hook=hook_id, **names)
                found += [f"{repo}/{hook_id}/{number}" for number in _undelivered(listed, since_ms)]
        except (Forbidden, NotFound):
            return found
        return found


def _undelivered(listed: list[dict[str, Any]], since_ms: int) -> list[int]:
    """One id per GUID, oldest first; a GUID with one successful attempt has arrived."""
    arrived = {name(item, "guid") for item in listed if 200 <= whole(item, "status_code") < 300}
    newest: dict[str, int] = {}
    for item in sorted(listed, key=lambda one: whole(one, "id")):
        guid = name(item, "guid")
        if guid and guid not in arrived and instant_ms(item, "delivered_at") >= since_ms:
            newest[guid] = whole(item, "id")
    return [number for number in newest.values() if number > 0]


def _parts(delivery_id: str) -> list[str]:
    parts = delivery_id.split("/")
    if len(parts) != 4:
        raise _bad_id(delivery_id)
    return parts


def _number(delivery_id: str) -> int:
    if not delivery_id.isascii() or not delivery_id.isdigit() or len(delivery_id) > 20:
        raise _bad_id(delivery_id)
    return int(delivery_id)


def _bad_id(delivery_id: str) -> Refused:
    hint = "use an id that failed_deliveries gave out"
    return Refused(f"{delivery_id[:60]!r} is not a delivery", hint=hint, code="bad_name")
