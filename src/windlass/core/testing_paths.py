"""Which paths of a repository are tests, by the conventions of common languages.

A path that only looks like prose (a README beside tests) is none: laying it over the base would prove nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FOLDERS = frozenset({"test", "tests", "__tests__", "spec", "specs", "testdata", "fixtures", "__snapshots__"})
_NAMES = re.compile(
    r"""
      (test_[^/]*|[^/]*_test|tests|conftest)\.pyi?      # Python
    | [^/]*[.\-_](test|spec)\.[cm]?[jt]sx?              # JavaScript and TypeScript
    | [^/]*_test\.(go|rs|exs|dart|cc|cpp|c)             # Go, Rust, Elixir, Dart, C, C++
    | tests\.rs
    | ([A-Z]\w*Tests?|Test[A-Z]\w*|[A-Z]\w*IT|[A-Z]\w*Spec)\.(java|kt|kts|scala|groovy|cs|swift|php)
    | [^/]*_(test|spec)\.rb | test_[^/]*\.rb            # Ruby
    | [^/]*\.(snap|bats)
    """,
    re.VERBOSE,
)


def is_test_path(path: str) -> bool:
    """Whether a path holds tests, or what only tests use, by the conventions of common languages."""
    *folders, name = path.split("/")
    if _NAMES.fullmatch(name):
        return True
    return any(folder.lower() in _FOLDERS for folder in folders) and not name.endswith((".md", ".rst"))


def test_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that are tests: laid over the base, they show whether the new tests fail without the change."""
    return tuple(path for path in paths if is_test_path(path))
