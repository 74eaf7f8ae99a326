"""The program of the patch agent: reads the issue as JSON on standard input, changes the working directory, reports.

It runs inside the sandbox, with the standard library and `core.unidiff` alone. Nothing is written before every hunk
fits; symbolic links are neither followed nor replaced. Exit code 1 and a report that says why when it cannot.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from windlass.adapters.agents.exchange import MARKER, REPORT
from windlass.core import unidiff
from windlass.core.errors import Refused

MAX_FILE_BYTES = 64 << 20
EXECUTABLE = "100755"


def main() -> None:
    """Apply and report; leaves by SystemExit."""
    issue = json.loads(sys.stdin.buffer.read())
    sys.exit(run(Path.cwd(), issue["number"], issue["title"], issue["body"]))


def run(root: Path, number: int, title: str, body: str) -> int:
    """Apply the diff in `body` below `root`; the exit code."""
    try:
        written = change(root, body)
    except (Refused, OSError) as error:
        say = f"The diff in issue #{number} was not applied, and no file was changed.\n\n{error}\n"
        (root / REPORT).write_text(f"# Not applied: {_line(title)}\n\n{say}", encoding="utf-8")
        sys.stderr.write(f"{error}\n")
        return 1
    (root / REPORT).write_text(_report(number, title, written), encoding="utf-8")
    return 0


def change(root: Path, body: str) -> Sequence[unidiff.Written]:
    """Work out every file first, then write. Raises Refused (diff_missing, diff_refused)."""
    diff = unidiff.extract(body)
    if not diff:
        raise Refused("the issue has no diff", code="diff_missing", hint="put a unified diff into a ```diff block")
    written = unidiff.apply(unidiff.parse(diff), lambda path: _read(root, path))
    for item in written:
        _check_way(root, item.path)
    for item in sorted(written, key=lambda item: item.text is not None):
        _write(root / item.path, item)
    return written


def _check_way(root: Path, path: str) -> None:
    place = root
    for part in path.split("/")[:-1]:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise unidiff.refuse(f"{path} leads through {part}, which is not a plain directory")
    target = root / path
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise unidiff.refuse(f"{path} is not a plain file")


def _read(root: Path, path: str) -> str | None:
    _check_way(root, path)
    target = root / path
    if not target.exists():
        return None
    if target.stat().st_size > MAX_FILE_BYTES:
        raise unidiff.refuse(f"{path} is too large to patch")
    try:
        return target.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise unidiff.refuse(f"{path} cannot be read: {error.strerror}") from error


def _write(target: Path, item: unidiff.Written) -> None:
    if item.text is None:
        target.unlink()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.windlass-new")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    if item.mode:
        mode = 0o755 if item.mode == EXECUTABLE else 0o644
    fresh.write_bytes(item.text.encode("utf-8", errors="surrogateescape"))
    fresh.chmod(mode)
    os.replace(fresh, target)  # noqa: PTH105 - says that it replaces


def _report(number: int, title: str, written: Sequence[unidiff.Written]) -> str:
    kept = sorted(item.path for item in written if item.text is not None)
    gone = sorted(item.path for item in written if item.text is None)
    lines = [
        f"# Fix: {_line(title)}",
        "",
        f"Applied the diff given in issue #{number}, every hunk with its exact context.",
        "",
    ]
    lines += [f"- changed `{path}`" for path in kept] + [f"- deleted `{path}`" for path in gone]
    return "\n".join([*lines, "", MARKER, ""])


def _line(title: str) -> str:
    return " ".join(title.replace(MARKER, "").split())[:180] or "the issue"
