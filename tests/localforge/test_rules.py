"""Who may do what, what is refused, and in which words: GitHub's statuses and bodies."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import jwt
import pytest

from tests.localforge.conftest import REPO, Desk
from windlass.core.errors import Conflict, Refused
from windlass.localforge import NewApp


async def refuse(desk: Desk, login: str | None, line: str, body: Any, status: int) -> dict[str, Any]:
    found = await desk.call(login, line, body, expect=status)
    assert isinstance(found, dict)
    assert found["status"] == str(status)
    assert found["message"]
    return found


REFUSALS: list[tuple[str | None, str, Any, int]] = [
    ("eve", "POST /git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}, 403),
    ("eve", "POST /issues/1/labels", {"labels": ["x"]}, 403),
    ("eve", "PUT /pulls/1/merge", {}, 403),
    ("bob", "GET /branches/main/protection", None, 403),
    ("ann", "POST /check-runs", {"name": "x", "head_sha": "0" * 40}, 403),
    (None, "POST /issues", {"title": "x"}, 401),
    ("ann", "GET /issues/999", None, 404),
    ("ann", "GET /issues/x", None, 404),
    ("ann", "GET /nowhere", None, 404),
    ("ann", "GET //repos/acme/none", None, 404),
    ("ann", "GET /pulls/1", None, 404),
    ("ann", "GET /contents/none.txt", None, 404),
    ("ann", "GET /contents/src%2F..%2F..%2Fetc%2Fpasswd", None, 404),
    ("ann", "GET /contents/a%00b", None, 404),
    ("ann", "GET /git/commits/a%00b", None, 404),
    ("ann", "GET /compare/main%00...old", None, 404),
    ("ann", "GET /compare/main", None, 404),
    ("ann", "GET /commits/none", None, 422),
    ("ann", "GET /commits/--all", None, 422),
    ("ann", "POST /issues", {"title": ""}, 422),
    ("ann", "POST /issues", {"title": 3}, 422),
    ("ann", "POST /issues", {"title": "x" * 257}, 422),
    ("ann", "POST /issues", {"title": "x", "body": "y" * 65_537}, 422),
    ("ann", "POST /issues/1/comments", {"body": "y" * 65_537}, 422),
    ("ann", "POST /issues/1/labels", {"labels": ["x" * 51]}, 422),
    ("ann", "POST /issues/1/labels", {"labels": "x"}, 422),
    ("ann", "POST /pulls", {"title": "x", "head": "none", "base": "main"}, 422),
    ("ann", "POST /pulls", {"title": "x", "head": "old", "base": "none"}, 422),
    ("ann", "POST /pulls", {"title": "x", "head": "old", "base": "main"}, 422),
    ("ann", "POST /pulls", {"title": "x", "head": "eve:old", "base": "main"}, 422),
    ("ann", "DELETE /git/refs/heads/none", None, 422),
    ("ann", "GET /git/ref/heads/ol", None, 404),
]


async def test_refusals(desk: Desk) -> None:
    desk.forge.open_issue(REPO, "ann", "First", None)
    for login, line, body, status in REFUSALS:
        await refuse(desk, login, line, body, status)


async def test_ref_names_that_github_refuses(desk: Desk) -> None:
    sha = desk.forge.refs(REPO)["refs/heads/main"]
    short = ("a..b", "a" * 40, "@", "x.lock", "a b", "refs/heads/x", "x" * 250, "-x", ".x", "x/", "a\\b", "a~1", "")
    for name in ("heads/x", "main", *(f"refs/heads/{name}" for name in short)):
        await refuse(desk, "bob", "POST /git/refs", {"ref": name, "sha": sha}, 422)


async def test_refs_are_made_once_and_move_forwards(desk: Desk) -> None:
    refs = desk.forge.refs(REPO)
    main, old = refs["refs/heads/main"], refs["refs/heads/old"]
    await desk.call("bob", "POST /git/refs", {"ref": "refs/heads/ai-1", "sha": main}, expect=201)
    again = await refuse(desk, "bob", "POST /git/refs", {"ref": "refs/heads/ai-1", "sha": main}, 422)
    assert again["message"] == "Reference already exists"
    backwards = await refuse(desk, "bob", "PATCH /git/refs/heads/ai-1", {"sha": old}, 422)
    assert backwards["message"] == "Update is not a fast forward"
    await desk.call("bob", "PATCH /git/refs/heads/ai-1", {"sha": old, "force": True})
    assert desk.forge.refs(REPO)["refs/heads/ai-1"] == old
    await refuse(desk, "bob", "PATCH /git/refs/heads/main", {"sha": main}, 422)
    await refuse(desk, "ann", "DELETE /git/refs/heads/main", None, 422)


async def test_a_body_that_is_no_json_object(desk: Desk) -> None:
    client = desk.client("ann")
    for content in (b"{", b'"x"', b"[" * 100_000, b"\xff"):
        reply = await client.post(f"/repos/{REPO}/issues", content=content)
        assert reply.status_code == 400, reply.text
    assert (await client.post(f"/repos/{REPO}/issues", content=b"x" * (11 << 20))).status_code == 413


async def test_a_private_repository_is_not_there_for_strangers(desk: Desk) -> None:
    desk.forge.create_repository("acme/secret", private=True)
    desk.forge.grant("acme/secret", "ann", "read")
    assert (await desk.client("ann").get("/repos/acme/secret")).status_code == 200
    for login in ("eve", None):
        assert (await desk.client(login).get("/repos/acme/secret")).status_code == 404


async def test_one_pull_request_per_branch_and_base(desk: Desk) -> None:
    opened = await desk.pull()
    again = await refuse(desk, "bob", "POST /pulls", {"title": "x", "head": "acme:ai-1", "base": "main"}, 422)
    assert again["errors"][0]["message"] == "A pull request already exists for acme:ai-1."
    found = await desk.call("bob", "GET /pulls?head=acme:ai-1&state=all")
    assert [pull["number"] for pull in found] == [opened["number"]]
    assert await desk.call("bob", "GET /pulls?head=acme:ai&state=all") == []


async def test_nobody_approves_their_own(desk: Desk) -> None:
    opened = await desk.pull(by="bob")
    one = f"POST /pulls/{opened['number']}/reviews"
    await refuse(desk, "bob", one, {"event": "APPROVE"}, 422)
    await refuse(desk, "ann", one, {"event": "REQUEST_CHANGES"}, 422)
    await refuse(desk, "ann", one, {"event": "SHIP"}, 422)


async def test_a_merge_needs_green_checks_a_review_and_the_head_one_saw(desk: Desk) -> None:
    desk.forge.require_checks(REPO, ["tests", "gate"])
    opened = await desk.pull()
    one, sha = f"/pulls/{opened['number']}", opened["head"]["sha"]
    await desk.green("ai-1")
    assert "gate" in (await refuse(desk, "bob", f"PUT {one}/merge", {}, 405))["message"]
    await desk.call("ann", f"POST /statuses/{sha}", {"state": "success", "context": "gate"}, expect=201)
    assert "review" in (await refuse(desk, "bob", f"PUT {one}/merge", {}, 405))["message"]
    await desk.call("eve", f"POST {one}/reviews", {"event": "APPROVE"})
    await refuse(desk, "bob", f"PUT {one}/merge", {}, 405)  # a reader's approval does not count
    await desk.call("ann", f"POST {one}/reviews", {"event": "APPROVE"})
    await refuse(desk, "bob", f"PUT {one}/merge", {"sha": "0" * 40}, 409)
    await refuse(desk, "bob", f"PUT {one}/merge", {"sha": sha, "merge_method": "rebase"}, 405)
    merged = await desk.call("bob", f"PUT {one}/merge", {"sha": sha})
    assert desk.forge.refs(REPO)["refs/heads/main"] == merged["sha"]
    await refuse(desk, "bob", f"PUT {one}/merge", {}, 405)
    await refuse(desk, "bob", f"PATCH {one}", {"state": "open"}, 422)


async def test_a_conflict_is_not_mergeable(desk: Desk) -> None:
    desk.forge.protect(REPO, "main", None)
    await desk.branch("ai-1", {"README.md": b"theirs\n"})
    body = {"title": "x", "head": "ai-1", "base": "main"}
    opened = await desk.call("bob", "POST /pulls", body, expect=201)
    await desk.branch("main", {"README.md": b"ours\n"})
    await refuse(desk, "bob", f"PUT /pulls/{opened['number']}/merge", {}, 405)
    for _ in range(200):
        found = await desk.call("bob", f"GET /pulls/{opened['number']}")
        if found["mergeable"] is not None:
            break
    assert (found["mergeable"], found["mergeable_state"]) == (False, "dirty")


async def test_pages_lead_on(desk: Desk) -> None:
    for number in range(5):
        desk.forge.open_issue(REPO, "ann", f"Issue {number}", None, ["x"] if number % 2 else [])
    client, seen = desk.client("eve"), []
    url: str | None = f"/repos/{REPO}/issues?per_page=2&direction=asc&state=all"
    while url:
        reply = await client.get(url)
        seen += [issue["title"] for issue in reply.json()]
        url = reply.links.get("next", {}).get("url")
    assert seen == [f"Issue {number}" for number in range(5)]
    assert len(await desk.call("eve", "GET /issues?labels=X")) == 2


async def test_what_did_not_change_is_304_and_free(desk: Desk) -> None:
    client = desk.client("eve")
    first = await client.get(f"/repos/{REPO}")
    assert first.headers["x-github-request-id"]
    second = await client.get(f"/repos/{REPO}", headers={"If-None-Match": first.headers["etag"]})
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    desk.forge.open_issue(REPO, "ann", "New", None)
    third = await client.get(f"/repos/{REPO}", headers={"If-None-Match": first.headers["etag"]})
    assert third.status_code == 200


async def test_a_file_as_json_and_raw(desk: Desk) -> None:
    raw = {"Accept": "application/vnd.github.raw+json"}
    reply = await desk.client("eve").get(f"/repos/{REPO}/contents/README.md", headers=raw)
    assert reply.content == b"# Demo\n\nMore.\n"
    old = await desk.client("eve").get(f"/repos/{REPO}/contents/README.md?ref=old", headers=raw)
    assert old.content == b"# Demo\n"


# -------------------------------------------------------------------- Apps


def signed(app: NewApp, **claims: Any) -> str:
    now = int(time.time())
    return jwt.encode({"iss": str(app.app_id), "iat": now - 5, "exp": now + 300} | claims, app.private_key_pem, "RS256")


async def test_a_jwt_is_checked(desk: Desk) -> None:
    app, other = desk.forge.create_app(), desk.forge.create_app("other")
    now = int(time.time())
    good = await desk.client(token=signed(app)).get("/app")
    assert good.json()["slug"] == "windlass"
    bad = [
        signed(app, exp=now - 1),
        signed(app, exp=now + 3600),
        signed(app, iat=now + 600),
        signed(app, exp=None),
        signed(app, iss=str(other.app_id)),
        signed(app, iss="x"),
        signed(app)[:-8] + "AAAAAAAA",
        jwt.encode({"iss": str(app.app_id), "iat": now, "exp": now + 60}, "k" * 32, "HS256"),
        jwt.encode({"iss": str(app.app_id), "iat": now, "exp": now + 60}, None, "none"),
        "ghp_nothing",
    ]
    for token in bad:
        reply = await desk.client(token=token).get("/app")
        assert reply.status_code == 401, token
    assert (await desk.client("ann").get("/app")).status_code == 401


async def test_a_narrowed_token_can_do_no_more(desk: Desk) -> None:
    desk.forge.create_repository("acme/other")
    app = desk.forge.create_app()
    url = f"/app/installations/{app.installation_id}/access_tokens"
    client = desk.client(token=signed(app))
    body = {"repositories": ["demo"], "permissions": {"contents": "write"}}
    token = (await client.post(url, json=body)).json()
    assert token["permissions"] == {"contents": "write", "metadata": "read"}
    bot = desk.client(token=token["token"])
    sha = desk.forge.refs(REPO)["refs/heads/main"]
    made = await bot.post(f"/repos/{REPO}/git/refs", json={"ref": "refs/heads/ai-1", "sha": sha})
    assert made.status_code == 201
    assert (await bot.post(f"/repos/{REPO}/issues", json={"title": "x"})).status_code == 403
    assert (await bot.post("/repos/acme/other/git/refs", json={"ref": "refs/heads/x", "sha": sha})).status_code == 403
    assert (await bot.get("/user")).status_code == 403
    assert (await client.post(url, json={"permissions": {"workflows": "write"}})).status_code == 422
    assert (await client.post(url, json={"repositories": ["none"]})).status_code == 422


async def test_the_set_up_calls_refuse_what_cannot_be(desk: Desk) -> None:
    with pytest.raises(Conflict):
        desk.forge.create_user("ANN")
    for wrong in ("../x", "a/b/c", "x", "a/..", "a b/c"):
        with pytest.raises(Refused):
            desk.forge.create_repository(wrong)
    with pytest.raises(Refused):
        desk.forge.grant(REPO, "ann", "owner")
    with pytest.raises(Refused):
        desk.forge.open_issue("acme/none", "ann", "x", None)
    with pytest.raises(Refused):
        desk.forge.faults.change({"drop": 2.0})


async def test_of_many_at_once_one_wins(desk: Desk) -> None:
    client, root = desk.client("bob"), f"/repos/{REPO}"
    sha = desk.forge.refs(REPO)["refs/heads/main"]
    ref = {"ref": "refs/heads/race", "sha": sha}
    made = await asyncio.gather(*(client.post(f"{root}/git/refs", json=ref) for _ in range(8)))
    assert sorted(reply.status_code for reply in made) == [201] + [422] * 7
    await desk.branch("ai-1")
    pull = {"title": "x", "head": "ai-1", "base": "main"}
    opened = await asyncio.gather(*(client.post(f"{root}/pulls", json=pull) for _ in range(8)))
    assert sorted(reply.status_code for reply in opened) == [201] + [422] * 7
    assert len(await desk.call("bob", "GET /pulls?state=all")) == 1
    assert len((await desk.call("bob", "GET /commits/ai-1/check-suites"))["check_suites"]) == 1
