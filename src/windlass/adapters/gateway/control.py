"""What Windlass and its gateway say to one another: a JSON object a line over a private socket, one answer each.

A connection that stays open is also the sign that a Windlass is there. Real keys travel here and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from windlass.adapters.gateway.books import Head
from windlass.adapters.gateway.runs import OpenRuns
from windlass.core.errors import WindlassError

MAX_LINE_BYTES = 4 << 20


class Control:
    """Answers what Windlass asks. `identity` tells one build and its settings from another."""

    def __init__(self, runs: OpenRuns, identity: str, end: Callable[[], None]) -> None:
        self._runs = runs
        self._identity = identity
        self._end = end
        self.connections = 0
        self.has_visitors = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the other side leaves."""
        self.connections += 1
        self.has_visitors = True
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # it left, or spoke nonsense
        finally:
            self.connections -= 1
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True, **self._do(json.loads(line))}
        except WindlassError as error:
            return {"ok": False, "error": error.message}
        except OSError as error:
            return {"ok": False, "error": str(error), "is_passing": True}
        except (ValueError, TypeError, KeyError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _do(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        match asked:
            case {"do": "hello"}:
                return {"pid": os.getpid(), "identity": self._identity}
            case {"do": "open", "head": dict(head), "key": str(key)}:
                self._runs.open(Head(**head), key)
            case {"do": "keys", "keys": dict(keys), "of_runs": dict(of_runs)}:
                self._runs.bring(keys, of_runs)
            case {"do": "close", "run": str(run)}:
                self._runs.close(run)
            case {"do": "forget", "run": str(run)}:
                self._runs.forget(run)
            case {"do": "leave"} if not len(self._runs) and self.connections == 1:
                self._end()
                return {"ends": True}
            case {"do": "end"}:
                self._end()
            case _:
                return {}
        return {}
