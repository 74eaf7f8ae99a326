"""Catalogue entries: what comes with Windlass holds together, and what does not is refused with the path of the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import windlass
from windlass.adapters.agents import catalogue
from windlass.adapters.agents.preset import as_document, changed, parse, schema
from windlass.core.errors import Refused

SHIPPED = Path(windlass.__file__).parent / "agents"
NAMES = {
    *("windsurf", "devin", "claude-code", "codex", "gemini", "qwen", "opencode"),
    *("aider", "mini-swe-agent", "goose", "openhands", "acp"),
}
PLAIN: dict[str, Any] = {"name": "mine", "command": ["mine", "--go"]}


def test_all_presets_come_with_windlass() -> None:
    assert set(catalogue.shipped()) == NAMES


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_entry_is_whole(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    jsonschema.validate(document, schema())
    preset = catalogue.shipped()[path.stem]
    assert preset.description
    assert preset.needs_network
    assert preset.outcome.finished_by != "exit"
    assert preset.kind == "acp" or preset.secrets
    assert preset.kind != "command" or preset.version_command
    assert parse(as_document(preset), "again") == preset
    for text in preset.home_files.values():
        json.loads(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown key colour"),
        ({"outcome": {"finishd_by": "exit"}}, "unknown key outcome.finishd_by"),
        ({"fields": {"tokens": "x"}}, "unknown key fields.tokens"),
        ({"command": ["mine", "{promt}"]}, "command.1: unknown placeholder {promt}"),
        ({"command": ["mine", ["--to", "{home}"]]}, "command.1: unknown placeholder {home}"),
        ({"environment": {"A": "{secret}"}}, "environment.A: unknown placeholder {secret}"),
        ({"environment": {"A": "{prompt}"}}, "environment.A: {prompt} can only stand in command"),
        ({"environment": {"A B": "x"}}, "environment.A B"),
        ({"command": ["mine", "{prompt}"]}, "`argument` and {prompt} in command belong together"),
        ({"prompt": "argument"}, "`argument` and {prompt} in command belong together"),
        ({"prompt": "file"}, "needs {prompt_file}"),
        ({"prompt": "telepathy"}, "prompt: Input should be 'stdin'"),
        ({"events": "morse"}, "events: Input should be"),
        ({"events": "mini"}, "which command does not name"),
        ({"command": []}, "command: it must begin with a program"),
        ({"command": [["mine"]]}, "command: it must begin with a program"),
        ({"kind": "windsurf"}, "has an image and no command"),
        ({"outcome": {"finished_by": "events"}}, "plain text has no events"),
        ({"events": "jsonl", "outcome": {"finished_by": "events"}}, "fields.finished"),
        ({"home_files": {"../x": ""}}, "home_files.../x"),
        ({"home_files": {"/etc/x": ""}}, "home_files./etc/x"),
        ({"noise": ["!x"]}, "is not a pattern"),
        ({"noise": ["/"]}, "is not a pattern"),
        ({"reads": ["opt"]}, "is not an absolute path"),
        ({"secrets": ["a-b"]}, "secrets.0"),
        ({"deadlines": {"idle_s": 0}}, "deadlines.idle_s"),
        ({"name": "Mine!"}, "name: String should match"),
        ({"needs_network": "perhaps"}, "needs_network"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(PLAIN | change, "mine.yaml")
    assert caught.value.code == "bad_agent"
    assert caught.value.message.startswith("mine.yaml: ")
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("document", [None, [], "text", 5, {}, {1: 2}])
def test_what_is_no_entry_is_refused(document: object) -> None:
    with pytest.raises(Refused):
        parse(document, "mine.yaml")


def test_settings_change_an_entry_and_are_checked_like_one() -> None:
    codex = catalogue.shipped()["codex"]
    mine = changed(codex, "agents.codex", {"model": "big", "environment": {"A": "1"}})
    assert (mine.model, mine.environment, mine.command) == ("big", {"A": "1"}, codex.command)
    assert changed(codex, "agents.codex", {}) is codex
    with pytest.raises(Refused, match=r"agents\.codex: unknown key colour"):
        changed(codex, "agents.codex", {"colour": "red"})
    with pytest.raises(Refused, match="unknown placeholder"):
        changed(codex, "agents.codex", {"command": ["codex", "{x}"]})


def test_an_operators_entry_wins_over_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PLAIN))
    (tmp_path / "codex.yml").write_text("name: codex\ncommand: [my-codex]\n")
    (tmp_path / "README.md").write_text("not an entry")
    found = catalogue.catalogue(tmp_path)
    assert set(found) == NAMES | {"mine"}
    assert found["codex"].command == ("my-codex",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.yaml", "name: [", "mine.yaml is not YAML"),
        ("mine.yaml", "name: other\ncommand: [x]\n", "mine.yaml: its name is other"),
        ("mine.yaml", "\x00", "mine.yaml is not YAML"),
        ("mine.yaml", "a: " + "[" * 5000, "mine.yaml is not YAML"),
        ("mine.yaml", "#" * 300_000, "is larger than"),
    ],
)
def test_a_file_that_is_no_entry_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused, match=message):
        catalogue.catalogue(tmp_path)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        catalogue.catalogue(tmp_path / "none")
