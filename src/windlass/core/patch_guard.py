"""What a change may touch: the last word before anything an agent wrote is published.

Rule: paths, kinds and link targets are judged as data, for every file system a reader may check them out on
(case-folding, Unicode-normalising, NTFS, HFS+), never by asking the machine that Windlass happens to run on.
Refuses to repair: a change is refused with one clear line per cause, and the agent or a person changes it.

Patterns (`protect_paths`, `allow_paths`, noise) read like lines of `.gitignore`: `*` and `?` stay inside one
segment, `[abc]` is a set, `**` stands for any number of directories; a pattern with a slash at its start or in its
middle is anchored at the root, any other matches at every depth; one that ends in a slash matches directories only;
what matches a directory covers everything below it. There is no negation.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from windlass.core import lock_files
from windlass.core.attributes import added_rule
from windlass.core.bare_repository import touched_heads
from windlass.core.policy import Policy

FILE_BYTES = 20_000_000
PATH_BYTES = 4096
NAME_BYTES = 255
MAX_REFUSALS = 50
LINK_STEPS = 40

REGULAR_MODES = frozenset({"100644", "100755"})
LINK_MODE = "120000"
GITLINK_MODE = "160000"

PROTECTED = (
    "/.github/workflows",
    "/.github/actions",
    "/.github/windlass.yml",
    "/.github/windlass.yaml",
    "/CODEOWNERS",
    "/.github/CODEOWNERS",
    "/docs/CODEOWNERS",
    # What other agents obey: whoever changes it decides over their next run, here and on people's machines.
    *("AGENTS.md", "AGENTS.override.md", "CLAUDE.md", "CLAUDE.local.md", "GEMINI.md", "QWEN.md", ".goosehints"),
    *(".cursorrules", ".windsurfrules", ".mcp.json", "/.github/copilot-instructions.md", "/.github/instructions"),
    *(".claude/", ".codex/", ".cursor/", ".devin/", ".gemini/", ".qwen/", ".opencode/", ".openhands/", ".windsurf/"),
)

_GITMODULES_SHORT = re.compile(r"gitmod~[0-9]+|gi7eba~[0-9]+")
_PLAINLY_GREEK = frozenset("ΓΔΘΛΞΠΣΦΨΩβγδεζηθλμξπρςστφχψω")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed path. Modes are git's six octal digits, '' where the path is absent on that side.

    `path` and `link_target` are UTF-8; bytes that are not stand as lone surrogates (PEP 383). `size` is the new
    content's, in bytes. `old_text` and `new_text` are filled for what is read closely (see `is_read_closely`) only.
    """

    path: str
    old_mode: str = ""
    new_mode: str = ""
    old_sha: str = ""
    new_sha: str = ""
    size: int = 0
    link_target: str = ""
    old_text: str = ""
    new_text: str = ""


def guard(
    changes: Sequence[Change],
    *,
    policy: Policy,
    start_paths: Collection[str] = (),
    start_links: Mapping[str, str] | None = None,
    diff_bytes: int = 0,
) -> tuple[str, ...]:
    """Why this change may not be published, one line each, at most MAX_REFUSALS; empty when it may.

    `start_paths` are all tracked paths where the agent began, `start_links` its symbolic links (path → target);
    `diff_bytes` is the size of the whole diff. A change that removes more than half of ten or more tracked files
    is refused; a file that reappears elsewhere with the same content is moved, not removed.
    """
    refusals = [
        *_over_limits(changes, policy, diff_bytes),
        *_mass_deletion(changes, start_paths),
        *(line for change in changes for line in _one(change, policy)),
        *_bare_repositories(changes, policy, start_paths),
        *_collisions(changes, start_paths),
        *_leaving_links(changes, start_links or {}),
    ]
    return shorten(refusals)


def shorten(refusals: Sequence[str]) -> tuple[str, ...]:
    """At most MAX_REFUSALS distinct lines; the last then says how many more there are."""
    lines = tuple(dict.fromkeys(refusals))
    if len(lines) <= MAX_REFUSALS:
        return lines
    return (*lines[: MAX_REFUSALS - 1], f"and {len(lines) - MAX_REFUSALS + 1} more of the same kinds")


def shown(path: str) -> str:
    """A hostile path as printable text of at most 200 characters, in quotes."""
    text = path if len(path) <= 200 else path[:90] + "…" + path[-90:]
    printable = "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
    return f"'{printable}'"


def path_refusal(path: str) -> str:
    """Why no file may have this path, or ''. Judges the path alone."""
    if not path or path.startswith("/"):
        return "is not a path relative to the repository"
    if any("\udc80" <= c <= "\udcff" for c in path):
        return "is not valid UTF-8; rename it"
    if len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES:
        return f"is longer than {PATH_BYTES} bytes; shorten it"
    return next((why for name in path.split("/") if (why := _name_refusal(name))), "")


def _name_refusal(name: str) -> str:
    if name in {"", ".", ".."}:
        return "has an empty, '.' or '..' part"
    if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES:
        return f"has a part longer than {NAME_BYTES} bytes; shorten it"
    if is_git_directory(name):
        return "has a part that is, or passes for, a git directory; remove it"
    if is_gitmodules(name):
        return "defines submodules, which are never changed by an agent; restore it"
    if name != name.strip(" "):
        return "has a part that starts or ends with a space; rename it"
    if "\\" in name:
        return "has a backslash, which is a separator on Windows; rename it"
    if any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in name):
        return "has control or invisible characters; rename it"
    if _mixes_scripts(name):
        return "mixes Latin letters with look-alikes of another script; rename it"
    return ""


def is_git_directory(name: str) -> bool:
    """Whether a name is `.git` on some file system: any case, NTFS short names, streams, end dots, HFS+ joiners."""
    return _as_any_disk_reads(name) in {".git", "git~1"}


def is_gitmodules(name: str) -> bool:
    """Whether a name is `.gitmodules` on some file system."""
    plain = _as_any_disk_reads(name)
    return plain == ".gitmodules" or _GITMODULES_SHORT.fullmatch(plain) is not None


def _as_any_disk_reads(name: str) -> str:
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    folded = unicodedata.normalize("NFKC", visible).casefold()
    return folded.partition(":")[0].rstrip(" .")


def _mixes_scripts(name: str) -> bool:
    """Whether some word has Latin letters beside Cyrillic ones, or beside Greek ones that look Latin."""
    if name.isascii():
        return False
    return any("LATIN" in found and len(found) > 1 for found in map(_scripts, re.findall(r"[^\W\d_]+", name)))


def _scripts(word: str) -> set[str]:
    names = {unicodedata.name(c, "").partition(" ")[0] for c in word if c not in _PLAINLY_GREEK}
    return names & {"LATIN", "CYRILLIC", "GREEK"}


def _one(change: Change, policy: Policy) -> Iterator[str]:
    where = shown(change.path)
    if why := path_refusal(change.path):
        yield f"{where} {why}"
        return
    if GITLINK_MODE in {change.old_mode, change.new_mode}:
        yield f"{where} is a submodule; submodules are never changed by an agent"
    elif change.new_mode not in REGULAR_MODES | {LINK_MODE, ""}:
        yield f"{where} has mode {change.new_mode}; only plain files and symbolic links are taken"
    if change.size > FILE_BYTES:
        yield f"{where} is larger than {FILE_BYTES} bytes; leave it out or make it smaller"
    if rule := protecting_rule(change.path, policy):
        yield f"{where} is protected by {rule!r}; leave it as it was, or add it to allow_paths in .github/windlass.yml"
    if added := _added_content(change, policy):
        yield f"{where} {added}"


def protecting_rule(path: str, policy: Policy) -> str:
    """The pattern that protects a path, or ''. Protection ignores case; an entry of `allow_paths` lifts it exactly."""
    if any(path_matches(pattern, path) for pattern in policy.allow_paths):
        return ""
    plain = _folded(path)
    rules = (*PROTECTED, *policy.protect_paths)
    return next((rule for rule in rules if path_matches(_folded(rule), plain)), "")


def _added_content(change: Change, policy: Policy) -> str:
    """What the change puts into a file that others obey, and may not; an entry of `allow_paths` lifts this too."""
    if any(path_matches(pattern, change.path) for pattern in policy.allow_paths):
        return ""
    if is_attributes(change.path):
        rule, why = added_rule(change.old_text, change.new_text)
        return f"adds {shown(rule)}, which {why}; leave that as it was" if rule else ""
    if lock_files.is_lock_file(change.path) and change.size > lock_files.MOST_BYTES:
        return f"is a lock file larger than {lock_files.MOST_BYTES} bytes, too large to be compared"
    if why := lock_files.refusal(change.path, change.old_text, change.new_text):
        return f"{why}; leave it, or add the file to allow_paths in .github/windlass.yml"
    return ""


def is_attributes(path: str) -> bool:
    """Whether a path is a `.gitattributes` file on some file system."""
    return path.rpartition("/")[2].casefold() == ".gitattributes"


def is_read_closely(path: str) -> bool:
    """Whether the guard wants a file's text before and after."""
    return is_attributes(path) or lock_files.is_lock_file(path)


def _over_limits(changes: Sequence[Change], policy: Policy, diff_bytes: int) -> Iterator[str]:
    files, size = policy.limits.patch_files, policy.limits.patch_bytes
    if len(changes) > files:
        yield f"{len(changes)} files changed, the limit is {files} (limits.patch_files); make a smaller change"
    if diff_bytes > size:
        yield f"the diff has {diff_bytes} bytes, the limit is {size} (limits.patch_bytes); make it smaller"


def _mass_deletion(changes: Sequence[Change], start_paths: Collection[str]) -> Iterator[str]:
    kept_content = {c.new_sha for c in changes if c.new_mode and not c.old_mode}
    gone = sum(1 for c in changes if c.old_mode and not c.new_mode and c.old_sha not in kept_content)
    if len(start_paths) >= 10 and gone * 2 > len(start_paths):
        yield f"{gone} of {len(start_paths)} tracked files are deleted, more than half; delete less in one change"


def _bare_repositories(changes: Sequence[Change], policy: Policy, start_paths: Collection[str]) -> Iterator[str]:
    result = {*start_paths, *(c.path for c in changes if c.new_mode)} - {c.path for c in changes if not c.new_mode}
    for head in touched_heads(result, [c.path for c in changes if c.new_mode]):
        if not matches_any(policy.allow_paths, head):
            yield f"{shown(head)} makes its directory a bare repository, whose settings run programs; remove it"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _prefixes(path: str) -> Iterator[str]:
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _new_prefixes(path: str, known: set[str]) -> list[str]:
    """The path and its directories that were not met before; they are known afterwards."""
    found = list(itertools.takewhile(lambda prefix: prefix not in known, _prefixes(path)))
    known.update(found)
    return found


def _collisions(changes: Sequence[Change], start_paths: Collection[str]) -> Iterator[str]:
    """Added paths that some file systems cannot tell from another path of the result."""
    added = [c.path for c in changes if c.new_mode and not c.old_mode]
    if not added:
        return
    gone = {c.path for c in changes if not c.new_mode}
    known: set[str] = set()
    spelled: dict[str, str] = {}
    for path in start_paths:
        for prefix in () if path in gone else _new_prefixes(path, known):
            spelled.setdefault(_folded(prefix), prefix)
    for path in sorted(added):
        others = [spelled.setdefault(_folded(prefix), prefix) for prefix in _new_prefixes(path, known)]
        if other := next((o for o in others if o not in _prefixes(path)), ""):
            yield f"{shown(path)} differs from {shown(other)} only in case or in Unicode form; rename it"


def _leaving_links(changes: Sequence[Change], start_links: Mapping[str, str]) -> Iterator[str]:
    """Symbolic links that lead out of the tree now, directly or through other links, and did not before."""
    links = {p: t for p, t in start_links.items() if p not in {c.path for c in changes}}
    new = {c.path: c.link_target for c in changes if c.new_mode == LINK_MODE}
    if not new:
        return
    links.update(new)
    for path in links:
        why = _leaves(path, links)
        if why and (path in new or not _leaves(path, start_links)):
            yield f"{shown(path)} is a symbolic link that {why}; replace it by a file or a link inside the repository"


def _leaves(path: str, links: Mapping[str, str]) -> str:
    """Walk to where a link leads as a kernel would, on the tree alone; why it is refused, or ''."""
    at: list[str] = []
    ahead = path.split("/")[::-1]
    steps = 0
    while ahead:
        name = ahead.pop()
        target = links.get("/".join((*at, name))) if name not in {"", ".", ".."} else None
        if target is not None:
            steps += 1
            if steps > LINK_STEPS:
                return "leads in a circle"
            if why := _target_refusal(target):
                return why
            ahead.extend(target.split("/")[::-1])
        elif name == "..":
            if not at:
                return "leads out of the repository"
            at.pop()
        elif name not in {"", "."}:
            at.append(name)
    return "leads into a git directory" if any(is_git_directory(name) for name in at) else ""


def _target_refusal(target: str) -> str:
    if not target or "\0" in target or len(target) > PATH_BYTES:
        return "has an impossible target"
    if target.startswith("/") or "\\" in target or re.match(r"[A-Za-z]:", target):
        return "leads out of the repository"
    return ""


def matches_any(patterns: Iterable[str], path: str, *, is_directory: bool = False) -> bool:
    """Whether one of the patterns covers the path (grammar: see the top of this page)."""
    return any(path_matches(pattern, path, is_directory=is_directory) for pattern in patterns)


def path_matches(pattern: str, path: str, *, is_directory: bool = False) -> bool:
    """Whether a pattern covers a path (grammar: see the top of this page). An empty pattern covers nothing."""
    compiled = _compiled(pattern)
    return compiled is not None and compiled.match(path + "/" if is_directory else path) is not None


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    body = pattern.strip("/")
    if not body:
        return None
    segments = body.split("/")
    if not pattern.startswith("/") and len(segments) == 1:
        segments.insert(0, "**")
    if set(segments) == {"**"}:
        segments.append("*")
    while len(segments) > 1 and segments[-1] == "**":
        segments.pop()
        pattern = "/".join(segments) + "/"
    runs = [list(run) for is_any, run in itertools.groupby(segments, lambda s: s == "**") if not is_any]
    pieces = [_run(run) for run in runs]
    # Each run but the last is taken where it first fits (that never loses a match), so the time stays bounded.
    head = "" if segments[0] == "**" or len(pieces) == 1 else pieces.pop(0) + "/"
    middle = "".join(f"(?>(?:[^/]+/)*?{piece}/)" for piece in pieces[:-1])
    gap = "(?:[^/]+/)*" if "**" in segments else ""
    end = "/" if pattern.endswith("/") else r"(?:/|\Z)"
    return re.compile(head + middle + gap + pieces[-1] + end, re.DOTALL)


def _run(segments: list[str]) -> str:
    return "/".join(map(_segment, segments))


def _segment(segment: str) -> str:
    """One segment as a regular expression whose time stays linear: only its last star may be tried again."""
    first, *rest = re.split(r"\*+", segment)
    if not rest:
        return _literal(first)
    middle = "".join(f"(?>[^/]*?{_literal(piece)})" for piece in rest[:-1])
    return f"{_literal(first)}{middle}[^/]*{_literal(rest[-1])}"


def _literal(piece: str) -> str:
    atoms = re.findall(r"\[!?\]?[^\]/]*\]|.", piece, re.DOTALL)
    return "".join(_atom(atom) for atom in atoms)


def _atom(atom: str) -> str:
    if atom == "?":
        return "[^/]"
    if len(atom) < 3 or atom == "[!]":
        return re.escape(atom)
    inside = atom[1:-1]
    negated = inside.startswith("!")
    safe = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside.removeprefix("!"))
    found = f"(?!/)[{'^' if negated else ''}{safe}]"
    try:
        re.compile(found)
    except re.error:
        return re.escape(atom)
    return found
