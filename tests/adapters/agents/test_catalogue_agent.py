"""Catalogue agents at work: real runs of small programs that print what real agents print."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.agents.desk import PATIENT, Desk

from windlass.adapters.agents import exchange
from windlass.adapters.agents.catalogue import shipped
from windlass.adapters.agents.catalogue_agent import OUTPUT, CatalogueAgent, Given
from windlass.adapters.agents.preset import changed, parse
from windlass.core.agent_events import Usage
from windlass.core.errors import Refused
from windlass.core.job import Outcome
from windlass.ports import Deadlines, RunResult

KINDS = [pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")), "bare"]
SAMPLES = Path(__file__).parents[2] / "core" / "agent_events" / "samples"
MEND = "sed -i 's/a - b/a + b/' calc.py"


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk(tmp_path, request.param)


def shell(script: str, **keys: Any) -> CatalogueAgent:
    """An agent whose program is a line of shell."""
    return CatalogueAgent(parse({"name": "mine", "command": ["sh", "-c", script], **keys}, "test"))


def like(name: str, script: str) -> CatalogueAgent:
    """A shipped agent whose program is a line of shell."""
    command = ["sh", "-c", script, *(["{output_file}"] if name in {"mini-swe-agent", "devin"} else [])]
    return CatalogueAgent(
        changed(
            shipped()[name],
            "test",
            {"command": command, "prompt": "stdin", "secrets": [], "gateway": [], "needs_network": False},
        )
    )


@pytest.mark.parametrize("name", ["codex", "claude-code", "qwen", "gemini", "opencode", "goose", "openhands"])
async def test_a_run_that_says_it_finished_is_completed(tmp_path: Path, name: str) -> None:
    desk = Desk(tmp_path, "bare")
    sample = next(SAMPLES.glob(f"{name.partition('-')[0]}.*"))
    agent = like(name, f"cat > /dev/null; {MEND}; cat {sample}")
    report = await desk.work(agent, desk.task())
    assert (report.outcome, report.detail) == (Outcome.COMPLETED, "")
    assert report.title == "Fix: add adds"
    assert report.report.startswith("# Fix: add adds\n\nI changed calc.py.\n\n## Steps\n\n- ")
    assert "called" in report.report
    assert exchange.MARKER not in report.report
    assert (report.usage is None) == (name == "goose")
    assert [event.kind for event in agent.parse_events(desk.result)].count("tool_call") == 1


@pytest.mark.parametrize("name", ["mini-swe-agent", "devin"])
async def test_a_run_is_read_from_its_output_file(desk: Desk, name: str) -> None:
    sample = SAMPLES / ("mini.json" if name == "mini-swe-agent" else "atif.json")
    (desk.workspace / OUTPUT).write_text(sample.read_text())  # a stale one must not count
    stale = await desk.work(like(name, MEND), desk.task())
    assert (stale.outcome, stale.usage) == (Outcome.INCOMPLETE, None)
    await desk.runner.discard("r1")
    (desk.workspace / "sample").write_text(sample.read_text())
    report = await desk.work(like(name, f'{MEND}; cp sample "$0"'), desk.task())
    assert report.outcome is Outcome.COMPLETED
    assert report.usage is not None
    assert report.model == report.usage.model != ""


@pytest.mark.parametrize(
    ("name", "sample", "code", "outcome", "detail"),
    [
        ("codex", "codex-unauthorised.jsonl", 1, Outcome.INFRA_ERROR, "401 Unauthorized"),
        ("qwen", "qwen-unauthorised.jsonl", 0, Outcome.INFRA_ERROR, "[API Error: 401"),
        ("claude-code", "claude-logged-out.jsonl", 1, Outcome.INFRA_ERROR, "Not logged in"),
        ("claude-code", "claude-turns.jsonl", 1, Outcome.INCOMPLETE, "error_max_turns"),
        ("codex", "codex.jsonl", 3, Outcome.FAILED, "exit code 3"),
        ("gemini", "codex.jsonl", 0, Outcome.INCOMPLETE, "without saying that it finished"),
    ],
)
async def test_the_exit_code_alone_decides_nothing(
    tmp_path: Path, name: str, sample: str, code: int, outcome: Outcome, detail: str
) -> None:
    desk = Desk(tmp_path, "bare")
    report = await desk.work(like(name, f"cat {SAMPLES / sample}; exit {code}"), desk.task())
    assert report.outcome is outcome
    assert detail in report.detail


@pytest.mark.parametrize(
    ("rule", "script", "outcome"),
    [
        ("exit", "echo did it", Outcome.COMPLETED),
        ("exit", "exit 1", Outcome.FAILED),
        ("report", "echo did it", Outcome.INCOMPLETE),
        ("report", "printf '# T\\nWORK-COMPLETED\\n' > windsurf-output.txt", Outcome.COMPLETED),
        ("report", "printf 'WORK-COMPLETED\\n# T\\n' > windsurf-output.txt", Outcome.INCOMPLETE),
    ],
)
async def test_plain_agents(desk: Desk, rule: str, script: str, outcome: Outcome) -> None:
    report = await desk.work(shell(script, outcome={"finished_by": rule}), desk.task())
    assert report.outcome is outcome
    assert report.usage is None


async def test_a_missing_program_is_nobodys_work(desk: Desk) -> None:
    agent = CatalogueAgent(parse({"name": "mine", "command": ["no-such-agent"]}, "test"))
    report = await desk.work(agent, desk.task())
    assert report.outcome is Outcome.INFRA_ERROR
    assert "could not be started" in report.detail
    assert "no-such-agent" in report.detail


async def test_a_network_that_is_down_is_told_from_a_hang(desk: Desk) -> None:
    line = '{"type":"error","message":"Reconnecting... waiting for network (Connection failed)"}'
    agent = like("codex", f"while :; do echo '{line}'; sleep 0.05; done")
    report = await desk.work(agent, desk.task(deadlines=Deadlines(start_s=5, idle_s=5, total_s=0.5)))
    assert report.outcome is Outcome.INFRA_ERROR
    assert "waiting for network" in report.detail
    await desk.runner.discard("r1")
    hung = await desk.work(like("codex", "sleep 60"), desk.task(deadlines=Deadlines(start_s=0.3, idle_s=5, total_s=9)))
    assert (hung.outcome, "start deadline" in hung.detail) == (Outcome.TIMED_OUT, True)


@pytest.mark.parametrize(("ended", "outcome"), [("stopped", Outcome.CANCELLED), ("lost", Outcome.INFRA_ERROR)])
def test_what_was_not_the_agents_doing(tmp_path: Path, ended: str, outcome: Outcome) -> None:
    desk = Desk(tmp_path, "bare")
    result = RunResult(ended=ended, exit_code=None, deadline="", duration_s=1.0, output=tmp_path / "absent")
    assert shell("true").conclude(desk.task(), result).outcome is outcome


async def test_prompt_model_files_and_keys_arrive(desk: Desk) -> None:
    script = (
        'cat; cat "$1"; echo "$2 $3 $4"; cat "$HOME/.a/b c.json"; echo "$KEY $MODE $EMPTY-"; env | grep -c HOME_FILE'
    )
    preset = parse(
        {
            "name": "mine",
            "command": ["sh", "-c", script, "x", "{prompt_file}", ["--model", "{model}"], ["--x", "{output_file}"]],
            "model": "big one",
            "environment": {"MODE": "{model}", "EMPTY": ""},
            "home_files": {".a/b c.json": 'it\'s "$HOME" `x` \\\n%s {y}', "second": "2"},
            "secrets": ["KEY"],
            "outcome": {"finished_by": "exit"},
        },
        "test",
    )
    agent = CatalogueAgent(preset, Given(secrets={"KEY": "hunter2hunter2"}))
    spec = agent.spec(desk.task(prompt="Say é."))
    assert "hunter2hunter2" not in " ".join(spec.argv)
    assert "hunter2hunter2" not in repr(agent._given)
    report = await desk.work(agent, desk.task(prompt="Say é."))
    printed = desk.printed()
    assert printed.startswith("Say é.Say é.--model big one --x\n")
    assert 'it\'s "$HOME" `x` \\\n%s {y}hunter2hunter2 big one -\n0' in printed
    assert report.outcome is Outcome.FAILED, "grep -c found nothing, so the last exit code is 1"


async def test_a_prompt_as_argument_is_no_option_and_never_too_long(desk: Desk) -> None:
    agent = shell('printf "%s" "$1"; cat', outcome={"finished_by": "exit"})
    keys = {"command": ["sh", "-c", 'printf "%s|" "$1"; cat', "x", "{prompt}"], "prompt": "argument"}
    agent = CatalogueAgent(changed(agent.preset, "test", keys))
    await desk.work(agent, desk.task(prompt="--help {model} $(id)"))
    assert desk.printed() == " --help {model} $(id)|"
    await desk.runner.discard("r1")
    report = await desk.work(agent, desk.task(prompt="x" * 300_000))
    assert report.outcome is Outcome.COMPLETED
    assert exchange.INSTRUCTIONS in desk.printed()


def test_its_own_deadlines_never_lengthen_the_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "bare")
    given = shell("true", deadlines={"idle_s": 500, "total_s": 10}).spec(desk.task()).deadlines
    assert given == Deadlines(start_s=PATIENT.start_s, idle_s=500, total_s=10)
    assert shell("true", deadlines={"total_s": 999}).spec(desk.task()).deadlines == PATIENT


def test_an_image_of_its_own_goes_with_the_run_and_its_version(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "bare")
    agent = shell("true", image="some/image", version_command=["true"])
    version = agent.version_spec(desk.task())
    assert version is not None
    assert (agent.spec(desk.task()).image, version.image) == ("some/image", "some/image")
    driven = shell("true", image="some/image", kind="acp")
    with pytest.raises(Refused, match="driven from this machine"):
        driven.check_usable()


def test_what_cannot_be_run_here_is_refused_before_anything(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "bare")
    for agent, message in (
        (CatalogueAgent(shipped()["codex"]), "CODEX_API_KEY or OPENAI_API_KEY is not given"),
        (CatalogueAgent(shipped()["codex"], Given(secrets={"OPENAI_API_KEY": ""})), "is not given"),
    ):
        with pytest.raises(Refused) as caught:
            agent.spec(desk.task())
        assert caught.value.code == "agent_unusable"
        assert message in caught.value.message
    assert not (desk.workspace / exchange.INSTRUCTIONS).exists()


async def test_a_mounted_installation_is_on_the_path(desk: Desk) -> None:
    place = desk.root / "installed" / "node_modules" / ".bin"
    place.mkdir(parents=True)
    (place / "my-agent").write_text(f"#!/bin/sh\n{MEND}\n")
    (place / "my-agent").chmod(0o755)
    preset = parse({"name": "mine", "command": ["my-agent"], "outcome": {"finished_by": "exit"}}, "test")
    agent = CatalogueAgent(preset, Given(reads=(desk.root / "installed",)))
    assert (await desk.work(agent, desk.task())).outcome is Outcome.COMPLETED
    assert desk.is_mended


async def test_a_report_of_its_own_is_taken_as_it_is(desk: Desk) -> None:
    agent = like("codex", f"cat {SAMPLES / 'codex.jsonl'} 2>/dev/null; echo '# Mine' > windsurf-output.txt")
    report = await desk.work(agent, desk.task())
    assert report.report == "# Mine"


def test_hostile_output_is_read_to_its_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "bare")
    output = tmp_path / "output"
    output.write_bytes(
        b"\x1b[31m"
        + b"A" * (9 << 20)
        + b"\n"
        + b'{"a":' * 50_000
        + b"\n\xff\xfe\n"
        + (SAMPLES / "codex.jsonl").read_bytes()
    )
    result = RunResult(ended="exited", exit_code=0, deadline="", duration_s=1.0, output=output)
    report = like("codex", "true").conclude(desk.task(), result)
    assert report.outcome is Outcome.COMPLETED
    assert report.usage == Usage(input_tokens=200, output_tokens=40, cached_tokens=0, turns=1)
    assert "\x1b" not in report.report


# ------------------------------------------------------------------ the Agent Client Protocol

needs_acp = pytest.mark.skipif(
    importlib.util.find_spec("acp") is None, reason="the extra windlass[acp] is not installed"
)


def protocol_agent(*arguments: str, **keys: Any) -> CatalogueAgent:
    program = Path(__file__).with_name("acp_agent.py")
    command = [sys.executable, str(program), *arguments]
    preset = changed(shipped()["acp"], "test", {"command": command, "reads": [str(program)], **keys})
    return CatalogueAgent(preset)


@needs_acp
async def test_a_protocol_agent_does_its_turn(desk: Desk) -> None:
    report = await desk.work(protocol_agent(mode="full"), desk.task(prompt="mend it"))
    assert (report.outcome, report.detail) == (Outcome.COMPLETED, "")
    assert desk.is_mended
    assert report.title == "Fix: add adds"
    assert report.usage == Usage(input_tokens=200, output_tokens=40, cached_tokens=10, cost_usd="0.0012")
    assert "allowed: Edit calc.py" in report.report
    assert "mode is full" in desk.printed()


@needs_acp
async def test_a_protocol_agent_is_refused_what_lies_outside(desk: Desk) -> None:
    report = await desk.work(protocol_agent(), desk.task(prompt="stray from here"))
    assert "refused: Edit calc.py /etc/passwd" in report.report
    assert not desk.is_mended


@needs_acp
@pytest.mark.parametrize(
    ("argument", "prompt", "outcome", "detail"),
    [
        ("", "die now", Outcome.FAILED, "ended with exit code 3 before its turn was over"),
        ("", "long one", Outcome.INCOMPLETE, "max_tokens"),
        ("--newer", "mend", Outcome.FAILED, "speaks version 99"),
        ("--logged-out", "mend", Outcome.INFRA_ERROR, "Authentication required"),
    ],
)
async def test_a_protocol_agent_that_does_not_do_it(
    tmp_path: Path, argument: str, prompt: str, outcome: Outcome, detail: str
) -> None:
    desk = Desk(tmp_path, "bare")
    report = await desk.work(protocol_agent(*filter(None, [argument])), desk.task(prompt=prompt))
    assert report.outcome is outcome, desk.printed()
    assert detail in report.detail
    assert report.title == ("Fix: add adds" if prompt == "long one" else "")


@needs_acp
async def test_a_protocol_agent_that_hangs_is_ended_by_the_runner(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "bare")
    report = await desk.work(
        protocol_agent(), desk.task(prompt="hang", deadlines=Deadlines(start_s=9, idle_s=9, total_s=1.5))
    )
    assert report.outcome is Outcome.TIMED_OUT


@needs_acp
async def test_a_protocol_agent_that_is_not_there(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "bare")
    agent = CatalogueAgent(shipped()["acp"])
    report = await desk.work(agent, desk.task())
    assert report.outcome is Outcome.INFRA_ERROR
    assert "acp-agent" in report.detail
