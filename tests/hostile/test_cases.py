"""Every case of the catalogue is there, names tests that exist, and stands in the documentation as it is here."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.hostile.cases import CASES, PAGE, ROOT, page

NUMBERS = [f"A{n}" for n in range(1, 18)] + [f"C{n}" for n in range(27, 41)] + [f"D{n}" for n in range(41, 63)]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_case_is_there_once() -> None:
    assert [one.number for one in CASES] == NUMBERS


def test_every_case_is_held_by_tests_that_exist() -> None:
    missing = []
    for one in CASES:
        assert one.tests, f"{one.number} is held by nothing"
        for name in one.tests:
            file, _, function = name.partition("::")
            if not (ROOT / file).is_file() or function not in functions(ROOT / file):
                missing.append((one.number, name))
    assert missing == []


def test_no_attack_is_without_a_case() -> None:
    named = {name for one in CASES for name in one.tests}
    here = {
        f"tests/hostile/{path.name}::{function}"
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        for function in functions(path)
        if function.startswith(("test_a", "test_c", "test_d")) and path.name != "test_cases.py"
    }
    general = {"tests/hostile/test_input.py::test_any_text_anywhere_stays_data"}
    assert here - named == general


def test_the_page_is_made_from_the_cases() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.hostile.cases page"
