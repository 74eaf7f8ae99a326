"""What a change is worth, found out by Windlass: red before and green after, and no test made weaker.

Pure rules over what the engine ran and read; `testing_outputs` reads what test commands print, `weakening` compares
test files. It refuses to take anything from an agent: only exit codes, outputs and file contents count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from windlass.core.job import TestRun, Verification, WeakenedTest
from windlass.core.testing_outputs import MAX_NAMES, parse_tests
from windlass.core.testing_paths import is_test_path, test_paths
from windlass.core.weakening import weakened_tests
from windlass.core.weakening_facts import FileChange

__all__ = ["FileChange", "conclude", "is_test_path", "judge", "parse_tests", "test_paths", "weakened_tests"]

NOT_RUN = frozenset({126, 127})
NOTHING_COLLECTED = re.compile(r"\bno tests ran\b|^Ran 0 tests\b|^NO TESTS RAN\b|\bno tests collected\b", re.M)


def judge(*, ended: str, exit_code: int | None, output: str, duration_s: float = 0.0, log_digest: str = "") -> TestRun:
    """One execution of the test command as a `TestRun`; `ended` and `exit_code` as the runner tells them.

    `errored`: the run was lost or stopped, the command was not found (126, 127), or it found no test at all, which
    neither passes nor fails anything.
    """
    passed, failed, summary = parse_tests(output)
    if ended == "timed_out":
        status = "timed_out"
    elif ended != "exited" or exit_code is None or exit_code in NOT_RUN:
        status = "errored"
    elif not (passed or failed) and NOTHING_COLLECTED.search(output):
        status, summary = "errored", summary or "no tests were found"
    else:
        status = "passed" if exit_code == 0 else "failed"
    return TestRun(
        status=status,
        exit_code=exit_code,
        duration_s=duration_s,
        failed_tests=failed[:MAX_NAMES],
        passed_tests=passed[:MAX_NAMES],
        log_digest=log_digest,
        summary=summary,
    )


def conclude(command: str, base: TestRun, head: TestRun, weakened: Iterable[WeakenedTest] = ()) -> Verification:
    """Put together what was found out.

    `base` is the run on the old code with the change's own tests laid over it, `head` the run on the whole change.
    Red to green only when the command ran to its end on both, failed on `base` and passed on `head`: a run that timed
    out, could not be run or does not exist proves nothing.
    """
    return Verification(
        command=command,
        base=base,
        head=head,
        red_to_green=base.status == "failed" and head.status == "passed",
        weakened_tests=tuple(weakened),
    )
