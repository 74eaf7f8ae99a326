"""`windlass prompt`: what is printed where, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.mirror import Mirror, mirror_at

from windlass.faces.cli.main import windlass
from windlass.wiring.tools import WiredTools

ISSUE = "# total_price is wrong\n\nSee `shop.py`.<!-- hidden -->\n"
FILES = {
    "shop.py": "def total_price(): return 1\n",
    "AGENTS.md": "Be careful.\n",
    ".github/windlass.yml": "test_command: sh check.sh\nlimits:\n  prompt_tokens: 5000\n",
}


@pytest.fixture
async def shop(tmp_path: Path) -> Mirror:
    made = mirror_at(tmp_path / "shop")
    await made.commit(FILES)
    return made


def run(*args: str, text: str = ISSUE) -> Result:
    return CliRunner().invoke(windlass, ["prompt", *args], obj=WiredTools(), input=text)


def test_a_preview_prints_the_prompt_and_says_where_it_came_from(shop: Mirror) -> None:
    before = shop.git("status", "--porcelain"), shop.git("for-each-ref")
    result = run("preview", "--repo", str(shop.work), "--issue", "-")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Task: bugfix\n")
    assert "total_price is wrong\n\nSee `shop.py`." in result.stdout
    assert "sh check.sh" in result.stdout
    assert "hidden" not in result.stdout
    assert "flag issue:html_comment=1\n" in result.stderr
    assert "file shop.py blob " in result.stderr
    assert "instructions AGENTS.md sha256:" in result.stderr
    assert "template bugfix/coder sha256:" in result.stderr
    assert (shop.git("status", "--porcelain"), shop.git("for-each-ref")) == before


def test_a_preview_of_another_role_as_json(shop: Mirror) -> None:
    args = ("--type", "feature", "--role", "reviewer", "--purpose", "review", "--tokens", "3000", "--json")
    result = run("preview", "--repo", str(shop.work), "--issue", "-", "--title", "Given", *args)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["text"].startswith("# Task: feature, review\n")
    assert "Given\n\n" in found["text"]
    assert found["manifest"]["templates"][0]["name"] == "feature/reviewer"
    assert found["manifest"]["tokens_estimate"] <= 3_000


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "the issue has no text"), ("x" * (1 << 20) + "y", "longer than 1 MiB")],
)
def test_a_bad_issue_is_refused_in_one_line(shop: Mirror, text: str, words: str) -> None:
    result = run("preview", "--repo", str(shop.work), "--issue", "-", text=text)
    assert result.exit_code == 4
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_repository_that_is_none_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path / "absent", tmp_path):
        result = run("preview", "--repo", str(place), "--issue", "-")
        assert result.exit_code == 4
        assert result.stderr.startswith("windlass: ")
