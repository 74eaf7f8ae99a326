"""The records that decisions really write tell a story without contradictions."""

from __future__ import annotations

from typing import Any

from tests.core.jobs import GOOD, PATCH, opened, review, snapshot
from windlass.core import events, evidence, story
from windlass.core.evidence import Record
from windlass.core.job import Job, Outcome, State
from windlass.core.records import RecordDraft
from windlass.core.transition import Transition
from windlass.core.workflow import decide

NOW_MS = 1_800_000_000_000


class Told:
    """A job as decisions move it, and what they put on the ledger."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.job: Job = self._take(opened())

    def _take(self, transition: Transition) -> Job:
        for draft in transition.records:
            self.write(draft, transition.job.id)
        return transition.job

    def write(self, draft: RecordDraft, job_id: str) -> None:
        number = len(self.records)
        place: dict[str, Any] = {"id": f"r{number}", "job_id": job_id, "job_seq": number, "at_ms": NOW_MS}
        self.records.append(evidence.parse(evidence.seal(draft.kind, draft.data, **place)[0]))

    def hear(self, event: events.Event) -> None:
        self.job = self._take(decide(self.job, event, self.job.policy, NOW_MS))

    def work_seq(self) -> int:
        assert self.job.work is not None
        return self.job.work.seq

    def observe(self, **changes: Any) -> None:
        if self.job.observing_seq is None:
            self.hear(events.PullRequestTouched(what="review"))
        assert self.job.observing_seq is not None
        self.hear(events.PullRequestObserved(seq=self.job.observing_seq, pull=snapshot(self.job, **changes)))

    def to_pull(self) -> None:
        base = "b" * 40
        self.hear(events.BranchCreated(seq=self.work_seq(), base_sha=base, branch_sha=base))
        assert self.job.run_id is not None
        done = {"outcome": Outcome.COMPLETED, "patch": PATCH, "run_id": self.job.run_id}
        self.hear(events.RunFinished(seq=self.work_seq(), **done))  # type: ignore[arg-type]
        if self.job.work is not None and self.job.work.kind == "VerifyPatch":
            self.hear(events.PatchVerified(seq=self.work_seq(), verification=GOOD))
        self.hear(events.PatchPushed(seq=self.work_seq(), head_sha="h" * 40, tree_sha=PATCH.tree_sha))
        self.hear(events.PullRequestOpened(seq=self.work_seq(), number=1, url="http://f/1", title="t"))


def test_a_job_that_was_approved_and_merged() -> None:
    told = Told()
    told.to_pull()
    told.observe()
    told.observe(reviews=(review(),))
    told.observe(reviews=(review(),), is_merged=True, state="closed", merged_by="rita", merge_commit_sha="m" * 40)
    assert told.job.state is State.MERGED
    heard = story.tell(told.records)
    assert heard.problems == []
    assert heard.pushed == ["h" * 40]
    assert heard.approved == {"h" * 40}
    assert [sha for _, sha, is_called_approved in heard.merges if is_called_approved] == ["h" * 40]
    assert PATCH.digest in {digest for record in told.records for digest in evidence.blob_digests(record.data)}


def test_a_job_that_was_merged_without_an_approval() -> None:
    told = Told()
    told.to_pull()
    told.observe(is_merged=True, state="closed", merged_by="eve", merge_commit_sha="m" * 40)
    heard = story.tell(told.records)
    assert heard.problems == []
    assert any("merged without" in line for line in heard.open_points)


def test_taking_the_approval_out_of_a_real_story_is_found() -> None:
    told = Told()
    told.to_pull()
    told.observe()
    assert told.job.gate_seq is not None
    told.hear(events.EffectDone(seq=told.job.gate_seq, effect="SetCommitStatus"))
    told.observe(reviews=(review(),))
    assert story.tell(told.records).problems == []
    kept = [record for record in told.records if record.kind != "approval"]
    assert len(kept) == len(told.records) - 1
    assert any("gate was opened" in line for line in story.tell(kept).problems)
