"""Reads a unified diff and applies it to text, strictly.

A diff comes from an issue or an agent, so it is hostile until applied. Context must match to the letter; a hunk may
have moved up or down by a few lines, but only to one nearest place, and lines are never skipped or guessed. It refuses
binary changes, absolute paths, `..`, `.git`, control characters, symbolic links, hunks that overlap or miscount, two
changes to one path, and files that exist or are missing against what the diff says.

The format: POSIX `diff -u` and git's extended headers (git-diff, "Generating patch text with -p").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from windlass.core.errors import Refused

REACH_LINES = 200
MAX_BYTES = 8 << 20
MODES = frozenset({"100644", "100755"})
NO_NEWLINE = "\\ No newline at end of file"
HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})[ \t]*(?P<kind>[A-Za-z]*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.S | re.M
)
OCTAL = re.compile(r'\\([0-7]{3}|["\\abfnrtv])')
ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, '"': 34, "\\": 92}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One place of change. `lines` are (' ', '-' or '+', text with its line ending); starts count from 1."""

    old_start: int
    new_start: int
    lines: tuple[tuple[str, str], ...]

    def side(self, sign: str) -> tuple[str, ...]:
        """The lines before (sign '-') or after ('+')."""
        return tuple(text for kind, text in self.lines if kind in (" ", sign))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatch:
    """The change of one file. `old` is None for a new file, `new` None for a deleted one; `mode` '' leaves it."""

    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...] = ()
    mode: str = ""
    is_copy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a path holds afterwards: `text` None means it is gone. `mode` '' leaves the mode as it is."""

    path: str
    text: str | None
    mode: str = ""


def refuse(message: str, hint: str = "give a plain text diff as `git diff` writes it") -> Refused:
    """The one error of this module, code diff_refused."""
    return Refused(message, code="diff_refused", hint=hint)


# ------------------------------------------------------------------ finding


def extract(text: str) -> str:
    """The diff in a text: fenced `diff` or `patch` blocks, else any fenced diff, else an unfenced one, else ''."""
    text = text.replace("\r\n", "\n") if "\r\n" in text and not _has_mixed_endings(text) else text
    blocks = [(match["kind"].lower(), match["body"]) for match in FENCE.finditer(text)]
    named = [body for kind, body in blocks if kind in ("diff", "patch", "udiff")]
    found = [body for body in named or [body for _, body in blocks] if _looks_like_diff(body)]
    if found:
        return "\n".join(body if body.endswith("\n") else body + "\n" for body in found)
    return _unfenced(text)


def _has_mixed_endings(text: str) -> bool:
    """Forms send CRLF throughout; a diff of a CRLF file shows it only on some lines."""
    return text.count("\n") != text.count("\r\n")


def _looks_like_diff(text: str) -> bool:
    return bool(re.search(r"^--- \S.*\n\+\+\+ \S", text, re.M) or re.search(r"^diff --git ", text, re.M))


def _unfenced(text: str) -> str:
    match = re.search(r"^(?:diff --git |--- \S.*\n\+\+\+ \S)", text, re.M)
    return text[match.start() :] if match else ""


# ------------------------------------------------------------------ reading


def parse(text: str) -> tuple[FilePatch, ...]:
    """Read a diff. Raises Refused (diff_refused) naming the line."""
    if len(text) > MAX_BYTES:
        raise refuse(f"the diff has {len(text)} characters, at most {MAX_BYTES} are read")
    reader = _Reader(text)
    patches = []
    while (patch := reader.file()) is not None:
        patches.append(patch)
    if not patches:
        raise refuse("there is no diff in it")
    _check_once(patches)
    return tuple(patches)


def _check_once(patches: list[FilePatch]) -> None:
    seen: set[str] = set()
    for patch in patches:
        names = {patch.new} if patch.is_copy else {patch.old, patch.new}
        for path in names - {None}:
            assert path is not None
            if path in seen:
                raise refuse(f"{path} is changed twice")
            seen.add(path)


class _Reader:
    """Walks the lines once."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        if self._lines and not self._lines[-1]:
            self._lines.pop()
        self._at = 0

    def file(self) -> FilePatch | None:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.startswith("diff --git "):
                return self._git_file()
            if line.startswith("--- ") and self._peek(1).startswith("+++ "):
                return self._with_hunks(FilePatch(old=None, new=None), {})
            if HUNK.match(line):
                raise self._bad("a hunk without a file")
            self._at += 1
        return None

    def _git_file(self) -> FilePatch:
        header = self._lines[self._at].rstrip("\r")
        self._at += 1
        said: dict[str, str] = {}
        while self._at < len(self._lines):
            line = self._lines[self._at].rstrip("\r")
            key = next((key for key in _EXTENDED if line.startswith(key + " ")), "")
            if line.startswith(("GIT binary patch", "Binary files ")):
                raise self._bad("a binary change")
            if not key:
                break
            said[key] = line[len(key) + 1 :].strip()
            self._at += 1
        return self._with_hunks(_from_headers(header, said, self._bad), said)

    def _with_hunks(self, patch: FilePatch, said: dict[str, str]) -> FilePatch:
        if self._peek(0).startswith("--- ") and self._peek(1).startswith("+++ "):
            old, new = (_name(self._peek(n).rstrip("\r")[4:], side, self._bad) for n, side in ((0, "a"), (1, "b")))
            self._at += 2
            patch = self._merge(patch, old, new)
        hunks = []
        while HUNK.match(self._peek(0)):
            hunks.append(self._hunk())
            if self._goes_on():
                raise self._bad("the hunk has more lines than it says")
        if not hunks and not said:
            raise self._bad("a file without a change")
        return replace(patch, hunks=tuple(hunks))

    def _merge(self, patch: FilePatch, old: str | None, new: str | None) -> FilePatch:
        if old is None and new is None:
            raise self._bad("neither side names a file")
        named = replace(patch, old=old, new=new)
        is_plain = patch.old is None and patch.new is None
        if is_plain and old is not None and new is not None and old != new:
            return replace(named, old=new)  # `diff -u file.orig file`: the second name is the file
        if not is_plain and (named.old, named.new) != (patch.old, patch.new):
            raise self._bad("the headers name different files")
        return named

    def _hunk(self) -> Hunk:
        match = HUNK.match(self._lines[self._at])
        assert match is not None
        self._at += 1
        old_start, new_start = int(match[1]), int(match[3])
        old_left, new_left = int(match[2] or 1), int(match[4] or 1)
        lines: list[tuple[str, str]] = []
        while old_left or new_left:
            if self._at >= len(self._lines):
                raise self._bad("the hunk ends early")
            raw = self._lines[self._at]
            if raw.startswith("\\"):
                self._without_newline(lines)
                continue
            sign, text = (raw[0], raw[1:]) if raw else (" ", "")  # editors strip the blank of an empty context line
            if raw == "\r":
                sign, text = " ", "\r"
            if sign not in " +-":
                raise self._bad("not a line of a hunk")
            old_left -= sign in " -"
            new_left -= sign in " +"
            if old_left < 0 or new_left < 0:
                raise self._bad("the hunk is longer than it says")
            lines.append((sign, text + "\n"))
            self._at += 1
        if self._peek(0).startswith("\\"):
            self._without_newline(lines)
        return Hunk(old_start=old_start, new_start=new_start, lines=tuple(lines))

    def _goes_on(self) -> bool:
        line = self._peek(0)
        is_next_file = line.startswith("--- ") and self._peek(1).startswith("+++ ")
        return line.startswith((" ", "+", "-")) and not is_next_file and line.rstrip() != "--"

    def _without_newline(self, lines: list[tuple[str, str]]) -> None:
        if not lines:
            raise self._bad("nothing to end without a newline")
        sign, text = lines[-1]
        lines[-1] = (sign, text.removesuffix("\n"))
        self._at += 1

    def _peek(self, ahead: int) -> str:
        return self._lines[self._at + ahead] if self._at + ahead < len(self._lines) else ""

    def _bad(self, what: str) -> Refused:
        return refuse(f"line {min(self._at + 1, len(self._lines))} of the diff: {what}")


_EXTENDED = (
    "old mode",
    "new mode",
    "deleted file mode",
    "new file mode",
    "copy from",
    "copy to",
    "rename from",
    "rename to",
    "similarity index",
    "dissimilarity index",
    "index",
)


def _from_headers(header: str, said: dict[str, str], bad: Callable[[str], Refused]) -> FilePatch:
    for key in ("old mode", "new mode", "deleted file mode", "new file mode"):
        if said.get(key, "100644") not in MODES:
            raise bad(f"file mode {said[key][:12]} (only plain files)")
    mode = said.get("new file mode") or said.get("new mode") or ""
    verb = "rename" if "rename from" in said else "copy" if "copy from" in said else ""
    if verb:
        old, new = _path(said[f"{verb} from"], bad), _path(said.get(f"{verb} to", ""), bad)
    else:
        old = new = _same_name(header, bad)
    return FilePatch(
        old=None if "new file mode" in said else old,
        new=None if "deleted file mode" in said else new,
        mode=mode,
        is_copy=verb == "copy",
    )


def _same_name(header: str, bad: Callable[[str], Refused]) -> str:
    """Both names of `diff --git a/X b/X` are the same, so it can be split although names may hold blanks."""
    both = header.removeprefix("diff --git ")
    if both.startswith('"'):
        first, second = both[: len(both) // 2], both[len(both) // 2 + 1 :]
    else:
        half = len(both) // 2
        first, second = both[:half], both[half + 1 :]
    old, new = _name(first, "a", bad), _name(second, "b", bad)
    if old is None or old != new:
        raise bad("the two names differ and it is not a rename")
    return old


def _name(text: str, side: str, bad: Callable[[str], Refused]) -> str | None:
    name = text if text.startswith('"') else text.split("\t", 1)[0]
    name = _unquote(name.strip(), bad)
    if name == "/dev/null":
        return None
    return _path(name.removeprefix(side + "/"), bad)


def _unquote(name: str, bad: Callable[[str], Refused]) -> str:
    """Git's C-style quoting of unusual names."""
    if not name.startswith('"'):
        return name
    if len(name) < 2 or not name.endswith('"'):
        raise bad("a quoted name that does not end")
    raw = OCTAL.sub(lambda m: chr(ESCAPES[m[1]]) if m[1] in ESCAPES else chr(int(m[1], 8) & 255), name[1:-1])
    try:
        return raw.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return raw


def _path(name: str, bad: Callable[[str], Refused]) -> str:
    name = _unquote(name, bad)
    parts = name.split("/")
    if not name or name.startswith("/") or re.match(r"[A-Za-z]:", name) or "\\" in name:
        raise bad(f"not a path inside the repository: {name[:100]!r}")
    if any(part in ("", ".", "..") or part.rstrip(". ").lower() in (".git", "git~1") for part in parts):
        raise bad(f"not a path that may be changed: {name[:100]!r}")
    if any(not char.isprintable() for char in name):
        raise bad(f"control characters in a path: {name[:100]!r}")
    return name


# ------------------------------------------------------------------ applying


def apply(patches: tuple[FilePatch, ...], read: Callable[[str], str | None]) -> tuple[Written, ...]:
    """What each path holds afterwards; `read` gives a file's text, or None when it is not there.

    Nothing is written here, so a refusal changes nothing. Raises Refused (diff_refused).
    """
    written: list[Written] = []
    for patch in patches:
        written += _apply_file(patch, read)
    return tuple(written)


def _apply_file(patch: FilePatch, read: Callable[[str], str | None]) -> list[Written]:
    before = read(patch.old) if patch.old is not None else ""
    if before is None:
        raise refuse(f"{patch.old} does not exist", "make the diff against the branch the work starts from")
    if patch.new is not None and patch.new != patch.old and read(patch.new) is not None:
        raise refuse(f"{patch.new} exists already", "make the diff against the branch the work starts from")
    after = patched(before, patch.hunks, patch.new or patch.old or "")
    if patch.new is None:
        assert patch.old is not None
        if after and patch.hunks:
            raise refuse(f"{patch.old} is to be deleted but has more lines than the diff removes")
        return [Written(path=patch.old, text=None)]
    gone = patch.old is not None and patch.old != patch.new and not patch.is_copy
    moved = [Written(path=patch.old, text=None)] if gone and patch.old is not None else []
    return [*moved, Written(path=patch.new, text=after, mode=patch.mode)]


def patched(text: str, hunks: tuple[Hunk, ...], path: str) -> str:
    """`text` with every hunk applied. Raises Refused (diff_refused) when one does not fit."""
    lines = text.split("\n")
    lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    result: list[str] = []
    done = drift = 0
    for number, hunk in enumerate(hunks, 1):
        before, after = hunk.side("-"), hunk.side("+")
        before, after = _with_endings_of(lines, before, after)
        stated = hunk.old_start - 1 if before else hunk.old_start
        at = _place(lines, before, stated + drift, done)
        if at is None:
            raise refuse(
                f"hunk {number} of {path} (line {hunk.old_start}) does not fit the file",
                "make the diff against the branch the work starts from",
            )
        result += lines[done:at]
        result += after
        done, drift = at + len(before), at - stated
    return "".join([*result, *lines[done:]])


def _with_endings_of(
    lines: list[str], before: tuple[str, ...], after: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A diff that lost its CRs on the way (web forms do that) still fits a file whose every line ends in CRLF."""
    has_cr = any(line.endswith("\r\n") for line in (*before, *after))
    if has_cr or not lines or not all(line.endswith("\r\n") for line in lines if line.endswith("\n")):
        return before, after
    if not lines[0].endswith("\r\n"):
        return before, after
    first, second = (tuple(re.sub(r"\n\Z", "\r\n", line) for line in side) for side in (before, after))
    return first, second


def _place(lines: list[str], before: tuple[str, ...], stated: int, done: int) -> int | None:
    """Where the old side stands: as stated, else the nearest place within reach, and only if that is one place."""
    if not before:
        return stated if done <= stated <= len(lines) else None
    fits = [
        at
        for at in range(max(done, stated - REACH_LINES), min(len(lines) - len(before), stated + REACH_LINES) + 1)
        if lines[at] == before[0] and tuple(lines[at : at + len(before)]) == before
    ]
    if stated in fits:
        return stated
    nearest = sorted(fits, key=lambda at: abs(at - stated))[:2]
    if len(nearest) == 2 and abs(nearest[0] - stated) == abs(nearest[1] - stated):
        return None
    return nearest[0] if nearest else None
