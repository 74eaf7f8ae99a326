"""A user's own repository: read without trust, given one branch back, and otherwise untouched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.adapters.git.conftest import make_repository, sh_git, write

from windlass.adapters.git import fetch_branch_into, import_repository
from windlass.core.errors import Conflict, NotFound, Refused


def fingerprint(root: Path) -> dict[str, str]:
    """Every file below, with what is in it."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def test_import_reads_only(tmp_path: Path) -> None:
    sha = make_repository(tmp_path / "src", {"a/b": "1\n"}, "trunk")
    sh_git(tmp_path / "src", "branch", "other")
    sh_git(tmp_path / "src", "tag", "v1")
    before = fingerprint(tmp_path / "src")
    assert await import_repository(tmp_path / "src" / "a", tmp_path / "x" / "out.git") == "trunk"
    assert fingerprint(tmp_path / "src") == before
    out = tmp_path / "x" / "out.git"
    assert sh_git(out, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/other", "refs/heads/trunk"]
    assert sh_git(out, "rev-parse", "HEAD") == sha
    assert not (out / "objects/info/alternates").exists()
    assert list((tmp_path / "x").iterdir()) == [out]


async def test_import_from_a_linked_work_tree_and_a_bare_repository(tmp_path: Path) -> None:
    make_repository(tmp_path / "src", {"a": "1\n"})
    sh_git(tmp_path / "src", "worktree", "add", "-q", "-b", "side", str(tmp_path / "linked wt"))
    assert await import_repository(tmp_path / "linked wt", tmp_path / "one.git") == "side"
    sh_git(tmp_path, "clone", "-q", "--bare", "src", "bare.git")
    assert await import_repository(tmp_path / "bare.git", tmp_path / "two.git") == "main"


async def test_import_detached(tmp_path: Path) -> None:
    make_repository(tmp_path / "src", {"a": "1\n"})
    sh_git(tmp_path / "src", "checkout", "-q", "--detach")
    await refused(tmp_path / "src", tmp_path, "detached_head")
    assert await import_repository(tmp_path / "src", tmp_path / "out.git", base="main") == "main"


async def test_import_refusals(tmp_path: Path) -> None:
    await refused(tmp_path / "absent", tmp_path, "not_a_repository")
    (tmp_path / "plain").mkdir()
    await refused(tmp_path / "plain", tmp_path, "not_a_repository")
    sh_git(tmp_path, "init", "-q", "empty")
    await refused(tmp_path / "empty", tmp_path, "empty_repository")
    make_repository(tmp_path / "src", {"a": "1\n"})
    write(tmp_path / "src", {"a": "2\n"})
    sh_git(tmp_path / "src", "commit", "-qam", "second")
    await refused(tmp_path / "src", tmp_path, "base_missing", base="nope")
    await refused(tmp_path / "src", tmp_path, "bad_branch", base="--upload-pack=x")
    sh_git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path}/src", "shallow")
    await refused(tmp_path / "shallow", tmp_path, "shallow_repository")
    sh_git(tmp_path / "src", "config", "extensions.partialClone", "origin")
    await refused(tmp_path / "src", tmp_path, "partial_clone")
    sh_git(tmp_path, "init", "-q", "--object-format=sha256", "sha256")
    sh_git(tmp_path / "sha256", "commit", "-q", "--allow-empty", "-m", "x")
    await refused(tmp_path / "sha256", tmp_path, "unsupported_object_format")
    assert not list(tmp_path.glob("out.git*"))
    (tmp_path / "out.git").mkdir()
    (tmp_path / "out.git/x").touch()
    await refused(tmp_path / "src", tmp_path, "destination_not_empty")


async def refused(source: Path, root: Path, code: str, base: str = "") -> None:
    with pytest.raises(Refused) as caught:
        await import_repository(source, root / "out.git", base=base)
    assert caught.value.code == code
    assert caught.value.hint


async def test_a_hostile_configuration_of_the_source_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "src"
    make_repository(source, {"a": "1\n"})
    marker = tmp_path / "ran"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\n")
    evil.chmod(0o755)
    with (source / ".git/config").open("a") as config:
        config.write(f"[core]\nfsmonitor={evil}\nsshCommand={evil}\nalternateRefsCommand={evil}\ngitProxy={evil}\n")
        config.write(f"[uploadpack]\npackObjectsHook={evil}\n[credential]\nhelper=!{evil}\n[gpg]\nprogram={evil}\n")
        config.write(f'[url "ext::{evil} "]\ninsteadOf={tmp_path}\n[remote "o"]\nurl=ext::{evil}\nuploadpack={evil}\n')
    for hook in ("reference-transaction", "post-checkout", "pre-receive", "post-update"):
        (source / ".git/hooks").mkdir(exist_ok=True)
        (source / ".git/hooks" / hook).symlink_to(evil)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert await import_repository(source, tmp_path / "out.git") == "main"
    work_on(tmp_path, "ai-1")
    # The rewriting of our path to ext:: is refused by the protocol rule: an error, never a program.
    with pytest.raises(Exception, match="transport 'ext' not allowed"):
        await fetch_branch_into(source, tmp_path / "out.git", "ai-1")
    text = (source / ".git/config").read_text().replace(f"insteadOf={tmp_path}\n", "")
    (source / ".git/config").write_text(text)
    await fetch_branch_into(source, tmp_path / "out.git", "ai-1")
    assert not marker.exists()


def work_on(root: Path, branch: str) -> str:
    """One more commit on `branch` of out.git; its id."""
    bare = root / "out.git"
    parent = sh_git(bare, "rev-parse", "--verify", "-q", "main")
    if branch in sh_git(bare, "for-each-ref", "--format=%(refname:short)").split():
        parent = sh_git(bare, "rev-parse", branch)
    tree = sh_git(bare, "rev-parse", "main^{tree}")
    sha = sh_git(bare, "commit-tree", tree, "-p", parent, "-m", "work")
    sh_git(bare, "update-ref", f"refs/heads/{branch}", sha)
    return sha


async def test_a_branch_comes_back_and_nothing_else_moves(tmp_path: Path) -> None:
    source = tmp_path / "src"
    make_repository(source, {"a": "1\n"})
    await import_repository(source, tmp_path / "out.git")
    write(source, {"a": "being edited\n", "untracked": "x"})
    before = {k: v for k, v in fingerprint(source).items() if "/objects/" not in k}
    first = work_on(tmp_path, "ai-7")
    assert await fetch_branch_into(source, tmp_path / "out.git", "ai-7") == first
    assert await fetch_branch_into(source, tmp_path / "out.git", "ai-7") == first
    second = work_on(tmp_path, "ai-7")
    assert await fetch_branch_into(source, tmp_path / "out.git", "ai-7") == second
    assert sh_git(source, "rev-parse", "ai-7") == second
    after = {k: v for k, v in fingerprint(source).items() if "/objects/" not in k}
    assert set(after) - set(before) == {".git/refs/heads/ai-7", ".git/logs/refs/heads/ai-7"}
    assert {k: after[k] for k in before} == before


async def test_a_users_own_branch_is_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "src"
    make_repository(source, {"a": "1\n"})
    await import_repository(source, tmp_path / "out.git")
    work_on(tmp_path, "ai-7")
    write(source, {"mine": "1\n"})
    sh_git(source, "checkout", "-q", "-b", "ai-7")
    with pytest.raises(Refused) as caught:
        await fetch_branch_into(source, tmp_path / "out.git", "ai-7")
    assert caught.value.code == "branch_checked_out"
    sh_git(source, "add", "-A")
    sh_git(source, "commit", "-qm", "mine")
    mine = sh_git(source, "rev-parse", "HEAD")
    sh_git(source, "checkout", "-q", "main")
    with pytest.raises(Conflict) as conflict:
        await fetch_branch_into(source, tmp_path / "out.git", "ai-7")
    assert conflict.value.code == "branch_exists"
    assert sh_git(source, "rev-parse", "ai-7") == mine
    sh_git(source, "worktree", "add", "-q", str(tmp_path / "wt"), "ai-7")
    with pytest.raises(Refused) as caught:
        await fetch_branch_into(tmp_path / "wt", tmp_path / "out.git", "ai-7")
    assert caught.value.code == "branch_checked_out"


@pytest.mark.parametrize("branch", ["main", "ai-0", "ai-", "ai-1/../main", "ai-1:main", "+ai-1", "ai-1\n"])
async def test_only_job_branches_come_back(tmp_path: Path, branch: str) -> None:
    make_repository(tmp_path / "src", {"a": "1\n"})
    with pytest.raises(Refused):
        await fetch_branch_into(tmp_path / "src", tmp_path / "src", branch)


async def test_a_missing_branch_is_said(tmp_path: Path) -> None:
    make_repository(tmp_path / "src", {"a": "1\n"})
    await import_repository(tmp_path / "src", tmp_path / "out.git")
    with pytest.raises(NotFound):
        await fetch_branch_into(tmp_path / "src", tmp_path / "out.git", "ai-9")
