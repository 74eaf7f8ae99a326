"""Webhooks and their deliveries: of a repository, and of the Apps."""

from __future__ import annotations

import json
from typing import Any

from windlass.localforge.api.calls import Call, Reply, operation
from windlass.localforge.api.people import the_app
from windlass.localforge.errors import invalid, not_found
from windlass.localforge.model import Delivery, Hook
from windlass.localforge.shapes.repositories import api_url
from windlass.localforge.site import iso

_ROOT = "/repos/{owner}/{repo}/hooks"
_ONE = _ROOT + "/{hook_id}/deliveries"


def hook_shape(base: str, hook: Hook) -> dict[str, Any]:
    """The `hook` shape; the secret shows as stars."""
    config = {"url": hook.url, "content_type": "json", "insecure_ssl": "0"}
    if hook.secret:
        config["secret"] = "*" * 8
    own = f"{base}/hooks/{hook.id}"
    at = iso(hook.created_at_ms)
    return {
        "type": "Repository" if hook.repository else "App",
        "id": hook.id,
        "name": "web",
        "active": True,
        "events": list(hook.events),
        "config": config,
        "updated_at": at,
        "created_at": at,
        "url": own,
        "test_url": f"{own}/test",
        "ping_url": f"{own}/pings",
        "deliveries_url": f"{own}/deliveries",
        "last_response": {"code": None, "status": "unused", "message": None},
    }


@operation(f"GET {_ROOT}", app=["repository_hooks:read"], user="admin")
async def list_hooks(call: Call) -> Reply:
    """The repository's webhooks."""
    name = call.repo.full_name.lower()
    own = [hook for hook in call.site.world.hooks.values() if hook.repository == name]
    return call.listing(own, lambda hook: hook_shape(api_url(call.site, call.repo), hook))


def _item(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": iso(delivery.delivered_at_ms),
        "redelivery": delivery.is_redelivery,
        "duration": delivery.duration_s,
        "status": delivery.status,
        "status_code": delivery.status_code,
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": delivery.installation_id,
        "repository_id": delivery.repository_id,
        "throttled_at": None,
    }


def _full(delivery: Delivery, url: str) -> dict[str, Any]:
    request = {"headers": dict(delivery.request_headers), "payload": json.loads(delivery.payload)}
    response = {"headers": dict(delivery.response_headers), "payload": delivery.response_body}
    return _item(delivery) | {"url": url, "request": request, "response": response}


def _page(call: Call, hooks: frozenset[int]) -> Reply:
    """Newest first; the `cursor` in the Link header leads on, as on GitHub."""
    found = call.hub.post.of_hook(hooks)
    if call.query.get("status") in ("success", "failure"):
        is_ok = call.query["status"] == "success"
        found = [delivery for delivery in found if (delivery.status == "OK") == is_ok]
    cursor = call.query.get("cursor", "")
    if cursor:
        if not cursor.isascii() or not cursor.isdigit():
            raise invalid("HookDelivery", "cursor")
        found = [delivery for delivery in found if delivery.id <= int(cursor)]
    size = int(call.query.get("per_page") or 30) if (call.query.get("per_page") or "30").isdigit() else 30
    size = min(100, max(1, size))
    headers: dict[str, str] = {}
    if len(found) > size:
        url = f"{call.site.base_url}/api/v3{call.path}?per_page={size}&cursor={found[size].id}"
        headers["Link"] = f'<{url}>; rel="next"'
    return Reply(body=[_item(delivery) for delivery in found[:size]], headers=headers)


def _delivery(call: Call, hooks: frozenset[int]) -> Delivery:
    found = call.hub.post.log.get(call.number("delivery_id"))
    if found is None or found.hook_id not in hooks or not found.delivered_at_ms:
        raise not_found()
    return found


def _again(call: Call, hooks: frozenset[int]) -> Reply:
    call.hub.post.redeliver(_delivery(call, hooks).id)
    return Reply(status=202, body={})


# -------------------------------------------------------------------- a repository's


def _hook(call: Call) -> frozenset[int]:
    hook = call.site.world.hooks.get(call.number("hook_id"))
    if hook is None or hook.repository != call.repo.full_name.lower():
        raise not_found()
    return frozenset({hook.id})


@operation(f"GET {_ONE}", app=["repository_hooks:read"], user="admin")
async def list_deliveries(call: Call) -> Reply:
    """Deliveries of a repository's webhook."""
    return _page(call, _hook(call))


@operation(f"GET {_ONE}/{{delivery_id}}", app=["repository_hooks:read"], user="admin")
async def get_delivery(call: Call) -> Reply:
    """One delivery, with request and response."""
    return Reply(body=_full(_delivery(call, _hook(call)), f"{call.site.base_url}/api/v3{call.path}"))


@operation(f"POST {_ONE}/{{delivery_id}}/attempts", app=["repository_hooks:write"], user="admin")
async def redeliver(call: Call) -> Reply:
    """Deliver once more, under the same GUID."""
    return _again(call, _hook(call))


# -------------------------------------------------------------------- the Apps'


def _app_hooks(call: Call) -> frozenset[int]:
    the_app(call)
    return frozenset(hook.id for hook in call.site.world.hooks.values() if hook.repository is None)


@operation("GET /app/hook/deliveries")
async def list_app_deliveries(call: Call) -> Reply:
    """Deliveries of the App's webhook."""
    return _page(call, _app_hooks(call))


@operation("GET /app/hook/deliveries/{delivery_id}")
async def get_app_delivery(call: Call) -> Reply:
    """One delivery, with request and response."""
    return Reply(body=_full(_delivery(call, _app_hooks(call)), f"{call.site.base_url}/api/v3{call.path}"))


@operation("POST /app/hook/deliveries/{delivery_id}/attempts")
async def redeliver_app(call: Call) -> Reply:
    """Deliver once more, under the same GUID."""
    return _again(call, _app_hooks(call))
