"""The house's habits, held by a machine: sizes, imports, names. What is allowed beyond them is listed with why."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "windlass"
LONGEST_FUNCTION = 60
USUAL_FUNCTION = 15
LONG_SHARE = 0.25
LONGEST_FILE = 400
MOST_PARAMETERS = 6
# Shared modules of plain types may be longer: one place to read what the engine needs.
LONG_FILES = {"ports.py": 960}
# Options of a command are parameters; records and views name every field.
MANY_PARAMETERS = re.compile(r"^(?:faces/cli/.*|.*migrations/.*)$")
# Function-local imports, each with its reason.
LOCAL_IMPORTS: dict[str, str] = {}
FORBIDDEN_NAMES = re.compile(r"(?:Manager|Helper|Utils?|Service|Handler|Base)$")


@dataclass(frozen=True)
class Function:
    """A function, where it is and how long. Docstrings and decorators do not count."""

    file: str
    name: str
    lines: int
    parameters: int

    def __str__(self) -> str:
        return f"{self.file}:{self.name} ({self.lines} lines, {self.parameters} parameters)"


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text("utf-8"))


def functions() -> Iterator[Function]:
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _measured(file, node)


def _measured(file: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    lines = (node.end_lineno or node.lineno) - body[0].lineno + 1 if body else 0
    # What is defined inside is measured by itself.
    inner = [child for child in body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines -= sum((child.end_lineno or child.lineno) - child.lineno + 1 for child in inner)
    given = node.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return Function(file, node.name, lines, len([name for name in names if name not in {"self", "cls"}]))


def test_no_function_is_too_long() -> None:
    assert [str(f) for f in functions() if f.lines > LONGEST_FUNCTION] == []


def test_most_functions_are_short() -> None:
    sizes = [f.lines for f in functions()]
    long = sum(size > USUAL_FUNCTION for size in sizes)
    assert long / len(sizes) < LONG_SHARE


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_file_is_too_long(path: Path) -> None:
    limit = LONG_FILES.get(path.relative_to(SOURCE).as_posix(), LONGEST_FILE)
    assert len(path.read_text("utf-8").splitlines()) <= limit, "split it into rooms by noun"


def test_functions_take_few_parameters() -> None:
    many = [f for f in functions() if f.parameters > MOST_PARAMETERS and not MANY_PARAMETERS.match(f.file)]
    share = len(many) / sum(1 for _ in functions())
    assert share < 0.02, "\n".join(map(str, many))


def test_imports_stand_at_the_top() -> None:
    local: dict[str, list[str]] = {}
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found = [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)]
                local.setdefault(file, []).extend(ast.unparse(child) for child in found)
    assert {file for file, found in local.items() if found} == set(LOCAL_IMPORTS)


def test_no_module_leads_back_to_itself() -> None:
    """No import cycles; `import-linter` holds the storeys, this holds the rooms."""
    names = {_module(file): file for file, _ in trees()}
    graph = {_module(file): _imports(file, tree, set(names)) for file, tree in trees()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way[way.index(name) :], name))
        if name not in done:
            for child in sorted(graph[name]):
                visit(child, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _module(file: str) -> str:
    parts = ["windlass", *file.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(file: str, tree: ast.Module, known: set[str]) -> set[str]:
    own = _module(file)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            wholes = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = wholes & known
            found |= modules
            if modules != wholes:
                found.add(node.module)
    return (found & known) - {own}


def test_names_say_what_a_thing_is() -> None:
    bad = [
        f"{file}:{node.name}"
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and FORBIDDEN_NAMES.search(node.name)
    ]
    # SQLAlchemy's own name for the root of declarative models.
    assert [name for name in bad if not name.endswith(":Base")] == []


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_module_says_why_it_is_there(path: Path) -> None:
    text = path.read_text("utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text))


def test_no_loose_ends_are_left() -> None:
    found = []
    for file, tree in trees():
        with tokenize.open(SOURCE / file) as stream:
            comments = [token for token in tokenize.generate_tokens(stream.readline) if token.type == tokenize.COMMENT]
        found += [f"{file}:{c.start[0]}" for c in comments if re.search(r"\b(?:TODO|FIXME|XXX)\b", c.string)]
        names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
        found += [f"{file}:{node.lineno}" for node in names if node.id == "NotImplementedError"]
    assert found == []
