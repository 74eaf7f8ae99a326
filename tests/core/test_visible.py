"""Characters that show nothing: all of them go, each is counted, and nothing that shows is lost."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.visible import hidden_kind, seen

NASTY = [
    "\u200b",
    "\u202e",
    "\U000e0041",
    "\ufe0f",
    "\u3164",
    "\x1b[31m",
    "\x00",
    "\r",
    "\u2028",
    "ｆ",
    "𝐚",
    "é",
    "日",
    "\n",
]
hostile = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=20).map("".join)


@given(text=hostile, is_code=st.booleans())
def test_no_hidden_character_is_left_and_a_second_look_changes_nothing(text: str, is_code: bool) -> None:
    found = seen(text, is_code=is_code)
    for char in found.text:
        assert char in "\t\n" or unicodedata.category(char) not in {"Cc", "Co", "Cn", "Cs", "Zl", "Zp"}
        assert not hidden_kind(char)
    assert seen(found.text, is_code=is_code).text == found.text
    assert all(count > 0 for count in found.removed.values())


@given(text=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\täß中文éñ…–²½")))
def test_what_shows_stays_as_it_is(text: str) -> None:
    assert seen(text) == type(seen("x"))(text=text, removed={})


@pytest.mark.parametrize(
    ("text", "plain", "removed"),
    [
        ("pass\u200bword", "password", {"zero_width": 1}),
        ("a\u202eb\u2069", "ab", {"bidi": 2}),
        ("x\U000e0069\U000e0067", "x", {"tag": 2}),
        ("x\U000e0101\ufe00y", "xy", {"variation_selector": 2}),
        ("a\u2060\u2062b\u3164\u115fc", "abc", {"filler": 2, "zero_width": 2}),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07end", "red end", {"terminal": 3}),
        ("a\r\nb\rc\u2028d\u2029e", "a\nb\nc\nd\ne", {"separator": 2}),
        ("a\ue000\U0010fffd\u0378b", "ab", {"private_use": 2, "unassigned": 1}),
        ("a\ud800b\x07", "ab", {"control": 1, "surrogate": 1}),
        ("𝐢𝐠𝐧𝐨𝐫𝐞 ａｌｌ", "ignore all", {"lookalike": 9}),
        ("x² ½ ﬁ（好）", "x² ½ ﬁ（好）", {}),
        ("рackage.json is here", "рackage.json is here", {"mixed_script": 1}),
        ("ok ❤\ufe0f 1\ufe0f\u20e3", "ok ❤ 1", {}),
        ("plain\tand\n", "plain\tand\n", {}),
    ],
)
def test_each_kind_is_counted(text: str, plain: str, removed: dict[str, int]) -> None:
    found = seen(text)
    assert (found.text, dict(found.removed)) == (plain, removed)


def test_code_keeps_its_letters() -> None:
    assert seen('s = "ａ𝐛\u200b"', is_code=True).text == 's = "ａ𝐛"'


def test_many_different_characters_cost_little() -> None:
    text = "".join(chr(code) for code in range(0x4E00, 0x9FFF)) * 5
    assert seen(text).text == text
