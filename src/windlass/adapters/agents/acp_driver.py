"""The program that speaks the Agent Client Protocol (v1) to an agent, inside the sandbox: one prompt, one turn.

Runs beside the agent, which it starts with its own arguments as a child. Reads `{"prompt", "mode"}` as JSON on standard
input and prints one JSON object per event (read by `core.agent_events.own`). It offers neither files nor terminals; a
request for permission is allowed once where every place it names lies in the workspace, refused elsewhere, and printed
either way. That is a record, not the fence: the fence is the sandbox, and the deadlines are the runner's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, cast

import acp
from acp import schema

MAX_MESSAGE_BYTES = 32 << 20
DEATH_S = 5.0  # between closing its output and ending
NAME = "windlass"


class Refusal(Exception):
    """The agent cannot be talked to; the text says why."""


class Listener:
    """What the agent may call. Pieces of a message are gathered until something else happens."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._pieces: list[str] = []

    def on_connect(self, conn: acp.Agent) -> None:
        """Nothing to prepare."""

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:  # noqa: ARG002
        """Print what happened."""
        match update:
            case schema.AgentMessageChunk(content=schema.TextContentBlock() as content):
                self._pieces.append(content.text)
            case schema.ToolCallStart():
                self.flush()
                facts = {"tool": update.title[:200], "id": update.tool_call_id, "kind": update.kind or ""}
                say("tool_call", _shown(update.raw_input), **facts)
            case schema.ToolCallProgress() if update.status in {"completed", "failed"}:
                self.flush()
                said = _contents(update.content) or _shown(update.raw_output)
                say("tool_result", said, id=update.tool_call_id, is_error=update.status == "failed")
            case schema.UsageUpdate() if update.cost is not None and update.cost.currency == "USD":
                say("usage", "", cost_usd=repr(update.cost.amount))
            case _:
                pass

    async def request_permission(
        self,
        session_id: str,  # noqa: ARG002 - there is one
        tool_call: schema.ToolCallUpdate,
        options: list[schema.PermissionOption],
        **_: Any,
    ) -> schema.RequestPermissionResponse:
        """Allow within the workspace, refuse elsewhere; by the option that counts for this once."""
        self.flush()
        places = [location.path for location in tool_call.locations or []]
        is_allowed = all(self._is_inside(place) for place in places)
        wanted = ("allow_once", "allow_always") if is_allowed else ("reject_once", "reject_always")
        chosen = next((option for kind in wanted for option in options if option.kind == kind), None)
        verb = "allowed" if is_allowed and chosen else "refused"
        facts = {"tool": "permission", "id": tool_call.tool_call_id, "is_error": verb == "refused"}
        say("tool_result", f"{verb}: {tool_call.title or tool_call.kind or 'a tool'} {' '.join(places)}", **facts)
        if chosen is None:
            return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))
        outcome = schema.AllowedOutcome(outcome="selected", option_id=chosen.option_id)
        return schema.RequestPermissionResponse(outcome=outcome)

    def flush(self) -> None:
        """Print the message gathered up to now."""
        if text := "".join(self._pieces).strip():
            say("message", text)
        self._pieces.clear()

    def _is_inside(self, place: str) -> bool:
        return (self._workspace / place).resolve().is_relative_to(self._workspace)

    async def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise acp.RequestError.method_not_found("not offered by this client")

    read_text_file = write_text_file = create_terminal = terminal_output = release_terminal = _refuse
    wait_for_terminal_exit = kill_terminal = create_elicitation = ext_method = _refuse

    async def complete_elicitation(self, elicitation_id: str, **_: Any) -> None:
        """Never begun."""

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Nothing of ours."""


def say(event: str, text: str, **data: Any) -> None:
    """Print one event."""
    line = {"event": event, "text": text, "at_ms": time.time_ns() // 1_000_000, "data": data}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def work(argv: list[str], prompt: str, mode: str) -> None:
    """One turn with the agent. Raises Refusal, acp.RequestError, OSError."""
    workspace = Path.cwd().resolve()
    listener = Listener(workspace)
    client = cast("acp.Client", listener)
    transport = {"stderr": None, "limit": MAX_MESSAGE_BYTES}
    agent = acp.spawn_agent_process(client, *argv, env=dict(os.environ), cwd=workspace, transport_kwargs=transport)
    async with agent as (connection, process):
        turn = asyncio.create_task(_turn(connection, workspace, prompt, mode))
        death = asyncio.create_task(process.wait())
        await asyncio.wait({turn, death}, return_when=asyncio.FIRST_COMPLETED)
        if not turn.done() or isinstance(turn.exception(), ConnectionError):
            turn.cancel()
            code = await asyncio.wait_for(death, DEATH_S)
            raise Refusal(f"the agent ended with exit code {code} before its turn was over")
        death.cancel()
        answer = await turn
    listener.flush()
    if answer.usage is not None:
        used = answer.usage
        read = used.input_tokens + (used.cached_read_tokens or 0) + (used.cached_write_tokens or 0)
        facts = {"input_tokens": read, "output_tokens": used.output_tokens}
        cached = {} if used.cached_read_tokens is None else {"cached_tokens": used.cached_read_tokens}
        say("usage", "", **facts, **cached)
    say("end", "", stop_reason=answer.stop_reason)


async def _turn(connection: Any, workspace: Path, prompt: str, mode: str) -> schema.PromptResponse:
    offers = schema.ClientCapabilities(
        fs=schema.FileSystemCapabilities(read_text_file=False, write_text_file=False), terminal=False
    )
    us = schema.Implementation(name=NAME, version="1")
    hello = await connection.initialize(acp.PROTOCOL_VERSION, client_capabilities=offers, client_info=us)
    if hello.protocol_version != acp.PROTOCOL_VERSION:
        raise Refusal(f"the agent speaks version {hello.protocol_version} of the protocol, not {acp.PROTOCOL_VERSION}")
    session = await connection.new_session(cwd=str(workspace), mcp_servers=[])
    if mode:
        await connection.set_session_mode(session_id=session.session_id, mode_id=mode)
    answer = await connection.prompt(session_id=session.session_id, prompt=[acp.text_block(prompt)])
    return cast("schema.PromptResponse", answer)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, default=str)[:100_000]


def _contents(parts: Any) -> str:
    blocks = [getattr(part, "content", None) for part in parts or []]
    return "\n".join(block.text for block in blocks if isinstance(block, schema.TextContentBlock))


def main() -> int:
    """0: the agent answered (how, the last event says); 1: it could not be talked to."""
    request = json.loads(sys.stdin.buffer.read())
    try:
        asyncio.run(work(sys.argv[1:], request["prompt"], request["mode"]))
    except acp.RequestError as error:
        say("error", f"{error} {_shown(error.data)}"[:1000])
    except (Refusal, OSError) as error:  # TimeoutError is one: it closed its output and went on
        say("error", (str(error) or "the agent closed the connection")[:1000])
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
