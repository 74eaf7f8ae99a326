"""Reads a pull request and everything that is decided upon, so that all of it belongs to one head.

The pull request is read first and last; when its head or base moved meanwhile, everything is read again. A source of
required contexts that may not be read is unknown, never empty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from windlass.adapters.github.address import repository_vars
from windlass.adapters.github.answers import unreadable
from windlass.adapters.github.keys import Access, Need
from windlass.adapters.github.payload import claim, dig, name, sha, text, whole
from windlass.adapters.github.session import Session, together
from windlass.adapters.github.shapes import (
    is_human,
    read_check_run,
    read_committers,
    read_protected_contexts,
    read_pull,
    read_review,
    read_role,
    read_rule_contexts,
    read_statuses,
)
from windlass.core.errors import Forbidden, NotFound, Unavailable
from windlass.core.events import Check, PullSnapshot, Review

TRIES = 3
PULL_COMMITS_LIMIT = 250
FINE = frozenset({"success", "neutral", "skipped"})
REPO = "/repos/{owner}/{name}"


async def permission_of(session: Session, repo: str, login: str) -> str:
    """What a user may do now: admin, maintain, write, triage, read or none."""
    template = REPO + "/collaborators/{login}/permission"
    access = Access(need=Need.READ, repo=repo)
    if not login or login in {".", ".."}:
        return "none"
    try:
        return read_role(await session.get(access, template, login=login, **repository_vars(repo)))
    except NotFound:
        return "none"


class PullReader:
    """Reads of one forge."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, repo: str, number: int) -> PullSnapshot:
        """Everything at one head. Raises Unavailable (code head_moving) when it will not stand still."""
        pull = await self._pull(repo, number)
        for _ in range(TRIES):
            snapshot = await self._at(repo, pull)
            again = await self._pull(repo, number)
            if _anchor(again) == _anchor(pull):
                return replace(snapshot, is_mergeable=claim(again, "mergeable"))
            pull = again
        raise Unavailable(
            f"Pull request {repo}#{number} changed while it was read, {TRIES} times",
            hint="nothing to do; it is read again later",
            code="head_moving",
            retry_after_s=2.0,
        )

    async def checks(self, repo: str, at_sha: str) -> tuple[Check, ...]:
        """Check runs and commit statuses of one commit."""
        access, names = Access(need=Need.READ, repo=repo), repository_vars(repo)
        runs, statuses = await together(
            self._session.pages(
                access,
                REPO + "/commits/{sha}/check-runs{?filter,per_page}",
                key="check_runs",
                sha=at_sha,
                filter="latest",
                **names,
            ),
            self._session.pages(access, REPO + "/commits/{sha}/statuses{?per_page}", sha=at_sha, **names),
        )
        return (*(read_check_run(run) for run in runs), *read_statuses(statuses))

    async def required(self, repo: str, branch: str) -> tuple[str, ...] | None:
        """Contexts that rulesets and branch protection demand; None when neither could be read."""
        sources = await together(self._ruled(repo, branch), self._protected(repo, branch))
        known = [contexts for contexts in sources if contexts is not None]
        if not known:
            return None
        return tuple(dict.fromkeys(context for contexts in known for context in contexts if context))

    async def _pull(self, repo: str, number: int) -> Any:
        access = Access(need=Need.READ, repo=repo)
        pull = await self._session.get(access, REPO + "/pulls/{number}", number=str(number), **repository_vars(repo))
        if not sha(pull, "base", "sha") or not name(pull, "base", "ref"):
            raise unreadable("GET pull request")
        return pull

    async def _at(self, repo: str, pull: Any) -> PullSnapshot:
        info, base_sha = read_pull(pull), sha(pull, "base", "sha")
        checks, required, reviews, committers = await self._parts(repo, pull)
        is_red = any(check.status == "completed" and check.conclusion not in FINE for check in checks)
        return PullSnapshot(
            number=info.number,
            state=info.state,
            is_merged=info.is_merged,
            head_sha=info.head_sha,
            base_ref=info.base_ref,
            base_sha=base_sha,
            title=info.title,
            merged_by=name(pull, "merged_by", "login"),
            merge_commit_sha=sha(pull, "merge_commit_sha") if info.is_merged else "",
            required=required,
            checks=checks,
            base_checks=await self.checks(repo, base_sha) if is_red else (),
            reviews=reviews,
            committers=committers,
        )

    async def _parts(
        self, repo: str, pull: Any
    ) -> tuple[tuple[Check, ...], tuple[str, ...] | None, tuple[Review, ...], tuple[str, ...]]:
        found: list[Any] = await together(
            self.checks(repo, sha(pull, "head", "sha")),
            self.required(repo, name(pull, "base", "ref")),
            self._reviews(repo, whole(pull, "number")),
            self._committers(repo, pull),
        )
        checks, required, reviews, committers = found
        return checks, required, reviews, committers

    async def _reviews(self, repo: str, number: int) -> tuple[Review, ...]:
        access = Access(need=Need.READ, repo=repo)
        template = REPO + "/pulls/{number}/reviews{?per_page}"
        listed = await self._session.pages(access, template, number=str(number), **repository_vars(repo))
        given = [item for item in listed if name(item, "state").lower() != "pending"]
        people = list(dict.fromkeys(name(item, "user", "login") for item in given if is_human(dig(item, "user"))))
        held = await together(*(permission_of(self._session, repo, login) for login in people))
        permissions = dict(zip(people, held, strict=True))
        return tuple(read_review(item, permissions) for item in given)

    async def _committers(self, repo: str, pull: Any) -> tuple[str, ...]:
        """The pull request's own list ends at 250; a comparison has them all."""
        access, names = Access(need=Need.READ, repo=repo), repository_vars(repo)
        number = str(whole(pull, "number"))
        commits = await self._session.pages(access, REPO + "/pulls/{number}/commits{?per_page}", number=number, **names)
        if len(commits) >= PULL_COMMITS_LIMIT:
            span = f"{sha(pull, 'base', 'sha')}...{sha(pull, 'head', 'sha')}"
            template = REPO + "/compare/{span}{?per_page}"
            commits += await self._session.pages(access, template, key="commits", span=span, **names)
        return read_committers(commits)

    async def _ruled(self, repo: str, branch: str) -> list[str] | None:
        access = Access(need=Need.READ, repo=repo)
        template = REPO + "/rules/branches/{branch}{?per_page}"
        try:
            rules = await self._session.pages(access, template, branch=branch, **repository_vars(repo))
        except (Forbidden, NotFound):
            return None
        return read_rule_contexts(rules)

    async def _protected(self, repo: str, branch: str) -> list[str] | None:
        access = Access(need=Need.READ, repo=repo)
        template = REPO + "/branches/{branch}/protection/required_status_checks"
        try:
            found = await self._session.get(access, template, branch=branch, **repository_vars(repo))
        except NotFound as exc:
            is_told = "not protected" in exc.message or "not enabled" in exc.message
            return [] if is_told else None
        except Forbidden:
            return None
        return read_protected_contexts(found)


def _anchor(pull: Any) -> tuple[object, ...]:
    """What must not have moved while the rest was read."""
    return (
        sha(pull, "head", "sha"),
        sha(pull, "base", "sha"),
        name(pull, "base", "ref"),
        name(pull, "state"),
        text(pull, "merged_at"),
    )
