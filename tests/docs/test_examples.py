"""Every command block of README and docs is run, or is marked with what it needs and compared with the command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from windlass.adapters.agents import exchange
from windlass.faces.cli.main import windlass

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^ *<!-- needs: (?P<needs>[^>]*) -->\n+)?^(?P<indent> *)```(?P<kind>bash|console)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
# What cannot run on a machine alone, and why.
NEEDS = {
    "README.md": ["an agent", "github", "github"],
    "deploy/images/windsurf/README.md": ["the internet"],
    "docs/agents.md": ["an agent"],
    "docs/api.md": ["a server"],
    "docs/localforge.md": ["a server"],
    "docs/operations.md": ["a server", "a server", "a server"],
    "docs/prompts.md": ["a server"],
    "docs/windsurf.md": ["the internet"],
    "docs/workflows.md": ["a server"],
}
# What is run, by the tests below.
RUN = {"README.md": 2, "CONTRIBUTING.md": 1, "docs/agents.md": 1}
PROJECT = {
    "README.md": "The colour of the cart.\n",
    "tests/__init__.py": "",
    "tests/test_spelling.py": """import pathlib
import unittest


class Spelling(unittest.TestCase):
    def test_one_way(self):
        self.assertNotIn("colour", pathlib.Path("README.md").read_text())
""",
}


@dataclass(frozen=True)
class Block:
    """One fenced block of commands."""

    page: str
    needs: str
    kind: str
    text: str

    def commands(self) -> list[str]:
        """Its command lines, without prompts and with continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.kind == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip()]


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text("utf-8")):
            text = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
            name = page.relative_to(ROOT).as_posix()
            yield Block(page=name, needs=found["needs"] or "", kind=found["kind"], text=text)


ALL = list(blocks())


def test_only_these_blocks_are_not_run() -> None:
    marked: dict[str, list[str]] = {}
    run: dict[str, int] = {}
    for block in ALL:
        if block.needs:
            marked.setdefault(block.page, []).append(block.needs)
        else:
            run[block.page] = run.get(block.page, 0) + 1
    assert marked == NEEDS
    assert run == RUN


def lines_of(program: str) -> list[str]:
    lines = [line for block in ALL for line in block.commands()]
    inline = [text for page in PAGES for text in re.findall(r"`([^`\n]+)`", page.read_text("utf-8"))]
    return sorted({line.strip() for line in (*lines, *inline) if re.match(rf"(?:\.venv/bin/)?{program} [-a-z]", line)})


@pytest.mark.parametrize("line", lines_of("windlass"))
def test_every_named_command_is_one_and_takes_these_options(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = windlass
    path = "windlass"
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{path} has no command {name}"
        command, path = command.commands[name], f"{path} {name}"
    known = {option for p in command.params if isinstance(p, click.Option) for option in (*p.opts, *p.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known | {"--help", "--version"}


@pytest.mark.parametrize("line", lines_of("make"))
def test_every_named_target_is_one(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in line.split()[1:]:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_every_named_script_is_there() -> None:
    for page in PAGES:
        for name in re.findall(r"python\s+(scripts/\w+\.py)", page.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def project(directory: Path) -> Path:
    for name, text in PROJECT.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], cwd=directory, check=True)
    return directory


def only(page: str, start: str) -> str:
    (found,) = [b.text for b in ALL if b.page == page and not b.needs and b.text.lstrip().startswith(start)]
    return found


def test_the_run_of_the_readme_makes_a_branch_in_the_users_repository(tmp_path: Path) -> None:
    repository = project(tmp_path / "src" / "project")
    (tmp_path / "issue.md").write_text("# Spell color as the style guide does\n\nThe README says colour.\n")
    script = only("README.md", ".venv/bin/windlass run").replace(
        ".venv/bin/windlass", f"{shlex.quote(sys.executable)} -m windlass"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", script.rstrip() + " --json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["state"] == "reviewing"
    assert document["verification"]["head"] == "passed"
    shown = subprocess.run(
        ["git", "show", "ai-1:README.md"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "The color of the cart.\n"
    assert (repository / "README.md").read_text() == "The colour of the cart.\n"


def test_the_agent_of_the_agents_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("The colour of the cart.\n")
    exchange.put_task(tmp_path, "Spell colour as color.")
    done = subprocess.run(["sh", "-c", only("docs/agents.md", "grep -q")], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "README.md").read_text() == "The color of the cart.\n"
    report = exchange.take_report(tmp_path)
    assert report is not None
    assert exchange.is_finished(report)
    assert exchange.title_of(report) == "Spell color as the style guide does"
