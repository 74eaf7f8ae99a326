"""The forge's own CI: really runs a repository's check commands on each new head and reports as GitHub's CI does.

One suite per commit, one run per configured check, each in a clean checkout. A check can be told to misbehave
(`CheckMode`), so that Windlass is tried against CI that never starts, waits for a person, is flaky, is lost or hangs.
The commands are the repository's own: whoever starts the forge chooses the `CiRunner` that confines them.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, assert_never

from windlass.core.errors import WindlassError
from windlass.localforge.acts import checks
from windlass.localforge.git import clean_environment
from windlass.localforge.hub import Hub
from windlass.localforge.model import CheckMode, CheckRun, CheckSuite, Repository

LOG_TAIL_CHARS: Final = 60_000
_OUTPUT_BYTES: Final = 4 << 20
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CiResult:
    """How a check command ended. `output`: stdout and stderr interleaved."""

    exit_code: int
    output: str
    duration_s: float


class CiRunner(Protocol):
    """Where check commands run."""

    async def run(self, run_id: str, workspace: Path, command: str) -> CiResult:
        """Run `command` by a shell in `workspace`, and wait."""


class SubprocessCi:
    """Runs checks as plain processes of this machine, without a sandbox: for repositories that one trusts."""

    def __init__(self, timeout_s: float = 600.0) -> None:
        self._timeout_s = timeout_s

    async def run(self, run_id: str, workspace: Path, command: str) -> CiResult:
        """In a process group of its own, which is killed when time is up or the wait is cancelled."""
        began = time.monotonic()
        with tempfile.TemporaryFile() as log:
            process = await asyncio.create_subprocess_exec(
                "sh",
                "-c",
                command,
                cwd=workspace,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment({"HOME": str(workspace), "CI": "true", "WINDLASS_CI_RUN": run_id}),
                start_new_session=True,
            )
            try:
                code = await asyncio.wait_for(process.wait(), self._timeout_s)
                note = ""
            except TimeoutError:
                code, note = 124, f"\nstopped after {self._timeout_s:g} s\n"
            finally:
                await _kill_group(process)
            return CiResult(exit_code=code, output=_tail(log.fileno()) + note, duration_s=time.monotonic() - began)


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    await process.wait()


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _OUTPUT_BYTES, max(0, size - _OUTPUT_BYTES)).decode(errors="replace")


class Builder:
    """Decides when checks are due, and carries them out. Fills `hub.CheckStarter`."""

    def __init__(self, runner: CiRunner, *, concurrency: int = 2) -> None:
        self.hub: Hub | None = None
        self.runner = runner
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency

    def open(self) -> None:
        """Begin to run checks, in the running loop; those that a stop cut off are run again."""
        self._slots = asyncio.Semaphore(self._concurrency)
        hub = self._hub()
        for left in hub.site.root.glob("check-*"):
            shutil.rmtree(left, ignore_errors=True)
        for repo in hub.site.world.repositories.values():
            for run in repo.runs.values():
                if run.app_id == hub.site.world.ci_app_id and run.status != "completed":
                    hub.site.spawn(self._carry_out(repo, run))

    def _hub(self) -> Hub:
        assert self.hub is not None
        return self.hub

    async def consider(self, repo: Repository, sha: str, *, branch: str, before: str | None) -> None:
        """Check a head that has not been checked, if checks are due on this branch."""
        app_id = self._hub().site.world.ci_app_id
        if not repo.checks or checks.suite_of(repo, app_id, sha) is not None or not self._is_due(repo, sha, branch):
            return
        suite = await checks.open_suite(self._hub(), repo, app_id, sha, branch=branch, before=before)
        for name in repo.checks:
            await self._queue(repo, suite, name)

    def _is_due(self, repo: Repository, sha: str, branch: str) -> bool:
        """A new branch that only names an old commit brings nothing to check, unless a pull request is on it."""
        if any(found.pull and found.state == "open" and found.pull.head_sha == sha for found in repo.issues.values()):
            return True
        if branch == repo.default_branch:
            return repo.runs_checks_on_default_branch
        others = self._hub().site.git(repo).branches().items()
        return not any(tip == sha for name, tip in others if name != branch)

    async def again(self, repo: Repository, run: CheckRun) -> None:
        """A further run of one check, in the same suite."""
        await self._queue(repo, repo.suites[run.suite_id], run.name)

    async def _queue(self, repo: Repository, suite: CheckSuite, name: str) -> None:
        hub = self._hub()
        run = CheckRun(
            id=hub.site.world.new_id(),
            suite_id=suite.id,
            app_id=suite.app_id,
            name=name,
            head_sha=suite.head_sha,
            started_at_ms=hub.site.now_ms(),
        )
        await checks.add_run(hub, repo, suite, run)
        hub.site.spawn(self._carry_out(repo, run))

    async def _carry_out(self, repo: Repository, run: CheckRun) -> None:
        mode: CheckMode = repo.check_modes.get(run.name, "run")
        match mode:
            case "never_starts":
                return
            case "action_required":
                await self._finish(repo, run, "action_required", "Waiting for a person", "")
            case "lost":
                await self._finish(repo, run, "cancelled", "The runner was lost", "The runner has lost contact.")
            case "hangs":
                await self._begin(repo, run)
            case "flaky":
                await self._with_slot(repo, run, self._run_flaky)
            case "run":
                await self._with_slot(repo, run, self._run)
            case _:
                assert_never(mode)

    async def _with_slot(
        self, repo: Repository, run: CheckRun, work: Callable[[Repository, CheckRun], Awaitable[None]]
    ) -> None:
        async with self._slots:
            await self._begin(repo, run)
            try:
                await work(repo, run)
            except (WindlassError, OSError) as error:
                await self._finish(repo, run, "failure", "The check could not be run", str(error))

    async def _run_flaky(self, repo: Repository, run: CheckRun) -> None:
        before = [old for old in repo.runs.values() if (old.name, old.head_sha) == (run.name, run.head_sha)]
        if len(before) > 1:
            await self._run(repo, run)
        else:
            await self._finish(repo, run, "failure", "Failed", "flaky: fails the first time, on purpose\n")

    async def _run(self, repo: Repository, run: CheckRun) -> None:
        command = repo.checks.get(run.name, "true")
        space = Path(tempfile.mkdtemp(prefix="check-", dir=self._hub().site.root))
        try:
            await self._hub().site.git(repo).check_out(run.head_sha, space)
            result = await self.runner.run(f"ci-{run.id}", space, command)
        finally:
            shutil.rmtree(space, ignore_errors=True)
        is_green = result.exit_code == 0
        word = "Passed" if is_green else f"Failed with exit code {result.exit_code}"
        title = f"{word} after {result.duration_s:.1f} s"
        await self._finish(repo, run, "success" if is_green else "failure", title, result.output)

    async def _begin(self, repo: Repository, run: CheckRun) -> None:
        was, run.status = run.status, "in_progress"
        run.started_at_ms = self._hub().site.now_ms()
        await checks.run_changed(self._hub(), repo, run, was=was)

    async def _finish(self, repo: Repository, run: CheckRun, conclusion: str, title: str, output: str) -> None:
        was, run.status, run.conclusion = run.status, "completed", conclusion
        run.completed_at_ms = self._hub().site.now_ms()
        run.title = title
        run.summary = f"`{repo.checks.get(run.name, '')[:1000]}`: {title}"
        run.text = _CONTROL.sub("", output)[-LOG_TAIL_CHARS:]
        await checks.run_changed(self._hub(), repo, run, was=was)
