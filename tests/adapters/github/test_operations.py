"""What each operation reads out of the forge's answers, where a stateful forge would be too well-behaved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.adapters.github.canned import Canned, FakeClock, canned, says, sends

from windlass.adapters.github import GitHubForge, TokenAuth, github_forge
from windlass.adapters.github.address import parse_address
from windlass.adapters.github.answers import Answer
from windlass.adapters.github.etags import EtagCache
from windlass.adapters.github.limits import body, labels, marked, one_line
from windlass.core.errors import NotFound, Refused, Unavailable
from windlass.core.events import Check

R = "/api/v3/repos/acme/shop"
A, B, C = "a" * 40, "b" * 40, "c" * 40
ANN = {"login": "ann", "type": "User"}
BOT = {"login": "windlass[bot]", "type": "Bot"}


def pull(at: str = A, **changes: Any) -> dict[str, Any]:
    own = {"full_name": "acme/shop"}
    return {
        "number": 3,
        "state": "open",
        "title": "T",
        "user": BOT,
        "head": {"sha": at, "ref": "ai-7", "repo": own},
        "base": {"sha": C, "ref": "main", "repo": own},
        "mergeable": True,
    } | changes


@pytest.fixture
async def world() -> AsyncIterator[tuple[Canned, GitHubForge]]:
    async with canned() as server:
        client = github_forge(
            api_url=server.url, auth=TokenAuth(token="token-of-tests"), clock=FakeClock(), timeout_s=2.0
        )
        server.on("GET /api/v3/user", says({"login": "windlass[bot]"}))
        server.on(f"GET {R}/pulls/3", says(pull()))
        server.on(f"GET {R}/pulls/3/reviews", says([]))
        server.on(f"GET {R}/pulls/3/commits", says([]))
        for at in (A, B, C):
            server.on(f"GET {R}/commits/{at}/check-runs", says({"total_count": 0, "check_runs": []}))
            server.on(f"GET {R}/commits/{at}/statuses", says([]))
        yield server, client
        await client.close()


async def test_a_snapshot_holds_what_is_decided_upon(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    run = {"id": 1, "name": "tests", "status": "completed", "conclusion": "failure", "app": {"slug": "ci"}}
    waiting = {"id": 2, "name": "deploy", "status": "waiting", "conclusion": None}
    server.on(f"GET {R}/commits/{A}/check-runs", says({"check_runs": [run, waiting]}))
    server.on(
        f"GET {R}/commits/{A}/statuses",
        says([{"id": 9, "context": "lint", "state": "error"}, {"id": 5, "context": "lint", "state": "success"}]),
    )
    server.on(f"GET {R}/commits/{C}/check-runs", says({"check_runs": [run | {"id": 3}]}))
    rule = {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "tests"}]}}
    server.on(f"GET {R}/rules/branches/main", says([{"type": "deletion"}, rule]))
    protection = {"contexts": ["lint"], "checks": [{"context": "lint", "app_id": None}, {"context": "tests"}]}
    server.on(f"GET {R}/branches/main/protection/required_status_checks", says(protection))
    review = {"id": 1, "user": ANN, "state": "APPROVED", "commit_id": A, "submitted_at": "1970-01-01T00:00:01Z"}
    ghost = {"id": 2, "user": None, "state": "CHANGES_REQUESTED", "commit_id": None}
    server.on(f"GET {R}/pulls/3/reviews", says([review, ghost, {"id": 3, "user": ANN, "state": "PENDING"}]))
    server.on(f"GET {R}/collaborators/ann/permission", says({"permission": "write", "role_name": "maintain"}))
    linked = {"author": ANN, "committer": {"login": "web-flow"}, "commit": {}}
    unlinked = {"author": None, "committer": None, "commit": {"author": {"name": "Bo", "email": "bo@x.org"}}}
    server.on(f"GET {R}/pulls/3/commits", says([linked, unlinked]))

    seen = await client.pull_snapshot("acme/shop", 3)

    assert (seen.head_sha, seen.base_sha, seen.is_mergeable) == (A, C, True)
    assert set(seen.required or ()) == {"lint", "tests"}
    told = {check.name: (check.source, check.status, check.conclusion, check.app) for check in seen.checks}
    assert told == {
        "tests": ("check_run", "completed", "failure", "ci"),
        "deploy": ("check_run", "queued", "", ""),
        "lint": ("status", "completed", "failure", ""),
    }
    assert [check.id for check in seen.base_checks] == [3]
    assert [(r.reviewer, r.is_human, r.state, r.permission, r.commit_sha) for r in seen.reviews] == [
        ("ann", True, "approved", "maintain", A),
        ("ghost", False, "changes_requested", "", ""),
    ]
    assert seen.reviews[0].submitted_at_ms == 1000
    assert seen.committers == ("ann", "web-flow", "Bo", "bo@x.org")
    assert server.calls(f"GET {R}/commits/{A}/check-runs")


async def test_the_base_is_not_read_while_nothing_failed(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    runs = [
        {"id": i, "name": str(i), "status": "completed", "conclusion": c} for i, c in enumerate(("success", "skipped"))
    ]
    server.on(f"GET {R}/commits/{A}/check-runs", says({"check_runs": runs}))
    assert (await client.pull_snapshot("acme/shop", 3)).base_checks == ()
    assert not server.calls(f"GET {R}/commits/{C}/check-runs")


@pytest.mark.parametrize(
    ("rules", "protection", "required"),
    [
        (says({"message": "no"}, 403), says({"message": "no"}, 403), None),
        (says({"message": "Not Found"}, 404), says({"message": "Not Found"}, 404), None),
        (says({"message": "no"}, 403), says({"message": "Branch not protected"}, 404), ()),
        (says([]), says({"message": "Not Found"}, 404), ()),
        (says({"message": "Not Found"}, 404), says({"contexts": ["tests"]}), ("tests",)),
    ],
)
async def test_required_contexts_that_may_not_be_read_are_unknown(
    world: tuple[Canned, GitHubForge], rules: Any, protection: Any, required: Any
) -> None:
    server, client = world
    server.on(f"GET {R}/rules/branches/main", rules)
    server.on(f"GET {R}/branches/main/protection/required_status_checks", protection)
    assert (await client.pull_snapshot("acme/shop", 3)).required == required


async def test_a_source_that_fails_makes_no_half_snapshot(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    server.on(f"GET {R}/rules/branches/main", says({}, 500))
    with pytest.raises(Unavailable):
        await client.pull_snapshot("acme/shop", 3)


async def test_everything_belongs_to_one_head(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    old = {"id": 1, "name": "tests", "status": "completed", "conclusion": "success"}
    server.on(f"GET {R}/commits/{A}/check-runs", says({"check_runs": [old]}))
    server.on(f"GET {R}/pulls/3", says(pull(A)), says(pull(B)), says(pull(B)))
    seen = await client.pull_snapshot("acme/shop", 3)
    assert (seen.head_sha, seen.checks) == (B, ())
    server.on(f"GET {R}/pulls/3", *(says(pull(sha)) for sha in (A, B, A, B)))
    with pytest.raises(Unavailable) as caught:
        await client.pull_snapshot("acme/shop", 3)
    assert caught.value.code == "head_moving"
    assert caught.value.retry_after_s


async def test_a_long_pull_request_names_every_committer(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    many = [{"author": ANN, "committer": ANN}] * 250
    server.on(f"GET {R}/pulls/3/commits", says(many))
    server.on(f"GET {R}/compare/{C}...{A}", says({"commits": [{"author": {"login": "eve"}, "committer": ANN}]}))
    assert (await client.pull_snapshot("acme/shop", 3)).committers == ("ann", "eve")


async def test_our_pull_request_is_found(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    fork = pull(number=9, head={"sha": B, "ref": "ai-7", "repo": {"full_name": "mallory/shop"}})
    orphan = pull(number=10, head={"sha": B, "ref": "ai-7", "repo": None})
    closed = pull(number=8, state="closed", merged_at="2026-01-01T00:00:00Z")
    server.on(f"GET {R}/pulls", says([orphan, fork, closed, pull()]))
    found = await client.find_pull("acme/shop", "ai-7")
    assert found is not None
    assert (found.number, found.is_merged) == (3, False)
    server.on(f"GET {R}/pulls", says([orphan, fork, closed, pull(state="closed")]))
    found = await client.find_pull("acme/shop", "ai-7")
    assert found is not None
    assert (found.number, found.is_merged) == (8, True)
    server.on(f"GET {R}/pulls", says([orphan, fork]))
    assert await client.find_pull("acme/shop", "ai-7") is None


async def test_only_our_own_comment_is_edited(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    mark = "<!-- windlass:job -->"
    comments = [
        {"id": 1, "user": ANN, "body": f"{mark} mine now"},
        {"id": 4, "user": BOT, "body": f"copy {mark}"},
        {"id": 2, "user": BOT, "body": f"old {mark}"},
        {"id": 3, "user": BOT, "body": "another"},
    ]
    server.on(f"GET {R}/issues/7/comments", says(comments))
    server.on(f"PATCH {R}/issues/comments/2", says({"id": 2}))
    server.on(f"DELETE {R}/issues/comments/4", sends(b"", 204))
    assert await client.upsert_comment("acme/shop", 7, marker=mark, body="new") == 2
    (edit,) = server.calls(f"PATCH {R}/issues/comments/2")
    assert edit.body == {"body": f"new\n\n{mark}"}
    assert len(server.calls(f"DELETE {R}/issues/comments/4")) == 1
    server.on(f"GET {R}/issues/7/comments", says([{"id": 2, "user": BOT, "body": f"new\n\n{mark}"}]))
    assert await client.upsert_comment("acme/shop", 7, marker=mark, body="new") == 2
    assert len([s for s in server.seen if s.method != "GET"]) == 2


async def test_a_status_that_says_the_same_is_left_alone(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    server.on(f"POST {R}/statuses/{A}", says({}, 201))
    older = {"id": 1, "context": "gate", "state": "success", "description": "yes", "target_url": None}
    server.on(f"GET {R}/commits/{A}/statuses", says([older | {"id": 2, "state": "pending"}, older]))
    await client.set_status("acme/shop", A, context="gate", state="pending", description="yes")
    assert not server.calls(f"POST {R}/statuses/{A}")
    await client.set_status("acme/shop", A, context="gate", state="success", description="x" * 200)
    (made,) = server.calls(f"POST {R}/statuses/{A}")
    assert len(made.body["description"]) == 140
    with pytest.raises(Refused):
        await client.set_status("acme/shop", A, context="gate", state="great", description="")


async def test_the_report_is_one_check_run(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world

    async def upsert() -> bool:
        return await client.upsert_check_run("acme/shop", A, name="report", external_id="j", summary="s", text="t")

    server.on(f"POST {R}/check-runs", says({"id": 5}, 201))
    server.on(f"PATCH {R}/check-runs/5", says({"id": 5}))
    assert await upsert()
    ours = {"id": 5, "external_id": "j", "status": "completed", "output": {"summary": "s", "text": "t"}}
    server.on(f"GET {R}/commits/{A}/check-runs", says({"check_runs": [{"id": 4, "external_id": "x"}, ours]}))
    assert await upsert()
    assert not server.calls(f"PATCH {R}/check-runs/5")
    server.on(f"GET {R}/commits/{A}/check-runs", says({"check_runs": [ours | {"output": None}]}))
    assert await upsert()
    assert [s.body["conclusion"] for s in server.seen if s.method != "GET"] == ["neutral", "neutral"]
    server.on(f"GET {R}/commits/{A}/check-runs", says({"check_runs": []}))
    server.on(f"POST {R}/check-runs", says({"message": "You must authenticate via a GitHub App."}, 403))
    assert not await upsert()


async def test_the_last_labelling_counts(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    issue = {"number": 7, "labels": [{"name": "AI-Ready"}]}

    def event(number: int, kind: str, label: str = "ai-ready", actor: Any = ANN) -> dict[str, Any]:
        return {
            "id": number,
            "event": kind,
            "label": {"name": label},
            "actor": actor,
            "created_at": "1970-01-01T00:00:02Z",
        }

    server.on(f"GET {R}/issues/7", says(issue))
    listed = [event(5, "labeled", actor=BOT), event(1, "labeled"), event(2, "unlabeled"), event(6, "labeled", "x")]
    server.on(f"GET {R}/issues/7/events", says(listed))
    found = await client.labelling("acme/shop", 7, "AI-Ready")
    assert found is not None
    assert (found.id, found.by, found.by_is_bot, found.at_ms) == ("5", "windlass[bot]", True, 2000)
    server.on(f"GET {R}/issues/7/events", says([*listed, event(9, "unlabeled")]))
    assert await client.labelling("acme/shop", 7, "AI-Ready") is None
    server.on(f"GET {R}/issues/7/events", says(listed))
    server.on(f"GET {R}/issues/7", says(issue | {"labels": []}))
    assert await client.labelling("acme/shop", 7, "AI-Ready") is None


async def test_an_issue_that_moved_away_is_not_ours(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    elsewhere = {"number": 7, "repository_url": f"{server.url}/repos/globex/other"}
    server.on(f"GET {R}/issues/7", says({}, 301, location=f"{server.url}/repositories/2/issues/7"))
    server.on("GET /api/v3/repositories/2/issues/7", says(elsewhere))
    server.on(f"GET {R}", says({"id": 1, "full_name": "acme/shop", "default_branch": "main"}))
    with pytest.raises(NotFound) as caught:
        await client.issue("acme/shop", 7)
    assert caught.value.code == "issue_moved"
    server.on(f"GET {R}", says({"id": 1, "full_name": "globex/other", "default_branch": "main"}))
    assert (await client.issue("acme/shop", 7)).snapshot.number == 7


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        ({"permission": "write", "role_name": "maintain"}, "maintain"),
        ({"permission": "read", "role_name": "triage"}, "triage"),
        ({"permission": "write", "role_name": "release captain"}, "write"),
        ({"permission": "none"}, "none"),
        ({"permission": {"admin": True}}, "none"),
        ([], "none"),
    ],
)
async def test_roles(world: tuple[Canned, GitHubForge], answer: Any, role: str) -> None:
    server, client = world
    server.on(f"GET {R}/collaborators/ann/permission", says(answer))
    assert await client.permission("acme/shop", "ann") == role
    assert await client.permission("acme/shop", "nobody") == "none"
    assert await client.permission("acme/shop", "..") == "none"


async def test_files(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    path = f"GET {R}/contents/.github/windlass.yml"
    server.on(path, says({"type": "file", "encoding": "base64", "content": "AP8K\nAA==\n"}))
    assert await client.file("acme/shop", ".github/windlass.yml", "main") == b"\x00\xff\n\x00"
    big = {"type": "file", "encoding": "none", "content": "", "size": 2_000_000}
    server.on(path, says(big), sends(b"\xff\x00raw", content_type="application/vnd.github.raw+json"))
    assert await client.file("acme/shop", ".github/windlass.yml", "main") == b"\xff\x00raw"
    for other in ([{"type": "file"}], {"type": "symlink"}, {"type": "submodule"}):
        server.on(path, says(other))
        assert await client.file("acme/shop", ".github/windlass.yml", "main") is None
    server.on(path, says({"type": "file", "encoding": "base64", "content": "!"}))
    with pytest.raises(Unavailable):
        await client.file("acme/shop", ".github/windlass.yml", "main")


async def test_refs(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    server.on(f"GET {R}/git/ref/heads/ai/7", says({"ref": "refs/heads/ai/7", "object": {"sha": A}}))
    assert await client.ref("acme/shop", "ai/7") == A
    server.on(f"GET {R}/git/ref/heads/ai", says([{"ref": "refs/heads/ai/7", "object": {"sha": A}}]))
    assert await client.ref("acme/shop", "ai") is None
    assert await client.ref("acme/shop", "gone") is None
    server.on(f"DELETE {R}/git/refs/heads/ai-7", says({"message": "Reference does not exist"}, 422))
    await client.delete_ref("acme/shop", "ai-7")
    server.on(f"DELETE {R}/git/refs/heads/ai-7", says({"message": "Cannot delete this branch"}, 422))
    with pytest.raises(Refused):
        await client.delete_ref("acme/shop", "ai-7")


async def test_reruns_go_to_whom_the_check_belongs(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    server.on(f"GET {R}/check-runs/5", says({"id": 5, "app": {"slug": "ci"}}))
    server.on(f"POST {R}/check-runs/5/rerequest", says({}, 201))
    await client.rerun_check("acme/shop", 5)
    server.on(f"GET {R}/check-runs/5", says({"id": 5, "app": {"slug": "github-actions"}}))
    server.on(f"POST {R}/actions/jobs/5/rerun", says({}, 201))
    await client.rerun_check("acme/shop", 5)
    assert [s.path.removeprefix(R) for s in server.seen if s.method == "POST"] == [
        "/check-runs/5/rerequest",
        "/actions/jobs/5/rerun",
    ]


async def test_logs_hold_output_and_annotations(world: tuple[Canned, GitHubForge]) -> None:
    server, client = world
    output = {"title": "red", "summary": "1 failed", "text": "trace", "annotations_count": 1}
    server.on(f"GET {R}/check-runs/5", says({"id": 5, "app": {"slug": "ci"}, "output": output}))
    note = {"path": "a.py", "start_line": 3, "annotation_level": "failure", "message": "boom"}
    server.on(f"GET {R}/check-runs/5/annotations", says([note]))
    log = await client.check_log("acme/shop", Check(name="t", source="check_run", status="completed", id=5))
    assert log == "red\n1 failed\ntrace\na.py:3: failure: boom"
    status = Check(name="lint", source="status", status="completed", summary="bad", url="https://ci/1")
    assert await client.check_log("acme/shop", status) == "lint\nbad\nhttps://ci/1"


async def test_only_hooks_that_are_ours_are_asked() -> None:
    async with canned() as server:
        ours = "https://windlass.example/webhooks/github"
        client = github_forge(
            api_url=server.url, auth=TokenAuth(token="token-of-tests"), clock=FakeClock(), webhook_url=ours
        )
        server.on(f"GET {R}/issues", says([]))
        hooks = [{"id": 1, "config": {"url": "https://other"}}, {"id": 2, "config": {"url": ours}}]
        server.on(f"GET {R}/hooks", says(hooks))
        failed = {"id": 77, "guid": "g", "status_code": 500, "delivered_at": "2026-01-01T00:00:00Z"}
        server.on(f"GET {R}/hooks/2/deliveries", says([failed]))
        server.on(f"POST {R}/hooks/2/deliveries/77/attempts", says({}, 202))
        assert await client.failed_deliveries(0) == ()
        await client.labelled_issues("acme/shop", "x")
        (key,) = await client.failed_deliveries(0)
        await client.redeliver(key)
        assert server.seen[-1].path == f"{R}/hooks/2/deliveries/77/attempts"
        assert not server.calls(f"GET {R}/hooks/1/deliveries")
        server.on(f"GET {R}/hooks", says({"message": "no"}, 403))
        assert await client.failed_deliveries(0) == ()
        await client.close()


@pytest.mark.parametrize(
    ("api_url", "clone_url"),
    [
        ("https://api.github.com", "https://github.com/a/b.git"),
        ("https://api.github.com/", "https://github.com/a/b.git"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com/a/b.git"),
        ("https://git.acme.org/api/v3", "https://git.acme.org/a/b.git"),
        ("http://127.0.0.1:8080/api/v3/", "http://127.0.0.1:8080/a/b.git"),
    ],
)
def test_addresses(api_url: str, clone_url: str) -> None:
    assert parse_address(api_url).clone_url("a/b") == clone_url


@pytest.mark.parametrize(
    "api_url", ["", "ftp://x", "https://", "https://me:pw@x/api/v3", "x", "https://x/?a=1", "http://[x", "https://x:y"]
)
def test_addresses_that_are_none(api_url: str) -> None:
    with pytest.raises(Refused) as caught:
        github_forge(api_url=api_url, auth=TokenAuth(token="token-of-tests"), clock=FakeClock())
    assert caught.value.code == "bad_forge_url"
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "a\nb", "tök"])
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(Refused) as caught:
        github_forge(auth=TokenAuth(token=token), clock=FakeClock())
    assert caught.value.code == "bad_token"


def test_texts_are_cut_at_a_sensible_place() -> None:
    assert one_line(" a\n b\t", 10) == "a b"
    assert one_line("x" * 300, 256) == "x" * 255 + "…"
    assert labels(["a", "a", " ", "l" * 60]) == ["a", "l" * 49 + "…"]
    assert body("short") == "short"
    long = "<details>\n\n````python\n" + "some line\n" * 9000
    cut = body(long)
    assert len(cut) <= 65_000
    assert "some line\n````\n\n</details>\n\n*Cut here" in cut
    assert marked("hello", "<!-- m -->") == "hello\n\n<!-- m -->"
    assert marked("<!-- m --> hello", "<!-- m -->") == "<!-- m --> hello"
    for text in (long, long + "<!-- m -->", "<!-- m -->" + long, "y" * 70_000):
        assert len(marked(text, "<!-- m -->")) <= 65_000
        assert marked(text, "<!-- m -->").count("<!-- m -->") == 1


def test_the_cache_keeps_the_newest_within_its_bytes() -> None:
    cache = EtagCache(max_bytes=800)

    def answer(size: int, status: int = 200, **headers: str) -> Answer:
        return Answer(status=status, headers={"etag": "e"} | headers, body=b"x" * size)

    for i in range(20):
        cache.keep(f"k{i}", answer(90))
        cache.find("k0")
    assert cache.size_bytes <= 800
    assert cache.find("k0") is not None
    assert cache.find("k1") is None
    assert cache.find("k19") is not None
    cache.keep("k19", answer(90, etag=""))
    cache.keep("big", answer(101))
    cache.keep("bad", answer(5, status=500))
    assert [cache.find(key) for key in ("k19", "big", "bad")] == [None, None, None]
