"""From a hostile workspace to a commit, case by case: the catalogue's part D. The traps themselves: `vectors.py`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import pytest
from tests.adapters.git.conftest import ENV, REPO, Scene, scene, sh_git, write
from tests.hostile.vectors import VECTORS, Vector

from windlass.core.job import PatchRef
from windlass.core.messages import PullText, commit_message, pull_body, pull_title
from windlass.core.patch_guard import Change, guard
from windlass.core.policy import Policy

__all__ = ["scene"]
FILES = {"README.md": "hello\n", "src/app.py": "print(1)\n", "docs/a.md": "a\n"}


# ------------------------------------------------------------------ 41 to 51: programs that git would run


@pytest.mark.parametrize("vector", VECTORS, ids=str)
async def test_d41_to_d51_no_trap_snaps_on_the_way_to_the_forge(scene: Scene, vector: Vector) -> None:
    place = await scene.begin(FILES)
    marker, evil = scene.root / "ran", scene.root / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\n")
    evil.chmod(0o755)
    for root in (place, place / "nested"):
        _repository(root)
        vector.plant(root, evil)
    write(place, {"src/app.py": "print(2)\n", "new.py": "print(3)\n"})
    await _whole_way(scene, place)
    assert not marker.exists()
    _a_person_looks(scene)
    assert not marker.exists(), "nor in a clone of what was published"
    _spring(place, vector)
    assert marker.exists(), "the trap is real"


def _repository(root: Path) -> None:
    write(root, {"README.md": "hello\n"} if root.name == "nested" else {})
    sh_git(root, "init", "-q", "-b", "other")
    sh_git(root, "config", "user.name", "x")
    sh_git(root, "config", "user.email", "x@y")
    sh_git(root, "add", "README.md")
    sh_git(root, "commit", "-q", "-m", "one")
    write(root, {"README.md": "changed\n"})


async def _whole_way(scene: Scene, place: Path) -> None:
    """Collect, keep, restore, write out for the tests, commit, push, fetch again."""
    found = await scene.collect(place)
    assert found.patch is not None
    assert {"src/app.py", "new.py"} <= set(found.patch.files)
    assert any("'nested/" in line and "git directory" in line for line in found.refusals)
    assert not [path for path in found.patch.files if ".git" in path.split("/")]
    tree = await scene.repos.restore(REPO, found.patch, found.diff)
    await scene.repos.materialise(REPO, tree, scene.root / "tested")
    await scene.repos.collect(REPO, scene.start, scene.root / "tested", policy=scene.policy)
    sha = await scene.repos.commit(REPO, tree_sha=tree, parent_sha=scene.start, message="m", author=("a", "b"), at_ms=0)
    await scene.repos.push(REPO, scene.credential, sha=sha, branch="ai-1", expected_sha="")
    assert (await scene.repos.fetch(REPO, scene.credential, ["ai-1"]))["ai-1"] == sha
    await scene.repos.changed_paths(REPO, scene.start, sha)
    await scene.repos.recent_commits(REPO, sha, ["README.md", ".gitattributes"], 5)
    await scene.repos.search_files(REPO, sha, ["print"])


def _a_person_looks(scene: Scene) -> None:
    """A plain git, without our settings, at what was pushed."""
    clone = scene.root / "clone"
    sh_git(scene.root, "clone", "-q", "-b", "ai-1", str(scene.remote), str(clone))
    for command in (("status",), ("log", "-p"), ("diff", "origin/main"), ("checkout", "-q", "-f", "origin/main")):
        sh_git(clone, *command)


def _spring(place: Path, vector: Vector) -> None:
    for command in vector.springs:
        subprocess.run(
            ["git", *command], cwd=place, env=ENV, input=vector.stdin, capture_output=True, check=False, timeout=60
        )


# ------------------------------------------------------------------ 49: what a person would step on


async def test_d49_a_bare_repository_among_the_files_is_refused(scene: Scene) -> None:
    place = await scene.begin(FILES | {"old/HEAD": "ref: refs/heads/x\n", "old/objects/a": "", "old/refs/b": ""})
    for name in ("docs/store", "."):
        write(place, {f"{name}/HEAD": "ref: refs/heads/main\n", f"{name}/objects/x": "", f"{name}/refs/y": ""})
    write(place, {"lent/HEAD": "ref: refs/heads/main\n", "lent/commondir": "../docs/store\n"})
    write(place, {"old/config": "[core]\nfsmonitor=touch x\n", "fine/HEAD": "a page\n", "fine/objects/x": ""})
    said = (await scene.collect(place)).refusals
    where = {line.split("'")[1] for line in said if "bare repository" in line}
    assert where == {"HEAD", "docs/store/HEAD", "lent/HEAD", "old/HEAD"}
    scene.policy = Policy(allow_paths=("docs/store/", "lent/", "old/", "/HEAD"))
    assert (await scene.collect(place)).refusals == ()


# ------------------------------------------------------------------ 53, 54: races and strange files


async def test_d53_a_directory_that_is_swapped_all_the_time_is_never_followed(scene: Scene) -> None:
    place = await scene.begin(FILES)
    outside = scene.root / "outside"
    write(outside, {"app.py": "password\n", "deep/app.py": "password\n"})
    stopped = threading.Event()

    def swap() -> None:
        while not stopped.is_set():
            for name in ("src", "docs"):
                os.rename(place / name, place / f"{name}.away")
                os.symlink(outside, place / name)
                os.unlink(place / name)
                os.rename(place / f"{name}.away", place / name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(25):
            write(place, {"new.py": f"{number}\n"})
            found = await scene.collect(place)
            assert b"password" not in found.diff
            assert found.patch is not None or found.refusals, "what cannot be read is refused, not guessed"
            assert not found.patch or not {path for path in found.patch.files if "deep" in path}
    finally:
        stopped.set()
        await asyncio.to_thread(swapper.join)


async def test_d54_bits_that_give_rights_are_not_taken(scene: Scene) -> None:
    place = await scene.begin(FILES)
    write(place, {"tool": "#!/bin/sh\n", "src/app.py": "print(2)\n"})
    (place / "tool").chmod(0o6755)
    (place / "src/app.py").chmod(0o7644)
    (place / "src").chmod(0o3777)
    found = await scene.collect(place)
    assert found.patch is not None
    modes = {path: facts.split()[0] for path, facts in scene.tree(found.patch.tree_sha).items()}
    assert (modes["tool"], modes["src/app.py"]) == ("100755", "100644")
    await scene.repos.materialise(REPO, found.patch.tree_sha, scene.root / "tested")
    assert not [path for path in (scene.root / "tested").rglob("*") if path.stat().st_mode & 0o6000]


# ------------------------------------------------------------------ 56 to 60: what a change may touch


@pytest.mark.parametrize(
    "text", ['[submodule "x"]\n\tpath = x\n\turl = -u./evil\n', "path = x\r\n", "url = file:///\n"]
)
async def test_d56_submodules_are_never_defined(scene: Scene, text: str) -> None:
    place = await scene.begin(FILES)
    write(place, {".gitmodules": text, "src/.gitmodules": text, "good.py": "1\n"})
    found = await scene.collect(place)
    assert len([line for line in found.refusals if "submodules" in line]) == 2
    assert found.patch is not None
    assert found.patch.files == ("good.py",)


async def test_d57_nothing_is_hidden_from_who_scans_and_reviews(scene: Scene) -> None:
    place = await scene.begin(FILES)
    scene.policy = Policy(allow_paths=(".gitattributes",))
    rules = "*.py -diff export-ignore -text linguist-generated\n*.md working-tree-encoding=UTF-16 ident eol=crlf\n"
    write(place, {".gitattributes": rules, "src/app.py": "print('seen')\n", "docs/a.md": "$Id$ seen too\n"})
    found = await scene.collect(place)
    assert found.patch is not None
    for line in (b"+print('seen')", b"+$Id$ seen too", b"+*.py -diff"):
        assert line in found.diff
    await scene.repos.materialise(REPO, found.patch.tree_sha, scene.root / "tested")
    for path in ("src/app.py", "docs/a.md", ".gitattributes"):
        assert (scene.root / "tested" / path).read_bytes() == (place / path).read_bytes()


DECIDING = [".github/workflows/x.yml", ".github/actions/a/action.yml", "CODEOWNERS", ".github/windlass.yml"]
AGENTS = ["AGENTS.md", "src/CLAUDE.md", ".mcp.json", ".cursor/rules/x.md", ".claude/settings.json", ".windsurfrules"]


@pytest.mark.parametrize("path", [*DECIDING, *AGENTS])
def test_a11_d58_what_decides_over_others_is_protected(path: str) -> None:
    change = Change(path=path, new_mode="100644", new_sha="1" * 40)
    assert any("is protected by" in line for line in guard([change], policy=Policy()))
    assert guard([change], policy=Policy(allow_paths=(path,))) == ()


def pull_text(*paths: str) -> PullText:
    patch = PatchRef(digest="0" * 64, start_sha="1" * 40, tree_sha="2" * 40, files=paths, insertions=1, deletions=1)
    return PullText(
        job_id="j1",
        issue_number=7,
        issue_title="t",
        requested_by="ada",
        agent="a",
        report="# Mended [skip ci]",
        patch=patch,
        verification=None,
    )


def test_d61_a_report_does_not_switch_the_checks_off() -> None:
    assert "Mended (skip ci)" in pull_body(pull_text("a.py")), "a squashed commit may have it as its message"


# ------------------------------------------------------------------ 61: words that git and forges obey


@pytest.mark.parametrize(
    "order", ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[Actions  Skip]", "***NO_CI***", "[skip-ci]"]
)
def test_d61_a_message_does_not_switch_the_checks_off(order: str) -> None:
    message = commit_message(title=f"Mend it {order}", issue_number=7, job_id="j1", agent=order)
    for text in (message, pull_title(f"Mend it {order}", "", 7), pull_title("", f"Mend it {order}", 7)):
        assert order.casefold() not in text.casefold()
        assert "Mend it" in text or text == message


def test_d61_a_message_has_no_trailer_of_the_agents() -> None:
    title = "Mend it\n\nSigned-off-by: Ada <a@b>\nCo-authored-by: Ada <a@b>\nskip-checks: true\nFixes #1"
    message = commit_message(title=title, issue_number=7, job_id="j1", agent="x\nSigned-off-by: Ada <a@b>")
    lines = [line for line in message.splitlines() if line.startswith(("Signed", "Co-auth", "skip-", "Fixes"))]
    assert lines == []
    assert "#1" not in message
