"""The tests of a Python file, read from its syntax tree; nothing is imported or run.

Only checks that can be reached count: what stands behind a `return`, under `if False:` or in a `try` that swallows
every exception demands nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from windlass.core.weakening_facts import FileFacts, TestFacts

_SKIPS = re.compile(r"(^|\.)(skip\w*|xfail|expectedFailure|SkipTest|importorskip)$", re.I)
_SLACK = frozenset({"abs", "rel", "delta", "atol", "rtol", "tol", "tolerance", "abs_tol", "rel_tol", "abs_", "eps"})
_PLACES = frozenset({"places", "decimal", "ndigits"})
_EXACT = re.compile(
    r"assert(Equals?|Is|\w+Equal|Count\w+|Is(None|Instance)?|RaisesRegex|WarnsRegex|_called_once_with|_called_with|"
    r"_has_calls|_any_call|_awaited_once_with|_not_called)|assert_(array_|frame_|series_)?equal"
)
_WIDE = frozenset({"Exception", "BaseException"})
FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef
EXACT, SPECIFIC, LOOSE, TRUTHY = 4, 3, 2, 1


def read_python(source: str) -> FileFacts | None:
    """Every function (helpers may hold the assertions); None when it is not Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    module_skips = tuple(_skips_of_body(tree.body))
    tests: dict[str, TestFacts] = {}
    for scope, function, outer in _functions(tree.body, "", module_skips, collected=True):
        facts = _facts(scope, function, outer)
        tests[facts.name] = facts
    return FileFacts(tests=tests, exclusions=tuple(_exclusions(tree)))


def _functions(
    body: list[ast.stmt], scope: str, skips: tuple[str, ...], *, collected: bool
) -> Iterator[tuple[tuple[str, bool], FunctionDef, tuple[str, ...]]]:
    for node in body:
        if isinstance(node, FunctionDef):
            yield (scope, collected), node, skips
        elif isinstance(node, ast.ClassDef):
            own = (*skips, *_decorator_skips(node.decorator_list), *_skips_of_body(node.body))
            is_collected = collected and (node.name.startswith("Test") or bool(node.bases))
            yield from _functions(node.body, f"{scope}{node.name}.", own, collected=is_collected)
        elif isinstance(node, ast.If) and not _is_false(node.test):
            yield from _functions([*node.body, *node.orelse], scope, skips, collected=collected)


def _facts(scope: tuple[str, bool], function: FunctionDef, outer: tuple[str, ...]) -> TestFacts:
    prefix, is_collected = scope
    reached = list(_reached(function.body))
    inner = [name for node in reached for name in _skip_calls(node)]
    return TestFacts(
        name=prefix + function.name,
        body="\n".join(ast.dump(node) for node in function.body),
        is_test=is_collected and function.name.startswith("test"),
        checks=tuple(check for node in reached for check in _checks(node)),
        cases=_cases(function),
        skips=(*outer, *_decorator_skips(function.decorator_list), *inner),
        slack=tuple(slack for node in reached for slack in _slack(node)),
    )


# ------------------------------------------------------------------ what is reached


def _reached(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node of a body that can be executed, statement by statement."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Constant):
            yield from _reached(node.body if node.test.value else node.orelse)
        elif isinstance(node, ast.While) and _is_false(node.test):
            continue
        elif isinstance(node, ast.Try) and any(_swallows(handler) for handler in node.handlers):
            yield from _reached([*node.orelse, *node.finalbody])
        else:
            yield from _nodes(node)
        if isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break):
            return


def _nodes(node: ast.stmt) -> Iterator[ast.AST]:
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("body", "orelse", "finalbody") and isinstance(value, list):
            yield from _reached(value)
        elif name == "handlers" and isinstance(value, list):
            for handler in value:
                yield from _reached(handler.body)
        else:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from ast.walk(child)


def _swallows(handler: ast.ExceptHandler) -> bool:
    names = {_name(handler.type)} if not isinstance(handler.type, ast.Tuple) else {_name(x) for x in handler.type.elts}
    is_wide = handler.type is None or bool(names & {"Exception", "BaseException", "AssertionError"})
    return is_wide and all(isinstance(node, ast.Pass | ast.Return | ast.Continue | ast.Expr) for node in handler.body)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


# ------------------------------------------------------------------ how much is demanded


def _checks(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Assert):
        yield from ((ast.unparse(part), _demand(part)) for part in _conjuncts(node.test))
    elif isinstance(node, ast.Call) and _name(node.func).rpartition(".")[2].startswith("assert"):
        yield ast.unparse(node), _call_demand(node)
    elif isinstance(node, ast.Call) and re.search(r"(^|\.)(raises|warns|deprecated_call|fail)$", _name(node.func)):
        yield ast.unparse(node), _raises_demand(node)


def _conjuncts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _conjuncts(value)]
    return [node]


def _demand(node: ast.expr) -> int:
    if isinstance(node, ast.Constant):
        return 0 if node.value else EXACT
    if isinstance(node, ast.Tuple):
        return 0
    if isinstance(node, ast.BoolOp):
        return min(_demand(value) for value in node.values) if isinstance(node.op, ast.Or) else EXACT
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return TRUTHY if not isinstance(node.operand, ast.Constant) else 0
    if isinstance(node, ast.Compare):
        return _comparison_demand(node)
    return TRUTHY


def _comparison_demand(node: ast.Compare) -> int:
    sides = [node.left, *node.comparators]
    if len({ast.dump(side) for side in sides}) == 1:
        return 0
    has_none = any(isinstance(side, ast.Constant) and side.value is None for side in sides)
    if all(isinstance(op, ast.Eq | ast.Is) for op in node.ops):
        has_approx = any(isinstance(side, ast.Call) and _name(side.func).endswith("approx") for side in sides)
        return SPECIFIC if has_approx else EXACT
    if has_none and isinstance(node.ops[0], ast.IsNot | ast.NotEq):
        return TRUTHY
    return LOOSE


def _call_demand(node: ast.Call) -> int:
    name = _name(node.func).rpartition(".")[2]
    if node.args and all(isinstance(arg, ast.Constant) for arg in node.args[:1]) and len(node.args) == 1:
        return 0
    if len(node.args) > 1 and ast.dump(node.args[0]) == ast.dump(node.args[1]):
        return 0
    if name in ("assertTrue", "assertFalse", "assertIsNotNone", "assertNotEqual", "assert_"):
        return TRUTHY
    if name in ("assertRaises", "assertWarns"):
        return _raises_demand(node)
    if "lmost" in name or "close" in name or "approx" in name:
        return SPECIFIC
    return EXACT if _EXACT.fullmatch(name) else LOOSE


def _raises_demand(node: ast.Call) -> int:
    if any(keyword.arg in ("match", "expected_regex") for keyword in node.keywords):
        return EXACT
    kinds = node.args[0].elts if node.args and isinstance(node.args[0], ast.Tuple) else node.args[:1]
    return TRUTHY if any(_name(kind) in _WIDE for kind in kinds) else SPECIFIC


def _slack(node: ast.AST) -> Iterator[float]:
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        number = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if isinstance(number, int | float) and keyword.arg in _SLACK:
            yield float(number)
        elif isinstance(number, int | float) and keyword.arg in _PLACES:
            yield -float(number)


# ------------------------------------------------------------------ what keeps it from running


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.id if isinstance(node, ast.Name) else ""


def _decorator_skips(decorators: list[ast.expr]) -> Iterator[str]:
    for decorator in decorators:
        if _SKIPS.search(_name(decorator)):
            yield "@" + ast.unparse(decorator)[:80]
        elif isinstance(decorator, ast.Call):
            yield from (name for arg in decorator.args for child in ast.walk(arg) for name in _marked_parameter(child))


def _marked_parameter(node: ast.AST) -> Iterator[str]:
    """`pytest.param(..., marks=pytest.mark.skip)`."""
    if isinstance(node, ast.keyword) and node.arg == "marks" and _SKIPS.search(_name(node.value)):
        yield f"marks={ast.unparse(node.value)[:80]}"


def _skip_calls(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and re.search(r"(^|\.)(skip|skipTest|xfail|importorskip)$", _name(node.func)):
        yield ast.unparse(node)[:80]
    elif isinstance(node, ast.Raise) and _name(node.exc).endswith("SkipTest"):
        yield "raise SkipTest"


def _skips_of_body(body: list[ast.stmt]) -> Iterator[str]:
    """`pytestmark = pytest.mark.skip`, and calls that skip the whole module."""
    for node in body:
        targets = [_name(target) for target in node.targets] if isinstance(node, ast.Assign) else []
        if "pytestmark" in targets and isinstance(node, ast.Assign):
            marks = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
            yield from ("pytestmark = " + ast.unparse(mark)[:80] for mark in marks if _SKIPS.search(_name(mark)))
        elif isinstance(node, ast.Expr):
            yield from _skip_calls(node.value)
        elif isinstance(node, ast.Raise):
            yield from _skip_calls(node)


def _exclusions(tree: ast.Module) -> Iterator[str]:
    hooks = ("pytest_ignore_collect", "pytest_collection_modifyitems", "pytest_runtest_makereport", "load_tests")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names = [_name(target) for target in node.targets]
            if "__test__" in names and _is_false(node.value):
                yield "__test__ = False"
            elif "collect_ignore" in names or "collect_ignore_glob" in names:
                yield ast.unparse(node)[:120]
        elif isinstance(node, FunctionDef) and node.name in hooks:
            yield f"def {node.name}"


def _cases(function: FunctionDef) -> int:
    """Parameter sets of `parametrize` decorators multiplied; 1 where they are not written out."""
    count = 1
    for decorator in function.decorator_list:
        if (
            isinstance(decorator, ast.Call)
            and _name(decorator.func).endswith("parametrize")
            and len(decorator.args) > 1
        ):
            values = decorator.args[1]
            count *= len(values.elts) if isinstance(values, ast.List | ast.Tuple | ast.Set) else 1
    return count
