"""The guard's rules, one by one, on plain data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.patch_guard import (
    MAX_REFUSALS,
    Change,
    guard,
    is_git_directory,
    is_gitmodules,
    path_matches,
    path_refusal,
    protecting_rule,
    shown,
)
from windlass.core.policy import Limits, Policy

POLICY = Policy()


def added(path: str, **more: object) -> Change:
    return Change(path=path, new_mode="100644", new_sha="1" * 40, **more)  # type: ignore[arg-type]


def link(path: str, target: str) -> Change:
    return Change(path=path, new_mode="120000", new_sha="1" * 40, link_target=target)


def removed(path: str, sha: str = "2" * 40) -> Change:
    return Change(path=path, old_mode="100644", old_sha=sha)


@pytest.mark.parametrize(
    "path", ["a", "a b/ç.txt", "日本/x", "отчёт_v2.txt", "Δx.py", "-rf", ".github/x", ".gitignore", "a..b"]
)
def test_ordinary_paths_pass(path: str) -> None:
    assert path_refusal(path) == ""
    assert guard([added(path)], policy=POLICY) == ()


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("", "relative"),
        ("/etc/passwd", "relative"),
        ("../x", "'..'"),
        ("a/../b", "'..'"),
        ("a//b", "empty"),
        ("a/./b", "'.'"),
        ("a\0b", "control"),
        ("a\x1b[0m", "control"),
        ("a\u200bb", "invisible"),
        ("a\u202eb", "invisible"),
        ("a\\b", "backslash"),
        (" a/b", "space"),
        ("a /b", "space"),
        ("a\udcff", "UTF-8"),
        ("a\ud800", "control"),
        ("/".join(["d" * 100] * 50), "4096"),
        ("x" * 256, "255"),
        ("p\u0430ckage.json", "look-alikes"),
        ("C\u039fDE.md", "look-alikes"),
        ("sub/.GIT/config", "git directory"),
        (".gitmodules", "submodules"),
    ],
)
def test_path_tricks_are_refused(path: str, word: str) -> None:
    said = guard([added(path)], policy=POLICY)
    assert len(said) == 1
    assert word in said[0]
    assert said[0].isprintable()


@pytest.mark.parametrize(
    "name", [".git", ".GiT", "git~1", ".g\u200cit", ".git . .", ".git:x", ".g\ufeffit", "．ｇｉｔ", "GIT~1."]
)
def test_git_in_disguise(name: str) -> None:
    assert is_git_directory(name)


@pytest.mark.parametrize("name", ["git", ".gitx", "x.git", "git~2", ".gitignore", ".github", "a.git:b"])
def test_not_git(name: str) -> None:
    assert not is_git_directory(name)


def test_gitmodules_in_disguise() -> None:
    assert all(map(is_gitmodules, [".gitmodules", ".GITMODULES ", "gitmod~1", "GI7EBA~1", ".gitmod\u200cules"]))
    assert not is_gitmodules("gitmodules")


def test_modes() -> None:
    assert "submodule" in guard([Change(path="a", new_mode="160000")], policy=POLICY)[0]
    assert "submodule" in guard([Change(path="a", old_mode="160000")], policy=POLICY)[0]
    assert "mode 040000" in guard([Change(path="a", new_mode="040000")], policy=POLICY)[0]
    assert guard([Change(path="a", new_mode="100755")], policy=POLICY) == ()


@pytest.mark.parametrize("target", ["b", "../x", "d/../../x", "./b", "missing/deep", "."])
def test_links_inside_pass(target: str) -> None:
    assert guard([link("d/a", target)], policy=POLICY) == ()


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../x", "x/../../../y", "C:/x", "..\\..\\x", "", "../.git/config", "a"]
)
def test_links_out_are_refused(target: str) -> None:
    assert len(guard([link("d/a", target)], policy=POLICY)) == 1


def test_links_out_by_a_chain() -> None:
    said = guard([link("one", "d/two/../../.."), link("d/two", "..")], policy=POLICY)
    assert len(said) == 1
    assert said[0].startswith("'one'")


def test_an_old_link_led_out_by_a_new_one_is_refused() -> None:
    start = {"p/old": "sub/../../keep"}
    assert guard([link("p/sub", "../q")], policy=POLICY, start_links=start) != ()
    assert guard([added("p/sub/x")], policy=POLICY, start_links=start) == ()


def test_an_old_link_out_is_not_the_agents() -> None:
    assert guard([link("fine", "x")], policy=POLICY, start_links={"old": "/etc/hosts"}) == ()


def test_circles_end() -> None:
    said = guard([link("a", "b"), link("b", "a")], policy=POLICY)
    assert len(said) == 2
    assert "circle" in said[0]


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        ".github/workflows",
        ".GitHub/Workflows/x/y.yml",
        ".github/actions/a/action.yml",
        ".github/windlass.yml",
        "CODEOWNERS",
        ".github/CODEOWNERS",
        "docs/CODEOWNERS",
    ],
)
def test_built_in_protection(path: str) -> None:
    assert protecting_rule(path, POLICY)
    assert "protected" in guard([removed(path)], policy=POLICY)[0]
    assert guard([removed(path)], policy=Policy(allow_paths=(path,))) == ()


def test_protection_by_policy_and_its_lifting() -> None:
    policy = Policy(protect_paths=("migrations/**", "*.lock"), allow_paths=("migrations/new/**",))
    assert protecting_rule("migrations/1.sql", policy) == "migrations/**"
    assert protecting_rule("a/b/Poetry.LOCK", policy) == "*.lock"
    assert protecting_rule("migrations/new/2.sql", policy) == ""
    assert protecting_rule("src/CODEOWNERS", policy) == ""


def test_only_added_filters_are_refused() -> None:
    lfs = "*.bin filter=lfs diff=lfs -text\n"
    old = Change(
        path="a/.gitattributes", old_mode="100644", new_mode="100644", old_text=lfs, new_text=lfs + "*.md text\n"
    )
    assert guard([old], policy=POLICY) == ()
    for line in ("*.py filter=evil", "[attr]x filter=evil", "*.py  text filter"):
        said = guard([added("a/.gitattributes", new_text=lfs + line)], policy=Policy(allow_paths=("b",)))
        assert "runs programs" in said[0]
    assert guard([added(".gitattributes", new_text="# filter=x\n*.py -filter\n")], policy=POLICY) == ()


def test_limits() -> None:
    policy = Policy(limits=Limits(patch_files=2, patch_bytes=10))
    assert guard([added("a"), added("b")], policy=policy, diff_bytes=10) == ()
    assert len(guard([added("a"), added("b"), added("c")], policy=policy, diff_bytes=11)) == 2
    assert "larger" in guard([added("a", size=20_000_001)], policy=POLICY)[0]


@pytest.mark.parametrize(
    ("tracked", "gone", "is_refused"), [(9, 9, False), (10, 5, False), (10, 6, True), (100, 51, True)]
)
def test_mass_deletion(tracked: int, gone: int, is_refused: bool) -> None:
    start = [f"f{n}" for n in range(tracked)]
    said = guard([removed(path) for path in start[:gone]], policy=POLICY, start_paths=start)
    assert bool(said) is is_refused


def test_moving_everything_is_not_deleting() -> None:
    start = [f"f{n}" for n in range(20)]
    moves = [removed(path, sha=f"{n:040x}") for n, path in enumerate(start)]
    moves += [Change(path=f"new/f{n}", new_mode="100644", new_sha=f"{n:040x}") for n in range(20)]
    assert guard(moves, policy=POLICY, start_paths=start) == ()


def test_collisions() -> None:
    start = ["README.md", "src/a.py", "caf\u00e9"]
    for path in ("readme.md", "SRC/b.py", "cafe\u0301", "Src"):
        assert "differs from" in guard([added(path)], policy=POLICY, start_paths=start)[0], path
    assert guard([removed("README.md"), added("Readme.md")], policy=POLICY, start_paths=start) == ()
    assert "differs" in guard([added("x/A"), added("x/a")], policy=POLICY)[0]
    old_twins = ["A/x", "a/y"]
    assert guard([added("a/z"), added("A/z2")], policy=POLICY, start_paths=old_twins) == ()


def test_many_refusals_are_cut() -> None:
    said = guard([added(f"../{n}") for n in range(200)], policy=POLICY)
    assert len(said) == MAX_REFUSALS
    assert said[-1] == "and 151 more of the same kinds"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.py", ["a.py", "x/y.py", "d.py/inner"], ["a.pyc", "py"]),
        ("docs/*.md", ["docs/a.md"], ["docs/x/a.md", "x/docs/a.md"]),
        ("docs/**", ["docs/a", "docs/x/a"], ["docs", "x/docs/a", "docsx/a"]),
        ("**/secret", ["secret", "a/b/secret", "a/secret/x"], ["xsecret", "secretx"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["a/bz", "x/a/z"]),
        ("a/**/b/**/c*", ["a/b/c", "a/x/b/y/b/cc", "a/b/b/c/d"], ["a/c", "b/c", "x/a/b/c", "a/b/xc"]),
        ("**/a/b", ["a/b", "x/a/b", "a/a/b/c"], ["a/x/b"]),
        ("/top", ["top", "top/x"], ["x/top"]),
        ("build/", ["build/x", "a/build/x"], ["build", "a/build"]),
        ("f?[ab][!c].*", ["fxad.y"], ["fxcd.y", "fxac.y", "f/ad.y"]),
        ("a.b", ["a.b"], ["axb"]),
        ("[z-a]", ["[z-a]"], ["z"]),
        ("[x", ["[x"], ["x"]),
        ("**", ["a", "a/b"], []),
        ("*a*b*c", ["xaxbxc", "abc", "d/abc"], ["acb", "xa/bxc"]),
        ("", [], ["", "a"]),
        ("/", [], ["a"]),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not path_matches(pattern, path)] == []
    assert [path for path in no if path_matches(pattern, path)] == []


def test_patterns_for_directories_match_the_directory_itself() -> None:
    assert path_matches("build/", "x/build", is_directory=True)
    assert not path_matches("build/", "x/build")


def test_a_hostile_pattern_does_not_hang() -> None:
    assert not path_matches("*a" * 60 + "x", "a" * 250)
    assert not path_matches("**/" * 8 + "x", "a/" * 60 + "b")
    assert not path_matches("**/a" * 12 + "/x", "a/" * 120 + "b")


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_and_path_give_an_answer(pattern: str, path: str) -> None:
    assert path_matches(pattern, path) in {True, False}


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_change_gets_printable_lines(path: str, target: str) -> None:
    said = guard([added(path), link("l", target)], policy=POLICY, start_paths=["a", "B/c"])
    assert all(line.isprintable() for line in said)
    assert shown(path).isprintable()
