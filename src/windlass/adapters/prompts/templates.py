"""Templates in a sandbox: they choose words and order, nothing else.

Rule: a template calls nothing, reads nothing but its own plain data, and writes hostile text only through the filter
`data`. That filter leaves a mark which is replaced by the fenced text after rendering, so what a template says and what
a stranger says never meet while one is made. Refuses any other use of hostile text, and any attribute that is not data.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from windlass.core.errors import Failed, Refused
from windlass.core.prompt import TemplateVersion, fence

_MANY_BLANK_LINES = re.compile(r"\n{3,}")
_PLACE = re.compile("\x00([0-9]+)\x00")
_LABEL = re.compile(r"[a-z][a-z ]{0,40}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class Hostile:
    """A stranger's text on its way to the filter `data`. It is nothing that could be printed or joined."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        raise SecurityError("hostile text may only be written through the filter `data`")

    __repr__ = __format__ = __str__  # type: ignore[assignment]

    def fenced(self, label: str) -> str:
        """As a labelled code block."""
        return fence(self._text, label)


class _Sandbox(SandboxedEnvironment):
    """No calls, no attributes, no globals; a few tests and filters."""

    intercepted_binops = frozenset({"**", "*", "%", "//", "/"})

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ARG002 jinja2 names it
        """Nothing is."""
        return False

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ARG002
        """Only plain values, such as `loop.first`."""
        return not attr.startswith("_") and isinstance(value, bool | int)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
        """No arithmetic that can grow."""
        raise SecurityError(f"{operator} is not for templates")


class Templates:
    """The templates below one directory: `<task type>/<role>.md.j2`, and what they include."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environment = _environment(directory)

    def render(self, task_type: str, role: str, data: Mapping[str, Any]) -> tuple[str, TemplateVersion]:
        """The text and the version of the template that made it.

        Raises Refused (no_template) for a role that has none, Failed (bad_template) for one that cannot be rendered.
        """
        if not _NAME.fullmatch(task_type) or not _NAME.fullmatch(role):
            raise _missing(f"{task_type}/{role}"[:100])
        name = f"{task_type}/{role}.md.j2"
        fences: list[str] = []

        def put(value: object, label: object) -> str:
            if not isinstance(value, Hostile) or not isinstance(label, str) or not _LABEL.fullmatch(label):
                raise SecurityError("`data` takes a stranger's text and a label of small letters")
            fences.append(value.fenced(label))
            return f"\x00{len(fences) - 1}\x00"

        try:
            version = self._version(f"{task_type}/{role}", name)
            environment = self._environment.overlay()
            environment.filters = {"data": put}
            frame = environment.get_template(name).render(dict(data))
        except TemplateNotFound as error:
            raise _missing(str(error.name)) from error
        except (TemplateError, TypeError, ValueError, RecursionError) as error:
            hint = "mend the template; docs/prompts.md says what it may use"
            raise Failed(f"the template {name} cannot be rendered: {error}", hint=hint, code="bad_template") from error
        frame = _MANY_BLANK_LINES.sub("\n\n", frame).strip() + "\n"
        return _PLACE.sub(lambda found: fences[int(found[1])], frame), version

    def _version(self, title: str, name: str) -> TemplateVersion:
        """A template with everything it includes, in the order of inclusion: one change anywhere is a new version."""
        parts: dict[str, str] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop(0)
            if current in parts:
                continue
            source = self._source(current)
            parts[current] = source
            waiting += _included(self._environment.parse(source))
        body = "".join(f"{{# {part} #}}\n{source}" for part, source in parts.items())
        return TemplateVersion(name=title, digest=hashlib.sha256(body.encode()).hexdigest(), body=body)

    def _source(self, name: str) -> str:
        loader = self._environment.loader
        assert loader is not None
        return loader.get_source(self._environment, name)[0]


def _environment(directory: Path) -> _Sandbox:
    environment = _Sandbox(
        loader=FileSystemLoader(directory, followlinks=False),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters = {"data": Hostile.fenced}
    environment.tests = {name: environment.tests[name] for name in ("defined", "none")}
    return environment


def _included(tree: nodes.Template) -> list[str]:
    found = []
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        if not isinstance(node, nodes.Include) or not isinstance(node.template, nodes.Const):
            raise SecurityError("templates include others by a plain name, and nothing else")
        found.append(str(node.template.value))
    return found


def _missing(name: str) -> Refused:
    hint = "roles with templates: coder, reviewer, tester; task types: bugfix, feature, refactor"
    return Refused(f"there is no prompt template {name!r}", code="no_template", hint=hint)
