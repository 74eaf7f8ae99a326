"""Holds localforge, and whoever talks to it, against GitHub's own API description.

`conforming_forge` is a fixture factory: `forge = await conforming_forge()` starts a forge of which every answer, every
accepted request body and every webhook is checked; the test fails at its end when one does not conform. Import it into
a `conftest.py` or a test module to use it.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from windlass.localforge import Delivery, Exchange, LocalForge

VENDOR = Path(__file__).parent.parent / "vendor" / "github"
# The description lists few errors; these may come from anywhere and have the `basic-error` shape.
ANYWHERE = frozenset({400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 502})
# Where the description itself is wrong: (operation, where in the answer) → why.
KNOWN_DEFECTS = {
    ("GET /app/installations → 200", r"/\d+/account"): "asks for a user and an enterprise at once (allOf for anyOf)",
    ("GET /repos/{owner}/{repo}/pulls → 200", r"/\d+/labels/\d+/description"): "null elsewhere, and in its examples",
}
# What clients send, and GitHub takes, although the description has dropped it: (operation, where in the body) → why.
KNOWN_REQUESTS = {
    ("POST /repos/{owner}/{repo}/issues/{issue_number}/labels → 200", "/"): "a bare list of names (PyGithub)",
    ("PUT /repos/{owner}/{repo}/issues/{issue_number}/labels → 200", "/"): "a bare list of names (PyGithub)",
}
ForgeMaker = Callable[..., Awaitable[LocalForge]]


def load(name: str) -> Any:
    """One vendored file."""
    return json.loads(lzma.decompress((VENDOR / name).read_bytes()))


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` said in JSON Schema; the rest of the dialect that GitHub uses is the same."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: as_json_schema(value) for key, value in node.items() if key not in ("discriminator", "examples")}
    if out.get("nullable") is True:
        del out["nullable"]
        return {"anyOf": [out, {"type": "null"}]}
    return out


class Description:
    """GitHub's description of the operations that localforge serves."""

    def __init__(self) -> None:
        self.raw = load("openapi-subset.json.xz")
        self.events = load("webhooks.json.xz")
        self._components = as_json_schema(self.raw["components"])
        self._validators: dict[str, Any] = {}

    def operations(self) -> set[tuple[str, str]]:
        """(METHOD, template) of all."""
        return {(method.upper(), path) for path, methods in self.raw["paths"].items() for method in methods}

    def operation(self, method: str, template: str) -> dict[str, Any]:
        """One operation."""
        found: dict[str, Any] = self.raw["paths"][template]["get" if method == "HEAD" else method.lower()]
        return found

    def complaints(self, key: str, schema: Any, value: Any) -> list[str]:
        """Where a value breaks a schema of the description; at most five lines."""
        if key not in self._validators:
            whole = {"allOf": [as_json_schema(schema)], "components": self._components}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=False)
        return _lines(self._validators[key], value)

    def resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """The node, or what its `$ref` names."""
        while "$ref" in node:
            _, *path = node["$ref"].split("/")
            node = self.raw
            for part in path:
                node = node[part]
        return node

    def event_complaints(self, delivery: Delivery) -> list[str]:
        """Where a webhook's payload breaks the schema of its event and action."""
        name = f"{delivery.event}${delivery.action or 'event'}"
        if name not in self.events["definitions"]:
            return [f"there is no event {name}"]
        if name not in self._validators:
            whole = {"$ref": f"#/definitions/{name}", "definitions": self.events["definitions"]}
            self._validators[name] = jsonschema_rs.Draft7Validator(whole, validate_formats=False)
        return _lines(self._validators[name], json.loads(delivery.payload))


def _lines(validator: Any, value: Any) -> list[str]:
    found = []
    for error in validator.iter_errors(value):
        found.append(f"/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}")
        if len(found) == 5:
            break
    return found


def _is_known(defects: dict[tuple[str, str], str], where: str, line: str) -> bool:
    path = line.split(": ", 1)[0]
    return any(where == known and re.fullmatch(pattern, path) for known, pattern in defects)


@cache
def description() -> Description:
    """The description, read once."""
    return Description()


class Recorder:
    """Watches one forge. `violations` are lines for people; `covered` what was answered well."""

    def __init__(self, forge: LocalForge) -> None:
        self.violations: list[str] = []
        self.covered: set[tuple[str, str]] = set()
        self._forge = forge
        forge.door.watchers.append(self.see)

    def see(self, exchange: Exchange) -> None:
        """Check one exchange."""
        if exchange.fault or not exchange.template:
            return
        where = f"{exchange.method} {exchange.template} → {exchange.status}"
        operation = description().operation(exchange.method, exchange.template)
        self.violations += [f"{where}: answer {line}" for line in self._answer(where, operation, exchange)]
        if exchange.status < 300:
            self.covered.add(("GET" if exchange.method == "HEAD" else exchange.method, exchange.template))
            self.violations += [f"{where}: request {line}" for line in self._request(where, operation, exchange)]

    def _answer(self, where: str, operation: dict[str, Any], exchange: Exchange) -> list[str]:
        described = operation["responses"].get(str(exchange.status))
        if exchange.status == 304 or exchange.method == "HEAD":
            return []
        if described is None:
            if exchange.status not in ANYWHERE:
                return ["status is not described"]
            schema = {"$ref": "#/components/schemas/basic-error"}
            return description().complaints("basic-error", schema, json.loads(exchange.response_body))
        content = description().resolved(described).get("content", {})
        if not exchange.response_body:
            return [] if not content else ["is empty"]
        return self._content(where, content, exchange)

    def _content(self, where: str, content: dict[str, Any], exchange: Exchange) -> list[str]:
        media = exchange.response_type.split(";")[0]
        if media != "application/json":
            return []
        if "application/json" not in content:
            return ["has a body that is not described"] if exchange.status < 400 else []
        schema = content["application/json"]["schema"]
        lines = description().complaints(where, schema, json.loads(exchange.response_body))
        return [line for line in lines if not _is_known(KNOWN_DEFECTS, where, line)]

    def _request(self, where: str, operation: dict[str, Any], exchange: Exchange) -> list[str]:
        body = operation.get("requestBody")
        if body is None or not exchange.request_body.strip():
            return []
        schema = description().resolved(body)["content"].get("application/json", {}).get("schema")
        if schema is None:
            return []
        lines = description().complaints("request " + where, schema, json.loads(exchange.request_body))
        return [line for line in lines if not _is_known(KNOWN_REQUESTS, where, line)]

    def finish(self) -> None:
        """Check the webhooks too, and fail the test on any violation."""
        for delivery in self._forge.deliveries():
            lines = description().event_complaints(delivery)
            self.violations += [f"webhook {delivery.event} {delivery.action}: {line}" for line in lines]
        assert not self.violations, "\n".join(sorted(set(self.violations)))


@pytest.fixture
async def conforming_forge(tmp_path: Path) -> AsyncIterator[ForgeMaker]:
    """Makes started forges that are held against GitHub's description; `.recorders()` has what was seen."""
    made: list[tuple[LocalForge, Recorder]] = []

    async def make(**options: Any) -> LocalForge:
        forge = LocalForge(options.pop("root", tmp_path / f"forge{len(made)}"), **options)
        made.append((forge, Recorder(forge)))
        await forge.start()
        return forge

    make.recorders = lambda: [recorder for _, recorder in made]  # type: ignore[attr-defined]
    yield make
    for forge, _ in made:
        await forge.stop()
    for _, recorder in made:
        recorder.finish()
