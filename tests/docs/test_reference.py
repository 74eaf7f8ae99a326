"""What can be made from the code is made from the code: settings, commands, policy, schema, API, localforge."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from scripts import reference_pages, settings_page

from windlass.adapters.agents import preset
from windlass.config import Settings, load, variables
from windlass.core import policy
from windlass.core.errors import Refused
from windlass.core.policy import Limits, Policy
from windlass.localforge.__main__ import ForgeConfig
from windlass.localforge.faults import Faults

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "policy.schema.json").read_text("utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_settings_page_is_made_from_the_settings() -> None:
    assert settings_page.PAGE.read_text("utf-8") == settings_page.page(), "run python scripts/settings_page.py"
    for variable in variables():
        assert f"`{variable}`" in settings_page.PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(reference_pages.wanted()))
def test_reference_pages_are_made_from_the_code(name: str) -> None:
    wanted = reference_pages.wanted()[name]
    assert (DOCS / name).read_text("utf-8") == wanted, "run python scripts/reference_pages.py"


def test_every_key_of_the_policy_has_a_meaning() -> None:
    keys = {field.name for field in dataclasses.fields(Policy)} - {"limits", "digest"}
    assert set(reference_pages.POLICY_MEANINGS) == keys
    assert set(reference_pages.LIMIT_MEANINGS) == {field.name for field in dataclasses.fields(Limits)}


def test_examples_of_settings_are_settings(tmp_path: Path) -> None:
    pages = (DOCS.parent / "README.md", DOCS / "configuration.md", DOCS / "agents.md")
    examples = [text for page in pages for text in blocks(page, "yaml")]
    assert len(examples) == 6
    for number, text in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        assert isinstance(load(path, {}), Settings)


def test_the_example_of_an_agent_is_an_entry() -> None:
    (text,) = blocks(DOCS / "agents.md", "yml")
    document = yaml.safe_load(text)
    jsonschema.validate(document, json.loads((DOCS / "agent.schema.json").read_text("utf-8")))
    assert preset.parse(document, "mine.yaml").name == "mine"


def test_examples_of_policies_are_policies_for_parser_and_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    examples = blocks(DOCS / "policy.md", "yaml")
    assert examples
    for document in (*map(yaml.safe_load, examples), {}, None, {"version": 1, "limits": {}}):
        policy.parse(document)
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize(
    "document",
    [
        {"lable": "x"},
        {"version": 2},
        {"label": ""},
        {"label": "x" * 51},
        {"label": 3},
        {"may_requester_approve": "yes"},
        {"requesters": ["everybody"]},
        {"approver_permissions": []},
        {"protect_paths": [""]},
        {"protect_paths": "x"},
        {"limits": {"agent_attempts": 0}},
        {"limits": {"agent_attempts": 21}},
        {"limits": {"run_total_s": 0}},
        {"limits": {"run_total_s": 31_536_001}},
        {"limits": {"agents": 1}},
        {"limits": []},
        [],
        "AI-Ready",
    ],
)
def test_parser_and_schema_refuse_the_same(document: Any) -> None:
    with pytest.raises(Refused):
        policy.parse(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_every_default_is_within_the_schema() -> None:
    known = dataclasses.asdict(Policy())
    del known["digest"]
    assert SCHEMA["properties"]["workflow"]["default"] == [step.role for step in Policy().workflow]
    known["workflow"] = SCHEMA["properties"]["workflow"]["default"]
    document = {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}
    jsonschema.validate(document, SCHEMA)


def test_the_example_of_a_workflow_is_one() -> None:
    (example,) = blocks(DOCS / "workflows.md", "yaml")
    document = yaml.safe_load(example)
    jsonschema.validate(document, SCHEMA)
    found = policy.parse(document)
    assert [step.role for step in found.workflow] == ["coder", "reviewer", "tester"]
    assert found.limits.job_cost_cents == 500


def test_the_protected_paths_are_the_ones_that_are_protected() -> None:
    from windlass.core.patch_guard import PROTECTED

    text = (DOCS / "policy.md").read_text("utf-8").split("## Protected paths")[1]
    block = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert block
    assert set(block[1].split()) == set(PROTECTED)


def test_the_example_of_localforge_is_a_configuration_and_every_fault_is_explained() -> None:
    page = DOCS / "localforge.md"
    (example,) = blocks(page, "json")
    config = ForgeConfig.model_validate_json(example)
    assert set(config.faults) <= {field.name for field in dataclasses.fields(Faults)}
    explained = page.read_text("utf-8").split("| switch | what happens |")[1]
    names = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|[^|]*\|", explained, re.MULTILINE))))
    assert names == {field.name for field in dataclasses.fields(Faults)} - {"counts"}


def test_the_exit_codes_are_those_of_the_code() -> None:
    from windlass.faces.cli import exits

    told = set(map(int, re.findall(r"^\| (\d) \|", (DOCS / "commands.md").read_text("utf-8"), re.MULTILINE)))
    assert told == {exits.OK, 1, 2, exits.ESCALATED, exits.REFUSED, exits.FAILED, exits.UNAVAILABLE}


def test_every_variable_of_the_templates_is_explained() -> None:
    import jinja2.meta

    page = (DOCS / "prompts.md").read_text("utf-8").split("| variable | what it is |")[1]
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    environment = jinja2.Environment(autoescape=True)
    environment.filters["data"] = str
    used: set[str] = set()
    for template in (DOCS.parent / "src" / "windlass" / "prompts").rglob("*.j2"):
        used |= jinja2.meta.find_undeclared_variables(environment.parse(template.read_text("utf-8")))
    assert used <= told
    assert told - used <= {"role"}


def test_the_catalogue_is_listed() -> None:
    page = (DOCS / "agents.md").read_text("utf-8")
    told = re.search(r"\*\*The catalogue\*\*.*?behind:\n(.*?)\. The program", page, re.DOTALL)
    assert told
    present = {path.stem for path in (DOCS.parent / "src" / "windlass" / "agents").glob("*.yaml")}
    assert set(re.findall(r"`([\w-]+)`", told[1])) == present
