"""The pages show what is there, escape all of it, and act only for those who are signed in and meant it."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.localforge.conftest import REPO, Desk

EVIL = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"


async def browser(desk: Desk, login: str | None = None) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=desk.forge.base_url, follow_redirects=True)
    desk.clients[f"page {login} {len(desk.clients)}"] = client
    if login:
        reply = await client.post("/sign-in", data={"token": desk.tokens[login], "next": "/"})
        assert f"<strong>{login}</strong>" in reply.text
    return client


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', text)
    assert found, text
    return found[1]


async def test_hostile_text_is_text(desk: Desk) -> None:
    number = desk.forge.open_issue(REPO, "ann", EVIL, EVIL, ["<b>x</b>"])
    await desk.call("eve", f"POST /issues/{number}/comments", {"body": EVIL}, expect=201)
    await desk.branch("ai-1", {"<i>.txt": EVIL.encode() + b"\n"})
    body = {"title": EVIL, "head": "ai-1", "base": "main", "body": EVIL}
    opened = await desk.call("bob", "POST /pulls", body, expect=201)
    client = await browser(desk)
    for path in ("", f"/issues/{number}", f"/pull/{opened['number']}"):
        reply = await client.get(f"/{REPO}{path}")
        assert reply.status_code == 200
        assert "<script" not in reply.text
        assert "<img" not in reply.text
        assert "&lt;script&gt;" in reply.text
        assert "default-src 'none'" in reply.headers["content-security-policy"]


async def test_a_person_approves_and_merges(desk: Desk) -> None:
    desk.forge.require_checks(REPO, ["tests"])
    opened = await desk.pull()
    await desk.green("ai-1")
    page = f"/{REPO}/pull/{opened['number']}"
    client = await browser(desk, "ann")
    text = (await client.get(page)).text
    assert "approving review is required" in text
    form = {"csrf": hidden(text, "csrf"), "head": hidden(text, "head")}
    text = (await client.post(f"{page}/approve", data=form)).text
    assert "Ready to merge" in text
    text = (await client.post(f"{page}/merge", data=form)).text
    assert 'class="pill merged"' in text
    assert desk.forge.refs(REPO)["refs/heads/main"] != opened["base"]["sha"]


@pytest.mark.parametrize("what", ["no session", "no csrf", "other origin", "moved head", "a reader merges", "own pull"])
async def test_forms_that_are_refused(desk: Desk, what: str) -> None:
    desk.forge.protect(REPO, "main", None)
    opened = await desk.pull(by="bob")
    page = f"/{REPO}/pull/{opened['number']}"
    login = {"no session": None, "a reader merges": "eve", "own pull": "bob"}.get(what, "ann")
    client = await browser(desk, login)
    text = (await client.get(f"/{REPO}/pull/{opened['number']}")).text
    csrf = hidden(text, "csrf") if login else "x"
    form = {"csrf": "x" if what == "no csrf" else csrf, "head": opened["head"]["sha"]}
    if what == "moved head":
        form["head"] = "0" * 40
    headers = {"Origin": "https://elsewhere.example"} if what == "other origin" else {}
    act = "approve" if what == "own pull" else "merge"
    reply = await client.post(f"{page}/{act}", data=form, headers=headers)
    assert reply.status_code in (401, 403, 409, 422), reply.text
    assert (await desk.call("ann", f"GET /pulls/{opened['number']}"))["merged"] is False


async def test_a_private_repository_has_no_page_for_strangers(desk: Desk) -> None:
    desk.forge.create_repository("acme/secret", private=True)
    desk.forge.grant("acme/secret", "ann", "read")
    assert (await (await browser(desk, "eve")).get("/acme/secret")).status_code == 404
    assert (await (await browser(desk, "ann")).get("/acme/secret")).status_code == 200
    assert "secret" not in (await (await browser(desk)).get("/")).text


async def test_signing_in_needs_a_users_token_and_leads_nowhere_else(desk: Desk) -> None:
    client = await browser(desk)
    assert (await client.post("/sign-in", data={"token": "nothing"})).status_code == 401
    for bad in ("//evil.example", "https://evil.example", "/\\evil.example"):
        form = {"token": desk.tokens["ann"], "next": bad}
        reply = await client.post("/sign-in", data=form, follow_redirects=False)
        assert reply.headers["location"] == "/"
    assert "httponly" in reply.headers["set-cookie"].lower()
