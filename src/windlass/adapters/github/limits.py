"""GitHub's limits on what one may write, kept by cutting at a sensible place and saying so.

Sources: docs.github.com (labels: 50 characters, statuses: 140) and GitHub's own error texts (titles 256, bodies
65,536 characters; 65,000 here, because what is counted differs between characters and bytes).
"""

from __future__ import annotations

MAX_TITLE_CHARS = 256
MAX_BODY_CHARS = 65_000
MAX_DESCRIPTION_CHARS = 140
MAX_LABEL_CHARS = 50
MAX_LABELS = 100


def one_line(text: str, limit_chars: int) -> str:
    """White space runs become one space; a text that is too long ends in an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit_chars else line[: limit_chars - 1].rstrip() + "…"


def body(text: str, limit_chars: int = MAX_BODY_CHARS) -> str:
    """Markdown of at most `limit_chars` characters: whole lines, closed fences and details, a note of the cut."""
    if len(text) <= limit_chars:
        return text
    room = limit_chars - 200
    cut = text[:room]
    at_line = cut.rfind("\n")
    kept = cut[:at_line] if at_line > room // 2 else cut
    closing = _closing(kept)
    note = f"\n\n*Cut here: {len(text) - len(kept):,} more characters do not fit on GitHub.*"
    return f"{kept.rstrip()}{closing}{note}"


def marked(text: str, marker: str) -> str:
    """A comment's body that fits and carries `marker`."""
    if len(text) <= MAX_BODY_CHARS and marker in text:
        return text
    fitting = body(text, MAX_BODY_CHARS - len(marker) - 2)
    return fitting if marker in fitting else f"{fitting}\n\n{marker}"


def labels(names: list[str]) -> list[str]:
    """Each once, cut to what a label may have, at most a hundred."""
    fitting = (one_line(name, MAX_LABEL_CHARS) for name in names)
    return [name for name in dict.fromkeys(fitting) if name][:MAX_LABELS]


def _closing(text: str) -> str:
    """What ends the code fence and the details elements that are open at the end of `text`."""
    fence = ""
    for line in text.splitlines():
        mark = _fence(line)
        if mark and not fence:
            fence = mark
        elif mark and mark[0] == fence[0] and len(mark) >= len(fence) and not line.strip().strip(mark[0]):
            fence = ""
    lower = text.lower()
    is_open = min(lower.count("<details") - lower.count("</details>"), 5)
    closing = f"\n{fence[:80]}" if fence else ""
    return closing + "\n\n</details>" * is_open


def _fence(line: str) -> str:
    bare = line.lstrip(" ")
    if len(line) - len(bare) > 3 or not bare.startswith(("```", "~~~")):
        return ""
    return bare[: len(bare) - len(bare.lstrip(bare[0]))]
