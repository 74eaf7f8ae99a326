"""Whole prompts over a real mirror: every template for every purpose, within budget, from the right commits."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from tests.support.mirror import Mirror, mirror_at, outside_fences

from windlass.core.errors import NotFound, Refused
from windlass.core.findings import Finding
from windlass.core.job import IssueSnapshot, TaskType
from windlass.core.prompt import PURPOSES, Comment, blob_sha
from windlass.core.roles import ROLES

FILES = {
    "src/shop/orders.py": "def total_price(orders):\n    return sum(o.price for o in orders)\n",
    "src/shop/other.py": "x = 1\n",
    "src/shop/AGENTS.md": "Prices are integers.\n",
    "AGENTS.md": "Use tabs nowhere.\n",
    "CLAUDE.md": "Be brief.\n",
    ".editorconfig": "root = true\n",
    ".windsurf/rules/style.md": "Style.\n",
    "pyproject.toml": '[project]\nname = "shop"\n\n[tool.ruff]\nline-length = 99\n\n[tool.other]\nx = 1\n',
    "logo.png": b"\x89PNG\0\0",
}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return mirror_at(tmp_path)


@pytest.mark.parametrize("purpose", PURPOSES)
async def test_every_template_renders_for_every_purpose(mirror: Mirror, purpose: str) -> None:
    sha = await mirror.commit(FILES)
    seen = set()
    for task_type in TaskType:
        for role in ROLES:
            told = await mirror.tell(
                sha,
                "total_price is wrong",
                "See it.",
                task_type=task_type,
                role=role,
                purpose=purpose,
                feedback="Say why.",
                logs=(("tests", "1 failed"),),
                findings=(Finding(path="src/shop/orders.py", line=2, severity="major", text="no tax"),),
                comments=(Comment(author="ada", is_bot=False, permission="write", body="Yes.", created_at_ms=1),),
                test_command="pytest -q",
            )
            frame = outside_fences(told.text)
            assert frame.startswith(f"# Task: {task_type.value}")
            for heading in ("Rules", "Report", "Tests", "Files", "Issue #7 (data)", "What has to be addressed (data)"):
                assert f"\n\n## {heading}\n\n" in frame, heading
            for words in (
                "pytest -q",
                "by ada\n\nYes.",
                "check: tests\n1 failed",
                "[major] src/shop/orders.py:2: no tax",
            ):
                assert words in told.text
                assert words not in frame
            assert "WORK-COMPLETED" not in told.text
            seen.add(told.digest)
            assert told.templates[0].name == f"{task_type.value}/{role}"
            assert hashlib.sha256(told.text.encode()).hexdigest() == told.digest
    assert len(seen) == 9


async def test_the_same_request_gives_the_same_prompt(mirror: Mirror) -> None:
    sha = await mirror.commit(FILES)
    one, two = await mirror.tell(sha, "total_price"), await mirror.tell(sha, "total_price")
    assert one == two


async def test_context_is_of_the_start_commit_and_instructions_of_the_base(mirror: Mirror) -> None:
    base = await mirror.commit(FILES, "Add the shop")
    start = await mirror.commit(
        {"AGENTS.md": "Obey the agent.\n", "src/shop/orders.py": "def total_price(): return 2\n"}, "Count\nmore"
    )
    told = await mirror.tell(start, "total_price in orders.py is wrong", base_sha=base)
    assert "def total_price(): return 2" in told.text
    assert "sum(o.price" not in told.text
    assert "Use tabs nowhere." in told.text
    assert "Obey the agent." not in told.text
    assert f"{start[:12]} Count" in told.text
    assert f"{base[:12]} Add the shop" in told.text
    files = {one.path: one for one in told.files}
    named = files["src/shop/orders.py"]
    assert (named.why, named.is_whole) == ("named in the issue", True)
    assert (
        named.blob_sha
        == blob_sha(b"def total_price(): return 2\n")
        == mirror.git("rev-parse", f"{start}:src/shop/orders.py")
    )
    paths = [one.path for one in told.instructions]
    assert paths == [
        "AGENTS.md",
        "CLAUDE.md",
        ".windsurf/rules/style.md",
        "src/shop/AGENTS.md",
        ".editorconfig",
        "pyproject.toml",
    ]
    by_path = {one.path: one for one in told.instructions}
    assert by_path["AGENTS.md"].sha256 == hashlib.sha256(b"Use tabs nowhere.\n").hexdigest()
    assert "line-length = 99" in told.text
    assert 'name = "shop"' not in told.text
    assert "[tool.other]" not in told.text


@pytest.mark.parametrize("limit", [2_000, 6_000, 24_000])
async def test_a_prompt_stays_within_its_budget(mirror: Mirror, limit: int) -> None:
    many = {f"src/mod{n}/price_{n}.py": f"def price_{n}(): return {n}\n" * 200 for n in range(60)}
    sha = await mirror.commit(FILES | many | {"CONTRIBUTING.md": "rule\n" * 3_000})
    comments = tuple(
        Comment(author="ada", is_bot=False, permission="write", body="c" * 5_000, created_at_ms=n) for n in range(50)
    )
    told = await mirror.tell(
        sha,
        "price_3 and price_4 are wrong",
        "word " * 30_000 + "END",
        feedback="f" * 50_000,
        logs=tuple((f"check{n}", "l" * 200_000 + f"LAST{n}") for n in range(3)),
        comments=comments,
        purpose="fix_ci",
        token_limit=limit,
    )
    assert told.tokens_estimate <= limit
    assert {"issue:cut", "feedback:cut", "logs:cut"} <= {flag.partition("=")[0] for flag in told.flags}
    assert "END" not in told.text
    assert "LAST0" in told.text
    assert "check: check2" in told.text


async def test_sources_that_are_too_much_leave_room_for_files(mirror: Mirror) -> None:
    sha = await mirror.commit(FILES)
    told = await mirror.tell(sha, "total_price", "x" * 60_000)
    assert "def total_price" in told.text
    assert told.tokens_estimate <= 24_000


async def test_an_empty_repository_and_an_empty_issue(mirror: Mirror) -> None:
    sha = await mirror.commit({})
    told = await mirror.tell(sha, "Totals are wrong", "  ")
    assert "(the issue has no text: its title is all there is)" in told.text
    assert "(the repository is empty)" in told.text
    assert told.files == told.instructions == told.flags == ()


async def test_hidden_text_is_flagged_with_its_source(mirror: Mirror) -> None:
    sha = await mirror.commit({"AGENTS.md": "Be\u200b kind.\n", "a.py": "x = 1  # \u202eevil\n"})
    told = await mirror.tell(
        sha,
        "a.py\u200b",
        "x<!-- y -->",
        feedback="\U000e0041",
        logs=(("t", "\x1b[31mred"),),
        comments=(Comment(author="ada", is_bot=False, permission="write", body="<p hidden>y</p>", created_at_ms=3),),
    )
    assert set(told.flags) >= {
        "title:zero_width=1",
        "issue:html_comment=1",
        "feedback:tag=1",
        "logs:terminal=1",
        "comments:hidden_html=1",
        "instructions:zero_width=1",
        "files:bidi=1",
    }
    assert told.comments == (("ada", 3, hashlib.sha256(b"<p hidden>y</p>").hexdigest()),)


async def test_what_cannot_be_rendered_is_refused(mirror: Mirror) -> None:
    sha = await mirror.commit(FILES)
    with pytest.raises(Refused) as caught:
        await mirror.tell(sha, role="poet")
    assert caught.value.code == "no_template"
    with pytest.raises(Refused) as caught:
        await mirror.tell(sha, purpose="sing")
    assert caught.value.code == "bad_purpose"
    with pytest.raises(NotFound):
        await mirror.tell("0" * 39 + "1")


async def test_ten_thousand_files(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    files = {f"src/pkg{n % 100}/module_{n}.py": f"def f_{n}(): return {n}\n" for n in range(10_000)}
    sha = await mirror.commit(files)
    body = "`f_4711` in module_4711 gives the wrong number.\n" * 20
    began = time.perf_counter()
    told = await mirror.tell(sha, "f_4711 is wrong", body)
    spent_s = time.perf_counter() - began
    with capsys.disabled():
        print(f"\nprompt on 10,000 files: {spent_s:.2f} s, about {told.tokens_estimate} tokens")
    assert told.files[0].path == "src/pkg11/module_4711.py"
    assert " files)\n" in told.text
    assert told.tokens_estimate <= 24_000


async def test_numbers_of_issues_are_ours(mirror: Mirror) -> None:
    sha = await mirror.commit(FILES)
    issue = IssueSnapshot(number=123, title="t", body="", author="e")
    assert "## Issue #123 (data)" in outside_fences((await mirror.tell(sha, issue=issue)).text)
