"""Which test command is found for which repository."""

from __future__ import annotations

import json

import pytest

from windlass.core.testing_commands import PYTEST, UNITTEST, detect

CASE = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n"
NPM = json.dumps({"scripts": {"test": "jest"}})
PLACEHOLDER = json.dumps({"scripts": {"test": 'echo "Error: no test specified" && exit 1'}})


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, ""),
        ({"README.md": "x", "app.py": "x = 1\n"}, ""),
        ({"pytest.ini": "[pytest]\n"}, PYTEST),
        ({"tests/conftest.py": ""}, PYTEST),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, PYTEST),
        ({"setup.cfg": "[tool:pytest]\n"}, PYTEST),
        ({"tox.ini": "[tox]\n[pytest]\naddopts = %broken\n"}, PYTEST),
        ({"tox.ini": "[tox]\nenvlist = py\n"}, "tox"),
        ({"pyproject.toml": "[tool.tox]\nenv_list = []\n", "test_a.py": CASE}, "tox"),
        ({"pyproject.toml": "not [ toml", "test_a.py": CASE}, UNITTEST),
        ({"package.json": NPM}, "npm test"),
        ({"package.json": PLACEHOLDER}, ""),
        ({"package.json": "{ broken"}, ""),
        ({"package.json": "[]"}, ""),
        ({"package.json": '{"scripts": {"test": 5}}'}, ""),
        ({"package.json": PLACEHOLDER, "Makefile": "test:\n\ttrue\n"}, "make test"),
        ({"Cargo.toml": ""}, "cargo test"),
        ({"go.mod": "module x\n"}, "go test ./..."),
        ({"Makefile": "build:\n\ttrue\n"}, ""),
        ({"Makefile": "test := x\n"}, ""),
        ({"Makefile": "all: test\n.PHONY: test\ntest : all\n\ttrue\n"}, "make test"),
        ({"Cargo.toml": "", "Makefile": "test:\n\ttrue\n"}, "cargo test"),
        ({"calc.py": "", "test_calc.py": CASE}, UNITTEST),
        ({"calc.py": "", "tests/test_calc.py": CASE}, f"{UNITTEST} -s tests"),
        ({"calc.py": "", "tests/__init__.py": "", "tests/test_calc.py": CASE}, UNITTEST),
        ({"calc_test.py": CASE}, f"{UNITTEST} -p '*_test.py'"),
        ({"odd dir/test_calc.py": CASE}, f"{UNITTEST} -s 'odd dir'"),
        ({"test_calc.py": "def test_a():\n    assert True\n"}, PYTEST),
        ({"test_calc.py": "import pytest\n" + CASE}, PYTEST),
        ({"test_data.py": "x = 1\n"}, ""),
    ],
)
def test_the_first_statement_that_fits_wins(files: dict[str, str], command: str) -> None:
    assert detect(tuple(files), lambda path: files[path].encode() if path in files else None) == command


def test_files_that_vanish_or_are_not_text_do_no_harm() -> None:
    assert detect(["package.json", "pyproject.toml", "Makefile", "tox.ini"], lambda _: None) == ""
    assert detect(["package.json", "pyproject.toml", "test_a.py"], lambda _: b"\xff\xfe\x00") == ""
