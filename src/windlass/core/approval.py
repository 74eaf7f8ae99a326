"""Whether a human has agreed to this exact commit.

An approval is of a commit, not of a pull request: when the head moves, what was approved is gone. It counts only
from a human who may approve now, who did not ask for the work and did not write any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from windlass.core.events import PullSnapshot, Review
from windlass.core.job import Approval
from windlass.core.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewReading:
    """What the reviews of a head say: the approval that counts, who asks for changes, and why others do not count."""

    approval: Approval | None = None
    changes_requested: tuple[Review, ...] = ()
    not_counted: tuple[str, ...] = ()


def read(pull: PullSnapshot, *, policy: Policy, requested_by: str) -> ReviewReading:
    """Fold the reviews of `pull`'s head into one reading; the latest decisive word of each person counts.

    >>> from windlass.core.events import PullSnapshot, Review
    >>> yes = Review(id=1, reviewer="ada", is_human=True, state="approved", commit_sha="c0", submitted_at_ms=1,
    ...     permission="write")
    >>> at_head = PullSnapshot(number=1, state="open", is_merged=False, head_sha="c0", base_ref="main", base_sha="b0",
    ...     reviews=(yes,))
    >>> read(at_head, policy=Policy(), requested_by="bob").approval.by
    'ada'
    >>> read(at_head, policy=Policy(), requested_by="ada").approval is None
    True
    """
    latest = _latest(pull.reviews)
    counted: list[Review] = []
    not_counted: list[str] = []
    for review in latest:
        why = _why_not(review, pull, policy, requested_by)
        if why:
            not_counted.append(why)
        else:
            counted.append(review)
    changes = tuple(r for r in counted if r.state == "changes_requested")
    yes = [r for r in counted if r.state == "approved"]
    approval = None
    if yes and not changes:
        first = min(yes, key=lambda r: (r.submitted_at_ms, r.id))
        approval = Approval(by=first.reviewer, head_sha=pull.head_sha, review_id=first.id, at_ms=first.submitted_at_ms)
    return ReviewReading(approval=approval, changes_requested=changes, not_counted=tuple(not_counted))


def _latest(reviews: Iterable[Review]) -> tuple[Review, ...]:
    """The latest decisive review of each person; a comment leaves an earlier decision standing (GitHub's rule)."""
    latest: dict[str, Review] = {}
    for review in sorted(reviews, key=lambda r: (r.submitted_at_ms, r.id)):
        if review.state in {"approved", "changes_requested", "dismissed"}:
            latest[review.reviewer.lower()] = review
    return tuple(r for r in latest.values() if r.state != "dismissed")


def _why_not(review: Review, pull: PullSnapshot, policy: Policy, requested_by: str) -> str:
    who = review.reviewer
    if not review.is_human:
        return f"{who} is not a human"
    if review.permission not in policy.approver_permissions:
        return f"{who} may not approve (permission {review.permission or 'unknown'})"
    if review.commit_sha != pull.head_sha:
        return f"{who} reviewed {review.commit_sha[:7]}, not the head {pull.head_sha[:7]}"
    if review.state != "approved":
        return ""
    if policy.reviewers and who.lower() not in {name.lower() for name in policy.reviewers}:
        return f"{who} is not one of the policy's reviewers"
    if who.lower() == requested_by.lower() and not policy.may_requester_approve:
        return f"{who} asked for the work"
    if who.lower() in {name.lower() for name in pull.committers}:
        return f"{who} wrote part of the change"
    return ""
