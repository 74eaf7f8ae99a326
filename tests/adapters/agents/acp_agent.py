"""A small scripted agent that speaks the Agent Client Protocol: does what the prompt's first word says."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import acp
from acp import schema


class Scripted:
    def __init__(self) -> None:
        self._client: Any = None
        self._mode = ""

    def on_connect(self, conn: Any) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, client_capabilities: Any = None, **_: Any) -> Any:
        assert client_capabilities is not None
        assert not client_capabilities.terminal
        assert not client_capabilities.fs.write_text_file
        return schema.InitializeResponse(protocol_version=99 if "--newer" in sys.argv else 1)

    async def new_session(self, cwd: str, **_: Any) -> Any:
        if "--logged-out" in sys.argv:
            raise acp.RequestError.auth_required()
        os.chdir(cwd)
        return schema.NewSessionResponse(session_id="s1")

    async def set_session_mode(self, mode_id: str, session_id: str, **_: Any) -> Any:
        self._mode = mode_id
        return schema.SetSessionModeResponse()

    async def prompt(self, prompt: list[Any], session_id: str, **_: Any) -> Any:
        word = prompt[0].text.split()[0]
        if word == "die":
            os._exit(3)
        if word == "hang":
            await asyncio.sleep(600)
        place = "/etc/passwd" if word == "stray" else str(Path.cwd() / "calc.py")
        if await self._ask(place):
            text = Path("calc.py").read_text()
            Path("calc.py").write_text(text.replace("a - b", "a + b"))
        sys.stderr.write(f"mode is {self._mode}\n")
        for piece in ("# Fix: add ", "adds\n\nI changed calc.py."):
            await self._client.session_update(session_id="s1", update=acp.update_agent_message_text(piece))
        cost = schema.Cost(amount=0.0012, currency="USD")
        update = schema.UsageUpdate(session_update="usage_update", used=100, size=1000, cost=cost)
        await self._client.session_update(session_id="s1", update=update)
        usage = schema.Usage(total_tokens=240, input_tokens=190, output_tokens=40, cached_read_tokens=10)
        return schema.PromptResponse(stop_reason="max_tokens" if word == "long" else "end_turn", usage=usage)

    async def _ask(self, place: str) -> bool:
        await self._client.session_update(
            session_id="s1",
            update=acp.start_tool_call("t1", "Edit calc.py", kind="edit", raw_input={"path": place}),
        )
        options = [
            schema.PermissionOption(option_id="always", name="Always", kind="allow_always"),
            schema.PermissionOption(option_id="yes", name="Yes", kind="allow_once"),
            schema.PermissionOption(option_id="no", name="No", kind="reject_once"),
        ]
        call = schema.ToolCallUpdate(
            tool_call_id="t1", title="Edit calc.py", locations=[schema.ToolCallLocation(path=place)]
        )
        answer = await self._client.request_permission(session_id="s1", tool_call=call, options=options)
        is_allowed = getattr(answer.outcome, "option_id", "") == "yes"
        status = "completed" if is_allowed else "failed"
        await self._client.session_update(session_id="s1", update=acp.update_tool_call("t1", status=status))
        return is_allowed


if __name__ == "__main__":
    asyncio.run(acp.run_agent(Scripted()))  # type: ignore[arg-type]
