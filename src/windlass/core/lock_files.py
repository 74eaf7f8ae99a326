"""Lock files: what an agent may not change in them unseen.

Nobody reads a lock file line by line, and everybody installs what it says. So two changes are refused: a package source
(a host) that no lock file line named before, and another checksum for a package and version that stood there already.
Both are what a swapped registry or a swapped package looks like. A lock file that is new is for the reviewer's eyes.
A format without checksums is held to the first rule alone; a file that stopped being readable is refused.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Pins = dict[tuple[str, ...], set[str]]
Found = Iterator[tuple[tuple[str, ...], str]]

MOST_BYTES = 5_000_000  # more is not compared, and so refused
_SOURCE = re.compile(r"(?i)://(?:[^/@\s\"']*@)?([^/:\s\"'#?)\]}>,;]{1,253})|\bgit@([a-z0-9.-]{1,253}):")
_SHA = re.compile(r"(?:sha\d+|md5)[-:][A-Za-z0-9+/=]+")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\]\s*)?==\s*([^\s;\\]+)")
_HEADING = re.compile(r"[\"']?/?((?:@[^@/]+/)?[^@\s\"']+)@([^,\"']+)[\"']?(?:,.*)?:")
_VERSION = re.compile(r"\s+version:?\s+\"?([^\"\s]+)")


def is_lock_file(path: str) -> bool:
    """Whether a path is a lock file, by its name."""
    return _reader(path) is not None


def refusal(path: str, before: str, after: str) -> str:
    """What the change of a lock file does that is refused, or ''. A file that is new or gone is never refused."""
    reader = _reader(path)
    if reader is None or not before or not after:
        return ""
    known = _sources(before)
    if strange := sorted(_sources(after) - known):
        return f"names a package source that was not there before, {strange[0][:100]}"
    old, new = _pins(reader, before), _pins(reader, after)
    if old and not new:
        return "cannot be read as a lock file any more"
    for key in sorted(new):
        if key in old and new[key] - old[key]:
            return f"changes the checksum of {' '.join(key)[:200]}, whose version stays the same"
    return ""


def _sources(text: str) -> set[str]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {(found[1] or found[2]).lower() for line in lines for found in _SOURCE.finditer(line)}


def _pins(reader: Callable[[str], Found], text: str) -> Pins:
    found: Pins = defaultdict(set)
    try:
        for key, checksum in reader(text):
            found[key].add(checksum)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
    return found


def _reader(path: str) -> Callable[[str], Found] | None:
    name = path.rpartition("/")[2].casefold()
    if re.fullmatch(r".*requirements.*\.txt|constraints.*\.txt", name):
        return _requirements
    return _READERS.get(name)


def _npm(text: str) -> Found:
    document = json.loads(text)
    for path, entry in document.get("packages", {}).items():
        yield from _npm_entry(path.rpartition("node_modules/")[2], entry)
    yield from _npm_nested(document.get("dependencies", {}))


def _npm_nested(entries: Mapping[str, Any]) -> Found:
    for name, entry in entries.items():
        yield from _npm_entry(name, entry)
        yield from _npm_nested(entry.get("dependencies", {}))


def _npm_entry(name: str, entry: Mapping[str, Any]) -> Found:
    for checksum in str(entry.get("integrity", "")).split():
        yield (name, str(entry.get("version", ""))), checksum


def _pipfile(text: str) -> Found:
    document = json.loads(text)
    for section in document.values():
        for name, entry in section.items():
            for checksum in entry.get("hashes", ()) if isinstance(entry, dict) else ():
                yield (name, str(entry.get("version", ""))), str(checksum)


def _composer(text: str) -> Found:
    document = json.loads(text)
    for entry in (*document.get("packages", ()), *document.get("packages-dev", ())):
        key = (str(entry.get("name", "")), str(entry.get("version", "")))
        for place in ("dist", "source"):
            for field in ("reference", "shasum"):
                if checksum := entry.get(place, {}).get(field):
                    yield (*key, place, field), str(checksum)


def _toml(text: str) -> Found:
    """Cargo, Poetry, uv and PDM."""
    for entry in tomllib.loads(text).get("package", ()):
        key = (str(entry.get("name", "")), str(entry.get("version", "")))
        if checksum := entry.get("checksum"):
            yield key, str(checksum)
        sdist = [entry["sdist"]] if isinstance(entry.get("sdist"), dict) else []
        for file in (*entry.get("files", ()), *entry.get("wheels", ()), *sdist):
            name = str(file.get("file") or file.get("url", "")).rpartition("/")[2]
            yield (*key, name), str(file.get("hash", ""))


def _go(text: str) -> Found:
    for words in map(str.split, text.splitlines()):
        if len(words) == 3 and words[2].startswith("h1:"):
            yield (words[0], words[1]), words[2]


def _indented(text: str) -> Found:
    """Yarn and pnpm: a heading that names package and range or version, and what stands below it."""
    name = version = ""
    for line in text.splitlines():
        if found := _HEADING.fullmatch(line.strip()):
            name, version = found[1], found[2]
        elif found := _VERSION.match(line):
            version = found[1]
        elif name and re.match(r"\s+(?:resolution|integrity|checksum)\b", line):
            yield from (((name, version), one) for one in _checksums(line))


def _checksums(line: str) -> Iterable[str]:
    found = _SHA.findall(line)
    return found or re.findall(r"\b[0-9a-f]{40,128}\b", line)


def _requirements(text: str) -> Found:
    key: tuple[str, ...] = ()
    for line in text.splitlines():
        if found := _REQUIREMENT.match(line.strip()):
            key = (found[1].lower(), found[2])
        for checksum in re.findall(r"--hash=(\S+)", line) if key else ():
            yield key, checksum


def _no_pins(_text: str) -> Found:
    return iter(())


_READERS: Mapping[str, Callable[[str], Found]] = {
    **dict.fromkeys(("package-lock.json", "npm-shrinkwrap.json"), _npm),
    **dict.fromkeys(("poetry.lock", "uv.lock", "pdm.lock", "cargo.lock"), _toml),
    **dict.fromkeys(("yarn.lock", "pnpm-lock.yaml"), _indented),
    "pipfile.lock": _pipfile,
    "composer.lock": _composer,
    "go.sum": _go,
    **dict.fromkeys(("gemfile.lock", "bun.lock", "packages.lock.json", "mix.lock", "gradle.lockfile"), _no_pins),
}
