"""Windlass: from a labelled issue to a pull request that a human can approve, with evidence."""

__version__ = "0.1.0"
