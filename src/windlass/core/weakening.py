"""Finds tests that a change made weaker: deleted, skipped, loosened or excluded.

What it finds is shown to the reviewer, who decides: deleting a test can be right. It errs towards showing. A test that
moved to another file, or was renamed with the same body, is not deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from windlass.core.job import WeakenedTest
from windlass.core.testing_paths import is_test_path
from windlass.core.weakening_config import is_test_config, weakened_by_config
from windlass.core.weakening_facts import FileChange, FileFacts, TestFacts, compare
from windlass.core.weakening_lines import read_lines
from windlass.core.weakening_python import read_python

MAX_FINDINGS = 200


def weakened_tests(changes: Sequence[FileChange]) -> tuple[WeakenedTest, ...]:
    """Everything that became weaker by `changes` (test files and configurations; others are passed over)."""
    before = {change.path: _read(change.path, change.before) for change in changes}
    after = {change.path: _read(change.path, change.after) for change in changes}
    added = _Added(before, after)
    found: list[WeakenedTest] = []
    for change in changes:
        if is_test_config(change.path) and change.after is not None:
            found += weakened_by_config(change.path, change.before or "", change.after)
        old = before[change.path]
        if old is not None:
            found += _of_file(change, old, after[change.path], added)
        elif (new := after[change.path]) is not None:
            found += _exclusions(change.path, FileFacts(), new)
    return tuple(dict.fromkeys(found))[:MAX_FINDINGS]


def _read(path: str, source: str | None) -> FileFacts | None:
    if source is None:
        return None
    if path.endswith(".rs"):  # Rust keeps tests beside the code; only those count outside test directories
        facts = read_lines(path, source)
        only_tests = {name: test for name, test in (facts or FileFacts()).tests.items() if test.is_test}
        return facts if is_test_path(path) else FileFacts(tests=only_tests)
    if not is_test_path(path):
        return None
    return read_python(source) if path.endswith((".py", ".pyi")) else read_lines(path, source)


class _Added:
    """The tests that are new somewhere, each good for one test that is gone elsewhere."""

    def __init__(self, before: dict[str, FileFacts | None], after: dict[str, FileFacts | None]) -> None:
        self._tests: list[TestFacts] = []
        for path, facts in after.items():
            known = (before.get(path) or FileFacts()).tests
            new = [
                test
                for name, test in (facts or FileFacts()).tests.items()
                if name not in known or not known[name].is_test
            ]
            self._tests += [test for test in new if test.is_test]

    def take(self, gone: TestFacts) -> TestFacts | None:
        """Where a test went: the same name, or the same body under a new name."""
        last = gone.name.rpartition(".")[2]
        same = next((test for test in self._tests if test.name == gone.name), None)
        same = same or next((test for test in self._tests if test.name.rpartition(".")[2] == last), None)
        same = same or next((test for test in self._tests if test.body == gone.body), None)
        if same is not None:
            self._tests.remove(same)
        return same


def _of_file(change: FileChange, old: FileFacts, new: FileFacts | None, added: _Added) -> Iterator[WeakenedTest]:
    if new is None and change.after is not None:
        yield WeakenedTest(path=change.path, name="", how="excluded", detail="the file can no longer be read as code")
        return
    now = new or FileFacts()
    for name, test in old.tests.items():
        counterpart = now.tests.get(name)
        if test.is_test and (counterpart is None or not counterpart.is_test):
            counterpart = added.take(test)
            if counterpart is None:
                yield WeakenedTest(path=change.path, name=name, how="deleted", detail=_why_gone(change))
        if counterpart is not None:
            yield from compare(change.path, test, counterpart)
    yield from _newly_skipped(change.path, old, now)
    yield from _exclusions(change.path, old, now)


def _why_gone(change: FileChange) -> str:
    return "the file was deleted" if change.after is None else "the test is no longer there"


def _newly_skipped(path: str, old: FileFacts, new: FileFacts) -> Iterator[WeakenedTest]:
    """A new test that is switched off from the start proves nothing; say so."""
    for name, test in new.tests.items():
        if name not in old.tests and test.is_test and test.skips:
            yield WeakenedTest(path=path, name=name, how="skipped", detail=f"new, with {test.skips[0]}")


def _exclusions(path: str, old: FileFacts, new: FileFacts) -> Iterator[WeakenedTest]:
    for exclusion in new.exclusions:
        if exclusion not in old.exclusions:
            yield WeakenedTest(path=path, name="", how="excluded", detail=f"added {exclusion}")
