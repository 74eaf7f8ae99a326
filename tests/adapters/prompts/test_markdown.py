"""Markdown as a human sees it: nothing hidden comes through, nothing shown is lost, and no input takes for ever."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.adapters.prompts import reduced
from windlass.core.visible import hidden_kind

PIECES = [
    "<!--",
    "-->",
    "--!>",
    "<",
    ">",
    "<div>",
    "</div>",
    "<details>",
    "</details>",
    "<summary>",
    "<p hidden>",
    "</p>",
]
PIECES += [
    "`",
    "```\n",
    "\n",
    "\n\n",
    "    ",
    "[//]: # (EVIL)\n",
    "[x]: /u 'EVIL'\n",
    "[x]",
    "![",
    "](u)",
    "*",
    "> ",
    "- ",
]
PIECES += [
    "EVIL",
    "word",
    "&lt;",
    "&#8203;",
    "\u200b",
    "\u202e",
    "\x00",
    "\\",
    "| a | b |\n|-|-|\n",
    "<?",
    "<![CDATA[",
    '"',
    "'",
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=40).map("".join)


@pytest.mark.parametrize(
    "source",
    [
        "SEEN<!-- EVIL -->",
        "SEEN\n\n<!-- EVIL\n\nEVIL\n\n# EVIL",
        "SEEN <!-- EVIL",
        "SEEN <!\u200b-- EVIL -->",
        "SEEN <!-<!-- x -->- EVIL -->",
        "<!--> SEEN",
        "SEEN <!-- x --!> <!-- EVIL",
        "[//]: # (EVIL)\n\nSEEN",
        "[EVIL]: http://x.y\n\nSEEN",
        'SEEN [x](http://x.y "EVIL")',
        'SEEN ![x](http://x.y "EVIL")',
        '<img alt="EVIL" src="x"> SEEN',
        "<details><summary>SEEN</summary>\n\nEVIL\n\n```\nEVIL\n```\n\n</details>",
        "<details>\n<summary>SEEN <details>EVIL</details></summary>\n<p>EVIL</p></details>",
        "<details><div><summary>EVIL</summary></div></details> SEEN",
        '<picture><source media="EVIL" srcset="EVIL"><img src="x" alt="EVIL"></picture> SEEN',
        '<span style="color: white">EVIL</span> SEEN',
        '<p style="display&#58;none">EVIL</p>\n\nSEEN',
        '<div style="font-size:0">\n\nEVIL\n\n</div>\n\nSEEN',
        "<p hidden>EVIL</p>\n\nSEEN",
        "<b aria-hidden=true>EVIL</b> SEEN",
        "<script>EVIL</script>\n\nSEEN",
        "<script>EVIL\n\nEVIL</script>\nSEEN",
        "<style>EVIL</style>SEEN",
        "<template>EVIL</template> SEEN",
        "<svg><text>EVIL</text></svg> SEEN",
        "<iframe>EVIL</iframe> SEEN",
        "SEEN <?php EVIL ?>",
        "SEEN <!DOCTYPE EVIL>",
        "<![CDATA[EVIL]]>\n\nSEEN",
        'SEEN\n\n<div title="EVIL\n\nEVIL">\n\nEVIL',
        '<a title="EVIL" href="x">SEEN</a>',
        "```py EVIL\nSEEN\n```",
        "SEEN\n\n<div><!-- EVIL\n\nEVIL</div>",
    ],
)
def test_what_is_hidden_is_not_told_and_is_flagged(source: str) -> None:
    found = reduced(source)
    assert "EVIL" not in found.text
    assert "SEEN" in found.text
    assert sum(found.removed.values()) >= 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("# Title\n\ntext *a* **b** ~~c~~ `d`", "# Title\n\ntext *a* **b** ~~c~~ `d`"),
        ("- a\n- b\n  - c\n\n1. x\n2. y", "- a\n- b\n  - c\n\n1. x\n2. y"),
        ("> said\n> more\n\nanswer", "> said\n> more\n\nanswer"),
        ("| a | b |\n|---|---|\n| `x` | y |", "a | b\n`x` | y"),
        ("[text](http://x.y/z)", "text (http://x.y/z)"),
        ("<http://x.y>", "http://x.y"),
        ("[http://good](http://evil)", "http://good (http://evil)"),
        ("[a][b]\n\n[b]: http://x.y", "a (http://x.y)"),
        ("![alt text](x.png)", "[image: alt text]"),
        ("&lt;b&gt; &amp; &copy;", "<b> & ©"),
        ("do: one\ndo: two", "do: one\ndo: two"),
        ("    indented", "```\nindented\n```"),
        ("```diff\n-a\n+b <!-- c -->\n\n\n@@\n```", "```diff\n-a\n+b <!-- c -->\n\n\n@@\n```"),
        ("`<!-- shown -->`", "`<!-- shown -->`"),
        ("a<br>b", "a\nb"),
        ("<details open><summary>S</summary>\n\nshown\n\n</details>", "S\n\nshown"),
        ("x < y and y > z", "x < y and y > z"),
        ("List<String> of 3 < 4", "List of 3 < 4"),
        ("", ""),
    ],
)
def test_what_shows_is_told(source: str, text: str) -> None:
    assert reduced(source).text == text


@settings(max_examples=200, deadline=None)
@given(source=hostile)
def test_no_hidden_character_and_no_comment_outside_code(source: str) -> None:
    found = reduced(source)
    assert not [char for char in found.text if hidden_kind(char)]
    if "`" not in source and "    " not in source and "\t" not in source:
        assert "<!--" not in found.text


@settings(max_examples=100, deadline=None)
@given(before=hostile, secret=st.sampled_from(["<!-- {} -->", "<script>{}</script>", "<p hidden>{}</p>", "<!-- {}"]))
def test_what_hides_by_itself_hides_behind_anything_but_code(before: str, secret: str) -> None:
    plain = before.replace("`", "").replace("    ", "").replace("\t", "").replace("<", "").replace("\\", "")
    found = reduced(f"{plain}\n\n{secret.format('S3CR3T')}")
    if not any(line.startswith(("    ", "\t")) for line in plain.split("\n")) and "~~~" not in plain:
        assert "S3CR3T" not in found.text


def test_long_and_nasty_texts_end(capsys: pytest.CaptureFixture[str]) -> None:
    size = 60_000
    nasty = {
        "lines": "x\n" * 65_000,
        "brackets": "[" * size,
        "images": "![" * (size // 2),
        "links": "[a](" * (size // 4),
        "emphasis": "*a_ " * (size // 4),
        "ticks": "".join("`" * n + " " for n in range(300)),
        "quotes": ">" * size,
        "lists": "- " * (size // 2),
        "nested": "\n".join(" " * n + "- x" for n in range(300)),
        "tags": "<a " * (size // 3),
        "open tags": "<b>" * (size // 3),
        "comments": "<!-" * 10_000 + "<!---->" + "- -->" * 10_000,
        "definitions": "".join(f"[{n}]: /u 'x'\n" for n in range(4_000)),
        "table": "|" * 5_000 + "\n" + "|-" * 5_000 + "\n" + "|" * 20_000,
        "entities": "&#8203;" * (size // 7),
        "tag characters": "\U000e0041" * size,
        "five megabytes": "word " * 1_000_000,
    }
    slowest = ("", 0.0)
    for what, text in nasty.items():
        began = time.process_time()
        reduced(text)
        spent_s = time.process_time() - began
        slowest = max(slowest, (what, spent_s), key=lambda one: one[1])
    with capsys.disabled():
        print(f"\nslowest of {len(nasty)} nasty texts: {slowest[0]}, {slowest[1]:.2f} s CPU")


def test_a_cut_is_flagged() -> None:
    found = reduced("word " * 1_000_000)
    assert len(found.text) <= 70_000
    assert found.removed["cut"] == 1
