"""Finds the command that runs a repository's tests, from its files alone.

Used when neither the user nor the policy names one. It refuses to guess: where no file says that there are tests, the
answer is '', and the verification says "absent" instead of calling a command that cannot know.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from configparser import ConfigParser, Error

Read = Callable[[str], bytes | None]

PYTEST = "python3 -m pytest"
UNITTEST = "python3 -m unittest discover"
NPM_PLACEHOLDER = "no test specified"
_PYTHON_TEST = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests)\.py$")


def detect(files: Sequence[str], read: Read) -> str:
    """The shell command that runs the tests of a repository with these `files`, or ''.

    The first that fits, in this order, and why:
    1. pytest, where configured: the most exact statement a Python repository can make;
    2. tox.ini or a tox table: its author's way to run everything (after pytest, which needs no virtual environments);
    3. package.json with a real `test` script, Cargo.toml, go.mod: each ecosystem's one way;
    4. Makefile with a `test:` target: exact too, but often a wrapper around one of the above that needs more tools;
    5. Python test files without configuration: pytest when they use it, else unittest.
    """
    names = frozenset(files)
    if _configures_pytest(names, read):
        return PYTEST
    if _configures_tox(names, read):
        return "tox"
    if "package.json" in names and _has_npm_test(read):
        return "npm test"
    if "Cargo.toml" in names:
        return "cargo test"
    if "go.mod" in names:
        return "go test ./..."
    make = next((name for name in ("GNUmakefile", "makefile", "Makefile") if name in names), "")
    if make and re.search(r"^test[ \t]*:(?!=)", _text(read, make), re.M):
        return "make test"
    return _plain_python(files, read)


def _configures_pytest(names: frozenset[str], read: Read) -> bool:
    if names & {"pytest.ini", ".pytest.ini", "conftest.py", "tests/conftest.py", "test/conftest.py"}:
        return True
    if "pytest" in _table(read, "pyproject.toml", names).get("tool", {}):
        return True
    sections = {"tox.ini": "pytest", "setup.cfg": "tool:pytest"}
    return any(name in names and _ini(read, name).has_section(section) for name, section in sections.items())


def _configures_tox(names: frozenset[str], read: Read) -> bool:
    if "tox.toml" in names or "tox" in _table(read, "pyproject.toml", names).get("tool", {}):
        return True
    return "tox.ini" in names and any(part.startswith(("tox", "testenv")) for part in _ini(read, "tox.ini").sections())


def _has_npm_test(read: Read) -> bool:
    try:
        scripts = json.loads(_text(read, "package.json")).get("scripts", {})
        script = scripts.get("test", "")
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(script, str) and bool(script.strip()) and NPM_PLACEHOLDER not in script


def _plain_python(files: Sequence[str], read: Read) -> str:
    tests = sorted(path for path in files if _PYTHON_TEST.search(path))
    if not tests:
        return ""
    texts = [_text(read, path) for path in tests[:50]]
    if any(re.search(r"^\s*(import|from) pytest\b|^(async )?def test_", text, re.M) for text in texts):
        return PYTEST
    if not any("unittest" in text or "TestCase" in text for text in texts):
        return ""
    names = [path.rpartition("/")[2] for path in tests]
    pattern = "" if any(name.startswith("test") for name in names) else " -p '*_test.py'"
    return f"{UNITTEST}{_unittest_start(tests, frozenset(files))}{pattern}"


def _unittest_start(tests: Sequence[str], names: frozenset[str]) -> str:
    """Discovery walks down only through packages, so a plain directory of tests has to be named."""
    folders = {path.rpartition("/")[0] for path in tests}
    if any(all(f"{part}/__init__.py" in names for part in _upwards(folder)) for folder in folders):
        return ""
    top = min(folders, key=lambda folder: (folder.count("/"), folder))
    return (
        f" -s {top} -t ." if re.fullmatch(r"[\w./-]+", top) and f"{top}/__init__.py" in names else f" -s {_quoted(top)}"
    )


def _upwards(folder: str) -> list[str]:
    parts = folder.split("/") if folder else []
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _quoted(path: str) -> str:
    return path if re.fullmatch(r"[\w./-]+", path) else "'" + path.replace("'", "'\\''") + "'"


def _text(read: Read, path: str) -> str:
    return (read(path) or b"").decode("utf-8", errors="replace")


def _table(read: Read, path: str, names: frozenset[str]) -> dict[str, dict[str, object]]:
    if path not in names:
        return {}
    try:
        found = tomllib.loads(_text(read, path))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)}


def _ini(read: Read, path: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_text(read, path))
    except Error:
        return ConfigParser()
    return parser
