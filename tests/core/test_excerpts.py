"""Trees and excerpts within their limits, and honest about what they leave out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windlass.core.excerpts import excerpt, tree

name = st.text(alphabet="abcdef", min_size=1, max_size=4)
path = st.lists(name, min_size=1, max_size=5).map(lambda parts: "/".join(parts) + ".py")


@given(paths=st.lists(path, max_size=60, unique=True), limit=st.integers(min_value=60, max_value=800))
def test_a_tree_stays_within_its_limit_and_counts_every_file(paths: list[str], limit: int) -> None:
    text = tree(paths, paths[:2], limit)
    assert len(text) <= limit
    if "more at the top" in text:
        return
    shown = 0
    for line in text.split("\n") if text else []:
        shown += int(line.rsplit("(", 1)[1].split()[0]) if line.endswith(" files)") else 1
    assert shown == len(paths)


def test_a_tree_opens_what_matters() -> None:
    paths = [f"big/d{n}/f{m}.py" for n in range(50) for m in range(40)] + ["src/a/b/c.py", "node_modules/x/y.js"]
    text = tree(paths, ["src/a/b/c.py"], 1_500)
    assert "src/a/b/c.py" in text.split("\n")
    assert "node_modules/ (1 files)" in text
    assert tree(["a", "b/c"], [], 100) == "a\nb/c"
    assert tree([], [], 100) == ""


@given(lines=st.lists(st.text(alphabet="ab cd", max_size=60), max_size=200), limit=st.integers(300, 2_000))
def test_an_excerpt_stays_within_its_limit(lines: list[str], limit: int) -> None:
    text = "\n".join(lines)
    shown, is_whole = excerpt(text, ["ab", "cd"], limit)
    assert is_whole == (len(text) <= limit)
    assert (shown == text) if is_whole else len(shown) <= limit + 200


def test_an_excerpt_shows_the_lines_that_tell() -> None:
    lines = [f"line {n}" for n in range(1, 2_001)]
    lines[1_499] = "def total_price(orders):"
    shown, is_whole = excerpt("\n".join(lines), ["total_price"], 1_500, line=700)
    assert not is_whole
    for wanted in ("line 1\n", "line 700\n", "def total_price", "left out)"):
        assert wanted in shown
    assert "line 1000\n" not in shown


def test_one_endless_line_is_cut() -> None:
    shown, is_whole = excerpt("x" * 100_000, [], 2_000)
    assert len(shown) <= 2_200
    assert not is_whole
