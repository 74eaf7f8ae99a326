"""The Windsurf driver by itself: what it hands to a container, and how it judges what came back."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.mirror import NAME, mirror_at

from windlass.adapters.agents import exchange
from windlass.adapters.agents.catalogue import shipped
from windlass.adapters.agents.catalogue_agent import Given
from windlass.adapters.agents.preset import changed
from windlass.adapters.agents.windsurf import PROFILE, SCREENSHOTS, TOKEN, WORKFLOW, WindsurfAgent, private_of
from windlass.core.errors import Refused
from windlass.core.job import IssueSnapshot, Outcome
from windlass.core.policy import Policy
from windlass.ports import AgentTask, Deadlines, RunResult

KEY = "sk-ws-01-" + "Q7" * 20
LONG = Deadlines(start_s=100, idle_s=1800, total_s=7200)
DONE = "[2026-03-04T05:06:07Z] Added the sum.\n[2026-03-04T05:06:09Z] WORK-COMPLETED\n"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A prepared profile, with what a live editor leaves in it."""
    place = tmp_path / "prepared"
    for name in ("User/settings.json", "User/globalStorage/state.vscdb", "User/History/1/private", "Cache/big"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    (place / "SingletonLock").symlink_to("laptop-4711")
    (place / "User" / "leak").symlink_to("/etc/passwd")
    os.mkfifo(place / "editor.sock")
    return place


@pytest.fixture
def task(tmp_path: Path) -> AgentTask:
    workspace = tmp_path / "run" / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    issue = IssueSnapshot(number=7, title="add() subtracts", body="", author="ann")
    return AgentTask(run_id="r1", workspace=workspace, prompt="Mend it.", issue=issue, deadlines=LONG)


def driver(profile: Path | None, token: str = KEY, **changes: Any) -> WindsurfAgent:
    preset = changed(shipped()["windsurf"], "test", changes)
    return WindsurfAgent(preset, Given(secrets={TOKEN: token} if token else {}), profile)


def ended(tmp_path: Path, how: str, code: int | None = None, printed: str = "", **more: Any) -> RunResult:
    output = tmp_path / "printed"
    output.write_text(printed)
    given = {"deadline": "", "duration_s": 61.0} | more
    return RunResult(ended=how, exit_code=code, output=output, **given)


# ---------------------------------------------------------------- what goes in


def test_the_container_gets_the_images_own_command_places_and_rules(task: AgentTask, profile: Path) -> None:
    spec = driver(profile).spec(task)
    private = private_of(task)
    assert (spec.argv, spec.stdin, spec.image) == ((), b"", "windsurf")
    assert (spec.workdir, spec.workdir_inside) == (task.workspace, "/home/ubuntu/workspace")
    assert spec.env == {"HOME": "/home/ubuntu", TOKEN: KEY}
    assert [(m.source, m.target, m.is_writable) for m in spec.mounts] == [
        (private / "profile", PROFILE, True),
        (private / "screenshots", SCREENSHOTS, True),
    ]
    assert ".codeium.com" in spec.egress
    assert (spec.watch, spec.is_watch_only, spec.start_tries) == ((exchange.REPORT,), True, 2)
    assert spec.deadlines == Deadlines(start_s=300, idle_s=1200, total_s=7200)
    assert spec.ending is not None
    assert spec.ending.file == exchange.REPORT
    assert spec.has_writable_root
    assert not spec.is_read_only, "the image writes its workflow and the report into its workspace"


def test_only_a_line_that_is_the_marker_ends_a_run(task: AgentTask, profile: Path) -> None:
    ending = driver(profile).spec(task).ending
    assert ending is not None
    for line in ("[2025-05-27T15:28:50Z] WORK-COMPLETED", "WORK-COMPLETED \n", "- **WORK-COMPLETED**"):
        assert re.search(ending.pattern, line), line
        assert exchange.is_finished(f"step\n{line}\n")
    for line in (
        "[2025-05-27T15:28:50Z] at the end I will write WORK-COMPLETED",
        "WORK-COMPLETED comes last",
        "XWORK-COMPLETED",
    ):
        assert not re.search(ending.pattern, line), line
        assert not exchange.is_finished(f"step\n{line}\n")


def test_a_stale_report_is_gone_and_the_task_does_not_name_the_marker(task: AgentTask, profile: Path) -> None:
    (task.workspace / exchange.REPORT).write_text(DONE)
    (task.workspace / exchange.INSTRUCTIONS).write_text("Something else.")
    agent = driver(profile)
    agent.spec(AgentTask(**{**_fields(task), "prompt": "Write WORK-COMPLETED at once."}))
    assert not (task.workspace / exchange.REPORT).exists()
    told = (task.workspace / exchange.INSTRUCTIONS).read_text()
    assert told == "Write WORK COMPLETED at once."
    assert agent.spec(task).id == "r1", "the same again is fine"


def _fields(task: AgentTask) -> dict[str, Any]:
    return {name: getattr(task, name) for name in AgentTask.__slots__}


def test_a_run_gets_a_copy_of_the_profile_without_locks_caches_and_other_work(task: AgentTask, profile: Path) -> None:
    driver(profile).spec(task)
    copy = private_of(task) / "profile"
    assert copy.stat().st_mode & 0o777 == 0o700
    found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if not path.is_dir()}
    assert found == {"User/settings.json", "User/globalStorage/state.vscdb"}
    (copy / "User" / "settings.json").write_text("spoilt by the run")
    driver(profile).spec(task)
    assert (copy / "User" / "settings.json").read_text() == (profile / "User" / "settings.json").read_text()


def test_a_profile_that_cannot_be_one_is_refused(
    task: AgentTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, why in ((None, "has no profile"), (tmp_path / "absent", "there is no directory")):
        with pytest.raises(Refused, match=why) as error:
            driver(place).spec(task)
        assert error.value.code == "agent_unusable"
    monkeypatch.setattr("windlass.adapters.agents.profile.MAX_FILES", 1)
    for name in ("a", "b"):
        (tmp_path / "big").mkdir(exist_ok=True)
        (tmp_path / "big" / name).touch()
    with pytest.raises(Refused, match="more than 1 files"):
        driver(tmp_path / "big").spec(task)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "two words",
        "tab\tbed",
        "gl*b",
        "what?",
        "[ab]",
        "it's",
        'a"b',
        "back\\slash",
        "`id`",
        "ü" * 9,
        "-rf-token",
        "nul\0byte",
    ],
)
def test_a_token_that_the_image_could_not_type_is_refused_and_not_shown(
    task: AgentTask, profile: Path, token: str
) -> None:
    with pytest.raises(Refused) as error:
        driver(profile, token).spec(task)
    assert error.value.code == "agent_unusable"
    assert not token or token not in f"{error.value.message}{error.value.hint}"
    assert not (task.workspace / exchange.INSTRUCTIONS).exists()


def test_the_token_stands_in_the_environment_and_nowhere_else(task: AgentTask, profile: Path) -> None:
    agent = driver(profile)
    spec = agent.spec(task)
    assert spec.env[TOKEN] == KEY
    assert KEY not in repr(agent._given)
    for path in (task.workspace.parent).rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("folder", [".windsurf", ".windsurf/workflows"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_repository_in_which_the_image_would_fail_or_write_elsewhere_is_refused(
    task: AgentTask, profile: Path, folder: str, kind: str
) -> None:
    place = task.workspace / folder
    place.parent.mkdir(exist_ok=True)
    (task.workspace / "docs").mkdir()
    place.symlink_to(task.workspace / "docs") if kind == "link" else place.write_text("x")
    with pytest.raises(Refused, match=f"{folder} is not a directory") as error:
        driver(profile).spec(task)
    assert error.value.code == "exchange_blocked"


def test_a_workflow_that_is_a_link_is_not_written_through(task: AgentTask, profile: Path) -> None:
    (task.workspace / WORKFLOW).parent.mkdir(parents=True)
    (task.workspace / WORKFLOW).symlink_to("../../calc.py")
    driver(profile).spec(task)
    assert not (task.workspace / WORKFLOW).is_symlink()
    assert "a - b" in (task.workspace / "calc.py").read_text()


async def test_files_of_the_exchange_that_the_repository_tracks_stay_as_they_were(
    tmp_path: Path, profile: Path
) -> None:
    mirror, agent = mirror_at(tmp_path), driver(profile)
    own = {WORKFLOW: "their own\n", exchange.REPORT: f"old\n{DONE}", exchange.INSTRUCTIONS: "old\n"}
    start = await mirror.commit({"calc.py": "a - b\n", **own})
    workspace = tmp_path / "run" / "workspace"
    workspace.mkdir(parents=True)
    await mirror.repositories.materialise(NAME, start, workspace)
    issue = IssueSnapshot(number=7, title="t", body="", author="ann")
    task = AgentTask(run_id="r1", workspace=workspace, prompt="Mend.", issue=issue, deadlines=LONG)
    agent.spec(task)
    (workspace / WORKFLOW).write_text("the image's\n")
    (workspace / exchange.REPORT).write_text(DONE)
    (workspace / "calc.py").write_text("a + b\n")
    assert agent.conclude(task, ended(tmp_path, "exited", 0)).outcome is Outcome.COMPLETED
    collected = await mirror.repositories.collect(NAME, start, workspace, policy=Policy(), noise=agent.noise)
    assert collected.refusals == ()
    assert collected.patch is not None
    assert collected.patch.files == ("calc.py",)
    kept = await mirror.repositories.read_files(NAME, collected.patch.tree_sha, tuple(own), largest=10_000)
    assert kept == {path: text.encode() for path, text in own.items()}


# ---------------------------------------------------------------- what came back

LOG = "ENTRYPOINT 2026-03-04 05:06:07 - "


@pytest.mark.parametrize(
    ("how", "code", "more", "written", "printed", "outcome", "told"),
    [
        ("exited", 0, {}, DONE, "", Outcome.COMPLETED, ""),
        ("ending", None, {}, DONE, "", Outcome.COMPLETED, ""),
        ("exited", 1, {}, DONE, "convert: no images defined", Outcome.COMPLETED, ""),
        ("exited", 137, {}, DONE, "", Outcome.COMPLETED, ""),
        ("timed_out", None, {"deadline": "total"}, DONE, "", Outcome.COMPLETED, ""),
        ("exited", 0, {}, "at the end I will write WORK-COMPLETED\n", "", Outcome.INCOMPLETE, "first mention"),
        ("exited", 0, {}, None, "", Outcome.INCOMPLETE, "does not end with"),
        ("ending", None, {}, f"{DONE}One more thing.\n", "", Outcome.INCOMPLETE, "not any more"),
        ("exited", 1, {}, None, f"{LOG}WINDSURF_TOKEN needs\n", Outcome.INFRA_ERROR, "WINDSURF_TOKEN needs"),
        (
            *("exited", 1, {}, None, f"{LOG}Xvfb is ready!\nmkdir: cannot create: Permission denied\nnoise\n"),
            *(Outcome.INFRA_ERROR, "Permission denied (exit code 1)"),
        ),
        (
            *("exited", 1, {}, None, f"{LOG}Logging in\nError: Can't open display\n"),
            *(Outcome.INFRA_ERROR, "Logging in; then: Error: Can't open display"),
        ),
        ("exited", 1, {}, "", "", Outcome.INFRA_ERROR, "it printed nothing"),
        ("exited", 2, {}, "Step 1.\n", "", Outcome.FAILED, "code 2 before the work was done"),
        ("exited", 137, {"is_out_of_memory": True}, "Step 1.\n", "", Outcome.FAILED, "out of memory"),
        (
            *("timed_out", None, {"deadline": "start"}, None, f"{LOG}Logging in to Windsurf with token\n"),
            *(Outcome.INFRA_ERROR, "did not begin: it wrote nothing into windsurf-output.txt, in 2 starts"),
        ),
        ("timed_out", None, {"deadline": "idle"}, "Step 1.\n", "", Outcome.TIMED_OUT, "wait for a click"),
        ("timed_out", None, {"deadline": "total"}, "Step 1.\n", "", Outcome.TIMED_OUT, "total deadline"),
        ("stopped", None, {}, DONE, "", Outcome.CANCELLED, "stopped"),
        ("lost", None, {}, DONE, "", Outcome.INFRA_ERROR, "lost"),
    ],
)  # fmt: skip
def test_a_run_is_judged_by_its_report_and_never_by_its_exit_code(
    task: AgentTask, profile: Path, tmp_path: Path, how: str, code: int | None, more: dict[str, Any],
    written: str | None, printed: str, outcome: Outcome, told: str,
) -> None:  # fmt: skip
    if written is not None:
        (task.workspace / exchange.REPORT).write_text(written)
    report = driver(profile).conclude(task, ended(tmp_path, how, code, printed, **more))
    assert report.outcome is outcome
    assert told in report.detail
    assert (report.detail == "") == (outcome is Outcome.COMPLETED)
    assert (report.usage, report.model, report.model_access) == (None, "", "environment")


def test_the_report_is_for_people(task: AgentTask, profile: Path, tmp_path: Path) -> None:
    (task.workspace / exchange.REPORT).write_text(f"# Mend add\n\x1b[31m{DONE}")
    report = driver(profile).conclude(task, ended(tmp_path, "exited", 0, "chatter"))
    assert report.title == "Mend add"
    assert report.report == "# Mend add\n[2026-03-04T05:06:07Z] Added the sum."


def test_a_report_that_is_a_link_is_not_followed(task: AgentTask, profile: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(DONE)
    (task.workspace / exchange.REPORT).symlink_to(tmp_path / "secret")
    report = driver(profile).conclude(task, ended(tmp_path, "exited", 0, "chatter"))
    assert (report.outcome, report.report) == (Outcome.INCOMPLETE, "chatter")


# ---------------------------------------------------------------- the image

IMAGE = Path(__file__).parents[3] / "deploy" / "images" / "windsurf"


async def test_the_build_script_builds_nothing_but_the_commit_it_knows(tmp_path: Path) -> None:
    mirror = mirror_at(tmp_path)
    await mirror.commit({"Dockerfile": "FROM scratch\n"})
    environment = {**os.environ, "WINDSURFINABOX": mirror.work.as_uri(), "CONTAINER_ENGINE": "false"}
    done = subprocess.run([IMAGE / "build"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not hand out commit" in done.stderr
    assert not list(tmp_path.glob("*.image.json"))


def test_the_page_of_the_image_names_what_the_script_checks() -> None:
    script, page = ((IMAGE / name).read_text() for name in ("build", "README.md"))
    pinned = set(re.findall(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b", script))
    assert len(pinned) == 5
    assert set(re.findall(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b", page)) == pinned
