"""Diffs are read strictly and applied to the letter."""

from __future__ import annotations

import contextlib
import difflib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.errors import Refused
from windlass.core.unidiff import Written, apply, extract, parse


def applied(diff: str, **files: str) -> dict[str, str | None]:
    held = {name.replace("__", "/").replace("_py", ".py"): text for name, text in files.items()}
    return {item.path: item.text for item in apply(parse(diff), held.get)}


SIMPLE = "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"


def test_a_plain_change() -> None:
    assert applied(SIMPLE, f="one\ntwo\nthree\nfour\n") == {"f": "one\n2\nthree\nfour\n"}


def test_a_moved_hunk_is_found_nearby_and_only_when_that_is_one_place() -> None:
    assert applied(SIMPLE, f="new\n" * 5 + "one\ntwo\nthree\n") == {"f": "new\n" * 5 + "one\n2\nthree\n"}
    with pytest.raises(Refused):
        applied(SIMPLE.replace("-1,3 +1,3", "-4,3 +4,3"), f="one\ntwo\nthree\nx\nx\nx\none\ntwo\nthree\n")
    with pytest.raises(Refused):
        applied(SIMPLE, f="new\n" * 500 + "one\ntwo\nthree\n")


def test_later_hunks_follow_the_drift_of_earlier_ones() -> None:
    diff = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+A\n@@ -3 +3 @@\n-x\n+X\n"
    assert applied(diff, f="0\n0\na\nb\nx\nc\nx\n") == {"f": "0\n0\nA\nb\nX\nc\nx\n"}


def test_new_deleted_renamed_copied_and_mode() -> None:
    diff = (
        "diff --git a/new b/new\nnew file mode 100755\nindex 0000000..1\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n"
        "diff --git a/old b/old\ndeleted file mode 100644\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n"
        "diff --git a/from here b/to there\nsimilarity index 50%\nrename from from here\nrename to to there\n"
        "--- a/from here\n+++ b/to there\n@@ -1,2 +1,2 @@\n keep\n-a\n+b\n"
        "diff --git a/c b/d\nsimilarity index 100%\ncopy from c\ncopy to d\n"
        "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
        "diff --git a/empty b/empty\nnew file mode 100644\nindex 0000000..e69de29\n"
    )
    held = {"old": "bye\n", "from here": "keep\na\n", "c": "same\n", "run.sh": "#!\n"}
    assert apply(parse(diff), held.get) == (
        Written(path="new", text="x\n", mode="100755"),
        Written(path="old", text=None),
        Written(path="from here", text=None),
        Written(path="to there", text="keep\nb\n"),
        Written(path="d", text="same\n"),
        Written(path="run.sh", text="#!\n", mode="100755"),
        Written(path="empty", text="", mode="100644"),
    )


def test_missing_newlines_at_the_end() -> None:
    mark = "\\ No newline at end of file\n"
    assert applied(f"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n{mark}+b\n", f="a") == {"f": "b\n"}
    assert applied(f"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n{mark}", f="a\n") == {"f": "b"}
    with pytest.raises(Refused):
        applied("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n", f="a")


def test_line_endings_are_kept() -> None:
    assert applied(SIMPLE, f="one\r\ntwo\r\nthree\r\n") == {"f": "one\r\n2\r\nthree\r\n"}
    exact = SIMPLE.replace("one\n", "one\r\n").replace("two\n", "two\r\n").replace("three\n", "three\r\n")
    assert applied(exact, f="one\r\ntwo\r\nthree\r\n") == {"f": "one\r\n2\nthree\r\n"}
    with pytest.raises(Refused):
        applied(exact, f="one\ntwo\nthree\n")


def test_quoted_names_and_names_after_tabs() -> None:
    diff = '--- "a/caf\\303\\251 x"\n+++ "b/caf\\303\\251 x"\n@@ -1 +1 @@\n-a\n+b\n'
    assert [item.path for item in apply(parse(diff), {"café x": "a\n"}.get)] == ["café x"]
    assert applied("--- f.orig\t2024-01-01\n+++ f\t2024-01-02\n@@ -1 +1 @@\n-a\n+b\n", f="a\n") == {"f": "b\n"}


@pytest.mark.parametrize(
    ("diff", "why"),
    [
        ("nothing here", "no diff"),
        ("--- a/f\n+++ b/f\n", "without a change"),
        ("@@ -1 +1 @@\n-a\n+b\n", "without a file"),
        ("--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n", "may be changed"),
        ("--- a//etc/f\n+++ b//etc/f\n@@ -1 +1 @@\n-a\n+b\n", "inside"),
        ("--- /etc/f\n+++ /etc/f\n@@ -1 +1 @@\n-a\n+b\n", "inside"),
        ("--- C:/f\n+++ C:/f\n@@ -1 +1 @@\n-a\n+b\n", "inside"),
        ("--- a/.git/config\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n", "may be changed"),
        ("--- a/x/.GIT /h\n+++ b/x/.GIT /h\n@@ -1 +1 @@\n-a\n+b\n", "may be changed"),
        ('--- "a/x\\nb"\n+++ "b/x\\nb"\n@@ -1 +1 @@\n-a\n+b\n', "control"),
        ("diff --git a/f b/f\nGIT binary patch\nliteral 1\n", "binary"),
        ("diff --git a/f b/f\nindex 1..2 100644\nBinary files a/f and b/f differ\n", "binary"),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n",
            "mode 120000",
        ),
        ("diff --git a/s b/s\nnew file mode 160000\n", "mode 160000"),
        ("diff --git a/f b/g\n--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "not a rename"),
        ("diff --git a/f b/f\n--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "different files"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-a\n", "ends early"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n+c\n", "more lines than it says"),
        ("--- a/f\n+++ b/f\n@@ -1 +1,2 @@\n-a\n-b\n", "longer than it says"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n*b\n", "not a line of a hunk"),
        (SIMPLE + SIMPLE, "changed twice"),
        ("--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n", "names a file"),
    ],
)
def test_what_is_refused_when_read(diff: str, why: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(diff)
    assert caught.value.code == "diff_refused"
    assert why in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("diff", "held"),
    [
        (SIMPLE, {}),
        (SIMPLE, {"f": "one\ntwo \nthree\n"}),
        ("--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n", {"f": "there\n"}),
        ("--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", {"f": "a\nmore\n"}),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n@@ -2,2 +2,2 @@\n b\n-c\n+C\n", {"f": "a\nb\nc\n"}),
        ("diff --git a/f b/g\nrename from f\nrename to g\n", {"f": "x\n", "g": "y\n"}),
    ],
)
def test_what_does_not_fit_is_refused(diff: str, held: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        apply(parse(diff), held.get)
    assert caught.value.code == "diff_refused"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Please:\n\n```diff\n{SIMPLE}```\nthanks", SIMPLE),
        (f"Please:\n\n````patch title\n{SIMPLE}````\n", SIMPLE),
        (f"```\nsome log\n```\n```\n{SIMPLE}```\n", SIMPLE),
        (
            f"```diff\n{SIMPLE}```\nand\n```diff\n{SIMPLE.replace('/f', '/g')}```",
            SIMPLE + "\n" + SIMPLE.replace("/f", "/g"),
        ),
        (f"Text before\n{SIMPLE}", SIMPLE),
        (f"```diff\n{SIMPLE}```".replace("\n", "\r\n"), SIMPLE),
        ("```diff\nnot one\n```", ""),
        ("no diff, only --- rules\n---\n+++\n", ""),
        ("", ""),
    ],
)
def test_where_a_diff_is_found(text: str, found: str) -> None:
    assert extract(text) == found


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "-- x", "+++ y", "\t", "é"]), max_size=14)


@settings(max_examples=150, deadline=None)
@given(LINES, LINES, st.integers(0, 3))
def test_what_difflib_says_is_what_apply_does(old: list[str], new: list[str], context: int) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a/f", "b/f", n=context)
    diff = "".join(lines)
    if diff:
        assert applied(diff, f=before) == {"f": after}


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="+-@ a/b\n\\\r\t\"'01,diff", max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Refused):
        apply(parse("--- a/f\n+++ b/f\n" + text), {"f": "a\n"}.get)


def test_what_git_writes_is_what_git_means(tmp_path: Path) -> None:
    """Against git itself: a diff of two trees, applied to the first, gives the second."""

    def git(*argv: str) -> str:
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", *argv], cwd=tmp_path, capture_output=True, check=True
        )
        return done.stdout.decode()

    def tree() -> str:
        git("add", "-A")
        return git("write-tree").strip()

    git("init", "-q")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/one").write_text("".join(f"line {n}\n" for n in range(60)))
    (tmp_path / "gone").write_text("x\n")
    (tmp_path / "moves").write_text("".join(f"moved {n}\n" for n in range(20)))
    before = tree()
    held = {path: git("show", f"{before}:{path}") for path in ("d/one", "gone", "moves")}
    (tmp_path / "d/one").write_text("".join(f"line {n}\n" for n in range(60) if n not in (3, 40)) + "end")
    (tmp_path / "gone").unlink()
    (tmp_path / "with blank é").write_text("fresh\n")
    (tmp_path / "moves").rename(tmp_path / "d/moved")
    diff = git("diff", "-M", before, tree())
    written = {item.path: item.text for item in apply(parse(diff), held.get)}
    assert written == {
        "d/one": (tmp_path / "d/one").read_text(),
        "gone": None,
        "moves": None,
        "d/moved": held["moves"],
        "with blank é": "fresh\n",
    }
