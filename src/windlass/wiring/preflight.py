"""What `windlass run` looks at before anything is paid for: that mounts are there, and which branch is free.

A finished change must have somewhere to go: a branch of the user's own is never written over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from windlass.core.errors import Refused
from windlass.faces.cli.options import RunOptions

_OUR_BRANCH = re.compile(r"refs/heads/ai-([1-9]\d{0,8})")


def insist_on_mounts(options: RunOptions) -> None:
    """Raises Refused (bad_option) for a path that is not there."""
    for path in options.mounts:
        if not path.expanduser().exists():
            raise Refused(f"cannot mount {path}: it does not exist", code="bad_option", hint="correct --mount")


def free_number(refs: Iterable[str]) -> int:
    """The first issue number whose branch, and every later one, the user's repository does not have yet.

    >>> free_number(["refs/heads/main", "refs/heads/ai-2", "refs/heads/ai-x"])
    3
    """
    taken = [int(found[1]) for ref in refs if (found := _OUR_BRANCH.fullmatch(ref))]
    return max(taken, default=0) + 1
