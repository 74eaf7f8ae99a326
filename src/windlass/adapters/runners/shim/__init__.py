"""The small program beside every run, which outlives Windlass: `main.py` says what it does.

Everything in this room stands alone on the standard library, starts in milliseconds (so no pathlib), and imports
nothing of Windlass but its own room: a run goes on through a restart or an upgrade of Windlass.
"""
