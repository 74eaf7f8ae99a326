"""What the checks of one commit say together.

Green only when every required context, re-read at the exact head, is green; with nothing required, when at least one
check was seen, all are completed, none failed and it has been quiet for a while. No checks is not a pass.
Source: GitHub's documentation of required status checks and of check conclusions.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from windlass.core.events import Check, PullSnapshot

GATE_CONTEXT = "windlass/human-approval"
REPORT_CHECK = "windlass/report"
_OURS = frozenset({GATE_CONTEXT, REPORT_CHECK})
_GOOD = frozenset({"success", "neutral", "skipped"})


class CiVerdict(enum.StrEnum):
    """One word for all checks of a commit."""

    NONE = "none"
    PENDING = "pending"
    GREEN = "green"
    RED = "red"
    ACTION_REQUIRED = "action_required"


@dataclass(frozen=True, slots=True, kw_only=True)
class CiReading:
    """The verdict, the checks that failed, and what is still waited for."""

    verdict: CiVerdict
    failed: tuple[Check, ...] = ()
    waiting_for: tuple[str, ...] = ()


def mark(check: Check) -> str:
    """Names one try of one check, so that its next try is told apart."""
    return f"{check.source}:{check.id}:{check.completed_at_ms}"


def relevant(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that others report; our own gate and report never count."""
    return tuple(check for check in checks if check.name not in _OURS)


def read(pull: PullSnapshot, *, rerun_marks: Sequence[str] = (), is_quiet: bool = True) -> CiReading:
    """Fold a pull request's checks into one verdict.

    `rerun_marks` name tries that we had repeated: such a failure counts as pending until its next try reports.
    `is_quiet`: the head has been still long enough to believe that no further check will come.
    """
    checks = relevant(pull.checks)
    required = tuple(name for name in pull.required or () if name not in _OURS)
    if not checks:
        return CiReading(verdict=CiVerdict.NONE, waiting_for=required)
    failed = tuple(c for c in checks if _is_failed(c) and mark(c) not in rerun_marks)
    waiting = _waiting(checks, required, rerun_marks)
    if any(c.conclusion == "action_required" for c in failed):
        return CiReading(verdict=CiVerdict.ACTION_REQUIRED, failed=failed, waiting_for=waiting)
    counted = tuple(c for c in failed if not required or c.name in required)
    if counted:
        return CiReading(verdict=CiVerdict.RED, failed=counted, waiting_for=waiting)
    if waiting or not (required or is_quiet):
        return CiReading(verdict=CiVerdict.PENDING, waiting_for=waiting)
    return CiReading(verdict=CiVerdict.GREEN)


def _is_failed(check: Check) -> bool:
    return check.status == "completed" and check.conclusion not in _GOOD


def _waiting(checks: Sequence[Check], required: Sequence[str], rerun_marks: Sequence[str]) -> tuple[str, ...]:
    by_name: dict[str, list[Check]] = {}
    for check in checks:
        by_name.setdefault(check.name, []).append(check)
    names = required or tuple(by_name)
    return tuple(name for name in names if not _is_reported(by_name.get(name, ()), rerun_marks))


def _is_reported(tries: Sequence[Check], rerun_marks: Sequence[str]) -> bool:
    return bool(tries) and all(t.status == "completed" and mark(t) not in rerun_marks for t in tries)


def is_red_on_base(failed: Sequence[Check], pull: PullSnapshot) -> bool:
    """Whether every failed check fails on the base commit too: then it is not the change's fault."""
    red = {check.name for check in relevant(pull.base_checks) if _is_failed(check)}
    return bool(failed) and all(check.name in red for check in failed)
