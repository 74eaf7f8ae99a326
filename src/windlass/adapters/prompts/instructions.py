"""The project's own instructions and its tools' settings: which files they are, and what of them is told.

Rule: a list of known names, taken from the base commit alone, so that neither an issue, a fork nor an agent's earlier
change can speak as the project. Names by the research into which agent reads which file; refuses any other file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from windlass.adapters.prompts.strangers import Room
from windlass.core.prompt import InstructionFile
from windlass.core.visible import seen

_WORDS = (
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".github/copilot-instructions.md",
    "CONTRIBUTING.md",
    ".github/CONTRIBUTING.md",
    "docs/CONTRIBUTING.md",
    ".windsurfrules",
)
_NEAREST = ("AGENTS.md", "CLAUDE.md", "GEMINI.md")
_RULES = re.compile(r"(?:\.windsurf/rules|\.devin/rules|\.github/instructions)/[^/]+\.md")
_AGENTS_OWN = re.compile(
    r"(?:^|/)\.(?:cursor|claude|windsurf|devin|gemini|codex|cursorrules|mcp\.json|aider)", re.IGNORECASE
)
_SETTINGS_WORDS = (
    ".editorconfig ruff.toml .ruff.toml .flake8 .pylintrc mypy.ini .eslintrc .eslintrc.json .eslintrc.js "
    ".eslintrc.cjs .eslintrc.yml .eslintrc.yaml eslint.config.js eslint.config.mjs eslint.config.cjs "
    "eslint.config.ts .prettierrc .prettierrc.json .prettierrc.yml .prettierrc.yaml .prettierrc.toml "
    "prettier.config.js biome.json biome.jsonc rustfmt.toml .rustfmt.toml clippy.toml .golangci.yml "
    ".golangci.yaml .clang-format .rubocop.yml .stylelintrc checkstyle.xml pyproject.toml setup.cfg"
)
_SETTINGS = frozenset(_SETTINGS_WORDS.split())
_SECTIONED = {
    "pyproject.toml": re.compile(r"tool\.(?:ruff|black|isort|mypy|pylint|flake8|pyright|yapf)\b"),
    "setup.cfg": re.compile(r"(?:flake8|isort|mypy|pylint|pycodestyle|yapf)\b"),
}
_SECTION = re.compile(r"^\[+\s*([^\]\n]+?)\s*\]+[^\n]*$", re.MULTILINE)
_MOST = 40
_LONGEST = 16_000
_LONGEST_SETTINGS = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """The files, the list of them as it is told, and the quoted ones' texts."""

    files: tuple[InstructionFile, ...] = ()
    listed: str = ""
    quoted: tuple[str, ...] = ()


def is_one(path: str) -> bool:
    """Whether an agent reads this file as its instructions or settings: such a file is never told as context."""
    name = path.rsplit("/", 1)[-1]
    return name in _NEAREST or path in _WORDS or bool(_RULES.fullmatch(path) or _AGENTS_OWN.search(path))


def wanted(base_paths: Sequence[str], near: Sequence[str]) -> list[str]:
    """Which files of the base commit are instructions: at the root, on the way to the files in `near`, and settings."""
    there = set(base_paths)
    found = [path for path in _WORDS if path in there]
    found += sorted(path for path in there if _RULES.fullmatch(path))
    for path in near:
        parts = path.split("/")[:-1]
        for depth in range(len(parts), 0, -1):
            found += [place for name in _NEAREST if (place := "/".join([*parts[:depth], name])) in there]
    found += sorted(path for path in there if path in _SETTINGS)
    return list(dict.fromkeys(found))[:_MOST]


def tell(paths: Sequence[str], contents: Mapping[str, bytes], room: Room, most: int) -> Instructions:
    """What is told of them within `most` characters: every path with its hash, and the texts that fit, in order."""
    files, lines, quoted = [], [], []
    left = most
    for path in paths:
        data = contents.get(path)
        if data is None:
            continue
        found = seen(_relevant(path, data.decode("utf-8", "replace")), is_code=True)
        room.note("instructions", dict(found.removed))
        text = found.text.strip()
        limit = _LONGEST_SETTINGS if path in _SETTINGS else _LONGEST
        is_quoted = 0 < len(text) <= min(limit, left - len(path) - 20)
        if path in _SECTIONED and not text:
            continue
        if is_quoted and (taken := room.take("instructions", f"{_shown(path)}\n\n{text}", left)):
            quoted.append(taken)
            left -= len(taken)
        sha256 = hashlib.sha256(data).hexdigest()
        files.append(InstructionFile(path=path, sha256=sha256, size_bytes=len(data), is_quoted=is_quoted))
        lines.append(f"{_shown(path)} sha256:{sha256}{'' if is_quoted else ' (read it yourself)'}")
    listed = room.take("instructions", "\n".join(lines), 8_000)
    return Instructions(files=tuple(files), listed=listed, quoted=tuple(quoted))


def _relevant(path: str, text: str) -> str:
    """Of a file with settings for many tools, the sections that say how code is written."""
    pattern = _SECTIONED.get(path)
    if pattern is None:
        return text
    heads = list(_SECTION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    kept = [text[head.start() : end] for head, end in zip(heads, ends, strict=True) if pattern.match(head[1])]
    return "".join(kept)


def _shown(path: str) -> str:
    return seen(path, is_code=True).text.replace("\n", " ")
