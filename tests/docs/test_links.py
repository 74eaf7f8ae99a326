"""Links between pages lead somewhere, pictures are small and load nothing, and nothing private is named."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
LARGEST_PICTURE = 200_000


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    for link in links:
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = page if not name else (page.parent / name).resolve()
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    listed = set(re.findall(r"\]\(([\w./]+)\)", index))
    present = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert present <= listed | {"benchmarks.md"}


def test_pictures_are_small_and_load_nothing() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert {picture.name for picture in pictures} == {"demo.svg", "pull-request.png"}
    for picture in pictures:
        assert picture.stat().st_size < LARGEST_PICTURE, picture.name
    demo = (ROOT / "docs" / "pictures" / "demo.svg").read_text("utf-8")
    assert "merged" in demo
    assert not re.search(r"url\((?!#)|href=|<image|@import|<script", demo)


def test_no_package_index_is_named() -> None:
    """Lock files and all else that is tracked leave it to whoever installs where packages come from."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout
    names = [name for name in tracked.decode().split("\0") if name and not name.startswith("tests/vendor/")]
    index = re.compile(rb"pypi\.org|npmjs\.(?:org|com)")
    found = [name for name in names if (ROOT / name).is_file() and index.search((ROOT / name).read_bytes())]
    assert found in ([], ["tests/docs/test_links.py"])
