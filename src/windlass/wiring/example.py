"""The example of `windlass demo`: a small real project with a fault, and the issue that tells of it.

The issue carries the remedy as a diff, because the agent of the demonstration is `patch`, which needs no model and no
account. Everything else is as with any other agent.
"""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

TITLE = "Splitting a bill loses cents"

_SPLIT = '''"""Split a bill between friends, in whole cents."""


def split(total_cents: int, people: int) -> list[int]:
    """The share of each person; together they pay the whole bill."""
    if people < 1:
        raise ValueError("somebody has to pay")
    share = total_cents // people
    return [share] * people
'''

_SPLIT_MENDED = '''"""Split a bill between friends, in whole cents."""


def split(total_cents: int, people: int) -> list[int]:
    """The share of each person; together they pay the whole bill."""
    if people < 1:
        raise ValueError("somebody has to pay")
    share, left = divmod(total_cents, people)
    return [share + (1 if person < left else 0) for person in range(people)]
'''

_TESTS = """import unittest

from bill.split import split


class SplitTest(unittest.TestCase):
    def test_even_bill(self):
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_nobody(self):
        with self.assertRaises(ValueError):
            split(100, 0)


if __name__ == "__main__":
    unittest.main()
"""

_TESTS_MENDED = """import unittest

from bill.split import split


class SplitTest(unittest.TestCase):
    def test_even_bill(self):
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_no_cent_is_lost(self):
        self.assertEqual(split(1000, 3), [334, 333, 333])
        self.assertEqual(sum(split(9999, 7)), 9999)

    def test_nobody(self):
        with self.assertRaises(ValueError):
            split(100, 0)


if __name__ == "__main__":
    unittest.main()
"""

_FILES = {
    "README.md": "# bill\n\nSplits bills. Tests: `python3 -m unittest discover -s tests -t .`\n",
    "bill/__init__.py": "",
    "bill/split.py": _SPLIT,
    "tests/__init__.py": "",
    "tests/test_split.py": _TESTS,
    ".github/windlass.yml": "test_command: python3 -m unittest discover -v -s tests -t .\n",
}


def issue_body() -> str:
    """The issue's text, with the remedy as a diff."""
    diff = _diff("bill/split.py", _SPLIT, _SPLIT_MENDED) + _diff("tests/test_split.py", _TESTS, _TESTS_MENDED)
    return (
        "Ten euros split between three friends gives 3 × 3.33. Where is the last cent?\n\n"
        "```python\n>>> sum(split(1000, 3))\n999\n```\n\n"
        f"This mends it:\n\n```diff\n{diff}```\n"
    )


def make(directory: Path) -> Path:
    """The project as a git repository in a new directory."""
    for name, text in _FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    quiet = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Split bills"]):
        subprocess.run([*quiet, *arguments], cwd=directory, check=True, capture_output=True)
    return directory


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{name}", f"b/{name}")
    return "".join(lines)
