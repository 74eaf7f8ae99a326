"""What may be the id of a run: it becomes a file's name, so it must not be able to mean another place."""

from __future__ import annotations

import re

from windlass.core.errors import Refused

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,199}")


def insist_on_run_id(run_id: str) -> None:
    """Raises Refused (run_id_invalid) for what cannot be one."""
    if not RUN_ID.fullmatch(run_id):
        raise Refused(f"not a run id: {run_id[:80]!r}", code="run_id_invalid", hint="letters, digits and . _ : @ + -")
