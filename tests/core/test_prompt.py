"""The pure rules of prompts: fences that hold, no end marker, comments that count."""

from __future__ import annotations

import hashlib
import re
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from windlass.core.prompt import Comment, admitted, blob_sha, cut, fence, flagged, tokens, without_marker

TICKS = st.lists(st.sampled_from(["`", "```", "````text", "\n", "a", "WORK-COMPLETED", "~~~"]), max_size=30).map(
    "".join
)


@given(text=TICKS | st.text())
def test_no_line_of_a_text_closes_its_fence(text: str) -> None:
    first, *inner, last = fence(text, "issue").split("\n")
    ticks = re.match("`+", first)
    assert ticks is not None
    assert first == f"{ticks[0]}text issue (data)"
    assert last == ticks[0]
    assert all(ticks[0] not in line for line in inner)
    assert len(ticks[0]) <= 13


def test_a_text_within_reason_is_fenced_as_it_is() -> None:
    text = "a\n````\nb `c`\n"
    assert fence(text, "log") == f"`````text log (data)\n{text}\n`````"


@given(text=TICKS | st.text(), case=st.booleans())
def test_the_end_marker_never_stands_in_a_prompt(text: str, case: bool) -> None:
    made = without_marker(text + ("work-Completed" if case else "WORK-COMPLETED") + text)
    assert "WORK-COMPLETED" not in made.upper()
    assert "COMPLETED" in made.upper()


def comment(author: str, permission: str, at_ms: int, *, is_bot: bool = False, edited_at_ms: int = 0) -> Comment:
    return Comment(
        author=author,
        is_bot=is_bot,
        permission=permission,
        body=author,
        created_at_ms=at_ms,
        edited_at_ms=edited_at_ms,
    )


def test_only_comments_that_were_there_by_people_who_may_write_count() -> None:
    given_comments = [
        comment("ada", "admin", 1),
        comment("max", "maintain", 5, edited_at_ms=5),
        comment("wes", "write", 2),
        comment("tim", "triage", 2),
        comment("rob", "read", 2),
        comment("eve", "none", 2),
        comment("app[bot]", "write", 2, is_bot=True),
        comment("Windlass-Bot", "admin", 2),
        comment("ada", "admin", 6),
        comment("wes", "write", 2, edited_at_ms=6),
    ]
    used, left_out = admitted(given_comments, own_login="windlass-bot", before_ms=5)
    assert [one.author for one in used] == ["ada", "max", "wes"]
    assert left_out == {"bot": 1, "no_write_access": 3, "later": 2}
    assert admitted([], own_login="x", before_ms=0) == ((), {})


def test_small_things() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc\n… (cut)"
    assert cut("abcd", 3, keep_end=True) == "… (cut)\nbcd"
    assert cut("abcd", 0, keep_end=True) == "… (cut)\n"
    assert tokens("") == 0
    assert tokens("abcde") == 2
    assert flagged("a", {"y": 2, "x": 1, "z": 0}) == ("a:x=1", "a:y=2")


def test_blob_ids_are_gits() -> None:
    data = b"hello\n"
    made = subprocess.run(["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True)
    assert blob_sha(data) == made.stdout.decode().strip()
    assert blob_sha(data) != hashlib.sha1(data).hexdigest()
