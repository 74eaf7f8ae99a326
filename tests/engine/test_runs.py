"""An agent's run is on record before it begins, adopted with its own prompt, and closed when it is stopped."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.core.jobs import PATCH
from tests.engine.world import World

from windlass.core.effects import StartRun, StopRun, VerifyPatch
from windlass.core.errors import Unavailable
from windlass.core.job import Job, Outcome
from windlass.core.prompt import Prompt, PromptRequest
from windlass.core.records import digest
from windlass.engine.stages import run, verify
from windlass.engine.stages.context import Claim, Overtaken
from windlass.ports import AgentReport, AgentTask, Collected, Deadlines, RunRecord, RunResult, RunSpec

START = "5" * 40


class Bench:
    """A runner, an agent and trees that remember what they were asked."""

    def __init__(self, world: World, home: Path) -> None:
        self.world, self.home = world, home
        self.started: list[str] = []
        self.prompts: list[str] = []
        self.recorded_at_start: list[RunRecord] = []
        self.ended = "exited"
        self.stopped: list[str] = []
        self.discarded: list[str] = []
        self.job: Job | None = None

    # ---- runner

    async def start(self, spec: RunSpec) -> bool:
        assert self.job is not None
        self.recorded_at_start += self.world.store.runs(self.job.id)
        self.started.append(spec.id)
        return True

    def is_known(self, run_id: str) -> bool:
        return run_id in self.started

    async def wait(self, run_id: str) -> RunResult:
        output = self.home / "output"
        output.write_text("it said something")
        return RunResult(ended=self.ended, exit_code=0, deadline="", duration_s=0.1, output=output)

    def isolation(self, run_id: str = "") -> str:
        return "none"

    async def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)

    async def discard(self, run_id: str) -> None:
        self.discarded.append(run_id)

    # ---- agent

    def spec(self, task: AgentTask) -> RunSpec:
        self.prompts.append(task.prompt)
        deadlines = Deadlines(start_s=1, idle_s=1, total_s=1)
        return RunSpec(id=task.run_id, argv=("true",), workdir=task.workspace, deadlines=deadlines)

    def conclude(self, task: AgentTask, result: RunResult) -> AgentReport:
        self.prompts.append(task.prompt)
        return AgentReport(outcome=Outcome.COMPLETED, report="done")

    # ---- trees

    async def is_ancestor(self, *_: Any) -> bool:
        return True

    async def list_files(self, *_: Any) -> tuple[str, ...]:
        return ("README.md",)

    async def read_file(self, *_: Any) -> bytes | None:
        return None

    async def materialise(self, _repo: str, _tree: str, directory: Path) -> None:
        (directory / "README.md").write_text("hello")

    async def collect(self, *_: Any, **__: Any) -> Collected:
        return Collected(patch=None, diff=b"")

    async def restore(self, *_: Any) -> str:
        return "7" * 40

    async def graft(self, *_: Any) -> str:
        return "8" * 40


class Script:
    """The bench as an agent: what it is asked and says is the bench's."""

    name = "script"
    noise: tuple[str, ...] = ()

    def __init__(self, bench: Bench) -> None:
        self.spec, self.conclude = bench.spec, bench.conclude
        self.forgotten: list[str] = []

    def discard(self, run_id: str) -> None:
        self.forgotten.append(run_id)


class Quiet:
    """The world's forge, on which nobody comments."""

    def __init__(self, world: World) -> None:
        self._forge = world.forge

    async def comments(self, _repo: str, _number: int) -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forge, name)


class Teller:
    """Tells the agent what the feedback is, and nothing else."""

    async def render(self, request: PromptRequest) -> Prompt:
        text = f"Do it. {request.feedback}"
        nothing: tuple[Any, ...] = ()
        return Prompt(
            text=text,
            digest=digest(text.encode()),
            templates=nothing,
            files=nothing,
            instructions=nothing,
            comments=nothing,
            flags=nothing,
            tokens_estimate=1,
        )


@pytest.fixture
def bench(small: World, tmp_path: Path) -> Bench:
    made = Bench(small, tmp_path)
    settings = dataclasses.replace(small.outside.settings, default_agent="script", test_command="true")
    agents: Mapping[str, Any] = {"script": Script(made)}
    parts: Any = {
        "runner": made,
        "repositories": made,
        "agents": agents,
        "settings": settings,
        "forge": Quiet(small),
        "prompts": Teller(),
    }
    small.outside = dataclasses.replace(small.outside, **parts)
    return made


def claim_of(bench: Bench) -> Claim:
    """A claim on the job's open order, as a replica that begins with it has."""
    world = bench.world
    job = bench.job = bench.job or world.ask()
    (seq,) = [e.order.seq for e in world.store.effects(job.id) if e.order.effect.kind == "CreateBranch"]
    stored = world.store.claim_effect(job.id, seq)
    assert stored is not None
    return Claim(outside=world.outside, job=job, seq=seq, number=stored.claim)


def order(job: Job, **changes: Any) -> StartRun:
    effect = StartRun(
        run_id=f"{job.id}-r0",
        role="coder",
        attempt=1,
        purpose="implement",
        agent="",
        issue=job.issue,
        task_type=job.task_type,
        start_sha=START,
    )
    return dataclasses.replace(effect, **changes)


async def start(claim: Claim, effect: StartRun) -> None:
    await run.start_run(claim, effect, announce=lambda _event: None)


async def test_a_run_is_on_record_before_its_agent_begins(bench: Bench) -> None:
    claim = claim_of(bench)
    await start(claim, order(claim.job))
    (record,) = bench.recorded_at_start
    assert (record.id, record.status) == (f"{claim.job.id}-r0", "running")
    assert bench.world.blobs.get(record.prompt_digest).decode() == bench.prompts[0]


async def test_an_adopted_run_keeps_the_prompt_that_it_was_given(bench: Bench) -> None:
    first = claim_of(bench)
    await start(first, order(first.job))
    second = claim_of(bench)
    await start(second, order(second.job, feedback="what the forge says by now"))
    assert len(bench.started) == 1
    assert len(set(bench.prompts)) == 1
    (record,) = bench.world.store.runs(first.job.id)
    assert record.prompt_digest == bench.recorded_at_start[0].prompt_digest


async def test_who_was_overtaken_leaves_the_record_alone(bench: Bench) -> None:
    slow = claim_of(bench)
    await start(slow, order(slow.job))
    (before,) = bench.world.store.runs(slow.job.id)
    claim_of(bench)
    bench.ended = "lost"
    with pytest.raises(Overtaken):
        await start(slow, order(slow.job))
    assert bench.world.store.runs(slow.job.id) == (before,)


async def test_stopping_closes_the_record_of_a_run_that_nobody_watches(bench: Bench) -> None:
    claim = claim_of(bench)
    effect = order(claim.job)
    waiting = asyncio.Event()

    async def never(_run_id: str) -> RunResult:
        waiting.set()
        await asyncio.sleep(3600)
        raise AssertionError

    wait, bench.wait = bench.wait, never  # type: ignore[method-assign, assignment]
    watching = asyncio.create_task(start(claim, effect))
    await asyncio.wait_for(waiting.wait(), 60)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    bench.wait = wait  # type: ignore[method-assign]
    await run.stop_run(claim, StopRun(run_id=effect.run_id))
    (record,) = bench.world.store.runs(claim.job.id)
    assert bench.stopped == [effect.run_id]
    assert (record.status, record.outcome) == ("finished", "cancelled")
    assert record.finished_at_ms is not None
    assert bench.world.blobs.get(record.log_digest) == b"it said something"


@pytest.mark.parametrize("ended", ["lost", "stopped"])
async def test_tests_that_were_lost_judge_nothing_and_are_run_again(bench: Bench, ended: str) -> None:
    claim = claim_of(bench)
    patch = dataclasses.replace(PATCH, digest=await bench.world.outside.keep(b"a change"))
    bench.ended = ended
    with pytest.raises(Unavailable, match=f"the tests were {ended}"):
        await verify.verify_patch(claim, VerifyPatch(patch=patch, base_sha=START))
    assert sorted(bench.discarded) == sorted(bench.started)
    bench.ended = "exited"
    answer = await verify.verify_patch(claim, VerifyPatch(patch=patch, base_sha=START))
    assert answer.verification.head.status == "passed"


async def test_who_was_overtaken_leaves_the_tests_to_the_newer_claim(bench: Bench) -> None:
    slow = claim_of(bench)
    patch = dataclasses.replace(PATCH, digest=await bench.world.outside.keep(b"a change"))
    claim_of(bench)
    with pytest.raises(Overtaken):
        await verify.verify_patch(slow, VerifyPatch(patch=patch, base_sha=START))
    assert bench.discarded == []
