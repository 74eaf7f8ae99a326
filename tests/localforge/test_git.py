"""Plain git over smart HTTP: clone, fetch, push, and pushes that are refused."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import jwt

from tests.localforge.conformance import ForgeMaker
from tests.localforge.conftest import REPO, Desk, furnish, git


async def run(*args: str, cwd: Path, check: bool = True) -> str:
    done = await asyncio.to_thread(git, *args, cwd=cwd, check=check)
    return done.stdout + done.stderr


async def clone(desk: Desk, login: str, to: Path) -> Path:
    await run("clone", "-q", desk.url(login), str(to), cwd=to.parent)
    return to


def change(at: Path, name: str, content: bytes) -> None:
    path = at / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def commit(at: Path, name: str, content: bytes) -> str:
    change(at, name, content)
    await run("add", "-A", cwd=at)
    await run("commit", "-q", "-m", f"Change {name}", cwd=at)
    return (await run("rev-parse", "HEAD", cwd=at)).strip()


async def test_clone_push_and_fetch(desk: Desk, tmp_path: Path) -> None:
    one, two = await clone(desk, "bob", tmp_path / "one"), await clone(desk, "eve", tmp_path / "two")
    await run("checkout", "-q", "-b", "ai-1", cwd=one)
    sha = await commit(one, "new.txt", b"new\n")
    await run("push", "-q", "origin", "ai-1", cwd=one)
    assert desk.forge.refs(REPO)["refs/heads/ai-1"] == sha
    await run("fetch", "-q", "origin", cwd=two)
    assert (await run("rev-parse", "origin/ai-1", cwd=two)).strip() == sha
    assert (await desk.call("eve", "GET /git/ref/heads/ai-1"))["object"]["sha"] == sha


async def test_a_large_push_arrives_whole(desk: Desk, tmp_path: Path) -> None:
    at = await clone(desk, "bob", tmp_path / "one")
    await run("checkout", "-q", "-b", "big", cwd=at)
    sha = await commit(at, "big.bin", os.urandom(24 << 20))
    await run("push", "-q", "origin", "big", cwd=at)
    assert desk.forge.refs(REPO)["refs/heads/big"] == sha
    back = tmp_path / "back"
    await run("clone", "-q", "--branch", "big", desk.url("eve"), str(back), cwd=tmp_path)
    assert (back / "big.bin").read_bytes() == (at / "big.bin").read_bytes()


async def test_pushes_that_are_refused_say_why_and_move_nothing(desk: Desk, tmp_path: Path) -> None:
    at = await clone(desk, "bob", tmp_path / "one")
    before = desk.forge.refs(REPO)
    await commit(at, "new.txt", b"new\n")
    said = await run("push", "origin", "HEAD:main", cwd=at, check=False)
    assert "Changes must be made through a pull request" in said
    said = await run("push", "origin", ":main", cwd=at, check=False)
    assert "rejected" in said
    for ref in ("refs/pull/7/head", "refs/heads/" + "a" * 40):
        said = await run("push", "origin", f"HEAD:{ref}", cwd=at, check=False)
        assert "rejected" in said
    said = await run("push", desk.url("eve"), "HEAD:refs/heads/mine", cwd=at, check=False)
    assert "403" in said
    said = await run("push", desk.forge.clone_url(REPO), "HEAD:refs/heads/mine", cwd=at, check=False)
    assert "could not read Username" in said or "Authentication" in said
    assert desk.forge.refs(REPO) == before


async def test_an_allowed_ref_beside_a_refused_one_moves(desk: Desk, tmp_path: Path) -> None:
    at = await clone(desk, "bob", tmp_path / "one")
    sha = await commit(at, "new.txt", b"new\n")
    await run("push", "origin", "HEAD:main", "HEAD:refs/heads/fine", cwd=at, check=False)
    refs = desk.forge.refs(REPO)
    assert refs["refs/heads/fine"] == sha
    assert refs["refs/heads/main"] != sha


async def test_workflows_need_a_permission_of_their_own(desk: Desk, tmp_path: Path) -> None:
    app = desk.forge.create_app()
    now = int(time.time())
    token = jwt.encode({"iss": str(app.app_id), "iat": now, "exp": now + 60}, app.private_key_pem, "RS256")
    minted = await desk.client(token=token).post(f"/app/installations/{app.installation_id}/access_tokens")
    desk.tokens["app"] = minted.json()["token"]
    at = await clone(desk, "app", tmp_path / "one")
    await commit(at, "fine.txt", b"x\n")
    await run("push", "-q", "origin", "HEAD:refs/heads/ai-1", cwd=at)
    await commit(at, ".github/workflows/x.yml", b"on: push\n")
    for branch in ("ai-1", "ai-2"):
        said = await run("push", "origin", f"HEAD:refs/heads/{branch}", cwd=at, check=False)
        assert "without `workflows` permission" in said
    await run("push", "-q", desk.url("bob"), "HEAD:refs/heads/by-bob", cwd=at)


async def test_a_private_repository_and_its_absence_look_the_same(desk: Desk, tmp_path: Path) -> None:
    desk.forge.create_repository("acme/secret", private=True)
    for name in ("acme/secret", "acme/none"):
        url = desk.url("eve").replace(REPO, name)
        assert "not found" in await run("ls-remote", url, cwd=tmp_path, check=False)


async def test_an_empty_repository_can_be_pushed_to(conforming_forge: ForgeMaker, source: Path, tmp_path: Path) -> None:
    forge = await conforming_forge()
    desk = furnish(forge, source)
    forge.create_repository("acme/empty")
    forge.grant("acme/empty", "bob", "write")
    url = desk.url("bob", "acme/empty")
    assert (await desk.client("bob").get("/repos/acme/empty/git/ref/heads/main")).status_code == 409
    assert (await desk.client("bob").get("/repos/acme/empty/commits/main")).status_code == 409
    await run("push", "-q", url, "main", cwd=source)
    assert "refs/heads/main" in forge.refs("acme/empty")


async def test_a_push_moves_the_pull_request(desk: Desk, tmp_path: Path) -> None:
    opened = await desk.pull()
    at = await clone(desk, "bob", tmp_path / "one")
    await run("checkout", "-q", "ai-1", cwd=at)
    sha = await commit(at, "more.txt", b"more\n")
    await run("push", "-q", "origin", "ai-1", cwd=at)
    found = await desk.call("bob", f"GET /pulls/{opened['number']}")
    assert (found["head"]["sha"], found["commits"]) == (sha, 2)
    assert desk.forge.refs(REPO)[f"refs/pull/{opened['number']}/head"] == sha
    await run("push", "-q", "origin", ":ai-1", cwd=at)
    assert (await desk.call("bob", f"GET /pulls/{opened['number']}"))["state"] == "closed"


async def test_a_push_can_fail_before_and_after_it_was_applied(desk: Desk, tmp_path: Path) -> None:
    at = await clone(desk, "bob", tmp_path / "one")
    sha = await commit(at, "new.txt", b"new\n")
    desk.forge.faults.git_push_5xx = 1.0
    assert "502" in await run("push", "origin", "HEAD:refs/heads/a", cwd=at, check=False)
    assert "refs/heads/a" not in desk.forge.refs(REPO)
    desk.forge.faults.calm()
    desk.forge.faults.git_push_lost_response = 1.0
    assert "502" in await run("push", "origin", "HEAD:refs/heads/a", cwd=at, check=False)
    assert desk.forge.refs(REPO)["refs/heads/a"] == sha
