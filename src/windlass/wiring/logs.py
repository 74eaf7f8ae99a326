"""Structured logs: one JSON object a line on standard error, with time, level, logger and the record's own fields."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from windlass.core.redaction import mask

_USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats records as JSON, without any secret value that we know."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
        fields: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: value for key, value in record.__dict__.items() if key not in _USUAL}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return mask(json.dumps(fields, default=str, ensure_ascii=False), self._secrets)


def set_up(level: str, secrets: Sequence[str] = (), stream: TextIO | None = None) -> None:
    """Send all logs there as JSON lines. Other people's loggers are kept to warnings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(secrets))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel("WARNING")
    logging.getLogger("windlass").setLevel(level)
    for chatty in ("dbos", "alembic", "httpx", "uvicorn.access"):
        logging.getLogger(chatty).setLevel("ERROR")
