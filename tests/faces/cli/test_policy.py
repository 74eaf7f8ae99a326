"""`windlass policy check`: what the server would say of a file, before it is pushed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from windlass.faces.cli.main import windlass

GOOD = """\
label: robots
workflow:
  - role: coder
    agent: claude-code
    candidates: 2
  - parallel: [reviewer, {role: reviewer, agent: codex}]
  - tester
agents: {tester: gemini}
limits: {rework_rounds: 1}
"""


class Known:
    """Tools that know two agents."""

    def agents(self, config: Any) -> list[dict[str, str]]:
        return [{"name": "claude-code"}, {"name": "gemini"}]


def call(*words: str) -> Result:
    return CliRunner().invoke(windlass, ["policy", "check", *words], obj=Known())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "windlass.yml").write_text(GOOD)
    return tmp_path


def test_a_good_policy_is_told_in_words(repository: Path) -> None:
    for path in (repository, repository / ".github" / "windlass.yml"):
        found = call(str(path))
        assert found.exit_code == 0, found.output
        assert "windlass.yml: fine" in found.output
        line = "2 candidates, the tests choose: coder (claude-code) → reviewer + reviewer (codex) → tester"
        assert f"workflow: {line}" in found.output
        assert "label: robots" in found.output
        assert "agents: tester gemini" in found.output
        assert "limits.rework_rounds: 1 (default 2)" in found.output
    assert json.loads(call(str(repository), "--json").output)["label"] == "robots"


def test_agents_are_looked_up_where_a_server_is_named(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "windlass.yaml"
    config.write_text("{}")
    found = call(str(repository), "--config", str(config))
    assert found.exit_code == 4
    assert "the policy names an agent that is not known: codex" in found.output
    assert "claude-code, gemini" in found.output


def test_a_roles_agent_is_looked_up_too(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "windlass.yaml"
    config.write_text("{}")
    (repository / ".github" / "windlass.yml").write_text("agents: {coder: nobody}")
    found = call(str(repository), "--config", str(config))
    assert found.exit_code == 4
    assert "the policy names an agent that is not known: nobody" in found.output


def test_what_is_as_usual_is_not_told(repository: Path) -> None:
    (repository / ".github" / "windlass.yml").write_text("version: 1")
    assert [line.strip() for line in call(str(repository)).output.splitlines()[1:]] == ["workflow: coder"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workflow: [reviewer]", "workflow in the policy"),
        ("workflow: [coder, {role: boss}]", "workflow.1.role in the policy is 'boss'"),
        ("labels: x", "unknown key labels"),
        ("a: [", "is not YAML"),
        ("x" * 70_000, "64 KiB"),
    ],
)
def test_a_bad_policy_says_what_to_change(repository: Path, text: str, said: str) -> None:
    (repository / ".github" / "windlass.yml").write_text(text)
    found = call(str(repository))
    assert found.exit_code == 4
    assert said in found.output


def test_no_policy_is_said_and_not_made_up(tmp_path: Path) -> None:
    found = call(str(tmp_path))
    assert found.exit_code == 4
    assert "the defaults hold" in found.output
