"""What an agent leaves becomes exactly that change, and nothing else."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.git.conftest import REPO, Scene, make_repository, sh_git, write

from windlass.core.errors import Broken, NotFound, Refused

FILES = {"README.md": "hello\n", "src/app.py": "print(1)\n", "data.bin": bytes(range(256)), "run.sh": "#!/bin/sh\n"}


async def test_nothing_changed_is_no_patch(scene: Scene) -> None:
    place = await scene.begin(FILES)
    found = await scene.collect(place)
    assert (found.patch, found.diff, found.refusals) == (None, b"", ())


async def test_edits_additions_removals_modes_and_links(scene: Scene) -> None:
    place = await scene.begin(FILES)
    write(place, {"src/app.py": "print(2)\n", "new/deep/x.txt": "x\r\ny", "data.bin": b"\0\1\2"})
    (place / "README.md").unlink()
    (place / "run.sh").chmod(0o755)
    (place / "here").symlink_to("src/app.py")
    found = await scene.collect(place)
    assert found.refusals == ()
    assert found.patch is not None
    assert found.patch.files == ("README.md", "data.bin", "here", "new/deep/x.txt", "run.sh", "src/app.py")
    assert (found.patch.insertions, found.patch.deletions) == (4, 2)
    tree = scene.tree(found.patch.tree_sha)
    assert tree["run.sh"].startswith("100755")
    assert tree["here"].startswith("120000")
    assert "README.md" not in tree
    again = scene.root / "again"
    await scene.repos.materialise(REPO, found.patch.tree_sha, again)
    assert (again / "new/deep/x.txt").read_bytes() == b"x\r\ny"
    assert await scene.repos.restore(REPO, found.patch, found.diff) == found.patch.tree_sha


async def test_files_become_directories_and_back(scene: Scene) -> None:
    place = await scene.begin({"a": "1\n", "b/c": "2\n", "keep": "3\n"})
    (place / "a").unlink()
    write(place, {"a/inner": "1\n"})
    (place / "b/c").unlink()
    (place / "b").rmdir()
    write(place, {"b": "now a file\n"})
    found = await scene.collect(place)
    assert found.patch is not None
    assert set(scene.tree(found.patch.tree_sha)) == {"a/inner", "b", "keep"}
    assert await scene.repos.restore(REPO, found.patch, found.diff) == found.patch.tree_sha


async def test_noise_stays_as_at_the_start(scene: Scene) -> None:
    place = await scene.begin({"a.py": "1\n", "windsurf-output.txt": "old\n", "gen/x.txt": "1\n", "lib.pyc": b"1"})
    write(place, {"windsurf-output.txt": "new\n", "windsurf-instructions.txt": "x", ".windsurf/workflows/e.md": "x"})
    write(place, {"__pycache__/a.pyc": b"1", "pkg/__pycache__/b.pyc": b"1", ".pytest_cache/v": "1", "gen/new.txt": "2"})
    write(place, {"lib.pyc": b"2"})
    (place / "gen/x.txt").unlink()
    noise = ("windsurf-output.txt", "windsurf-instructions.txt", ".windsurf/workflows/e.md", "gen/")
    found = await scene.collect(place, *noise)
    assert found.refusals == ()
    assert found.patch is not None
    assert found.patch.files == ("lib.pyc",), "a tracked file of a tool's kind still counts"


async def test_noise_in_pathspec_magic_is_refused(scene: Scene) -> None:
    place = await scene.begin(FILES)
    with pytest.raises(Refused) as caught:
        await scene.collect(place, ":(exclude)x")
    assert caught.value.code == "bad_noise"


async def test_the_start_ignores_decide_not_the_agents(scene: Scene) -> None:
    rules = {".gitignore": "*.log\nbuild/\n!keep.log\n", "sub/.gitignore": "/local\n", "build/tracked.txt": "1\n"}
    place = await scene.begin(rules | {"a": "1\n"})
    write(place, {".gitignore": "*\n", "a.log": "x", "keep.log": "x", "build/out.o": "x", "build/tracked.txt": "2\n"})
    write(place, {"sub/local": "x", "local": "x", "new.py": "x", "deep/build/y": "x", "deep/buildx/y": "x"})
    (place / "deep/link").symlink_to("buildx")
    found = await scene.collect(place)
    assert found.patch is not None
    expected = (".gitignore", "build/tracked.txt", "deep/buildx/y", "deep/link", "keep.log", "local", "new.py")
    assert found.patch.files == expected


async def test_ignored_directories_are_not_counted(scene: Scene) -> None:
    place = await scene.begin({".gitignore": "node_modules/\n"})
    (place / "node_modules/a").mkdir(parents=True)
    for number in range(3500):
        (place / f"node_modules/a/{number}").touch()
    write(place, {"x": "1"})
    found = await scene.collect(place)
    assert found.refusals == ()
    assert found.patch is not None
    assert found.patch.files == ("x",)


async def test_a_root_git_directory_of_the_agent_is_left_out(scene: Scene) -> None:
    place = await scene.begin(FILES)
    make_repository(place, {"new.py": "1\n"})
    found = await scene.collect(place)
    assert found.refusals == ()
    assert found.patch is not None
    assert found.patch.files == ("new.py",)


async def test_a_changed_diff_is_broken(scene: Scene) -> None:
    place = await scene.begin(FILES)
    write(place, {"src/app.py": "print(2)\n"})
    found = await scene.collect(place)
    assert found.patch is not None
    for diff in (found.diff.replace(b"print(2)", b"print(3)"), b"", b"garbage", found.diff[:-20]):
        with pytest.raises(Broken):
            await scene.repos.restore(REPO, found.patch, diff)
    with pytest.raises(NotFound):
        await scene.repos.restore(REPO, dataclasses.replace(found.patch, start_sha="1" * 40), found.diff)


async def test_deleting_everything_is_refused_and_kept(scene: Scene) -> None:
    place = await scene.begin({f"f{n}": f"{n}\n" for n in range(12)})
    for path in place.iterdir():
        path.unlink()
    found = await scene.collect(place)
    assert found.patch is not None
    assert found.refusals == ("12 of 12 tracked files are deleted, more than half; delete less in one change",)


async def test_materialise_takes_only_an_empty_directory(scene: Scene) -> None:
    place = await scene.begin(FILES)
    with pytest.raises(Refused) as caught:
        await scene.repos.materialise(REPO, scene.start, place)
    assert caught.value.code == "directory_not_empty"


async def test_attributes_change_no_byte(scene: Scene) -> None:
    marker = scene.root / "ran"
    attributes = (
        "*.txt text eol=crlf\n*.id ident\n*.sub export-subst\n*.no export-ignore\n*.enc working-tree-encoding=UTF-16\n"
        "*.f filter=evil diff=evil\n*.hidden -diff\n"
    )
    files = {
        "a.txt": "1\n2\n",
        "b.id": "$Id$\n",
        "c.sub": "$Format:%H$\n",
        "d.no": "x\n",
        "e.enc": "abc\n",
        "f.f": "f\n",
    }
    start = make_repository(scene.work, files)
    write(scene.work, {".gitattributes": attributes})
    sh_git(scene.work, "update-index", "--add", "--cacheinfo", f"100644,{_blob(scene.work, attributes)},.gitattributes")
    sh_git(scene.work, "commit", "-q", "-m", "attributes")
    assert start
    place = await scene.begin({}, prepared=True)
    for path, content in files.items():
        assert (place / path).read_bytes() == content.encode(), path
    assert (await scene.collect(place)).patch is None, "what was written out reads back the same"
    write(place, {"a.txt": "1\r\n2\r\n", "b.id": "$Id: x $\n", "n.hidden": "seen\n", "e.enc": b"\xff\xfea\0"})
    found = await scene.collect(place)
    assert found.patch is not None
    assert b"+seen" in found.diff, "-diff hides nothing"
    assert await scene.repos.restore(REPO, found.patch, found.diff) == found.patch.tree_sha
    assert await scene.repos.read_file(REPO, found.patch.tree_sha, "a.txt") == b"1\r\n2\r\n"
    assert not marker.exists()


def _blob(where: Path, text: str) -> str:
    return sh_git(where, "hash-object", "-w", "--no-filters", "--stdin", stdin=text.encode())


async def test_reading(scene: Scene) -> None:
    place = await scene.begin(FILES | {"dir/päth *.txt": "é"})
    (place / "l").symlink_to("README.md")
    found = await scene.collect(place)
    assert found.patch is not None
    read = scene.repos.read_file
    assert await read(REPO, scene.start, "README.md") == b"hello\n"
    assert await read(REPO, scene.start, "dir/päth *.txt") == "é".encode()
    for absent in ("", "nope", "src", "src/", "/README.md", "../x", "*", ":/README.md", "a\0b"):
        assert await read(REPO, scene.start, absent) is None, absent
    assert await read(REPO, found.patch.tree_sha, "l") is None, "a link is not a file"
    assert set(await scene.repos.list_files(REPO, found.patch.tree_sha)) == {*FILES, "dir/päth *.txt"}
    for bad in ("HEAD", "--help", "1" * 40):
        with pytest.raises(Refused):
            await read(REPO, bad, "README.md")


NAMES = st.text(st.sampled_from("abC.é -_'\"*?[#!~$é日"), min_size=1, max_size=6).filter(lambda n: n not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENT = st.one_of(st.binary(max_size=40), st.text(st.sampled_from("ab\n\r "), max_size=30).map(str.encode))
TREES = st.dictionaries(PATHS, st.tuples(CONTENT, st.booleans()), max_size=6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=TREES, second=TREES)
async def test_collect_and_restore_give_the_same_tree(scene: Scene, first: dict, second: dict) -> None:
    if not scene.start:
        await scene.begin({"one": "1\n"})
    start, root = scene.start, scene.root
    scene.start = start
    trees: list[str] = []
    for files in (first, second):
        scene.workspaces += 1
        place = root / f"h{scene.workspaces}"
        _lay_out(place, files)
        found = await scene.collect(place)
        tree = found.patch.tree_sha if found.patch else sh_git(scene.mirror, "rev-parse", f"{scene.start}^{{tree}}")
        if found.patch:
            assert await scene.repos.restore(REPO, found.patch, found.diff) == tree
        back = root / f"b{scene.workspaces}"
        await scene.repos.materialise(REPO, tree, back)
        if not found.refusals:
            assert _contents(back) == _contents(place)
        trees.append(tree)
        scene.start = await scene.repos.commit(
            REPO, tree_sha=tree, parent_sha=scene.start, message="m", author=("a", "b"), at_ms=0
        )
    scene.start = start


def _lay_out(place: Path, files: dict[str, tuple[bytes, bool]]) -> None:
    place.mkdir()
    for path, (content, is_executable) in files.items():
        try:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content)
            (place / path).chmod(0o755 if is_executable else 0o644)
        except OSError:
            continue


def _contents(place: Path) -> dict[str, tuple[bytes, bool]]:
    files = (p for p in place.rglob("*") if p.is_file())
    return {str(p.relative_to(place)): (p.read_bytes(), os.access(p, os.X_OK)) for p in files}
