"""What goes over the wire: to whom, how often, how long, and what comes of every kind of answer."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.github.canned import FIXED_MS, Canned, FakeClock, canned, hangs, hangs_up, says, sends

from windlass.adapters.github import GitHubForge, TokenAuth, github_forge
from windlass.core.errors import Conflict, Failed, Forbidden, NotFound, Refused, Unavailable, WindlassError
from windlass.core.events import Check

TOKEN = "ghs_12345_eyJ.secret-secret_secret"
REPO = "/api/v3/repos/acme/shop"
ISSUE = {"number": 7, "title": "T", "body": None, "state": "open", "user": {"login": "ann", "type": "User"}}


@pytest.fixture
async def forge() -> AsyncIterator[tuple[Canned, GitHubForge]]:
    async with canned() as server:
        client = github_forge(api_url=server.url, auth=TokenAuth(token=TOKEN), clock=FakeClock(), timeout_s=1.0)
        yield server, client
        await client.close()


@pytest.fixture
async def elsewhere() -> AsyncIterator[Canned]:
    async with canned() as server:
        yield server


async def raised(call: Any) -> WindlassError:
    with pytest.raises(WindlassError) as caught:
        await call
    return caught.value


async def test_sends_version_and_credential(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", says(ISSUE))
    assert (await client.issue("acme/shop", 7)).snapshot.author == "ann"
    headers = server.seen[0].headers
    assert headers["authorization"] == f"token {TOKEN}"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["accept"] == "application/vnd.github+json"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_follows_redirects_on_the_same_host(forge: tuple[Canned, GitHubForge], status: int) -> None:
    server, client = forge
    there = f"{server.url}/repositories/1/pulls/3"
    server.on(f"PATCH {REPO}/pulls/3", says({}, status, location=there))
    server.on("PATCH /api/v3/repositories/1/pulls/3", says({"number": 3}))
    await client.update_pull("acme/shop", 3, title="new")
    assert [(s.method, s.body) for s in server.seen] == [("PATCH", {"title": "new"})] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_never_follows_to_another_host(forge: tuple[Canned, GitHubForge], elsewhere: Canned, status: int) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", says({}, status, location=f"{elsewhere.url}/repos/acme/shop/issues/7"))
    problem = await raised(client.issue("acme/shop", 7))
    assert isinstance(problem, Forbidden)
    assert problem.code == "foreign_host"
    assert elsewhere.seen == []


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/x", "/outside/api", "//evil.example/x", "http://[bad"])
async def test_refuses_redirects_outside_the_api(forge: tuple[Canned, GitHubForge], where: str) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", says({}, 302, location=where))
    assert (await raised(client.issue("acme/shop", 7))).code in {"foreign_host", "bad_answer"}
    assert len(server.seen) == 1


async def test_never_follows_a_link_header_to_another_host(
    forge: tuple[Canned, GitHubForge], elsewhere: Canned
) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues", says([], link=f'<{elsewhere.url}/repos/acme/shop/issues?page=2>; rel="next"'))
    assert (await raised(client.labelled_issues("acme/shop", "x"))).code == "foreign_host"
    assert elsewhere.seen == []


async def test_endless_redirects_end(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", says({}, 302, location=f"{server.url}/repos/acme/shop/issues/7"))
    assert isinstance(await raised(client.issue("acme/shop", 7)), Failed)
    assert len(server.seen) == 4


async def test_reads_all_pages(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge

    async def page(request: web.Request) -> web.StreamResponse:
        number = int(request.query.get("page", "1"))
        items = [ISSUE | {"number": number * 10 + i, "labels": [{"name": "ai-ready"}]} for i in range(2)]
        link = f'<{server.url}/repos/acme/shop/issues?page={number + 1}>; rel="next"'
        return web.json_response(items, headers={"link": link} if number < 3 else {})

    server.on(f"GET {REPO}/issues", page)
    assert await client.labelled_issues("acme/shop", "AI-Ready") == (10, 11, 20, 21, 30, 31)


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (says({"message": "Bad credentials"}, 401), Forbidden, "bad_credentials"),
        (says({"message": "Resource not accessible by integration"}, 403), Forbidden, "forbidden"),
        (says({"message": "Not Found"}, 404), NotFound, "not_found"),
        (says({"message": "This issue was deleted"}, 410), NotFound, "not_found"),
        (says({"message": "Git Repository is empty."}, 409), Conflict, "conflict"),
        (says({"message": "Reference already exists"}, 422), Conflict, "conflict"),
        (
            says({"message": "no", "errors": [{"resource": "Label", "code": "already_exists"}]}, 422),
            Conflict,
            "conflict",
        ),
        (says({"message": "Validation Failed", "errors": [{"message": "bad base"}]}, 422), Refused, "forge_refused"),
        (sends(b"\xff\xfe", 400), Refused, "forge_refused"),
        (sends(b"<html>", 200, content_type="text/html"), Unavailable, "bad_answer"),
        (sends(b"{", 200, content_type="application/json"), Unavailable, "bad_answer"),
        (sends(b"{}", 200, content_type="application/json; charset=klingon"), Unavailable, "bad_answer"),
        (sends(b"[" * 200_000, 200, content_type="application/json"), Unavailable, "bad_answer"),
        (says({"message": "oops"}, 500), Unavailable, "server_error"),
        (sends(b"", 599), Unavailable, "server_error"),
        (says({}, 304), Failed, "unexpected_redirect"),
        (says({}, 300), Failed, "unexpected_redirect"),
        (hangs_up, Unavailable, "connection"),
        (hangs, Unavailable, "timeout"),
    ],
)
async def test_sorts_answers(forge: tuple[Canned, GitHubForge], answer: Any, kind: type, code: str) -> None:
    server, client = forge
    server.on(f"POST {REPO}/git/refs", answer)
    if code == "bad_answer":
        server.on(f"POST {REPO}/pulls", answer)
        problem = await raised(client.create_pull("acme/shop", head="a", base="b", title="t", body="b"))
    else:
        problem = await raised(client.create_ref("acme/shop", "ai-7", "a" * 40))
    assert type(problem) is kind
    assert problem.code == code
    assert problem.hint
    assert "\n" not in problem.message


async def test_words_of_the_forge_are_told_without_the_credential(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge
    body = {
        "message": f"Validation\nFailed {TOKEN}",
        "errors": [{"resource": "PR", "field": "head", "code": "invalid"}],
    }
    server.on(f"POST {REPO}/git/refs", says(body, 422))
    problem = await raised(client.create_ref("acme/shop", "ai-7", "a" * 40))
    shown = str(problem) + "".join(traceback.format_exception(problem)) + repr(client) + repr(TokenAuth(token=TOKEN))
    assert "PR.head invalid" in problem.message
    assert TOKEN not in shown


@pytest.mark.parametrize("failure", [says({}, 502), hangs_up])
async def test_reads_are_tried_again_and_writes_are_not(forge: tuple[Canned, GitHubForge], failure: Any) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", failure, failure, says(ISSUE))
    assert (await client.issue("acme/shop", 7)).snapshot.number == 7
    server.on(f"POST {REPO}/git/refs", failure, says({}, 201))
    assert isinstance(await raised(client.create_ref("acme/shop", "ai-7", "a" * 40)), Unavailable)
    assert len(server.calls(f"POST {REPO}/git/refs")) == 1


async def test_a_slow_answer_is_not_waited_for_twice(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", hangs)
    assert (await raised(client.issue("acme/shop", 7))).code == "timeout"
    assert len(server.seen) == 1


async def test_a_dripping_answer_ends_at_the_deadline(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge

    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(30):
            await response.write(b" ")
            await asyncio.sleep(0.1)
        return response

    server.on(f"GET {REPO}/issues/7", drips)
    assert (await raised(client.issue("acme/shop", 7))).code == "timeout"


async def test_an_answer_without_end_is_refused(
    forge: tuple[Canned, GitHubForge], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = forge
    monkeypatch.setattr("windlass.adapters.github.wire.MAX_ANSWER_BYTES", 1000)
    server.on(f"GET {REPO}/issues/7", sends(b"x" * 2000))
    assert (await raised(client.issue("acme/shop", 7))).code == "answer_too_large"


async def test_nobody_listens() -> None:
    async with canned() as server:
        url = server.url
    client = github_forge(api_url=url, auth=TokenAuth(token=TOKEN), clock=FakeClock())
    assert (await raised(client.issue("acme/shop", 7))).code == "connection"
    await client.close()


RESET = str(FIXED_MS // 1000 + 90)


@pytest.mark.parametrize(
    ("answer", "code", "wait_s"),
    [
        (
            says({"message": "API rate limit exceeded"}, 403, x_ratelimit_remaining="0", x_ratelimit_reset=RESET),
            "rate_limited",
            90,
        ),
        (says({}, 429, x_ratelimit_remaining="0", x_ratelimit_reset="1"), "rate_limited", 1),
        (
            says({"message": "You have exceeded a secondary rate limit"}, 403, retry_after="30"),
            "secondary_rate_limited",
            30,
        ),
        (says({"message": "You have exceeded a secondary rate limit"}, 403), "secondary_rate_limited", 60),
        (says({"message": "slow down"}, 429), "secondary_rate_limited", 60),
        (says({}, 429, retry_after="99999999"), "secondary_rate_limited", 86400),
        (says({}, 429, retry_after="-5"), "secondary_rate_limited", 60),
    ],
)
async def test_rate_limits_tell_how_long_and_silence_the_account(
    forge: tuple[Canned, GitHubForge], answer: Any, code: str, wait_s: float
) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", answer)
    problem = await raised(client.issue("acme/shop", 7))
    assert isinstance(problem, Unavailable)
    assert (problem.code, problem.retry_after_s) == (code, wait_s)
    for call in (client.issue("acme/shop", 8), client.create_ref("acme/shop", "ai-7", "a" * 40)):
        silent = await raised(call)
        assert isinstance(silent, Unavailable)
        assert silent.retry_after_s is not None
        assert 0 < silent.retry_after_s <= wait_s
    assert len(server.seen) == 1


async def test_calls_go_on_after_the_silence(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge
    server.on(f"GET {REPO}/issues/7", says({}, 429, retry_after="1"), says(ISSUE))
    problem = await raised(client.issue("acme/shop", 7))
    assert isinstance(problem, Unavailable)
    await asyncio.sleep((problem.retry_after_s or 0) + 0.01)
    assert (await client.issue("acme/shop", 7)).snapshot.number == 7


async def test_what_did_not_change_is_not_sent_again(forge: tuple[Canned, GitHubForge]) -> None:
    server, client = forge

    async def tagged(request: web.Request) -> web.StreamResponse:
        if request.headers.get("if-none-match") == '"one"':
            return web.Response(status=304)
        return web.json_response(ISSUE, headers={"etag": '"one"'})

    server.on(f"GET {REPO}/issues/7", tagged)
    assert await client.issue("acme/shop", 7) == await client.issue("acme/shop", 7)
    assert [s.headers.get("if-none-match") for s in server.seen] == [None, '"one"']


async def test_writes_are_one_at_a_time_and_spaced() -> None:
    running, most, starts = 0, 0, []

    async def slow(_: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)
        running -= 1
        return web.json_response({}, status=201)

    async with canned() as server:
        client = github_forge(
            api_url=server.url, auth=TokenAuth(token=TOKEN), clock=FakeClock(), min_write_spacing_s=0.1
        )
        server.on(f"POST {REPO}/git/refs", slow)
        await asyncio.gather(*(client.create_ref("acme/shop", f"ai-{i}", "a" * 40) for i in range(3)))
        await client.close()
    assert most == 1
    assert all(b - a >= 0.1 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    "repo", ["acme", "acme/shop/x", "../shop", "acme/..", "acme/sh op", "", "a/b?c", "acme/shop\n"]
)
async def test_names_that_could_leave_their_place_are_refused(forge: tuple[Canned, GitHubForge], repo: str) -> None:
    server, client = forge
    assert (await raised(client.repository(repo))).code == "bad_name"
    assert (await raised(client.credential(repo, write=True))).code == "bad_name"
    assert server.seen == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc", "a//b", "", "a/./b"])
async def test_paths_that_could_leave_their_place_are_refused(forge: tuple[Canned, GitHubForge], path: str) -> None:
    server, client = forge
    assert (await raised(client.file("acme/shop", path, "main"))).code == "bad_name"
    assert (await raised(client.delete_ref("acme/shop", path))).code == "bad_name"
    assert server.seen == []


async def test_a_job_log_is_read_elsewhere_without_the_credential(
    forge: tuple[Canned, GitHubForge], elsewhere: Canned
) -> None:
    server, client = forge
    run = {"id": 5, "app": {"slug": "github-actions"}, "output": {"title": "t", "summary": "s", "text": None}}
    server.on(f"GET {REPO}/check-runs/5", says(run))
    server.on(f"GET {REPO}/actions/jobs/5/logs", says({}, 302, location=f"{elsewhere.url}/blob?sig=1"))
    elsewhere.on("GET /api/v3/blob", sends(b"x" * 100_000 + b"E   AssertionError"))
    log = await client.check_log("acme/shop", Check(name="t", source="check_run", status="completed", id=5))
    assert log.endswith("E   AssertionError")
    assert len(log.encode()) == 64 << 10
    assert "authorization" not in elsewhere.seen[0].headers
    elsewhere.on("GET /api/v3/blob", says({}, 302, location="http://127.0.0.1:1/"))
    log = await client.check_log("acme/shop", Check(name="t", source="check_run", status="completed", id=5))
    assert log == "t\ns"
