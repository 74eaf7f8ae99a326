"""Webhooks: signed, in GitHub's shapes, logged, redelivered on demand only, and broken on purpose."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid

import pytest

from tests.localforge.conftest import REPO, Desk, Mailbox

SECRET = "s3cret"


async def test_the_whole_course_of_a_pull_request_is_told(desk: Desk, mailbox: Mailbox) -> None:
    desk.forge.set_webhook(REPO, mailbox.url, SECRET)
    number = desk.forge.open_issue(REPO, "ann", "Bug", "It fails", ["AI-Ready"])
    opened = await desk.pull(body=f"Fixes #{number}")
    await desk.green("ai-1")
    await desk.branch("ai-1", {"two.txt": b"2"})
    await desk.green("ai-1")
    desk.forge.approve(REPO, opened["number"], "ann")
    merged = await desk.forge.merge(REPO, opened["number"], "ann")
    await desk.call("bob", "DELETE /git/refs/heads/ai-1", expect=204)
    await desk.forge.idle()
    events = mailbox.events()
    once = ["ping", "issues.opened", "issues.labeled", "pull_request.opened", "pull_request.synchronize"]
    once += ["pull_request_review.submitted", "pull_request.closed", "issues.closed", "create", "delete"]
    assert {event: events.count(event) for event in once} == dict.fromkeys(once, 1)
    twice = ["check_suite.requested", "check_suite.completed", "check_run.created", "check_run.completed"]
    assert {event: events.count(event) for event in twice} == dict.fromkeys(twice, 2)
    assert events.count("push") == 4
    bodies = [json.loads(body) for headers, body in mailbox.calls if headers["x-github-event"] == "push"]
    assert merged in {body["after"] for body in bodies}
    sender = next(json.loads(body) for headers, body in mailbox.calls if headers["x-github-event"] == "issues")
    assert sender["sender"]["login"] == "ann"


async def test_a_call_is_signed_over_its_bytes(desk: Desk, mailbox: Mailbox) -> None:
    hook = desk.forge.set_webhook(REPO, mailbox.url, SECRET)
    await desk.forge.idle()
    headers, body = mailbox.calls[0]
    good = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-hub-signature-256"] == f"sha256={good}"
    assert headers["x-github-hook-id"] == str(hook)
    assert headers["user-agent"].startswith("GitHub-Hookshot/")
    assert str(uuid.UUID(headers["x-github-delivery"])) == headers["x-github-delivery"]


async def test_only_the_asked_events_of_the_asked_repository(desk: Desk, mailbox: Mailbox) -> None:
    desk.forge.create_repository("acme/other")
    desk.forge.set_webhook(REPO, mailbox.url, SECRET, ["issues"])
    desk.forge.open_issue("acme/other", "ann", "Elsewhere", None)
    desk.forge.open_issue(REPO, "ann", "Here", None)
    await desk.branch("x")
    await desk.forge.idle()
    assert mailbox.events() == ["ping", "issues.opened"]


async def test_a_failed_call_is_logged_and_redelivered_under_its_guid(desk: Desk, mailbox: Mailbox) -> None:
    mailbox.status = 500
    hook = desk.forge.set_webhook(REPO, mailbox.url, SECRET, ["issues"])
    desk.forge.open_issue(REPO, "ann", "Bug", None)
    await desk.forge.idle()
    assert len(mailbox.calls) == 2  # no redelivery by itself
    root = f"/hooks/{hook}/deliveries"
    (first, _ping) = await desk.call("ann", f"GET {root}?status=failure")
    assert (first["event"], first["action"], first["status_code"], first["redelivery"]) == (
        "issues",
        "opened",
        500,
        False,
    )
    whole = await desk.call("ann", f"GET {root}/{first['id']}")
    assert whole["request"]["payload"]["issue"]["title"] == "Bug"
    assert whole["response"]["payload"] == "thanks"
    mailbox.status = 200
    await desk.call("ann", f"POST {root}/{first['id']}/attempts", expect=202)
    await desk.forge.idle()
    again = (await desk.call("ann", f"GET {root}?per_page=1"))[0]
    assert (again["guid"], again["redelivery"], again["status"]) == (first["guid"], True, "OK")
    assert mailbox.calls[-1][1] == mailbox.calls[-2][1] or mailbox.calls[-1][1] == mailbox.calls[0][1]


async def test_nobody_home_is_a_failure_that_holds_nothing_up(desk: Desk) -> None:
    desk.forge.set_webhook(None, "http://127.0.0.1:9/hook", SECRET)
    desk.forge.open_issue(REPO, "ann", "Bug", None)
    await desk.forge.idle()
    assert {delivery.status for delivery in desk.forge.deliveries()} == {"failed to connect to host"}


@pytest.mark.parametrize(("fault", "arrived"), [("drop", 0), ("lose", 0), ("duplicate", 2), ("reorder", 1)])
async def test_faults_of_deliveries(desk: Desk, mailbox: Mailbox, fault: str, arrived: int) -> None:
    desk.forge.set_webhook(REPO, mailbox.url, SECRET, ["issues"])
    await desk.forge.idle()
    mailbox.calls.clear()
    desk.forge.faults.change({fault: 1.0, "reorder_window_s": 0.05})
    desk.forge.open_issue(REPO, "ann", "Bug", None)
    await desk.forge.idle()
    assert len(mailbox.calls) == arrived
    assert len({headers["x-github-delivery"] for headers, _ in mailbox.calls}) == min(arrived, 1)
    logged = [delivery.status for delivery in desk.forge.deliveries() if delivery.event == "issues"]
    assert logged == {"lose": [], "drop": ["failed to connect to host"]}.get(fault, ["OK"])
    assert desk.forge.faults.counts[fault] == 1


@pytest.mark.parametrize(
    ("fault", "status", "is_applied"),
    [("api_5xx", 502, False), ("api_rate_limited", 403, False), ("api_secondary", 403, False),
     ("api_timeout", 502, False), ("api_lost_response", 502, True)],
)  # fmt: skip
async def test_faults_of_the_api(desk: Desk, fault: str, status: int, is_applied: bool) -> None:
    desk.forge.faults.change({fault: 1.0, "api_timeout_s": 0.01, "retry_after_s": 7})
    reply = await desk.client("ann").post(f"/repos/{REPO}/issues", json={"title": "Bug"})
    assert reply.status_code == status
    if status == 403:
        assert reply.headers["retry-after"] == "7"
        assert (reply.headers["x-ratelimit-remaining"] == "0") is (fault == "api_rate_limited")
    desk.forge.faults.calm()
    assert len(await desk.call("ann", "GET /issues")) == int(is_applied)


async def test_faults_are_set_over_http_by_the_site_alone(desk: Desk) -> None:
    url, good = f"{desk.forge.base_url}/_localforge/faults", {"Authorization": f"Bearer {desk.forge.admin_token}"}
    client = desk.client()
    assert (await client.put(url, json={"drop": 0.5})).status_code == 401
    assert (await client.put(url, json={"drop": 0.5}, headers=good)).json()["drop"] == 0.5
    for wrong in ({"drop": 2}, {"nothing": 1}, {"drop": "x"}, [1]):
        assert (await client.put(url, json=wrong, headers=good)).status_code == 422
    assert desk.forge.faults.drop == 0.5
