"""Workspaces made by an enemy: nothing runs, nothing is read that is not there, and each ends in one clear line."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.adapters.git.conftest import ENV, REPO, Scene, make_repository, sh_git, write

from windlass.core.errors import Refused
from windlass.core.policy import Limits, Policy

FILES = {"README.md": "hello\n", "src/app.py": "print(1)\n", ".gitignore": "*.log\n"}


async def test_rewritten_configuration_hooks_and_filters_run_nothing(scene: Scene) -> None:
    place = await scene.begin(FILES)
    marker = scene.root / "ran"
    evil = scene.root / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\n")
    evil.chmod(0o755)
    for root in (place, place / "nested"):
        _poison(root, evil)
    write(place, {".gitattributes": "* filter=evil diff=evil merge=evil\n", "src/app.py": "print(2)\n"})
    found = await scene.collect(place)
    assert found.patch is not None
    assert await scene.repos.restore(REPO, found.patch, found.diff) == found.patch.tree_sha
    await scene.repos.materialise(REPO, found.patch.tree_sha, scene.root / "again")
    sha = await scene.repos.commit(
        REPO, tree_sha=found.patch.tree_sha, parent_sha=scene.start, message="m", author=("a", "b"), at_ms=0
    )
    await scene.repos.push(REPO, scene.credential, sha=sha, branch="ai-1", expected_sha="")
    assert not marker.exists()
    assert any("'nested/.git'" in line and "git directory" in line for line in found.refusals)
    assert any("adds '* filter=evil'" in line for line in found.refusals)
    assert not any(path.startswith("nested/.git/") for path in found.patch.files)
    # The trap is real: a user's own git in that directory springs it.
    sh_git(place, "status")
    assert marker.exists()


def _poison(root: Path, evil: Path) -> None:
    root.mkdir(exist_ok=True)
    sh_git(root, "init", "-q")
    for hook in ("pre-commit", "post-checkout", "reference-transaction", "pre-push", "post-index-change"):
        (root / ".git/hooks").mkdir(exist_ok=True)
        (root / ".git/hooks" / hook).symlink_to(evil)
    with (root / ".git/config").open("a") as config:
        config.write(f"[core]\nfsmonitor={evil}\nsshCommand={evil}\nalternateRefsCommand={evil}\n")
        config.write(f'[filter "evil"]\nclean={evil}\nsmudge={evil}\nprocess={evil}\nrequired=true\n')
        config.write(f'[diff "evil"]\ncommand={evil}\ntextconv={evil}\n[diff]\nexternal={evil}\n')
        config.write(f'[url "ext::{evil}"]\ninsteadOf=file://\n[credential]\nhelper=!{evil}\n')


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "src/../../x", "hop/../.."])
async def test_links_out_are_refused_and_never_followed(scene: Scene, target: str) -> None:
    place = await scene.begin(FILES)
    (place / "hop").symlink_to("src")
    (place / "README.md").unlink()
    (place / "README.md").symlink_to(target)
    found = await scene.collect(place)
    assert any("'README.md' is a symbolic link that leads out" in line for line in found.refusals)
    assert b"root:" not in found.diff
    assert found.patch is not None
    assert await scene.repos.read_file(REPO, found.patch.tree_sha, "README.md") is None


async def test_a_directory_swapped_for_a_link_is_not_entered(scene: Scene) -> None:
    place = await scene.begin(FILES)
    secret = scene.root / "secret"
    write(secret, {"app.py": "password\n"})
    (place / "src/app.py").unlink()
    (place / "src").rmdir()
    (place / "src").symlink_to(secret)
    found = await scene.collect(place)
    assert b"password" not in found.diff
    assert any("'src' is a symbolic link that leads out" in line for line in found.refusals)
    os.rename(place, scene.root / "moved")
    place.symlink_to(scene.root / "moved")
    with pytest.raises(Refused) as caught:
        await scene.collect(place)
    assert caught.value.code == "workspace_missing"


async def test_pipes_sockets_and_hard_links_are_refused_without_opening(scene: Scene) -> None:
    place = await scene.begin(FILES)
    os.mkfifo(place / "pipe")
    (place / "README.md").unlink()
    os.mkfifo(place / "README.md")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(place / "sock"))
    (scene.root / "outside").write_text("outside\n")
    os.link(scene.root / "outside", place / "hard")
    write(place, {"good.py": "1\n"})
    found = await scene.collect(place)
    assert set(found.refusals) == {
        "'README.md' is a named pipe; remove it",
        "'pipe' is a named pipe; remove it",
        "'sock' is a socket; remove it",
        "'hard' is a hard link; write it as a file of its own",
    }
    assert found.patch is not None
    assert found.patch.files == ("good.py",), "the good part is kept"


async def test_a_device_is_refused(scene: Scene) -> None:
    place = await scene.begin(FILES)
    try:
        os.mknod(place / "dev", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make devices")
    assert (await scene.collect(place)).refusals == ("'dev' is a device; remove it",)


async def test_bombs_end_at_the_caps(scene: Scene) -> None:
    place = await scene.begin(FILES)
    with (place / "sparse").open("wb") as file:
        file.truncate(100 << 30)
    found = await scene.collect(place)
    assert found.refusals == ("'sparse' is larger than 20000000 bytes; leave it out or make it smaller",)
    (place / "sparse").unlink()
    for number in range(250):
        (place / f"n{number}").write_text(str(number))
    found = await scene.collect(place)
    assert found.patch is None
    assert "too large to keep" in found.refusals[0]
    for number in range(3000):
        (place / f"m{number}").touch()
    found = await scene.collect(place)
    assert found.patch is None
    assert found.refusals == ("more than 3000 files and directories; remove what is not needed",)


async def test_two_big_files_meet_the_total(scene: Scene) -> None:
    place = await scene.begin(FILES)
    for name in ("one", "two"):
        (place / name).write_bytes(os.urandom(1 << 20) * 15)
    found = await scene.collect(place)
    assert found.patch is None
    assert "too large to keep" in found.refusals[0]


async def test_a_deep_nest_ends(scene: Scene) -> None:
    place = await scene.begin(FILES)
    at = os.open(place, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("dddddddddddddddddddddd", dir_fd=at)
        below = os.open("dddddddddddddddddddddd", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    found = await scene.collect(place)
    assert len(found.refusals) == 1
    assert found.refusals[0].endswith("is nested too deeply; remove it")


BAD_NAMES = [
    b".GIT",
    b"git~1",
    b".g\xe2\x80\x8cit",
    b".git.",
    b".git ",
    b".git::$INDEX_ALLOCATION",
    b".Git. .",
    b"GIT~1 ",
]
BAD_FILES = [b"a\\b", b"new\nline", b"\xff\xfe", b"tab\there", "r\u202etl.py".encode(), "\u0440ackage.json".encode()]


@pytest.mark.parametrize("name", [*BAD_NAMES, *BAD_FILES, b".gitmodules", b".GITMODULES", b"gitmod~1"])
@pytest.mark.parametrize("below", [b"", b"src/"])
async def test_path_tricks_never_reach_a_tree(scene: Scene, name: bytes, below: bytes) -> None:
    place = await scene.begin(FILES)
    path = os.fsencode(place) + b"/" + below + name
    if name in BAD_NAMES:
        os.mkdir(path)
        path += b"/config"
    Path(os.fsdecode(path)).write_text("x")
    write(place, {"good.py": "1\n"})
    found = await scene.collect(place)
    assert len(found.refusals) == 1, found.refusals
    assert found.refusals[0].isprintable()
    assert found.patch is not None
    assert found.patch.files == ("good.py",)


async def test_case_and_unicode_collisions(scene: Scene) -> None:
    place = await scene.begin(FILES | {"caf\u00e9.txt": "1\n"})
    write(place, {"Readme.MD": "x\n", "SRC/other.py": "x\n", "cafe\u0301.txt": "x\n"})
    found = await scene.collect(place)
    assert len(found.refusals) == 3
    assert all("only in case or in Unicode form" in line for line in found.refusals)


async def test_submodules_stay_and_are_not_written_to(scene: Scene) -> None:
    make_repository(scene.work, FILES)
    sh_git(scene.work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendored")
    sh_git(scene.work, "commit", "-q", "-m", "submodule")
    place = await scene.begin({}, prepared=True)
    assert (place / "vendored").is_dir()
    assert (await scene.collect(place)).patch is None
    (place / "vendored").rmdir()
    assert (await scene.collect(place)).patch is None, "a missing submodule is not a removal"
    write(place, {"vendored/x.py": "1\n"})
    found = await scene.collect(place)
    assert "inside a submodule" in found.refusals[0]
    (place / "vendored/x.py").unlink()
    (place / "vendored").rmdir()
    write(place, {"vendored": "a file now\n"})
    assert "is a submodule" in (await scene.collect(place)).refusals[0]


async def test_protected_paths_need_the_policy(scene: Scene) -> None:
    place = await scene.begin(FILES | {".github/workflows/ci.yml": "on: push\n", "CODEOWNERS": "* @a\n"})
    write(place, {".github/workflows/ci.yml": "on: [push]\n", ".github/windlass.yml": "x", "infra/main.tf": "x"})
    (place / "CODEOWNERS").unlink()
    scene.policy = Policy(protect_paths=("infra/**",))
    assert len((await scene.collect(place)).refusals) == 4
    scene.policy = Policy(protect_paths=("infra/**",), allow_paths=("/.github/workflows/**", "/CODEOWNERS"))
    said = (await scene.collect(place)).refusals
    assert [line.split(" ")[0] for line in said] == ["'.github/windlass.yml'", "'infra/main.tf'"]


async def test_limits_of_the_policy_refuse_and_keep(scene: Scene) -> None:
    place = await scene.begin(FILES)
    write(place, {f"n{n}.txt": "x" * 100 for n in range(5)})
    scene.policy = Policy(limits=Limits(patch_files=4, patch_bytes=300))
    found = await scene.collect(place)
    assert " files changed" in found.refusals[0]
    assert len(found.refusals) == 2
    assert found.patch is not None


async def test_the_callers_environment_decides_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    place = await scene.begin(FILES)
    marker = scene.root / "ran"
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(scene.root / "nowhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {marker}")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor=touch {marker}'")
    monkeypatch.setenv("GIT_TRACE", str(marker))
    write(place, {"x.py": "1\n"})
    found = await scene.collect(place)
    assert found.patch is not None
    assert not marker.exists()
    assert "GIT_DIR" not in ENV


async def test_what_others_obey_is_read_line_by_line(scene: Scene) -> None:
    pinned = "example.org/x v1.0.0 h1:one=\n"
    place = await scene.begin(FILES | {"go.sum": pinned, "sub/.gitattributes": "*.gen linguist-generated\n"})
    write(
        place, {"go.sum": pinned.replace("one", "two"), "sub/.gitattributes": "* -diff\n", "src/app.py": "print(2)\n"}
    )
    found = await scene.collect(place)
    assert [line.split(" ")[0] for line in found.refusals] == ["'go.sum'", "'sub/.gitattributes'"]
    assert "checksum of example.org/x v1.0.0" in found.refusals[0]
    assert "hides changes from a reviewer" in found.refusals[1]
    assert found.patch is not None, "the change is kept"
    scene.policy = Policy(allow_paths=("go.sum", ".gitattributes"))
    assert (await scene.collect(place)).refusals == ()
