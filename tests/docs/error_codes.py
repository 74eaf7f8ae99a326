"""Every error code in the source: given as `code=`, through a function with a `code` parameter, or a class's own."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "windlass"
KINDS = frozenset({"Refused", "NotFound", "Conflict", "Forbidden", "Unavailable", "Failed", "Broken"})
# The embedded forge's set-up calls are met by people who write tests, not by users.
NOT_SHOWN = ("localforge/",)


def collect() -> dict[str, set[str]]:
    """Code → the files that use it."""
    trees = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    makers = {name: at for tree in trees.values() for name, at in _makers(tree)}
    found: dict[str, set[str]] = {}
    for name, tree in sorted(trees.items()):
        if not name.startswith(NOT_SHOWN):
            for code in _codes(tree, makers):
                found.setdefault(code, set()).add(name)
    return found


def _makers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Errors of which `code` is a positional argument, wherever they are used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for child in node.body:
                if isinstance(child, ast.FunctionDef) and child.name == "__init__":
                    names = [argument.arg for argument in child.args.args]
                    if "code" in names:
                        yield node.name, names.index("code") - 1


def _codes(tree: ast.Module, makers: Mapping[str, int]) -> Iterator[str]:
    functions = (f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name != "__init__")
    places = {**makers, **{f.name: at for f in functions if (at := _place(f)) is not None}}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in KINDS or name in places:
                yield from (text for k in node.keywords if k.arg == "code" for text in _texts(k.value))
            if name in places and len(node.args) > places[name]:
                yield from _texts(node.args[places[name]])
        elif isinstance(node, ast.ClassDef) and _is_error(node):
            for child in node.body:
                if isinstance(child, ast.Assign) and getattr(child.targets[0], "id", "") == "code":
                    yield from _texts(child.value)


def _place(function: ast.FunctionDef) -> int | None:
    names = [argument.arg for argument in function.args.args]
    if "code" in names:
        return names.index("code")
    return len(names) if "code" in [argument.arg for argument in function.args.kwonlyargs] else None


def _is_error(node: ast.ClassDef) -> bool:
    bases = {getattr(base, "id", "") for base in node.bases}
    return bool(bases & (KINDS | {"WindlassError"}))


def _texts(node: ast.expr) -> Iterator[str]:
    """The constants that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
