"""The committed entity page is the one that the tables make today."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from windlass.adapters.storage.models import metadata

ROOT = Path(__file__).parents[3]


@pytest.fixture
def erd() -> ModuleType:
    """The generator, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("erd", ROOT / "scripts" / "erd.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(erd: ModuleType) -> None:
    assert (ROOT / "docs" / "erd.md").read_text(encoding="utf-8") == erd.page(), "run: python scripts/erd.py"
    assert erd.main(["--check"]) == 0


def test_a_stale_page_is_found(erd: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erd, "PAGE", tmp_path / "erd.md")
    assert erd.main(["--check"]) == 1
    assert erd.main([]) == 0
    assert erd.main(["--check"]) == 0
    (tmp_path / "erd.md").write_text("old")
    assert erd.main(["--check"]) == 1


def test_every_table_and_column_says_what_it_means(erd: ModuleType) -> None:
    page = erd.page()
    for table in metadata.tables.values():
        assert table.comment, table.name
        assert f"## {table.name}\n" in page
        assert all(column.comment for column in table.c), table.name
