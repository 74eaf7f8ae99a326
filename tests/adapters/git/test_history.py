"""Many files at once, words in files, commits on paths: from a mirror, whatever the names are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.mirror import NAME, Mirror, mirror_at

from windlass.core.errors import NotFound, Refused

FILES = {
    "a.py": "def total_price():\n    return total_price\n",
    "dir/b c.py": "total_price = 1\nx\n",
    "dir/:(glob)*.py": "subtotal_price\n",
    "new\nline:x.txt": "total_price\n",
    "big.txt": "x" * 10_000,
    "image.bin": b"\0total_price\n",
}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return mirror_at(tmp_path)


async def test_files_are_read_in_one_go(mirror: Mirror) -> None:
    sha = await mirror.commit(FILES)
    (mirror.work / "link").symlink_to("a.py")
    sha = await mirror.commit({})
    read = mirror.repositories.read_files
    wanted = ["dir/b c.py", "a.py", "none.py", "dir", "link", "../a.py", "new\nline:x.txt", "a.py", "big.txt"]
    found = await read(NAME, sha, wanted, largest=9_999)
    assert list(found) == ["dir/b c.py", "a.py", "new\nline:x.txt"]
    assert found["dir/b c.py"] == b"total_price = 1\nx\n"
    assert len((await read(NAME, sha, ["big.txt"], largest=10_000))["big.txt"]) == 10_000
    assert await read(NAME, sha, [], largest=1) == {}
    with pytest.raises(NotFound):
        await read(NAME, "0" * 39 + "1", ["a.py"], largest=1)


async def test_whole_words_are_searched_in_text_files(mirror: Mirror) -> None:
    sha = await mirror.commit(FILES)
    search = mirror.repositories.search_files
    found = await search(NAME, sha, ["total_price", "nothing"])
    assert found == {"a.py": 2, "dir/b c.py": 1, "new\nline:x.txt": 1}
    assert await search(NAME, sha, ["absent"]) == {}
    assert await search(NAME, sha, []) == {}


@pytest.mark.parametrize("words", [["-O"], ["a b"], ["x\n--open-files-in-pager=sh"], [""], ["a"] * 51])
async def test_only_identifiers_are_searched_for(mirror: Mirror, words: list[str]) -> None:
    sha = await mirror.commit(FILES)
    with pytest.raises(Refused) as caught:
        await mirror.repositories.search_files(NAME, sha, words)
    assert caught.value.code == "bad_word"


async def test_commits_that_touched_a_path(mirror: Mirror) -> None:
    first = await mirror.commit(FILES, "First\n\nbody")
    second = await mirror.commit({"a.py": "2\n"}, "Second: \u00fc \x1b[31m")
    third = await mirror.commit({"dir/b c.py": "3\n"}, "Third")
    commits = mirror.repositories.recent_commits
    found = await commits(NAME, third, ["a.py"], 5)
    assert [(one.sha, one.subject) for one in found] == [(second, "Second: \u00fc \x1b[31m"), (first, "First")]
    assert found[0].committed_at_ms % 1000 == 0
    assert [one.sha for one in await commits(NAME, third, ["a.py", "dir/b c.py"], 2)] == [third, second]
    assert [one.sha for one in await commits(NAME, second, ["dir/b c.py"], 5)] == [first]
    # A path is a name, never a pattern or an option.
    assert [one.sha for one in await commits(NAME, third, ["dir/:(glob)*.py"], 5)] == [first]
    assert await commits(NAME, third, ["--all", "*.py"], 5) == ()
    assert await commits(NAME, third, [], 5) == ()
    with pytest.raises(NotFound):
        await commits(NAME, "0" * 39 + "1", ["a.py"], 5)
