"""The exchange of files with an agent: instructions in, report out (the contract of windsurfinabox).

The workspace belongs to the agent once it has run, so everything in it is hostile: reports are read without following
links, never from a pipe or device, and only up to a limit. The marker never stands in the instructions, or an agent
that repeats them would look finished; and only the last line counts. Who may only read gets a desk: one directory in
the workspace that can be written to, with the report behind a link where it is expected.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from windlass.core.errors import Refused

INSTRUCTIONS = "windsurf-instructions.txt"
REPORT = "windsurf-output.txt"
DESK = "windlass-desk"
MARKER = "WORK-COMPLETED"
NOISE = (INSTRUCTIONS, REPORT, ".windsurf/workflows/entry-workflow.md")
MAX_REPORT_BYTES = 256 << 10
TAIL_BYTES = 16 << 10
MAX_TITLE_CHARS = 200
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TIME = r"\[?\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?\]?\s*(?:[-:]\s+)?"
_STAMP = re.compile(rf"^{_TIME}")
# A line that says nothing but that the work is done; a time stamp before it is usual.
CLOSING = rf"^\s*(?:{_TIME})?[*_`\- ]*{MARKER}[*_`\- ]*\s*$"


def put_task(workspace: Path, prompt: str, *, has_desk: bool = False) -> str:
    """Write the instructions and remove a stale report; the text as the agent gets it.

    Raises Refused (exchange_blocked) when the repository has a folder where one of the two files must be.
    """
    text = prompt.replace(MARKER, "WORK COMPLETED")
    for name in (INSTRUCTIONS, REPORT):
        remove(workspace, name)
    if has_desk:
        _put_desk(workspace)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(workspace / INSTRUCTIONS, flags, 0o644), "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return text


def _put_desk(workspace: Path) -> None:
    desk = workspace / DESK
    if desk.is_dir() and not desk.is_symlink():
        shutil.rmtree(desk)
    else:
        remove(workspace, DESK)
    desk.mkdir(mode=0o777)
    desk.chmod(0o777)
    (workspace / REPORT).symlink_to(f"{DESK}/{REPORT}")


def place(name: str, *, has_desk: bool) -> str:
    """Where a file that the agent writes stands, below the workspace."""
    return f"{DESK}/{name}" if has_desk else name


def remove(workspace: Path, name: str) -> None:
    """Remove a file of the exchange. Raises Refused (exchange_blocked) when a folder is in its place."""
    try:
        (workspace / name).unlink(missing_ok=True)
    except OSError as error:
        hint = "rename it in the repository, or use an agent with another exchange"
        raise Refused(f"{name} cannot be replaced: {error.strerror}", code="exchange_blocked", hint=hint) from error


def take_report(workspace: Path, *, has_desk: bool = False) -> str | None:
    """The agent's report, cleaned, at most `MAX_REPORT_BYTES` from its end; None when there is none to read."""
    data = take(workspace, REPORT, MAX_REPORT_BYTES, has_desk=has_desk)
    return None if data is None else clean(data)


def take(workspace: Path, name: str, limit: int, *, has_desk: bool = False) -> bytes | None:
    """The last `limit` bytes of a regular file of the exchange, never through a link; None without one."""
    folder = workspace / DESK if has_desk else workspace
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if has_desk else 0))
    except OSError:
        return None
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        return None
    finally:
        os.close(at)
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        file.seek(max(0, seen.st_size - limit))
        return file.read(limit)


def tail(path: Path, size_bytes: int = TAIL_BYTES) -> str:
    """The end of what was printed, cleaned; '' when nothing was."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size_bytes))
            return clean(file.read(size_bytes))
    except OSError:
        return ""


def clean(data: bytes) -> str:
    """Text without terminal sequences and control characters, with plain line ends."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", _ANSI.sub("", text)).strip("\n")


def is_finished(report: str) -> bool:
    """Whether the last line that is not blank says so, and nothing else (a time stamp before it is usual)."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    return bool(lines) and re.match(CLOSING, lines[-1]) is not None


def without_marker(report: str) -> str:
    """The report for people: the closing line is for the machine."""
    lines = report.rstrip().splitlines()
    return "\n".join(lines[:-1] if lines and lines[-1].rstrip("*_` ").endswith(MARKER) else lines).rstrip()


def title_of(report: str) -> str:
    """What the agent calls its work: a `Title:` line, else the first Markdown heading, else ''."""
    for pattern in (r"^\s*(?:\*\*)?Title:?(?:\*\*)?:?\s+(\S.*)$", r"^#{1,3}\s+(\S.*?)\s*#*$"):
        for line in report.splitlines()[:100]:
            match = re.match(pattern, _STAMP.sub("", line), re.I)
            if match:
                return match[1].strip().strip("*`")[:MAX_TITLE_CHARS]
    return ""
