"""The contract of the port `Forge`, held against localforge by a token and by an App: what every forge must do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.adapters.github.canned import canned, says

from windlass.adapters.github import AppAuth, GitHubForge, TokenAuth, github_forge, translate, verify_signature
from windlass.core.errors import Conflict, Forbidden, NotFound, Refused, Unavailable
from windlass.core.events import PullSnapshot
from windlass.core.hints import IssueHint, PullHint
from windlass.localforge import LocalForge
from windlass.ports import Forge, GitCredential

REPO, OTHER = "acme/shop", "acme/other"
MARK = "<!-- windlass:contract -->"
PERMISSIONS = {
    "metadata": "read",
    "contents": "write",
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "statuses": "write",
    "administration": "read",
}


class ShiftedClock:
    """The machine's time, moved on by the test."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


@dataclass
class Stage:
    local: LocalForge
    forge: GitHubForge
    base: str
    clock: ShiftedClock
    tokens: dict[str, str]
    is_app: bool
    work: Path

    async def act(self, login: str, method: str, path: str, data: Any = None) -> Any:
        """Somebody else calls the API."""
        headers = {"authorization": f"Bearer {self.tokens[login]}"}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.request(method, f"{self.base}/api/v3{path}", json=data, headers=headers)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def push(self, branch: str, files: Mapping[str, str]) -> str:
        """Commit on top of `branch` (or main) and push with the forge's own credential."""
        return await asyncio.to_thread(self._push, branch, files, await self.forge.credential(REPO, write=True))

    def _push(self, branch: str, files: Mapping[str, str], credential: GitCredential) -> str:
        there = self.work / "clone"
        env = git_env(credential.headers)
        if not there.exists():
            git(self.work, "clone", "-q", credential.url, str(there), env=env)
        git(there, "fetch", "-q", "origin", env=env)
        refs = git(there, "for-each-ref", "--format=%(refname)", env=env).split()
        start = branch if f"refs/remotes/origin/{branch}" in refs else "main"
        git(there, "checkout", "-q", "-B", branch, f"origin/{start}", env=env)
        for path, text in files.items():
            (there / path).write_text(text)
        git(there, "add", "-A", env=env)
        git(there, "commit", "-q", "-m", "work", env=env)
        git(there, "push", "-q", "origin", f"HEAD:refs/heads/{branch}", env=env)
        return git(there, "rev-parse", "HEAD", env=env).strip()

    async def pull(self, branch: str = "ai-1") -> int:
        """A pull request with one commit."""
        await self.push(branch, {"a.txt": branch})
        made = await self.forge.create_pull(REPO, head=branch, base="main", title="Work", body="Words")
        return made.number

    async def checked(self, number: int) -> PullSnapshot:
        """The pull request once its checks have ended."""
        for _ in range(200):
            seen = await self.forge.pull_snapshot(REPO, number)
            runs = [check for check in seen.checks if check.source == "check_run"]
            if runs and all(check.status == "completed" for check in runs):
                return seen
            await asyncio.sleep(0.05)
        raise AssertionError("the checks never ended")


def git_env(headers: Mapping[str, str]) -> dict[str, str]:
    pairs = [("http.extraHeader", f"{key}: {value}") for key, value in headers.items()]
    env = {"GIT_CONFIG_COUNT": str(len(pairs)), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for index, (key, value) in enumerate(pairs):
        env |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    people = {f"GIT_{who}_{what}": "eve" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return env | people | {"PATH": os.environ["PATH"], "GIT_TERMINAL_PROMPT": "0"}


def git(where: Path, *argv: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(["git", *argv], cwd=where, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("source")
    env = git_env({})
    git(there, "init", "-q", "-b", "main", env=env)
    (there / ".github").mkdir()
    (there / ".github" / "windlass.yml").write_bytes(b"label: AI-Ready\n")
    (there / "bytes.bin").write_bytes(bytes(range(256)))
    git(there, "add", "-A", env=env)
    git(there, "commit", "-q", "-m", "first", env=env)
    return there


@pytest.fixture(params=["token", "app"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path, source: Path) -> AsyncIterator[Stage]:
    clock = ShiftedClock()
    local = LocalForge(tmp_path / "forge", clock=clock)
    base = await local.start()
    tokens = {login: local.create_user(login) for login in ("ann", "bob", "eve")}
    tokens["windlass-bot"] = local.create_user("windlass-bot", is_bot=True)
    for full_name in (REPO, OTHER):
        checks = {"tests": "echo looking; test ! -e broken.txt"}
        local.create_repository(full_name, source=source, checks=checks, required_checks=["tests"])
        for login, level in (("ann", "maintain"), ("bob", "triage"), ("windlass-bot", "write")):
            local.grant(full_name, login, level)
    is_app = request.param == "app"
    forge = github_forge(api_url=f"{base}/api/v3", auth=_auth(local, tokens, is_app=is_app), clock=clock, timeout_s=5)
    work = tmp_path / "work"
    work.mkdir()
    yield Stage(local=local, forge=forge, base=base, clock=clock, tokens=tokens, is_app=is_app, work=work)
    await forge.close()
    await local.stop()


def _auth(local: LocalForge, tokens: Mapping[str, str], *, is_app: bool) -> TokenAuth | AppAuth:
    if not is_app:
        return TokenAuth(token=tokens["windlass-bot"])
    made = local.create_app("windlass", owner="acme", permissions=PERMISSIONS)
    return AppAuth(app_id=made.app_id, private_key_pem=made.private_key_pem)


async def test_fills_the_port(stage: Stage) -> None:
    port: Forge = stage.forge
    assert await port.identity() == ("windlass[bot]" if stage.is_app else "windlass-bot")


async def test_repositories(stage: Stage) -> None:
    assert set(await stage.forge.repositories()) == {REPO, OTHER}
    info = await stage.forge.repository("Acme/SHOP")
    assert (info.full_name, info.default_branch, info.clone_url) == (REPO, "main", f"{stage.base}/{REPO}.git")
    with pytest.raises(NotFound):
        await stage.forge.repository("acme/none")


async def test_issues_and_who_labelled_them(stage: Stage) -> None:
    forge, local = stage.forge, stage.local
    number = local.open_issue(REPO, "bob", "Broken", "It\nis <b>broken</b>")
    assert await forge.labelled_issues(REPO, "AI-Ready") == ()
    assert await forge.labelling(REPO, number, "AI-Ready") is None
    local.add_label(REPO, number, "AI-Ready", "ann")
    first = await forge.labelling(REPO, number, "AI-Ready")
    assert first is not None
    assert (first.by, first.by_is_bot) == ("ann", False)
    found = await forge.issue(REPO, number)
    assert (found.snapshot.title, found.snapshot.author, found.state) == ("Broken", "bob", "open")
    assert found.snapshot.body == "It\nis <b>broken</b>"
    assert (found.snapshot.labels, found.is_pull_request) == (("AI-Ready",), False)
    await stage.act("ann", "DELETE", f"/repos/{REPO}/issues/{number}/labels/AI-Ready")
    assert await forge.labelling(REPO, number, "AI-Ready") is None
    local.add_label(REPO, number, "AI-Ready", "bob")
    second = await forge.labelling(REPO, number, "AI-Ready")
    assert second is not None
    assert (second.by, second.id == first.id) == ("bob", False)
    assert await forge.labelled_issues(REPO, "AI-Ready") == (number,)
    await stage.act("ann", "PATCH", f"/repos/{REPO}/issues/{number}", {"state": "closed"})
    assert await forge.labelled_issues(REPO, "AI-Ready") == ()
    assert (await forge.issue(REPO, number)).state == "closed"
    with pytest.raises(NotFound):
        await forge.issue(REPO, 9999)


async def test_lists_go_on_over_pages(stage: Stage) -> None:
    numbers = [stage.local.open_issue(REPO, "bob", f"n{i}", "", ["many"]) for i in range(205)]
    assert sorted(await stage.forge.labelled_issues(REPO, "many")) == sorted(numbers)


async def test_permissions(stage: Stage) -> None:
    asked = {login: await stage.forge.permission(REPO, login) for login in ("ann", "bob", "windlass-bot", "nobody")}
    assert asked == {"ann": "maintain", "bob": "triage", "windlass-bot": "write", "nobody": "none"}
    stage.local.grant(REPO, "ann", "admin")
    assert await stage.forge.permission(REPO, "ann") == "admin"


async def test_files_and_branches(stage: Stage) -> None:
    forge = stage.forge
    assert await forge.file(REPO, ".github/windlass.yml", "main") == b"label: AI-Ready\n"
    assert await forge.file(REPO, "bytes.bin", "main") == bytes(range(256))
    assert await forge.file(REPO, "missing", "main") is None
    assert await forge.file(REPO, ".github", "main") is None
    tip = await forge.ref(REPO, "main")
    assert tip is not None
    assert await forge.ref(REPO, "ai-1") is None
    await forge.create_ref(REPO, "ai-1", tip)
    await forge.create_ref(REPO, "deep/ai-1", tip)
    assert await forge.ref(REPO, "ai-1") == await forge.ref(REPO, "deep/ai-1") == tip
    assert await forge.ref(REPO, "deep") is None
    with pytest.raises(Conflict):
        await forge.create_ref(REPO, "ai-1", tip)
    with pytest.raises(Refused):
        await forge.create_ref(REPO, "ai-2", "f" * 40)
    await forge.delete_ref(REPO, "ai-1")
    await forge.delete_ref(REPO, "ai-1")
    assert await forge.ref(REPO, "ai-1") is None


async def test_pull_requests(stage: Stage) -> None:
    forge = stage.forge
    assert await forge.find_pull(REPO, "ai-1") is None
    head = await stage.push("ai-1", {"a.txt": "one"})
    made = await forge.create_pull(REPO, head="ai-1", base="main", title="x" * 300, body="y\n" * 40_000)
    assert (made.head_sha, made.head_ref, made.base_ref, made.state) == (head, "ai-1", "main", "open")
    assert (len(made.title), len(made.body) <= 65_000, made.author) == (256, True, await forge.identity())
    with pytest.raises(Conflict):
        await forge.create_pull(REPO, head="ai-1", base="main", title="again", body="")
    with pytest.raises(Refused):
        await forge.create_pull(REPO, head="no-such", base="main", title="t", body="")
    for _ in range(2):
        await forge.update_pull(REPO, made.number, title="new", body="text")
        await forge.add_labels(REPO, made.number, ["AI-PR", "AutoGenerated"])
    found = await forge.find_pull(REPO, "ai-1")
    assert found is not None
    assert (found.number, found.title, found.body) == (made.number, "new", "text")
    assert found.labels == ("AI-PR", "AutoGenerated")
    assert (await forge.issue(REPO, made.number)).is_pull_request
    assert await forge.labelled_issues(REPO, "AI-PR") == ()
    await forge.update_pull(REPO, made.number, state="closed")
    closed = await forge.find_pull(REPO, "ai-1")
    assert closed is not None
    assert (closed.state, closed.is_merged) == ("closed", False)
    again = await forge.create_pull(REPO, head="ai-1", base="main", title="second", body="")
    found = await forge.find_pull(REPO, "ai-1")
    assert found is not None
    assert found.number == again.number


async def test_one_comment_that_is_edited(stage: Stage) -> None:
    number = stage.local.open_issue(REPO, "bob", "t", "b")
    theirs = await stage.act("bob", "POST", f"/repos/{REPO}/issues/{number}/comments", {"body": f"{MARK} mine"})
    ids = [await stage.forge.upsert_comment(REPO, number, marker=MARK, body=f"{MARK}\n{i // 2}") for i in range(4)]
    ids += await asyncio.gather(*(stage.forge.upsert_comment(REPO, number, marker=MARK, body="last") for _ in range(3)))
    listed = await stage.act("bob", "GET", f"/repos/{REPO}/issues/{number}/comments")
    assert set(ids) == {listed[1]["id"]}
    assert [c["body"] for c in listed] == [f"{MARK} mine", f"last\n\n{MARK}"]
    assert listed[0]["id"] == theirs["id"]
    other = await stage.forge.upsert_comment(REPO, number, marker="<!-- other -->", body="x")
    assert other not in ids


async def test_a_snapshot_of_a_green_pull_request(stage: Stage) -> None:
    forge = stage.forge
    number = await stage.pull()
    head = await forge.ref(REPO, "ai-1")
    assert head is not None
    for _ in range(2):
        await forge.set_status(REPO, head, context="windlass/human-approval", state="pending", description="waits")
    await stage.act("ann", "POST", f"/repos/{REPO}/pulls/{number}/reviews", {"event": "APPROVE", "body": "good"})
    seen = await stage.checked(number)
    assert (seen.head_sha, seen.base_sha, seen.state) == (head, await forge.ref(REPO, "main"), "open")
    assert seen.required is not None
    assert "tests" in seen.required
    by_name = {check.name: check for check in seen.checks}
    tests = by_name["tests"]
    log = await forge.check_log(REPO, tests)
    assert (tests.status, tests.conclusion) == ("completed", "success"), log
    gate = by_name["windlass/human-approval"]
    assert (gate.source, gate.status, gate.conclusion) == ("status", "in_progress", "")
    assert seen.base_checks == ()
    (review,) = seen.reviews
    assert (review.reviewer, review.is_human, review.state) == ("ann", True, "approved")
    assert (review.commit_sha, review.permission) == (head, "maintain")
    assert any("eve" in person for person in seen.committers)
    listed = await stage.act("ann", "GET", f"/repos/{REPO}/commits/{head}/statuses")
    assert len(listed) == 1
    with pytest.raises(NotFound):
        await forge.pull_snapshot(REPO, 9999)


async def test_a_snapshot_follows_the_head(stage: Stage) -> None:
    number = await stage.pull()
    before = await stage.forge.pull_snapshot(REPO, number)
    head = await stage.push("ai-1", {"b.txt": "two"})
    after = await stage.forge.pull_snapshot(REPO, number)
    assert before.head_sha != after.head_sha == head
    known = {check.id for check in before.checks}
    assert all(check.id not in known for check in after.checks)


async def test_a_merge_is_seen(stage: Stage) -> None:
    number = await stage.pull()
    await stage.checked(number)
    await stage.act("ann", "POST", f"/repos/{REPO}/pulls/{number}/reviews", {"event": "APPROVE"})
    await stage.act("ann", "PUT", f"/repos/{REPO}/pulls/{number}/merge", {})
    seen = await stage.forge.pull_snapshot(REPO, number)
    assert (seen.state, seen.is_merged, seen.merged_by) == ("closed", True, "ann")
    assert seen.merge_commit_sha == await stage.forge.ref(REPO, "main")


async def test_a_failed_check_is_read_and_run_again(stage: Stage) -> None:
    await stage.push("ai-1", {"broken.txt": "x"})
    number = (await stage.forge.create_pull(REPO, head="ai-1", base="main", title="t", body="")).number
    seen = await stage.checked(number)
    (failed,) = [check for check in seen.checks if check.name == "tests"]
    assert failed.conclusion == "failure"
    assert "looking" in await stage.forge.check_log(REPO, failed)
    if not stage.is_app:
        with pytest.raises(Forbidden):
            await stage.forge.rerun_check(REPO, failed.id)
        return
    await stage.forge.rerun_check(REPO, failed.id)
    again = await stage.checked(number)
    (rerun,) = [check for check in again.checks if check.name == "tests"]
    assert (rerun.conclusion, rerun.id == failed.id) == ("failure", False)


async def test_comments_tell_what_their_authors_may_do_now(stage: Stage) -> None:
    number = (await stage.act("ann", "POST", f"/repos/{REPO}/issues", {"title": "Broken"}))["number"]
    assert await stage.forge.comments(REPO, number) == ()
    path = f"/repos/{REPO}/issues/{number}/comments"
    first = await stage.act("bob", "POST", path, {"body": "first"})
    for body in ("second", "third"):
        await stage.act("ann", "POST", path, {"body": body})
    await stage.act("eve", "POST", path, {"body": "<!-- outside -->"})
    await stage.forge.upsert_comment(REPO, number, marker=MARK, body="ours")
    found = await stage.forge.comments(REPO, number)
    assert [one.body for one in found[:4]] == ["first", "second", "third", "<!-- outside -->"]
    by_author = {one.author: one for one in found}
    for login in ("ann", "bob", "eve"):
        assert by_author[login].permission == await stage.forge.permission(REPO, login)
        assert not by_author[login].is_bot
    assert by_author["ann"].permission in {"admin", "maintain", "write"}
    assert by_author["eve"].permission not in {"admin", "maintain", "write"}
    ours = found[-1]
    assert (ours.author, ours.is_bot) == (await stage.forge.identity(), True)
    assert all(0 < one.created_at_ms <= one.edited_at_ms for one in found)
    stage.clock.ahead_ms += 5_000
    await stage.act("bob", "PATCH", f"/repos/{REPO}/issues/comments/{first['id']}", {"body": "edited"})
    (edited,) = [one for one in await stage.forge.comments(REPO, number) if one.author == "bob"]
    assert edited.body == "edited"
    assert edited.edited_at_ms > edited.created_at_ms
    with pytest.raises(NotFound):
        await stage.forge.comments(REPO, 9999)


async def test_every_page_of_comments_is_read(stage: Stage) -> None:
    number = (await stage.act("ann", "POST", f"/repos/{REPO}/issues", {"title": "Long"}))["number"]
    for n in range(105):
        await stage.act("ann", "POST", f"/repos/{REPO}/issues/{number}/comments", {"body": str(n)})
    assert [one.body for one in await stage.forge.comments(REPO, number)] == [str(n) for n in range(105)]


async def test_the_report_as_a_check_run(stage: Stage) -> None:
    tip = await stage.forge.ref(REPO, "main")
    assert tip is not None

    async def upsert(text: str) -> bool:
        return await stage.forge.upsert_check_run(
            REPO, tip, name="windlass/report", external_id="job-1", summary="what was done", text=text
        )

    results = [await upsert("one"), await upsert("one"), await upsert("z\n" * 50_000)]
    listed = await stage.act("ann", "GET", f"/repos/{REPO}/commits/{tip}/check-runs")
    ours = [run for run in listed["check_runs"] if run["name"] == "windlass/report"]
    assert results == [stage.is_app] * 3
    assert len(ours) == (1 if stage.is_app else 0)
    assert all(run["conclusion"] == "neutral" and len(run["output"]["text"]) <= 65_000 for run in ours)


async def test_a_credential_opens_what_it_is_for(stage: Stage) -> None:
    if not stage.is_app:
        pytest.skip("a token cannot be cut down")
    fetching = await stage.forge.credential(REPO, write=False)
    pushing = await stage.forge.credential(REPO, write=True)
    elsewhere = (await stage.forge.credential(OTHER, write=False)).url
    there = stage.work / "reader"

    async def run(where: Path, *argv: str, with_: GitCredential) -> str:
        return await asyncio.to_thread(git, where, *argv, env=git_env(with_.headers))

    await run(stage.work, "clone", "-q", fetching.url, str(there), with_=fetching)
    with pytest.raises(RuntimeError):
        await run(there, "push", "-q", "origin", "HEAD:refs/heads/ai-9", with_=fetching)
    with pytest.raises(RuntimeError):
        await run(there, "push", "-q", elsewhere, "HEAD:refs/heads/ai-9", with_=pushing)
    await run(there, "push", "-q", "origin", "HEAD:refs/heads/ai-9", with_=pushing)
    assert await stage.forge.ref(OTHER, "ai-9") is None
    assert await stage.forge.ref(REPO, "ai-9") is not None


async def test_tokens_end_and_work_goes_on(stage: Stage) -> None:
    await stage.forge.repository(REPO)
    stage.clock.ahead_ms = 2 * 3_600_000
    assert (await stage.forge.repository(REPO)).full_name == REPO


async def test_what_may_not_be_done_is_forbidden(stage: Stage) -> None:
    if stage.is_app:
        pytest.skip("the App may do all of it")
    stage.local.grant(REPO, "windlass-bot", "read")
    tip = await stage.forge.ref(REPO, "main")
    assert tip is not None
    with pytest.raises(Forbidden):
        await stage.forge.create_ref(REPO, "ai-1", tip)


async def test_a_bad_token_is_told_as_such(stage: Stage) -> None:
    bad = github_forge(api_url=f"{stage.base}/api/v3", auth=TokenAuth(token="ghp_nobody"), clock=stage.clock)
    with pytest.raises(Forbidden) as caught:
        await bad.identity()
    assert caught.value.code == "bad_credentials"
    await bad.close()


async def test_bad_days_of_the_forge(stage: Stage) -> None:
    forge, faults = stage.forge, stage.local.faults
    tip = await forge.ref(REPO, "main")
    assert tip is not None
    await forge.create_ref(REPO, "warm-up", tip)
    faults.api_5xx = 1.0
    with pytest.raises(Unavailable):
        await forge.repository(REPO)
    faults.calm()
    faults.api_lost_response = 1.0
    with pytest.raises(Unavailable):
        await forge.create_ref(REPO, "ai-1", tip)
    faults.calm()
    assert await forge.ref(REPO, "ai-1") == tip
    with pytest.raises(Conflict):
        await forge.create_ref(REPO, "ai-1", tip)
    faults.api_secondary = 1.0
    with pytest.raises(Unavailable) as caught:
        await forge.repository(REPO)
    faults.calm()
    assert caught.value.retry_after_s
    await asyncio.sleep(caught.value.retry_after_s)
    assert (await forge.repository(REPO)).full_name == REPO


async def test_a_lost_answer_leaves_one_comment(stage: Stage) -> None:
    number = stage.local.open_issue(REPO, "bob", "t", "b")
    await stage.forge.upsert_comment(REPO, number, marker="<!-- warm-up -->", body="x")
    stage.local.faults.api_lost_response = 0.3
    for i in range(30):
        try:
            await stage.forge.upsert_comment(REPO, number, marker=MARK, body=f"round {i}")
        except Unavailable:
            continue
    stage.local.faults.calm()
    await stage.forge.upsert_comment(REPO, number, marker=MARK, body="end")
    listed = await stage.act("bob", "GET", f"/repos/{REPO}/issues/{number}/comments")
    assert [c["body"] for c in listed if MARK in c["body"]] == [f"end\n\n{MARK}"]


async def test_what_did_not_change_costs_nothing(stage: Stage) -> None:
    first = await stage.forge.repository(REPO)
    assert await stage.forge.repository(REPO) == first
    asked = [e.status for e in stage.local.exchanges if e.template == "/repos/{owner}/{repo}"]
    assert asked == [200, 304]


async def test_lost_deliveries_are_found_and_sent_again(stage: Stage) -> None:
    async with canned() as receiver:
        hook_url = f"{receiver.url}/hook"
        receiver.on("POST /api/v3/hook", says({}, 500))
        stage.local.set_webhook(None if stage.is_app else REPO, hook_url, "secret")
        stage.local.grant(REPO, "windlass-bot", "admin")
        auth = _auth(stage.local, stage.tokens, is_app=False)
        forge = stage.forge
        if not stage.is_app:
            forge = github_forge(api_url=stage.local.api_url, auth=auth, clock=stage.clock, webhook_url=hook_url)
            await forge.repository(REPO)
        stage.local.open_issue(REPO, "bob", "t", "b", ["AI-Ready"])
        await stage.local.idle()
        receiver.on("POST /api/v3/hook", says({}, 202))
        lost = await forge.failed_deliveries(0)
        before = len(receiver.seen)
        for key in lost:
            await forge.redeliver(key)
        await stage.local.idle()
        again = await forge.failed_deliveries(0)
        later = await forge.failed_deliveries(stage.clock.now_ms() + 3_600_000)
        guids = [seen.headers["x-github-delivery"] for seen in receiver.seen]
        if forge is not stage.forge:
            await forge.close()
    assert len(lost) == before >= 2
    assert (again, later) == ((), ())
    assert sorted(guids[before:]) == sorted(guids[:before])


async def test_its_webhooks_are_understood(stage: Stage) -> None:
    async with canned() as receiver:
        receiver.on("POST /api/v3/hook", says({}, 202))
        stage.local.set_webhook(None, f"{receiver.url}/hook", "secret")
        issue = stage.local.open_issue(REPO, "bob", "t", "b", ["AI-Ready"])
        number = await stage.pull()
        head = (await stage.checked(number)).head_sha
        await stage.act("ann", "POST", f"/repos/{REPO}/pulls/{number}/reviews", {"event": "APPROVE"})
        await stage.local.idle()
    sent = [(d, d.payload.encode()) for d in stage.local.deliveries()]
    hints = [(d.event, hint) for d, body in sent for hint in translate(d.event, body)]
    labelled = IssueHint(repository=REPO, number=issue, action="labeled", by="bob")
    pushed = PullHint(repository=REPO, number=None, branch="ai-1", sha=head, what="push")
    assert {("issues", labelled), ("push", pushed)} <= set(hints)
    told = {event for event, hint in hints if isinstance(hint, PullHint) and hint.sha == head}
    assert told >= {"push", "pull_request", "pull_request_review", "check_run", "check_suite"}
    ours = [hint for _, hint in hints if isinstance(hint, PullHint)]
    assert all(hint.branch in {"ai-1", ""} for hint in ours)
    for delivery, body in sent:
        headers = {key.lower(): value for key, value in delivery.request_headers.items()}
        assert verify_signature(body, headers["x-hub-signature-256"], ["retired", "secret"])
        assert not verify_signature(body + b" ", headers["x-hub-signature-256"], ["retired", "secret"])
