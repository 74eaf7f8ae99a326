"""Whether a job's records make sense together: nothing happened that was not meant to, and nobody was skipped.

Keeps the rules of the record: an intent before each result, an approval only of a commit that was pushed, an open
gate and a merge only of the commit that was approved, a count in each closing record. Refuses nothing; it only says,
one line per contradiction, what does not fit, and what the records leave open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from windlass.core.canonical import encode
from windlass.core.evidence import Record, missing_fields
from windlass.core.merkle import leaf_hash


@dataclass(slots=True, kw_only=True)
class Story:
    """What has been told so far, and what did not fit. `open_points` are not contradictions."""

    problems: list[str] = field(default_factory=list)
    open_points: list[str] = field(default_factory=list)
    intents: set[tuple[str, int]] = field(default_factory=set)
    results: dict[tuple[str, int], bytes] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)
    approved: set[str] = field(default_factory=set)
    merged: list[str] = field(default_factory=list)


def tell(records: Sequence[Record]) -> Story:
    """Go through one job's records in order."""
    story = Story()
    for number, record in enumerate(records):
        missing = missing_fields(record)
        if missing:
            story.problems.append(f"record {number}: a record of kind {record.kind} lacks {', '.join(missing)}")
        else:
            _hear(story, number, record)
    unanswered = len(story.intents - set(story.results))
    if unanswered:
        story.open_points.append(f"What came of {unanswered} intended acts: no result is recorded for them.")
    return story


def _hear(story: Story, number: int, record: Record) -> None:
    match record.kind:
        case "intent":
            _intent(story, number, record.data)
        case "result":
            _result(story, number, record.data)
        case "approval":
            _approval(story, number, record.data)
        case "gate":
            _gate(story, number, record.data["state"], record.data["head_sha"])
        case "merge":
            _merge(story, number, record.data)
        case _:
            pass


def _intent(story: Story, number: int, data: Mapping[str, Any]) -> None:
    story.intents.add((data["effect"], data["seq"]))
    order = data.get("order")
    if data["effect"] == "SetCommitStatus" and isinstance(order, dict):
        _gate(story, number, order.get("state"), order.get("sha"))


def _result(story: Story, number: int, data: Mapping[str, Any]) -> None:
    act, outcome = (data["effect"], data["seq"]), data["outcome"]
    if act not in story.intents:
        story.problems.append(f"record {number}: a result of {act[0]} {act[1]}, which nobody had intended before")
    before = story.results.setdefault(act, encode(outcome))
    if before != encode(outcome):
        story.open_points.append(f"Which result of {act[0]} {act[1]} holds: record {number} tells another than before.")
    sha = outcome.get("head_sha") if outcome.get("kind") == "PatchPushed" else None
    if outcome.get("kind") == "BranchCreated" and outcome.get("adopted") is True:
        sha = outcome.get("branch_sha")
    if isinstance(sha, str):
        story.pushed.append(sha)


def _approval(story: Story, number: int, data: Mapping[str, Any]) -> None:
    sha = data["head_sha"]
    if not story.pushed or sha != story.pushed[-1]:
        story.problems.append(f"record {number}: an approval of {sha[:12]}, which is not the newest pushed commit")
    else:
        story.approved.add(sha)


def _gate(story: Story, number: int, state: object, sha: object) -> None:
    if state == "success" and not (isinstance(sha, str) and sha in story.approved):
        story.problems.append(f"record {number}: the gate was opened for a commit that no recorded approval names")


def _merge(story: Story, number: int, data: Mapping[str, Any]) -> None:
    sha = data["head_sha"]
    story.merged.append(sha)
    if data.get("without_approval") is True:
        story.open_points.append(
            f"That a person approved {sha[:12]}: the records themselves say that it was merged without."
        )
    elif not story.pushed or sha != story.pushed[-1]:
        story.problems.append(f"record {number}: a merge of {sha[:12]}, which is not the newest pushed commit")
    elif sha not in story.approved:
        story.problems.append(f"record {number}: a merge of {sha[:12]}, which no recorded approval names")


def closing(bodies: Sequence[bytes], *, state: str, reason: str) -> dict[str, Any]:
    """The data of the closing `export` record over all records before it."""
    return {"records": len(bodies), "leaves_sha256": leaves_sha256(bodies), "state": state, "reason": reason}


def leaves_sha256(bodies: Sequence[bytes]) -> str:
    """SHA-256, in hex, over the leaf hashes of these records, one after the other."""
    return hashlib.sha256(b"".join(leaf_hash(body) for body in bodies)).hexdigest()


def closing_problems(records: Sequence[Record], bodies: Sequence[bytes]) -> list[str]:
    """What is wrong with the closing records: each must count and hash all before it, and the last one must be one."""
    problems: list[str] = []
    running = hashlib.sha256()
    for number, (record, body) in enumerate(zip(records, bodies, strict=True)):
        if record.kind == "export" and not missing_fields(record):
            counted = (record.data["records"], record.data["leaves_sha256"])
            if counted != (number, running.hexdigest()):
                problems.append(f"record {number}: the closing record does not fit the records before it")
        running.update(leaf_hash(body))
    if not records or records[-1].kind != "export":
        problems.append("the last record is not a closing record: records are missing at the end")
    return problems
