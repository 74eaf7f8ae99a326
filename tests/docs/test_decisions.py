"""Every decision has its sections, is listed, and names checks that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences", "Alternatives", "Kept by"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_sections_and_names_checks_that_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    title, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    assert title.startswith(f"# {page.stem[:4]} ")
    sections = {part.split("\n", 1)[0]: part.split("\n", 1)[1].strip() for part in parts}
    assert list(sections) == SECTIONS
    assert all(sections.values())
    sentences = re.findall(r"[.:?](?=\s|$)", sections["Context"])
    assert len(sentences) <= 4, "the context is four sentences at most"
    if "Replaced by [" in title:
        return
    checks = re.findall(r"`((?:tests|scripts)/[\w/.]*)`", sections["Kept by"])
    assert checks or "make chaos" in sections["Kept by"] or ".importlinter" in sections["Kept by"]
    for name in checks:
        assert (ROOT / name).exists(), name
    contracts = (ROOT / ".importlinter").read_text("utf-8")
    for name in re.findall(r'contract "([^"]+)"', sections["Kept by"]):
        assert f"name = {name}" in contracts, name


def test_all_pages_are_listed_and_numbered_without_a_gap() -> None:
    listed = re.findall(r"\]\(([^)]+)\)", (FOLDER / "README.md").read_text("utf-8"))
    assert listed == [page.name for page in PAGES]
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))


def test_every_decision_that_the_code_names_is_there() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for name in re.findall(r"docs/decisions/([\w-]+\.md)", path.read_text("utf-8")):
            assert (FOLDER / name).exists(), f"{path.name} names {name}"
