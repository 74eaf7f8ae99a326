"""Fills the port `Prompts`: reduces what strangers said, gathers context, and renders the template.

Rule: the same request on the same commits gives the same text. The prompt stays within its budget: who asked and what
went wrong come first, the repository's files get what is left. The end marker is in no prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from windlass.adapters.prompts.context import Context, gather
from windlass.adapters.prompts.strangers import Room, Strangers, reduce_all
from windlass.adapters.prompts.templates import Hostile, Templates
from windlass.core.errors import Refused
from windlass.core.prompt import CHARS_PER_TOKEN, PURPOSES, Prompt, PromptRequest, tokens, without_marker
from windlass.core.records import digest
from windlass.core.visible import seen
from windlass.ports import Repositories

_FRAME = 4_000
_LEAST = 3_000


class JinjaPrompts:
    """Prompts from the templates in a directory, with context from `repositories`."""

    def __init__(self, repositories: Repositories, templates: Path) -> None:
        self._repositories = repositories
        self._templates = Templates(templates)

    async def render(self, request: PromptRequest) -> Prompt:
        """One prompt.

        Raises Refused (no_template, bad_purpose), NotFound (object_missing) when a commit is not in the mirror, Failed
        (bad_template).
        """
        if request.purpose not in PURPOSES:
            hint = f"known purposes: {', '.join(PURPOSES)}"
            raise Refused(f"there is no purpose {request.purpose[:40]!r}", code="bad_purpose", hint=hint)
        room = Room(max(request.token_limit * CHARS_PER_TOKEN - _FRAME, _LEAST))
        said = await asyncio.to_thread(reduce_all, request, room)
        context = await gather(self._repositories, request, said.search, room)
        data = _data(request, said, context)
        text, version = await asyncio.to_thread(self._templates.render, request.task_type.value, request.role, data)
        text = without_marker(text)
        return Prompt(
            text=text,
            digest=digest(text.encode()),
            templates=(version,),
            files=context.files,
            instructions=context.instructions.files,
            comments=said.comments_used,
            flags=room.flagged(),
            tokens_estimate=tokens(text),
        )


def _data(request: PromptRequest, said: Strangers, context: Context) -> Mapping[str, Any]:
    """Plain data for the template; every stranger's text in its wrapping."""
    return {
        "purpose": request.purpose,
        "role": request.role,
        "issue": {"number": request.issue.number, "text": Hostile(said.issue)},
        "comments": [{"text": Hostile(text)} for text in said.comments],
        "feedback": Hostile(said.feedback),
        "change": Hostile(said.change),
        "findings": Hostile(said.findings),
        "logs": [{"text": Hostile(text)} for text in said.logs],
        "test_command": Hostile(seen(request.test_command[:2_000], is_code=True).text.strip()),
        "tree": Hostile(context.tree),
        "files": [
            {"text": Hostile(text), "is_whole": file.is_whole}
            for file, text in zip(context.files, context.quotes, strict=True)
        ],
        "commits": Hostile(context.commits),
        "instructions": {
            "paths": Hostile(context.instructions.listed),
            "files": [{"text": Hostile(text)} for text in context.instructions.quoted],
        },
    }
