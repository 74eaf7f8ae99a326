"""What is compared to see whether tests became weaker, whatever the language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from windlass.core.job import WeakenedTest

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One changed file: `before` None when it is new, `after` None when it is gone. A rename is two changes."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFacts:
    """One test as its source shows it.

    `checks` maps a check's own text to how much it demands (0 nothing, 4 an exact value); `cases` counts parameter
    sets; `skips` names what keeps it from running; `slack` are tolerances in order, larger is looser; `body` is equal
    for tests that say the same.
    """

    __test__ = False

    name: str
    body: str
    is_test: bool = True
    checks: tuple[tuple[str, int], ...] = ()
    cases: int = 1
    skips: tuple[str, ...] = ()
    slack: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """All of one file. `exclusions` say what keeps tests of this file from being run at all."""

    tests: Mapping[str, TestFacts] = field(default_factory=dict)
    exclusions: tuple[str, ...] = ()


def compare(path: str, before: TestFacts, after: TestFacts) -> Iterator[WeakenedTest]:
    """What became weaker within one test that is still there."""
    added = _surplus(after.skips, before.skips)
    if added:
        yield WeakenedTest(path=path, name=before.name, how="skipped", detail=f"added {added[0]}")
    if after.cases < before.cases:
        detail = f"{before.cases} parameter cases became {after.cases}"
        yield WeakenedTest(path=path, name=before.name, how="deleted", detail=detail)
    detail = _loosened(before, after)
    if detail:
        yield WeakenedTest(path=path, name=before.name, how="loosened", detail=detail)


def _loosened(before: TestFacts, after: TestFacts) -> str:
    lost = _surplus(before.checks, after.checks)
    new = _surplus(after.checks, before.checks)
    old_demands = sorted((demand for _, demand in lost if demand), reverse=True)
    new_demands = sorted((demand for _, demand in new if demand), reverse=True)
    if len(new_demands) < len(old_demands):
        count = [sum(1 for _, demand in facts.checks if demand) for facts in (before, after)]
        return f"{count[0]} assertions became {count[1]}"
    if any(now < then for then, now in zip(old_demands, new_demands, strict=False)):
        weaker = min((demand, text) for text, demand in new)[1]
        return f"an assertion demands less: {weaker[:120]}"
    if len(before.slack) == len(after.slack):
        for then, now in zip(before.slack, after.slack, strict=True):
            if now > then:
                return f"a tolerance was widened ({_plain(then)} to {_plain(now)})"
    return ""


def _plain(slack: float) -> str:
    """Decimal places are kept as negative slack."""
    return f"{-slack:g} places" if slack < 0 else f"{slack:g}"


def _surplus(these: Sequence[T], those: Sequence[T]) -> list[T]:
    """What is in `these` more often than in `those`, in order."""
    left = Counter(those)
    surplus = []
    for item in these:
        if left[item] > 0:
            left[item] -= 1
        else:
            surplus.append(item)
    return surplus
