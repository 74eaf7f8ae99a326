"""Who has agreed to what: only a human with permission, not the asker, not an author, on exactly this head."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.approval import read
from windlass.core.events import PullSnapshot, Review
from windlass.core.policy import Policy

HEAD = "h" * 40


def review(state: str = "approved", by: str = "rita", number: int = 1, **changes: object) -> Review:
    made = Review(
        id=number,
        reviewer=by,
        is_human=True,
        state=state,
        commit_sha=HEAD,
        submitted_at_ms=number * 1000,
        permission="write",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def pull(*reviews: Review, head: str = HEAD, committers: tuple[str, ...] = ("windlass-bot",)) -> PullSnapshot:
    return PullSnapshot(
        number=1,
        state="open",
        is_merged=False,
        head_sha=head,
        base_ref="main",
        base_sha="b" * 40,
        reviews=reviews,
        committers=committers,
    )


def approver(found: PullSnapshot, policy: Policy | None = None, asker: str = "olga") -> str | None:
    approval = read(found, policy=policy or Policy(), requested_by=asker).approval
    return approval.by if approval else None


@pytest.mark.parametrize(
    ("given_review", "why"),
    [
        (review(by="olga"), "asked for the work"),
        (review(by="OLGA"), "asked for the work"),
        (review(by="windlass-bot"), "wrote part"),
        (review(by="Windlass-Bot"), "wrote part"),
        (review(is_human=False), "not a human"),
        (review(permission="triage"), "may not approve"),
        (review(permission=""), "permission unknown"),
        (review(commit_sha="0" * 40), "not the head"),
    ],
)
def test_who_does_not_count_and_why(given_review: Review, why: str) -> None:
    reading = read(pull(given_review), policy=Policy(), requested_by="olga")
    assert reading.approval is None
    assert len(reading.not_counted) == 1
    assert why in reading.not_counted[0]


def test_the_policy_may_let_the_asker_approve_but_never_an_author() -> None:
    lenient = Policy(may_requester_approve=True)
    assert approver(pull(review(by="olga")), lenient) == "olga"
    assert approver(pull(review(by="olga"), committers=("olga",)), lenient) is None


def test_only_named_reviewers_approve_but_everybody_may_ask_for_changes() -> None:
    named = Policy(reviewers=("Ada", "rita"))
    assert approver(pull(review(by="RITA")), named) == "RITA"
    assert approver(pull(review(by="bob")), named) is None
    assert approver(pull(review(by="ada", permission="read")), named) is None
    assert approver(pull(review(by="ada"), review("changes_requested", by="bob", number=2)), named) is None


def test_the_latest_decisive_word_of_a_person_counts() -> None:
    yes, no = review(number=1), review("changes_requested", number=2)
    assert approver(pull(yes, no)) is None
    assert approver(pull(yes, no, review(number=3))) == "rita"
    assert approver(pull(yes, review("commented", number=2))) == "rita", "a comment leaves the decision standing"
    assert approver(pull(yes, review("dismissed", number=2))) is None
    assert approver(pull(yes, review("changes_requested", by="RITA", number=2))) is None, "one person, two spellings"


def test_anyone_entitled_who_asks_for_changes_holds_the_approval_back() -> None:
    assert approver(pull(review(), review("changes_requested", by="max", number=2))) is None
    stranger = review("changes_requested", by="max", number=2, permission="read")
    assert approver(pull(review(), stranger)) == "rita"


def test_the_first_of_several_approvals_is_named() -> None:
    reading = read(pull(review(by="max", number=2), review(number=1)), policy=Policy(), requested_by="olga")
    assert reading.approval is not None
    assert (reading.approval.by, reading.approval.review_id, reading.approval.head_sha) == ("rita", 1, HEAD)


people = st.sampled_from(["rita", "RITA", "max", "olga", "windlass-bot", "eve"])
reviews = st.lists(
    st.builds(
        review,
        st.sampled_from(["approved", "changes_requested", "commented", "dismissed"]),
        people,
        st.integers(1, 1000),
        is_human=st.sampled_from([True, True, True, False]),
        permission=st.sampled_from(["write", "admin", "maintain", "triage", "read", ""]),
        commit_sha=st.sampled_from([HEAD, HEAD, "0" * 40]),
    ),
    max_size=8,
    unique_by=lambda r: r.id,
)
committers = st.lists(people, max_size=2).map(tuple)


@given(given_reviews=reviews, who_wrote=committers)
def test_nobody_approves_their_own_change_or_request(given_reviews: list[Review], who_wrote: tuple[str, ...]) -> None:
    by = approver(pull(*given_reviews, committers=who_wrote))
    assert by is None or by.lower() not in {"olga", *(name.lower() for name in who_wrote)}


@given(given_reviews=reviews, who_wrote=committers)
def test_an_approval_is_one_of_the_reviews_of_exactly_this_head(
    given_reviews: list[Review], who_wrote: tuple[str, ...]
) -> None:
    reading = read(pull(*given_reviews, committers=who_wrote), policy=Policy(), requested_by="olga")
    if reading.approval is not None:
        found = next(r for r in given_reviews if r.id == reading.approval.review_id)
        assert found.state == "approved"
        assert found.is_human
        assert found.commit_sha == HEAD
        assert found.permission in {"admin", "maintain", "write"}
        assert not reading.changes_requested
        later = [r for r in given_reviews if r.reviewer.lower() == found.reviewer.lower() and r.id > found.id]
        assert all(r.state in {"commented", "approved"} for r in later)


@given(given_reviews=reviews)
def test_a_moved_head_starts_again(given_reviews: list[Review]) -> None:
    assert approver(pull(*given_reviews, head="f" * 40)) is None


@given(given_reviews=reviews, seed=st.integers(0, 999))
def test_only_time_orders_reviews_and_hearing_one_twice_changes_nothing(given_reviews: list[Review], seed: int) -> None:
    shuffled = list(given_reviews)
    random.Random(seed).shuffle(shuffled)
    doubled = [*shuffled, *given_reviews[:3]]
    once = read(pull(*given_reviews), policy=Policy(), requested_by="olga")
    for again in (shuffled, doubled):
        reading = read(pull(*again), policy=Policy(), requested_by="olga")
        assert reading.approval == once.approval
        assert set(reading.changes_requested) == set(once.changes_requested)
        assert set(reading.not_counted) == set(once.not_counted)
