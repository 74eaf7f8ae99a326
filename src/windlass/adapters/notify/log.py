"""Notices as log lines of level WARNING, one line each."""

from __future__ import annotations

import logging

log = logging.getLogger("windlass.notice")


class LogNotifier:
    """Fills ports.Notifier."""

    async def notify(self, subject: str, text: str) -> None:
        """Write one line; never fails."""
        log.warning("notice", extra={"subject": subject, "text": text})
