"""Fetch and push, against git's own HTTP server and against forges that misbehave."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.adapters.git.conftest import REPO, Scene, make_repository, sh_git, write

from windlass.adapters.git import GitRepositories
from windlass.core.errors import Conflict, Failed, Forbidden, NotFound, Refused, Unavailable
from windlass.ports import GitCredential

TOKEN = "ghs_averysecrettoken0123456789"
BASIC = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


@dataclass
class Door:
    """How the server behaves: `status` to answer instead of git, and what it was sent."""

    root: Path
    status: int = 0
    body: bytes = b""
    location: str = ""
    authorizations: list[str | None] = field(default_factory=list)
    port: int = 0


def _server(door: Door) -> ThreadingHTTPServer:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            door.authorizations.append(self.headers["Authorization"])
            if door.status or self.headers["Authorization"] != BASIC:
                self._say(door.status or 401)
            else:
                self._git()

        do_POST = do_GET  # noqa: N815 - the names are http.server's

        def _say(self, status: int) -> None:
            self.send_response(status)
            if door.location:
                self.send_header("Location", door.location)
            self.send_header("Content-Length", str(len(door.body)))
            self.end_headers()
            self.wfile.write(door.body)

        def _git(self) -> None:
            path, _, query = self.path.partition("?")
            env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(door.root), "GIT_HTTP_EXPORT_ALL": "1"}
            env |= {"REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_USER": "app"}
            env |= {"CONTENT_TYPE": self.headers["Content-Type"] or "", "REMOTE_ADDR": "127.0.0.1"}
            env |= {"HTTP_GIT_PROTOCOL": self.headers["Git-Protocol"] or "", "GIT_CONFIG_GLOBAL": os.devnull}
            env |= {"HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or ""}
            data = self.rfile.read(int(self.headers["Content-Length"] or 0))
            out = subprocess.run(["git", "http-backend"], env=env, input=data, capture_output=True, check=True).stdout
            head, _, body = out.partition(b"\r\n\r\n")
            lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(lines.pop("Status", "200").split()[0]))
            for name, value in lines.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Answers)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    server = _server(door)
    door.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield door
    server.shutdown()
    thread.join()
    server.server_close()


def credential(door: Door, name: str = "forge.git") -> GitCredential:
    return GitCredential(url=f"http://127.0.0.1:{door.port}/{name}", headers={"Authorization": BASIC})


async def next_commit(scene: Scene, parent: str, text: str) -> str:
    place = await scene.workspace()
    write(place, {"work.txt": text})
    found = await scene.collect(place)
    assert found.patch is not None
    return await scene.repos.commit(
        REPO, tree_sha=found.patch.tree_sha, parent_sha=parent, message="Work\n\nJob: 1\n", author=("A", "a@b"), at_ms=5
    )


async def test_the_whole_way_over_http(scene: Scene, door: Door) -> None:
    await scene.begin({"a": "1\n"})
    sh_git(scene.remote, "config", "http.receivepack", "true")
    there = credential(door)
    assert await scene.repos.fetch(REPO, there, ["main", "ai-1"]) == {"main": scene.start}
    first = await next_commit(scene, scene.start, "one")
    await scene.repos.push(REPO, there, sha=first, branch="ai-1", expected_sha="")
    await scene.repos.push(REPO, there, sha=first, branch="ai-1", expected_sha="")
    second = await next_commit(scene, first, "two")
    await scene.repos.push(REPO, there, sha=second, branch="ai-1", expected_sha=first)
    assert sh_git(scene.remote, "rev-parse", "ai-1") == second
    assert await scene.repos.fetch(REPO, there, ["ai-1", "main"]) == {"ai-1": second, "main": scene.start}
    assert set(door.authorizations) == {BASIC}
    with pytest.raises(Conflict) as caught:
        await scene.repos.push(REPO, there, sha=first, branch="ai-1", expected_sha=scene.start)
    assert caught.value.code == "branch_moved"
    assert sh_git(scene.remote, "rev-parse", "ai-1") == second
    assert await scene.repos.is_ancestor(REPO, first, second)
    assert not await scene.repos.is_ancestor(REPO, second, first)
    people = await scene.repos.committers(REPO, scene.start, second)
    assert people == ("A", "a@b", "Windlass", "windlass@localhost")
    assert TOKEN not in "".join(p.read_text("latin-1") for p in scene.mirror.rglob("*") if p.is_file())


async def test_a_commit_is_the_same_for_the_same_arguments(scene: Scene) -> None:
    await scene.begin({"a": "1\n"})
    assert await next_commit(scene, scene.start, "x") == await next_commit(scene, scene.start, "x")
    assert await next_commit(scene, scene.start, "x") != await next_commit(scene, scene.start, "y")
    for people, message in ((("A\nB", "x"), "m"), (("A<", "x"), "m"), (("", "x"), "m"), (("A", "x"), "m\0")):
        with pytest.raises(Refused):
            await scene.repos.commit(
                REPO, tree_sha="1" * 40, parent_sha=scene.start, message=message, author=people, at_ms=0
            )


async def test_a_branch_that_went_away_is_absent(scene: Scene) -> None:
    await scene.begin({"a": "1\n"})
    sh_git(scene.remote, "branch", "gone", "main")
    assert set(await scene.repos.fetch(REPO, scene.credential, ["main", "gone"])) == {"main", "gone"}
    sh_git(scene.remote, "branch", "-D", "gone")
    assert await scene.repos.fetch(REPO, scene.credential, ["gone", "main"]) == {"main": scene.start}
    assert await scene.repos.fetch(REPO, scene.credential, ["gone"]) == {}
    assert "gone" not in sh_git(scene.mirror, "for-each-ref")


async def test_a_force_moved_base_is_followed_and_the_old_commit_stays(scene: Scene) -> None:
    await scene.begin({"a": "1\n"})
    make_repository(scene.root / "other", {"b": "2\n"})
    sh_git(scene.root / "other", "push", "-q", "-f", str(scene.remote), "main")
    moved = await scene.repos.fetch(REPO, scene.credential, ["main"])
    assert moved["main"] != scene.start
    assert await scene.repos.read_file(REPO, scene.start, "a") == b"1\n"


ANSWERS = [
    (401, Forbidden),
    (403, Forbidden),
    (404, NotFound),
    (408, Unavailable),
    (429, Unavailable),
    (500, Unavailable),
    (502, Unavailable),
    (503, Unavailable),
    (418, Failed),
]


@pytest.mark.parametrize(("status", "kind"), ANSWERS)
async def test_what_the_forge_answers_is_classified(scene: Scene, door: Door, status: int, kind: type) -> None:
    await scene.begin({"a": "1\n"})
    sha = await next_commit(scene, scene.start, "x")
    door.status, door.body = status, f"{TOKEN} {BASIC}".encode()
    for act in (
        scene.repos.fetch(REPO, credential(door), ["main"]),
        scene.repos.push(REPO, credential(door), sha=sha, branch="ai-1", expected_sha=""),
    ):
        with pytest.raises(kind) as caught:
            await act
        said = f"{caught.value!r} {caught.value} {caught.value.__cause__} {caught.value.__context__}"
        assert TOKEN not in said
        assert BASIC.split()[1] not in said
        assert caught.value.hint


async def test_a_redirect_is_not_followed(scene: Scene, door: Door) -> None:
    await scene.begin({"a": "1\n"})
    door.status, door.location = 301, f"http://127.0.0.1:{door.port}/elsewhere.git/info/refs?service=git-upload-pack"
    with pytest.raises(Refused) as caught:
        await scene.repos.fetch(REPO, credential(door), ["main"])
    assert caught.value.code == "redirected"
    assert len(door.authorizations) == 1


async def test_nobody_listens(scene: Scene) -> None:
    await scene.begin({"a": "1\n"})
    with pytest.raises(Unavailable):
        await scene.repos.fetch(REPO, GitCredential(url="http://127.0.0.1:9/x.git"), ["main"])


async def test_a_forge_that_hangs_is_given_up(scene: Scene) -> None:
    await scene.begin({"a": "1\n"})
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    hasty = GitRepositories(scene.root / "mirrors", timeout_s=0.7)
    with pytest.raises(Unavailable) as caught:
        await hasty.fetch(REPO, GitCredential(url=f"http://127.0.0.1:{port}/x.git"), ["main"])
    assert caught.value.code == "git_timeout"
    server.close()


async def test_a_hook_of_the_forge_says_no(scene: Scene, door: Door) -> None:
    await scene.begin({"a": "1\n"})
    sh_git(scene.remote, "config", "http.receivepack", "true")
    hook = scene.remote / "hooks/update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nprintf 'GH013: rule \\033[31mviolations\\n' >&2\nexit 1\n")
    hook.chmod(0o755)
    sha = await next_commit(scene, scene.start, "x")
    with pytest.raises(Refused) as caught:
        await scene.repos.push(REPO, credential(door), sha=sha, branch="ai-1", expected_sha="")
    assert caught.value.code == "push_refused"
    assert "GH013" in caught.value.message
    assert caught.value.message.isprintable()


BRANCHES = [
    "main",
    "ai-0",
    "ai-01",
    "ai-1x",
    "ai-",
    "AI-1",
    "ai-1/x",
    "ai-1:main",
    "+ai-1",
    "ai-1\n",
    "refs/heads/ai-1",
]


@pytest.mark.parametrize("branch", BRANCHES)
async def test_only_job_branches_are_pushed(scene: Scene, branch: str) -> None:
    await scene.begin({"a": "1\n"})
    with pytest.raises(Refused) as caught:
        await scene.repos.push(REPO, scene.credential, sha=scene.start, branch=branch, expected_sha="")
    assert caught.value.code == "bad_branch"
    assert sh_git(scene.remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


URLS = [
    "ext::sh -c true",
    "ssh://git@host/x",
    "git@github.com:a/b.git",
    "/etc",
    "--upload-pack=x",
    "https://user:pw@host/x.git",
    "https://token@host/x.git",
    "https:///x",
    "https://host/x?y",
    "https://host/a b",
    "http://[::1/x",
    "file:///etc\nx",
    "file://host/x",
]


@pytest.mark.parametrize("url", URLS)
async def test_bad_urls(scene: Scene, url: str) -> None:
    with pytest.raises(Refused) as caught:
        await scene.repos.fetch(REPO, GitCredential(url=url), ["main"])
    assert caught.value.code == "bad_git_url"
    assert "pw" not in str(caught.value)


async def test_files_are_closed_to_strangers(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        await GitRepositories(tmp_path / "m").fetch(REPO, GitCredential(url=f"file://{tmp_path}"), ["main"])


@pytest.mark.parametrize("value", ["a\nHost: evil", "a\r\nb", "", "a\0b", "é"])
async def test_headers_are_one_line(scene: Scene, value: str) -> None:
    there = GitCredential(url="https://host/x.git", headers={"Authorization": value})
    with pytest.raises(Refused) as caught:
        await scene.repos.fetch(REPO, there, ["main"])
    assert caught.value.code == "bad_header"


NAMES = [
    "a",
    "a/b/c",
    "../x",
    "a/..",
    "a/.",
    "/a",
    "a/",
    "-a/b",
    "a/b.git",
    "a/b c",
    "a/b\n",
    "a/b.lock",
    ".scratch/x",
    "",
]


@pytest.mark.parametrize("name", NAMES)
async def test_bad_repository_names(scene: Scene, name: str) -> None:
    with pytest.raises(Refused) as caught:
        await scene.repos.list_files(name, "1" * 40)
    assert caught.value.code == "bad_repository_name"


@pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "a:b", "a*", "", "a/", "/a", "x.lock", "a@{1}", "é\n", "HEAD"])
async def test_bad_branches(scene: Scene, branch: str) -> None:
    with pytest.raises(Refused) as caught:
        await scene.repos.fetch(REPO, scene.credential, [branch])
    assert caught.value.code == "bad_branch"


async def test_many_calls_on_one_mirror_at_once(scene: Scene) -> None:
    await scene.begin({f"f{n}": str(n) for n in range(20)})

    async def one(number: int) -> str:
        await scene.repos.fetch(REPO, scene.credential, ["main"])
        place = scene.root / f"many{number}"
        await scene.repos.materialise(REPO, scene.start, place)
        write(place, {f"new{number}": "x"})
        found = await scene.collect(place)
        assert found.patch is not None
        assert found.patch.files == (f"new{number}",)
        return await scene.repos.restore(REPO, found.patch, found.diff)

    assert len(set(await asyncio.gather(*(one(n) for n in range(12))))) == 12
    assert list((scene.root / "mirrors/.scratch").iterdir()) == []


def _fetch_elsewhere(root: Path, url: str) -> None:
    repos = GitRepositories(root, allow_file=True)
    for _ in range(3):
        asyncio.run(repos.fetch(REPO, GitCredential(url=url), ["main"]))


async def test_several_processes_make_and_use_one_mirror(scene: Scene) -> None:
    make_repository(scene.work, {"a": "1\n"})
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    url, root = f"file://{scene.work}/.git", scene.root / "mirrors"
    others = [context.Process(target=_fetch_elsewhere, args=(root, url)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        await asyncio.to_thread(other.join)
    assert [other.exitcode for other in others] == [0, 0, 0]
    tips = await scene.repos.fetch(REPO, GitCredential(url=url), ["main"])
    assert await scene.repos.list_files(REPO, tips["main"]) == ("a",)
    assert [path.name for path in (root / "acme").iterdir() if path.name.startswith(".new")] == []


async def test_a_cancelled_call_leaves_no_process(scene: Scene) -> None:
    await scene.begin({"a": "1\n"})
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}/cancelled.git"
    task = asyncio.create_task(scene.repos.fetch(REPO, GitCredential(url=url), ["main"]))
    while url not in _commands():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await scene.repos.fetch(REPO, scene.credential, ["main"]), "the lock is free again"
    try:
        for _ in range(500):  # a loaded machine takes its time to bury the killed
            if url not in _commands():
                break
            await asyncio.sleep(0.04)
        assert url not in _commands()
    finally:
        server.close()


def _commands() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text("latin-1"))
        except OSError:
            continue
    return "\n".join(found)
