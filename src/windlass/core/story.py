"""Whether a job's records make sense together: nothing happened that was not meant to, and nobody was skipped.

Keeps the rules of the record: an intent before each result, an approval only of the head as it was pushed or last
seen, an open gate only for a commit that was approved before, a merge that is said to be approved only with such an
approval, a count in each closing record. Refuses nothing; it only says, one line per contradiction, what does not
fit, and what the records leave open.
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
    observed: str = ""
    approved: set[str] = field(default_factory=set)
    merges: list[tuple[int, str, bool]] = field(default_factory=list)

    def is_head(self, sha: str) -> bool:
        """Whether `sha` is the newest commit that was pushed, or the head that was last seen on the forge."""
        return sha in (*self.pushed[-1:], self.observed)


def tell(records: Sequence[Record]) -> Story:
    """Go through one job's records in order."""
    story = Story()
    for number, record in enumerate(records):
        missing = missing_fields(record)
        if missing:
            story.problems.append(f"record {number}: a record of kind {record.kind} lacks {', '.join(missing)}")
        else:
            _hear(story, number, record)
    _judge_merges(story)
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
    _note_heads(story, outcome)


def _note_heads(story: Story, outcome: Mapping[str, Any]) -> None:
    kind, pull = outcome.get("kind"), outcome.get("pull")
    sha: object = None
    if kind == "PatchPushed":
        sha = outcome.get("head_sha")
    elif kind == "BranchCreated" and outcome.get("adopted") is True:
        sha = outcome.get("branch_sha")
    elif kind == "PullRequestObserved" and isinstance(pull, dict) and isinstance(pull.get("head_sha"), str):
        story.observed = pull["head_sha"]
    if isinstance(sha, str):
        story.pushed.append(sha)


def _approval(story: Story, number: int, data: Mapping[str, Any]) -> None:
    sha = data["head_sha"]
    if not story.is_head(sha):
        story.problems.append(f"record {number}: an approval of {sha[:12]}, which is not the head at that time")
    else:
        story.approved.add(sha)


def _gate(story: Story, number: int, state: object, sha: object) -> None:
    if state == "success" and not (isinstance(sha, str) and sha in story.approved):
        story.problems.append(f"record {number}: the gate was opened for a commit that no recorded approval names")


def _merge(story: Story, number: int, data: Mapping[str, Any]) -> None:
    sha = data["head_sha"]
    story.merges.append((number, sha, bool(data.get("approved_by"))))
    if not story.is_head(sha):
        story.problems.append(f"record {number}: a merge of {sha[:12]}, which is not the head at that time")


def _judge_merges(story: Story) -> None:
    """At the end, because an approval that was first seen together with the merge is recorded right after it."""
    for number, sha, is_called_approved in story.merges:
        if not is_called_approved:
            story.open_points.append(f"That a person approved {sha[:12]}: the records say that it was merged without.")
        elif sha not in story.approved:
            story.problems.append(f"record {number}: a merge of {sha[:12]}, which no recorded approval names")
        if sha not in story.pushed:
            story.open_points.append(f"Who wrote {sha[:12]}, which was merged: somebody else pushed it.")


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
