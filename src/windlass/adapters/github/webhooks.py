"""The door for webhook calls: is the signature right, and what does the call hint at.

Translation happens once, here; behind this door nobody knows GitHub's payloads. Only names leave, no facts, and
each is checked. Refused with `bad_payload`: what is not a JSON object, or lacks what its event always has. Calls
that our own writes cause are hints like any other: looking again is harmless, and because every write of the forge
adapter is left out when it would change nothing, a hint about our own write ends with one look. Comments on issues,
among them our own status comment, are ignored altogether.

Sources: docs.github.com, "Webhook events and payloads" and "Validating webhook deliveries".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any

from windlass.adapters.github.payload import claim, dig, name, objects, repository, sha, whole
from windlass.core.errors import Refused
from windlass.core.hints import Hint, Ignored, IssueHint, PullHint, RepositoryHint

POLICY_PATH = ".github/windlass.yml"
ISSUE_ACTIONS = frozenset({"opened", "edited", "labeled", "unlabeled", "closed", "reopened", "deleted", "transferred"})
MAX_BRANCHES = 20

Payload = dict[str, Any]


def verify_signature(body: bytes, header: str, secrets: Sequence[str]) -> bool:
    """Whether `header` (X-Hub-Signature-256) signs the raw `body` with one of the live secrets.

    HMAC-SHA256, compared in constant time; every secret is tried, so the time does not tell which one fits.
    An empty secret never fits.
    """
    given = header.strip().encode("utf-8", "replace")
    fits = False
    for secret in secrets:
        digest = hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()
        is_equal = hmac.compare_digest(given, f"sha256={digest}".encode())
        fits = fits or (is_equal and bool(secret))
    return fits


def translate(event: str, payload: bytes) -> tuple[Hint, ...]:
    """What one webhook call (X-GitHub-Event, raw JSON body) hints at; never empty.

    Raises Refused (code bad_payload).
    """
    translator = _TRANSLATORS.get(event)
    if translator is None:
        return (Ignored(why=f"event {event[:60]!r} does not concern us"),)
    data = _parse(event, payload)
    return translator(event, data) or (Ignored(why=f"{_what(event, data)} names nothing of ours"),)


def _parse(event: str, payload: bytes) -> Payload:
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise _bad(event, "is not JSON") from exc
    if not isinstance(data, dict):
        raise _bad(event, "is not a JSON object")
    return data


def _bad(event: str, what: str) -> Refused:
    return Refused(
        f"The body of this {event} call {what}",
        hint="set the webhook's content type to application/json and let nothing rewrite the body on its way",
        code="bad_payload",
    )


def _what(event: str, data: Payload) -> str:
    action = name(data, "action")
    return f"{event}.{action}" if action else event


def _repository(event: str, data: Payload) -> str:
    full_name = repository(data, "repository", "full_name")
    if not full_name:
        raise _bad(event, "names no repository")
    return full_name


def _number(event: str, data: Payload, key: str) -> int:
    number = whole(data, key, "number")
    if number <= 0:
        raise _bad(event, f"has no {key} number")
    return number


def _issues(event: str, data: Payload) -> tuple[Hint, ...]:
    action = name(data, "action")
    if action not in ISSUE_ACTIONS:
        return (Ignored(why=f"{_what(event, data)} does not concern us"),)
    if dig(data, "issue", "pull_request") is not None:
        return (Ignored(why="the issue is a pull request, which has events of its own"),)
    repo, number = _repository(event, data), _number(event, data, "issue")
    return (IssueHint(repository=repo, number=number, action=action, by=name(data, "sender", "login")),)


def _pull(event: str, data: Payload) -> tuple[Hint, ...]:
    repo, number = _repository(event, data), _number(event, data, "pull_request")
    head = dig(data, "pull_request", "head")
    is_ours = _is_same(dig(head, "repo"), repo)
    return (
        PullHint(
            repository=repo,
            number=number,
            branch=name(head, "ref") if is_ours else "",
            sha=sha(head, "sha"),
            what=_what(event, data),
        ),
    )


def _is_same(other: Any, repo: str) -> bool:
    return repository(other, "full_name").lower() == repo.lower()


def _issue_comment(event: str, data: Payload) -> tuple[Hint, ...]:
    if dig(data, "issue", "pull_request") is None:
        return (Ignored(why="comments on issues ask for nothing"),)
    repo, number = _repository(event, data), _number(event, data, "issue")
    return (PullHint(repository=repo, number=number, branch="", sha="", what=_what(event, data)),)


def _check_run(event: str, data: Payload) -> tuple[Hint, ...]:
    run = dig(data, "check_run")
    return _checked(event, data, run, branch=name(run, "check_suite", "head_branch"))


def _check_suite(event: str, data: Payload) -> tuple[Hint, ...]:
    suite = dig(data, "check_suite")
    return _checked(event, data, suite, branch=name(suite, "head_branch"))


def _workflow_run(event: str, data: Payload) -> tuple[Hint, ...]:
    run = dig(data, "workflow_run")
    is_ours = _is_same(dig(run, "head_repository"), _repository(event, data))
    return _checked(event, data, run, branch=name(run, "head_branch") if is_ours else "")


def _checked(event: str, data: Payload, subject: Any, *, branch: str) -> tuple[Hint, ...]:
    """One hint per pull request that GitHub names; it names none for forks and for pushes without one."""
    repo, head_sha, what = _repository(event, data), sha(subject, "head_sha"), _what(event, data)
    if not head_sha:
        raise _bad(event, "names no commit")
    numbers = [whole(pull, "number") for pull in objects(subject, "pull_requests") if _has_base(pull, data)]
    named: list[int | None] = [*dict.fromkeys(number for number in numbers if number > 0)]
    return tuple(
        PullHint(repository=repo, number=number, branch=branch, sha=head_sha, what=what)
        for number in (named[:MAX_BRANCHES] or [None])
    )


def _has_base(pull: Payload, data: Payload) -> bool:
    base_id = whole(pull, "base", "repo", "id")
    return base_id in {0, whole(data, "repository", "id")}


def _status(event: str, data: Payload) -> tuple[Hint, ...]:
    repo, head_sha = _repository(event, data), sha(data, "sha")
    if not head_sha:
        raise _bad(event, "names no commit")
    tips = [name(branch, "name") for branch in objects(data, "branches") if sha(branch, "commit", "sha") == head_sha]
    branches = [branch for branch in dict.fromkeys(tips) if branch][:MAX_BRANCHES]
    state = name(data, "state")
    what = f"status.{state}" if state else "status"
    return tuple(
        PullHint(repository=repo, number=None, branch=branch, sha=head_sha, what=what) for branch in branches or [""]
    )


def _push(event: str, data: Payload) -> tuple[Hint, ...]:
    repo, ref = _repository(event, data), name(data, "ref")
    if not ref:
        raise _bad(event, "names no ref")
    branch = ref.removeprefix("refs/heads/")
    if branch == ref or not branch:
        return (Ignored(why="the push is not to a branch"),)
    hint = PullHint(repository=repo, number=None, branch=branch, sha=sha(data, "after"), what="push")
    if branch == name(data, "repository", "default_branch") and _may_touch_policy(data):
        return hint, RepositoryHint(repository=repo, what="push.policy")
    return (hint,)


def _may_touch_policy(data: Payload) -> bool:
    """A forced push, or one that tells no commits, may have changed anything."""
    commits = objects(data, "commits")
    if not commits or claim(data, "forced"):
        return True
    touched = (dig(commit, key) for commit in commits for key in ("added", "modified", "removed"))
    return any(isinstance(paths, list) and POLICY_PATH in paths for paths in touched)


def _installation(event: str, data: Payload) -> tuple[Hint, ...]:
    lists = ("repositories", "repositories_added", "repositories_removed")
    names = [repository(item, "full_name") for key in lists for item in objects(data, key)]
    what = _what(event, data)
    return tuple(RepositoryHint(repository=full_name, what=what) for full_name in dict.fromkeys(names) if full_name)


def _repository_changed(event: str, data: Payload) -> tuple[Hint, ...]:
    repo, what = _repository(event, data), _what(event, data)
    names = [repo]
    before = name(data, "changes", "repository", "name", "from")
    if before:
        names.append(repository({"full_name": f"{repo.split('/')[0]}/{before}"}, "full_name"))
    return tuple(RepositoryHint(repository=full_name, what=what) for full_name in dict.fromkeys(names) if full_name)


def _ignored(event: str, data: Payload) -> tuple[Hint, ...]:
    return (Ignored(why=f"{_what(event, data)} tells nothing that other events do not"),)


_TRANSLATORS: dict[str, Callable[[str, Payload], tuple[Hint, ...]]] = {
    "issues": _issues,
    "issue_comment": _issue_comment,
    "pull_request": _pull,
    "pull_request_review": _pull,
    "pull_request_review_comment": _pull,
    "pull_request_review_thread": _pull,
    "check_run": _check_run,
    "check_suite": _check_suite,
    "workflow_run": _workflow_run,
    "status": _status,
    "push": _push,
    "installation": _installation,
    "installation_repositories": _installation,
    "repository": _repository_changed,
    "workflow_job": _ignored,
    "merge_group": _ignored,
    "ping": _ignored,
}
