"""The agent catalogue: the entries that come with Windlass, and the operator's own over them.

An entry is a YAML file named after its agent. The operator's directory wins over what is shipped, so a shipped
entry can be mended without waiting for a release. A file that cannot be read as an entry is refused, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import yaml

from windlass.adapters.agents.preset import Preset, parse
from windlass.core.errors import Refused

MAX_ENTRY_BYTES = 256 << 10


def shipped() -> dict[str, Preset]:
    """The entries that come with Windlass, by name."""
    folder = files("windlass") / "agents"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {
        preset.name: preset
        for entry in sorted(found, key=lambda entry: entry.name)
        for preset in [_entry(entry.read_bytes(), entry.name)]
    }


def own(directory: Path) -> dict[str, Preset]:
    """The entries of an operator's directory, by name. Raises Refused (bad_agent)."""
    try:
        paths = sorted(path for path in directory.expanduser().iterdir() if path.suffix in {".yaml", ".yml"})
        contents = {path.name: path.read_bytes()[: MAX_ENTRY_BYTES + 1] for path in paths}
    except OSError as error:
        hint = f"set agents_dir: {error.strerror}"
        raise Refused(f"{directory} cannot be read", code="bad_agent", hint=hint) from error
    return {preset.name: preset for name, data in contents.items() for preset in [_entry(data, name)]}


def catalogue(directory: Path | None = None) -> Mapping[str, Preset]:
    """Every entry by name, the operator's over the shipped ones. Raises Refused (bad_agent)."""
    return {**shipped(), **(own(directory) if directory is not None else {})}


def _entry(data: bytes, file_name: str) -> Preset:
    if len(data) > MAX_ENTRY_BYTES:
        raise Refused(f"{file_name} is larger than {MAX_ENTRY_BYTES} bytes", code="bad_agent", hint="shorten it")
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise Refused(f"{file_name} is not YAML: {why}", code="bad_agent", hint="mend the file") from None
    preset = parse(document, file_name)
    if preset.name != file_name.rpartition(".")[0]:
        hint = "name the file after its agent"
        raise Refused(f"{file_name}: its name is {preset.name}", code="bad_agent", hint=hint)
    return preset
