"""What `windlass run` looks at before anything is paid for: the branch that the work would come home to, and mounts.

Refuses what could only end in a finished change that has nowhere to go.
"""

from __future__ import annotations

from pathlib import Path

from windlass.adapters.git import GitRepositories
from windlass.core.errors import Refused
from windlass.faces.cli.options import RunOptions
from windlass.ports import GitCredential

FIRST_BRANCH = "ai-1"


def insist_on_mounts(options: RunOptions) -> None:
    """Raises Refused (bad_option) for a path that is not there."""
    for path in options.mounts:
        if not path.expanduser().exists():
            raise Refused(f"cannot mount {path}: it does not exist", code="bad_option", hint="correct --mount")


async def insist_on_free_branch(source: Path, base: str, scratch: Path) -> None:
    """Raises Refused (branch_exists) when the user's repository has work of its own under our branch's name."""
    repositories = GitRepositories(scratch, allow_file=True)
    seen = "local/preflight"
    tips = await repositories.fetch(seen, GitCredential(url=source.as_uri()), [base, FIRST_BRANCH])
    tip = tips.get(FIRST_BRANCH)
    if tip is None or await repositories.is_ancestor(seen, tip, tips[base]):
        return
    raise Refused(
        f"the repository has a branch {FIRST_BRANCH} with commits that {base} does not have",
        code="branch_exists",
        hint=f"merge it, or rename it: git branch -m {FIRST_BRANCH} <another name>",
    )
