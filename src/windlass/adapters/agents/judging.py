"""How a run of a catalogue agent went: by what the runner saw, then by the agent's own closing words.

Keeps the rule that an exit code alone proves nothing: 0 without the agent's word is incomplete, its word with another
code is failed. A failure before the agent did anything, for a reason that is not its doing, is the infrastructure's.
"""

from __future__ import annotations

from dataclasses import dataclass

from windlass.adapters.agents import exchange
from windlass.adapters.agents.preset import OutcomeRule
from windlass.core.agent_events import Signal, Summary
from windlass.core.job import Outcome
from windlass.ports import RunResult

MAX_DETAIL_CHARS = 300
_NOT_STARTED = 127
_MISSING = ("not found", "No such file or directory", "cannot start", "Permission denied")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is to judge by: how it ended, the sum of its events, its own report, the end of what it printed."""

    result: RunResult
    summary: Summary
    written: str | None
    printed: str


def judge(seen: Seen, rule: OutcomeRule) -> tuple[Outcome, str]:
    """The outcome and one line about it, '' for a completed run."""
    outside = _ended_from_outside(seen)
    if outside is None and is_missing(seen):
        return Outcome.INFRA_ERROR, f"the agent's program could not be started: {last_line(seen.printed)}"
    if outside is None or outside[0] is Outcome.TIMED_OUT:
        failure = _startup_failure(seen, rule)
        if failure:
            return Outcome.INFRA_ERROR, f"the agent could not begin: {failure}"
    return outside or _by_its_words(seen, rule)


def is_missing(seen: Seen) -> bool:
    """Whether there was no program to start: the shell's code for it, and nothing that an agent would have said."""
    is_code = seen.result.ended == "exited" and seen.result.exit_code in {_NOT_STARTED, 126}
    return is_code and seen.summary.tool_calls == 0 and any(word in last_line(seen.printed) for word in _MISSING)


def last_line(printed: str) -> str:
    """The last line that is not blank, cut."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return lines[-1][:MAX_DETAIL_CHARS] if lines else "it printed nothing"


def _ended_from_outside(seen: Seen) -> tuple[Outcome, str] | None:
    result = seen.result
    match result.ended:
        case "timed_out":
            said = f"; it last said: {seen.summary.error[:MAX_DETAIL_CHARS]}" if seen.summary.error else ""
            passed = f"the {result.deadline} deadline passed after {result.duration_s:.0f} s"
            return Outcome.TIMED_OUT, passed + said
        case "stopped":
            return Outcome.CANCELLED, "the run was stopped"
        case "exited":
            return None
        case _:
            return Outcome.INFRA_ERROR, "the run was lost: the process beside it died without a result"


def _startup_failure(seen: Seen, rule: OutcomeRule) -> str:
    """What kept the agent from beginning, or ''. An agent that used a tool has begun."""
    if seen.summary.tool_calls or seen.summary.signal is Signal.FINISHED:
        return ""
    for place in (seen.summary.error, last_line(seen.printed)):
        if any(known.lower() in place.lower() for known in rule.startup_failures):
            return place[:MAX_DETAIL_CHARS]
    return ""


def _by_its_words(seen: Seen, rule: OutcomeRule) -> tuple[Outcome, str]:
    summary, code = seen.summary, seen.result.exit_code
    if summary.signal is Signal.CUT:
        return Outcome.INCOMPLETE, f"it stopped at a limit of its own: {summary.error[:MAX_DETAIL_CHARS]}"
    if summary.signal is Signal.FAILED:
        return Outcome.FAILED, summary.error[:MAX_DETAIL_CHARS] or "it says that it failed"
    if code != 0:
        return Outcome.FAILED, f"exit code {code}: {(summary.error or last_line(seen.printed))[:MAX_DETAIL_CHARS]}"
    match rule.finished_by:
        case "events" if summary.signal is not Signal.FINISHED:
            return Outcome.INCOMPLETE, "it ended without saying that it finished"
        case "report" if not (seen.written and exchange.is_finished(seen.written)):
            return Outcome.INCOMPLETE, f"{exchange.REPORT} does not end with {exchange.MARKER}"
        case _:
            return Outcome.COMPLETED, ""
