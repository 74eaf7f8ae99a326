"""Reviews: opinions on a head commit, and whether there are enough of them."""

from __future__ import annotations

from typing import Final

from windlass.localforge.actors import at_least
from windlass.localforge.errors import invalid, unprocessable
from windlass.localforge.hub import Hub
from windlass.localforge.model import Issue, Protection, Repository, Review
from windlass.localforge.shapes.pulls import the_pull, webhook_review

_STATES: Final = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


def submit(
    hub: Hub, repo: Repository, issue: Issue, by: str, event: str, body: str, commit_id: str | None = None
) -> Review:
    """Give an opinion. Raises Denied (422) on one's own approval, an empty reason, an unknown event."""
    state = _STATES.get(event)
    if state is None:
        raise unprocessable(f"Unprocessable Entity: unknown event {event!r}")
    if by.lower() == issue.author.lower() and state != "COMMENTED":
        word = "approve" if state == "APPROVED" else "request changes on"
        raise unprocessable(f"Unprocessable Entity: Can not {word} your own pull request")
    if state != "APPROVED" and not body.strip():
        raise unprocessable("Unprocessable Entity: Body can not be blank")
    if len(body) > 65_536:
        raise invalid("PullRequestReview", "body", "custom", "body is too long (maximum is 65536 characters)")
    review = Review(
        id=hub.site.world.new_id(),
        author=hub.site.account(by).login,
        state=state,
        body=body,
        commit_id=commit_id or the_pull(issue).head_sha,
        submitted_at_ms=hub.site.now_ms(),
    )
    the_pull(issue).reviews.append(review)
    issue.updated_at_ms = review.submitted_at_ms
    hub.announce_review(repo, issue, "submitted", by, webhook_review(hub.site, repo, issue, review))
    return review


def dismiss(hub: Hub, repo: Repository, issue: Issue, review: Review, by: str, message: str) -> None:
    """Take an opinion back. Raises Denied (422) on one that cannot be."""
    if review.state not in ("APPROVED", "CHANGES_REQUESTED"):
        raise unprocessable(f"Unprocessable Entity: Can not dismiss a {review.state.lower()} pull request review")
    review.state, review.dismissal = "DISMISSED", message
    hub.announce_review(repo, issue, "dismissed", by, webhook_review(hub.site, repo, issue, review))


def dismiss_stale(hub: Hub, repo: Repository, issue: Issue, by: str) -> None:
    """A new head voids approvals where the branch's protection says so."""
    pull = the_pull(issue)
    rules = repo.protections.get(pull.base_ref)
    if rules is None or not rules.dismisses_stale_reviews:
        return
    for review in pull.reviews:
        if review.state == "APPROVED" and review.commit_id != pull.head_sha:
            dismiss(hub, repo, issue, review, by, "The head moved.")


def unmet_reviews(hub: Hub, repo: Repository, issue: Issue, rules: Protection) -> str:
    """Why the opinions of those with write access do not allow a merge, or ''."""
    if rules.required_reviews == 0:
        return ""
    latest: dict[str, str] = {}
    for review in the_pull(issue).reviews:
        if review.state != "COMMENTED" and at_least(hub.site.level(repo, review.author), "write"):
            latest[review.author.lower()] = review.state
    if "CHANGES_REQUESTED" in latest.values():
        return "Changes have been requested by a reviewer with write access."
    if list(latest.values()).count("APPROVED") < rules.required_reviews:
        return f"At least {rules.required_reviews} approving review is required by reviewers with write access."
    return ""
