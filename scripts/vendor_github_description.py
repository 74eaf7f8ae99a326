"""Vendor the part of GitHub's own API description that localforge is held against in tests.

Takes the npm packages `@octokit/openapi` and `@octokit/webhooks-schemas` (MIT) by `npm pack`, keeps the operations that
localforge serves and the events it emits with everything they refer to, and writes `tests/vendor/github/`. Run it after
adding an operation or to follow a newer description; the difference is then reviewed like any other change.

    python scripts/vendor_github_description.py
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from windlass.localforge import EVENTS
from windlass.localforge.api import door
from windlass.localforge.api.calls import OPERATIONS

OPENAPI = "@octokit/openapi@23.0.2"
SCHEMAS = "@octokit/webhooks-schemas@7.6.1"
TARGET = Path(__file__).parent.parent / "tests" / "vendor" / "github"
EMITTED = (*EVENTS, "ping")


def fetch(package: str, directory: Path) -> Path:
    """The package's tarball."""
    done = subprocess.run(["npm", "pack", "--json", package], cwd=directory, capture_output=True, text=True, check=True)
    return directory / str(json.loads(done.stdout)[0]["filename"])


def member(tarball: Path, name: str) -> bytes:
    """One file of a package."""
    with tarfile.open(tarball) as archive:
        file = archive.extractfile(f"package/{name}")
        assert file is not None, name
        return file.read()


def references(node: Any) -> Iterator[str]:
    """Every local `$ref` below a node."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def without_prose(node: Any) -> Any:
    """The same without what no validator reads: descriptions, inline examples, extensions."""
    if isinstance(node, dict):
        prose = {"description", "externalDocs", "tags", "summary"}
        return {
            key: value if key == "examples" else without_prose(value)
            for key, value in node.items()
            if not (key in prose and isinstance(value, str | list | dict) and not _is_property(key, value))
            and not key.startswith("x-")
            and not (key == "example" and not isinstance(value, dict))
        }
    if isinstance(node, list):
        return [without_prose(value) for value in node]
    return node


def _is_property(key: str, value: Any) -> bool:
    """Whether what looks like prose is a schema: a property that is called `description`, `tags`, …."""
    return isinstance(value, dict) and key != "externalDocs"


def resolve(document: Any, reference: str) -> tuple[list[str], Any]:
    """The path and the node of a `#/a/b` reference."""
    path = [part.replace("~1", "/").replace("~0", "~") for part in reference.removeprefix("#/").split("/")]
    node = document
    for part in path:
        node = node[part]
    return path, node


def closure(document: Any, start: Any) -> dict[str, Any]:
    """Everything that `start` refers to, in its place."""
    out: dict[str, Any] = {}
    waiting, seen = list(references(start)), set()
    while waiting:
        reference = waiting.pop()
        if reference in seen:
            continue
        seen.add(reference)
        path, node = resolve(document, reference)
        place = out
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = node
        waiting.extend(references(node))
    return out


def rest_subset(document: dict[str, Any]) -> dict[str, Any]:
    """The served operations and all they refer to."""
    assert door.ROOMS, "importing the door fills the table"
    paths: dict[str, Any] = {}
    for entry in OPERATIONS:
        path = document["paths"][entry.template]
        place = paths.setdefault(entry.template, {})
        place[entry.method.lower()] = path[entry.method.lower()]
    subset = {"openapi": document["openapi"], "info": document["info"], "paths": paths}
    cleaned: dict[str, Any] = without_prose(subset | closure(document, paths))
    return cleaned


def event_subset(schema: dict[str, Any]) -> dict[str, Any]:
    """The emitted events and all they refer to."""
    wanted = {
        name: node for name, node in schema["definitions"].items() if "$" in name and name.split("$")[0] in EMITTED
    }
    found = closure(schema, wanted).get("definitions", {})
    cleaned: dict[str, Any] = without_prose({"$schema": schema["$schema"], "definitions": {**found, **wanted}})
    return cleaned


def write(name: str, data: Any) -> dict[str, Any]:
    """One compressed file; its entry in SOURCE.json."""
    raw = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    (TARGET / name).write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))
    return {"file": name, "sha256_of_json": hashlib.sha256(raw).hexdigest(), "bytes_of_json": len(raw)}


def main() -> int:
    """Fetch, cut, write."""
    TARGET.mkdir(parents=True, exist_ok=True)
    sources = []
    with tempfile.TemporaryDirectory() as scratch:
        openapi, schemas = (fetch(package, Path(scratch)) for package in (OPENAPI, SCHEMAS))
        document = json.loads(member(openapi, "generated/api.github.com.json"))
        events = json.loads(member(schemas, "schema.json"))
        (TARGET / "LICENSE").write_bytes(member(openapi, "LICENSE"))
        for package, tarball in ((OPENAPI, openapi), (SCHEMAS, schemas)):
            name, version = re.fullmatch(r"(.+)@(.+)", package).groups()  # type: ignore[union-attr]
            digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
            sources.append({"package": name, "version": version, "license": "MIT", "sha256_of_tarball": digest})
    files = [write("openapi-subset.json.xz", rest_subset(document)), write("webhooks.json.xz", event_subset(events))]
    source = {"made_by": "scripts/vendor_github_description.py", "sources": sources, "files": files}
    (TARGET / "SOURCE.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(OPERATIONS)} operations, {sum(file['bytes_of_json'] for file in files)} bytes of JSON\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
