"""What a webhook call tells: that it is time to look at something again, and nothing more.

A hint carries names to look things up by, never facts to decide on. Facts are re-read from the forge. A hint heard
twice, late or out of order changes nothing, and a hint that never comes is made up for by the reconcile pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueHint:
    """Something happened to an issue (never to a pull request).

    `action`: opened, edited, labeled, unlabeled, closed, reopened, deleted, transferred. `by` is a login or ''.
    """

    repository: str
    number: int
    action: str
    by: str = ""
    kind: Literal["IssueHint"] = "IssueHint"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullHint:
    """Something happened that may concern a pull request: find it by number, else by branch, else by commit.

    `branch` names a branch of `repository` itself, '' for one of a fork or when it is not told; `sha` is '' when it is
    not told or the branch was deleted. `what` is `event.action`.
    """

    repository: str
    number: int | None
    branch: str
    sha: str
    what: str
    kind: Literal["PullHint"] = "PullHint"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryHint:
    """A repository came, went, changed its name or settings, or its policy file may have changed."""

    repository: str
    what: str
    kind: Literal["RepositoryHint"] = "RepositoryHint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Nothing of ours; `why` in one line."""

    why: str
    kind: Literal["Ignored"] = "Ignored"


Hint = IssueHint | PullHint | RepositoryHint | Ignored
