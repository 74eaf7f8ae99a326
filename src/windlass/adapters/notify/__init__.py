"""How people are told; for now in the log, where an operator's alerting reads it."""

from windlass.adapters.notify.log import LogNotifier

__all__ = ["LogNotifier"]
