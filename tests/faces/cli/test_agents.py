"""`windlass agents`, through the real wiring and the real runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.support.podman import IMAGE, Podman
from tests.support.windsurf import stand_in

from windlass.faces.cli.main import windlass
from windlass.wiring.tools import WiredTools

MEND = "sed -i 's/a - b/a + b/' calc.py"
KEY = "sk-very-secret-0123456789"


class Command:
    """The command line with settings and a directory of agents."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.agents: dict[str, Any] = {}
        (root / "agents.d").mkdir()

    def entry(self, name: str, script: str, **keys: Any) -> None:
        document = {"name": name, "command": ["sh", "-c", script], "outcome": {"finished_by": "exit"}, **keys}
        (self.root / "agents.d" / f"{name}.yaml").write_text(yaml.safe_dump(document))

    def run(self, *arguments: str) -> Result:
        config = self.root / "windlass.yaml"
        config.write_text(yaml.safe_dump({"agents_dir": str(self.root / "agents.d"), "agents": self.agents}))
        return CliRunner().invoke(windlass, ["agents", *arguments, "--config", str(config)], obj=WiredTools())


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_the_list_names_every_agent_and_where_it_comes_from(command: Command) -> None:
    command.entry("mine", "true")
    command.agents = {"claude-code": {"secrets": {"ANTHROPIC_API_KEY": KEY}}, "other": {"command": "true"}}
    done = command.run("list", "--json")
    assert done.exit_code == 0, done.output
    lines = {line["name"]: line for line in json.loads(done.output)}
    sources = {name: lines[name]["source"] for name in ("patch", "codex", "mine", "claude-code", "other")}
    assert sources == {
        "patch": "built in",
        "codex": "preset",
        "mine": "agents_dir",
        "claude-code": "settings",
        "other": "settings",
    }
    assert lines["claude-code"]["unusable"] == ""
    shown = json.loads(command.run("show", "claude-code", "--json").output)
    assert shown["model_access"] == "through the model gateway; ANTHROPIC_API_KEY stays outside"
    assert KEY not in json.dumps(shown)
    assert "CODEX_API_KEY" in lines["codex"]["unusable"]
    assert "WINDSURF_TOKEN" in lines["windsurf"]["unusable"]
    assert lines["windsurf"]["kind"] == "windsurf"
    told = command.run("list").output
    assert len(told.splitlines()) == len(lines)


def test_an_entry_is_shown_without_its_keys(command: Command) -> None:
    command.agents = {"mine": {"preset": "codex", "model": "big", "secrets": {"CODEX_API_KEY": KEY}}}
    done = command.run("show", "mine")
    assert done.exit_code == 0, done.output
    entry = yaml.safe_load(done.output)
    assert (entry["name"], entry["model"], entry["command"][0]) == ("mine", "big", "codex")
    assert KEY not in done.output
    assert json.loads(command.run("show", "mine", "--json").output) == entry


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        ({"mine": {}}, "agents.mine: there is no preset 'mine'"),
        ({"codex": {"secrets": {"CODEX_API_KEY": "short"}}}, "CODEX_API_KEY is shorter than 8 characters"),
        ({"codex": {"secret_files": {"CODEX_API_KEY": "/none"}}}, "cannot be read from /none"),
        ({"codex": {"colour": "red"}}, "unknown key agents.codex.colour"),
        ({"codex": {"environment": {"A": "{x}"}}}, "agents.codex: environment.A: unknown placeholder {x}"),
    ],
)
def test_settings_that_cannot_work_are_refused(command: Command, agents: dict[str, Any], message: str) -> None:
    command.agents = agents
    done = command.run("list")
    assert done.exit_code == 4
    assert message in done.stderr


@pytest.mark.parametrize("arguments", [("show", "none"), ("check", "none")])
def test_an_unknown_agent_is_refused(command: Command, arguments: tuple[str, ...]) -> None:
    done = command.run(*arguments)
    assert done.exit_code == 4
    assert "there is no agent 'none' (known agents: acp," in done.stderr


def test_an_agent_that_works(command: Command) -> None:
    litter = "mkdir -p .mine; echo x > .mine/state; echo y > notes.txt"
    command.entry("mine", f"{MEND}; {litter}; echo $KEY", noise=["/.mine/"], version_command=["echo", "mine 1.2.3"])
    command.agents = {"mine": {"secrets": {"KEY": KEY}}}
    done = command.run("check", "mine", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["version"], found["outcome"], found["is_mended"]) == ("mine 1.2.3", "completed", True)
    assert (found["noise"], found["left"], found["usage"]) == ([".mine/state"], ["notes.txt"], None)
    assert KEY not in done.output
    told = command.run("check", "mine")
    assert told.stdout.splitlines()[0] == "mine works"
    assert "notes.txt" in told.stdout
    assert KEY not in told.output


@pytest.mark.parametrize(
    ("script", "outcome"),
    [("true", "no_change"), ("exit 3", "failed"), ("sed -i s/-/x/ calc.py", "no_change"), ("sleep 60", "timed_out")],
)
def test_an_agent_that_does_not_do_it(command: Command, script: str, outcome: str) -> None:
    command.entry("mine", script)
    done = command.run("check", "mine", "--timeout", "1.5", "--json")
    assert done.exit_code == 5, done.output
    found = json.loads(done.stdout)
    assert (found["outcome"], found["is_good"]) == (outcome, False)


def test_an_agent_that_is_not_installed(command: Command) -> None:
    command.entry("mine", "true", command=["no-such-agent"], version_command=["no-such-agent", "--version"])
    command.entry("silent", "true", command=["no-such-agent"])
    for name in ("mine", "silent"):
        done = command.run("check", name)
        assert done.exit_code == 4
        assert f"agent {name} is not installed where its sandbox can see it" in done.stderr
        assert "no-such-agent" in done.stderr


def test_an_agent_without_its_key(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command.entry("mine", f'test "$MY_KEY" = {KEY} && {MEND}', secrets=["MY_KEY"])
    done = command.run("check", "mine")
    assert done.exit_code == 4
    assert "MY_KEY is not given" in done.stderr
    unset = command.run("check", "mine", "--agent-env", "MY_KEY")
    assert unset.exit_code == 4
    assert "the variable MY_KEY is not set" in unset.stderr
    monkeypatch.setenv("MY_KEY", KEY)
    assert command.run("check", "mine", "--agent-env", "MY_KEY").exit_code == 0


def test_an_agent_that_needs_a_container_is_refused_without_an_engine(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDLASS_SANDBOX_ENGINE", "unix:///nowhere/engine.sock")
    command.agents = {"mine": {"preset": "claude-code", "image": "somewhere", "secrets": {"ANTHROPIC_API_KEY": KEY}}}
    done = command.run("check", "mine")
    assert done.exit_code == 4
    assert "no container engine answers" in done.stderr


@pytest.mark.needs("podman")
def test_an_agent_is_tried_in_a_container(command: Command, podman: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_SANDBOX_ENGINE", podman.address)
    command.entry("mine", MEND, image=IMAGE)
    done = command.run("check", "mine", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["is_good"]
    assert "container, network none" in found["isolation"]
    assert podman.names() == []


def test_windsurf_needs_a_token_a_profile_and_nothing_else(command: Command, tmp_path: Path) -> None:
    command.agents = {"windsurf": {"secrets": {"WINDSURF_TOKEN": KEY}}}
    assert "has no profile" in command.run("check", "windsurf").stderr
    command.agents = {"windsurf": {"secrets": {"WINDSURF_TOKEN": KEY}, "profile": str(tmp_path), "arguments": ["-x"]}}
    assert "takes no arguments" in command.run("check", "windsurf").stderr
    command.agents = {"codex": {"secrets": {"CODEX_API_KEY": KEY}, "profile": str(tmp_path)}}
    assert "only Windsurf has a profile" in command.run("check", "codex").stderr


@pytest.mark.needs("podman")
def test_windsurf_is_tried_in_its_image(
    command: Command, tmp_path: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDLASS_SANDBOX_ENGINE", podman.address)
    entry = {"name": "boxed", "kind": "windsurf", "image": stand_in(podman), "secrets": ["WINDSURF_TOKEN"]}
    (command.root / "agents.d" / "boxed.yaml").write_text(yaml.safe_dump(entry))
    (tmp_path / "profile" / "User").mkdir(parents=True)
    command.agents = {"boxed": {"secrets": {"WINDSURF_TOKEN": KEY}, "profile": str(tmp_path / "profile")}}
    done = command.run("check", "boxed", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["is_good"], found["usage"], found["model"]) == (True, None, None)
    assert found["left"] == []
    assert KEY not in done.output
    assert podman.names() == []
