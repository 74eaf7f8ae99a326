"""Tests that a configuration keeps from being run, and bars that it lowers.

Compared word by word between before and after: what was there already is the repository's own business.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from windlass.core.job import WeakenedTest

_NAMES = re.compile(
    r"(.*/)?(\.?pytest\.(ini|toml)|pyproject\.toml|tox\.(ini|toml)|setup\.cfg|noxfile\.py|conftest\.py|\.coveragerc|"
    r"package\.json|"
    r"(jest|vitest|vite|karma|playwright|cypress|ava)\.config\.\w+|\.mocharc\.\w+|\.?codecov\.ya?ml|"
    r"Cargo\.toml|"
    r"(GNUm|m|M)akefile|pom\.xml|build\.gradle(\.kts)?|\.rspec|Rakefile|runtests\.\w+|\.github/workflows/.*)"
)
_EXCLUDES = re.compile(
    r"--ignore(?:-glob)?[= ]\S+|--deselect[= ]\S+|(?<![\w-])-k[= ]?(?:'[^']*'|\"[^\"]*\"|\\\"[^\"]*\"|[\w!]\S*)|"
    r"(?<![\w-])-m[= ]?['\"\\]*not [^'\"\n]*|\bnorecursedirs\b[^\n]*|\bcollect_ignore\w*[^\n]*|"
    r"\b(?:test|module|watch)PathIgnorePatterns\b[^\n]*|--testPathIgnorePatterns[= ]\S+|--passWithNoTests|"
    r"\|\| *(?:true|exit 0|:)(?=\W|$)|(?<![\w-])-p no:\w+|"
    r"--exclude[= ]\S+|(?<![\w-])--?skip[= ]\S+|continue-on-error: *true|"
    r"<skipTests>true|-DskipTests|"
    r"<testFailureIgnore>true|ignoreFailures *= *true|\btest *= *false|--(?:co|collect-only)\b|"
    r"\bbail: *true|--exitfirst|--maxfail[= ]\d+"
)
_SELECTS = re.compile(
    r"\b(testpaths|python_files|python_functions|python_classes|testMatch|testRegex|include|spec)\b\"?\s*[=:]\s*"
    r"(\[[^\]]*\]|[^\n]+(?:\n[ \t]+[^\n=]+)*)"
)
_BARS = re.compile(
    r"\b(fail_under|cov-fail-under|fail-under|branches|functions|lines|statements|threshold|target|minimum_coverage)"
    r"\b\"?\s*[=: ]\s*\"?(\d+(?:\.\d+)?)"
)
_STRICT = re.compile(r"\b(xfail_strict\s*=\s*[Tt]rue|--strict-markers|--strict-config|error_on_warnings|-W ?error)")


def is_test_config(path: str) -> bool:
    """Whether a file can say which tests are run."""
    return _NAMES.fullmatch(path) is not None


def weakened_by_config(path: str, before: str, after: str) -> Iterator[WeakenedTest]:
    """What a configuration runs no more or demands less; `before` '' for a new file."""
    old, new = _plain(before), _plain(after)
    for word in Counter(_words(_EXCLUDES, new)) - Counter(_words(_EXCLUDES, old)):
        yield WeakenedTest(path=path, name="", how="excluded", detail=f"added {word[:120]}")
    yield from _narrowed(path, old, new)
    yield from _lowered(path, old, new)
    for word in Counter(_words(_STRICT, old)) - Counter(_words(_STRICT, new)):
        yield WeakenedTest(path=path, name="", how="loosened", detail=f"removed {word[:120]}")


def _plain(text: str) -> str:
    return re.sub(r"^\s*(#|;|//)[^\n]*", "", text, flags=re.M)


def _words(pattern: re.Pattern[str], text: str) -> list[str]:
    return [" ".join(match[0].split()).rstrip("\",'") for match in pattern.finditer(text)]


def _narrowed(path: str, old: str, new: str) -> Iterator[WeakenedTest]:
    was, now = _selected(old), _selected(new)
    for name, chosen in now.items():
        lost = was.get(name, frozenset()) - chosen
        if lost:
            detail = f"{name} no longer has {', '.join(sorted(lost))[:120]}"
            yield WeakenedTest(path=path, name="", how="excluded", detail=detail)
        elif old.strip() and name not in was and name in ("testpaths", "python_files", "python_functions"):
            detail = f"{name} was set to {', '.join(sorted(chosen))[:120]}"
            yield WeakenedTest(path=path, name="", how="excluded", detail=detail)


def _selected(text: str) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for match in _SELECTS.finditer(text):
        found[match[1]] = found.get(match[1], frozenset()) | frozenset(re.findall(r"[^\s\"',\[\]]+", match[2]))
    return found


def _lowered(path: str, old: str, new: str) -> Iterator[WeakenedTest]:
    was, now = _bars(old), _bars(new)
    for name, bar in was.items():
        if name not in now:
            yield WeakenedTest(path=path, name="", how="loosened", detail=f"removed {name} {bar:g}")
        elif now[name] < bar:
            yield WeakenedTest(
                path=path, name="", how="loosened", detail=f"{name} lowered from {bar:g} to {now[name]:g}"
            )


def _bars(text: str) -> dict[str, float]:
    bars: dict[str, float] = {}
    for match in _BARS.finditer(text):
        bars[match[1]] = min(float(match[2]), bars.get(match[1], float("inf")))
    return bars
