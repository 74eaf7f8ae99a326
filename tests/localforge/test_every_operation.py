"""Every operation that localforge serves is called, and all that comes back conforms to GitHub's description."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt

from tests.localforge.conformance import ForgeMaker, description
from tests.localforge.conftest import REPO, Desk, Mailbox
from windlass.localforge.api.calls import OPERATIONS

SERVED = {(entry.method, entry.template) for entry in OPERATIONS}


def test_the_description_and_the_table_name_the_same_operations() -> None:
    assert description().operations() == SERVED


async def test_every_operation_conforms(desk: Desk, mailbox: Mailbox, conforming_forge: ForgeMaker) -> None:
    hook = desk.forge.set_webhook(REPO, mailbox.url, "s3cret")
    desk.forge.require_checks(REPO, ["tests"])
    await _issues(desk)
    sha = await _code(desk)
    await _pulls(desk)
    app = await _app(desk, sha, mailbox)
    await _hooks(desk, hook, app)
    await desk.forge.idle()
    (recorder,) = conforming_forge.recorders()  # type: ignore[attr-defined]
    assert recorder.covered == SERVED


async def _issues(desk: Desk) -> None:
    call = desk.call
    for path in ("//user", "//users/eve", "//user/repos", "//rate_limit", "/", "/collaborators/bob/permission"):
        await call("ann", f"GET {path}")
    await call("ann", "POST /labels", {"name": "AI-Ready", "color": "00ff00", "description": "Go"}, expect=201)
    issue = await call("ann", "POST /issues", {"title": "Bug", "body": "It fails", "labels": ["bug"]}, expect=201)
    one = f"/issues/{issue['number']}"
    await call("ann", f"POST {one}/labels", {"labels": ["AI-Ready", "later"]}, expect=200)
    await call("ann", f"PUT {one}/labels", {"labels": ["AI-Ready", "now"]})
    await call("ann", f"DELETE {one}/labels/now")
    said = await call("bob", f"POST {one}/comments", {"body": "Looking"}, expect=201)
    comment = f"/issues/comments/{said['id']}"
    await call("bob", f"PATCH {comment}", {"body": "Looked"})
    for path in ("/labels", "/labels/AI-Ready", "/issues", one, f"{one}/labels", f"{one}/comments", comment):
        await call("eve", f"GET {path}")
    await call("bob", f"DELETE {comment}", expect=204)
    await call("ann", f"PATCH {one}", {"state": "closed", "state_reason": "not_planned", "title": "Not a bug"})
    await call("ann", f"PATCH {one}", {"state": "open"})
    events = [event["event"] for event in await call("ann", f"GET {one}/events")]
    labels = ["labeled"] * 3 + ["unlabeled"] * 2 + ["labeled", "unlabeled"]
    assert events == [*labels, "renamed", "closed", "reopened"]


async def _code(desk: Desk) -> str:
    call = desk.call
    head = (await call("ann", "GET /git/ref/heads/main"))["object"]["sha"]
    await call("bob", "POST /git/refs", {"ref": "refs/heads/ai/one", "sha": head}, expect=201)
    sha = await desk.branch("ai/two")
    await call("bob", "PATCH /git/refs/heads/ai/one", {"sha": sha})
    for path in (
        "/git/matching-refs/heads/ai",
        f"/git/commits/{sha}",
        "/commits/ai/two",
        "/compare/main...ai/two",
        "/contents/src/%C3%A4%20b.txt?ref=main",
        "/contents/src",
        "/branches",
        "/branches/main",
        "/branches/ai/two",
        "/branches/main/protection",
        "/branches/main/protection/required_status_checks",
        "/rules/branches/main",
    ):
        await call("ann", f"GET {path}")
    await call("bob", "DELETE /git/refs/heads/ai/one", expect=204)
    return sha


async def _pulls(desk: Desk) -> None:
    call = desk.call
    opened = await desk.pull("ai-1", body="Closes #1")
    one = f"/pulls/{opened['number']}"
    await call("bob", f"PATCH {one}", {"title": "Better", "body": "Closes #1, really"})
    await call("bob", f"POST /issues/{opened['number']}/labels", {"labels": ["AI-PR"]}, expect=200)
    await call("bob", "POST /statuses/" + opened["head"]["sha"], {"state": "pending", "context": "gate"}, expect=201)
    await call("bob", "POST /statuses/" + opened["head"]["sha"], {"state": "success", "context": "gate"}, expect=201)
    await desk.green("ai-1")
    no = await call("ann", f"POST {one}/reviews", {"event": "REQUEST_CHANGES", "body": "No"}, expect=200)
    await call("ann", f"PUT {one}/reviews/{no['id']}/dismissals", {"message": "Yes after all"})
    await call("ann", f"POST {one}/reviews", {"event": "APPROVE"}, expect=200)
    for path in (
        "/pulls?state=all&head=acme:ai-1",
        one,
        f"{one}/commits",
        f"{one}/files",
        f"{one}/reviews",
        f"{one}/reviews/{no['id']}",
        "/commits/ai-1/statuses",
        "/commits/ai-1/status",
        "/commits/ai-1/check-suites",
        "/issues",
    ):
        await call("eve", f"GET {path}")
    merged = await call("ann", f"PUT {one}/merge", {"sha": opened["head"]["sha"], "merge_method": "squash"})
    assert merged["merged"] is True
    await call("ann", f"GET {one}/merge", expect=204)
    assert (await call("ann", "GET /issues/1"))["state"] == "closed"


async def _app(desk: Desk, sha: str, mailbox: Mailbox) -> httpx.AsyncClient:
    new = desk.forge.create_app()
    desk.forge.set_webhook(None, mailbox.url, "other")
    now = int(time.time())
    token = jwt.encode({"iss": str(new.app_id), "iat": now - 10, "exp": now + 300}, new.private_key_pem, "RS256")
    app = desk.client(token=token)
    for path in (
        "/app",
        "/app/installations",
        f"/app/installations/{new.installation_id}",
        f"/repos/{REPO}/installation",
    ):
        assert (await app.get(path)).status_code == 200
    minted = await app.post(f"/app/installations/{new.installation_id}/access_tokens", json={"repositories": ["demo"]})
    assert minted.status_code == 201
    bot = desk.client(token=minted.json()["token"])
    assert (await bot.get("/installation/repositories")).json()["total_count"] == 1
    await _checks(desk, bot, sha)
    return app


async def _checks(desk: Desk, bot: httpx.AsyncClient, sha: str) -> None:
    root = f"/repos/{REPO}"
    body: dict[str, Any] = {"name": "windlass", "head_sha": sha, "external_id": "job:1", "status": "in_progress"}
    made = await bot.post(f"{root}/check-runs", json=body)
    assert made.status_code == 201, made.text
    own = f"{root}/check-runs/{made.json()['id']}"
    output = {"title": "Report", "summary": "All well", "text": "…"}
    done = await bot.patch(own, json={"status": "completed", "conclusion": "neutral", "output": output})
    assert done.json()["conclusion"] == "neutral"
    for path in (own, f"{own}/annotations"):
        assert (await bot.get(path)).status_code == 200
    (run,) = await desk.green("ai-1")
    suite = f"{root}/check-suites/{run['check_suite']['id']}"
    for path in (suite, f"{suite}/check-runs"):
        assert (await bot.get(path)).status_code == 200
    assert (await bot.post(f"{root}/check-runs/{run['id']}/rerequest")).status_code == 201
    (again,) = await desk.green("ai-1")
    assert again["id"] != run["id"]
    assert (await bot.post(f"{suite}/rerequest")).status_code == 201
    await desk.green("ai-1")


async def _hooks(desk: Desk, hook: int, app: httpx.AsyncClient) -> None:
    await desk.forge.idle()
    assert [found["id"] for found in await desk.call("ann", "GET /hooks")] == [hook]
    for client, root in ((desk.client("ann"), f"/repos/{REPO}/hooks/{hook}"), (app, "/app/hook")):
        first = (await client.get(f"{root}/deliveries")).json()[0]
        one = f"{root}/deliveries/{first['id']}"
        assert (await client.get(one)).json()["guid"] == first["guid"]
        assert (await client.post(f"{one}/attempts")).status_code == 202
