"""The policy's set-up command, run in a workspace before anybody works or tests there.

Rule: it is run in a sandbox of its own, without any key, and reaches only the hosts that the operator allows to set-up
commands; the agent's own network has nothing to do with it. The command comes from the default branch, but what it
runs is the workspace's: hostile like every other run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from windlass.core.errors import Unavailable
from windlass.engine.execution_log import Place, Said
from windlass.engine.stages import steps
from windlass.engine.stages.context import Claim, read_tail
from windlass.ports import Deadlines, RunSpec

_TAIL = 4096
_LONGEST_WORDS = 300


def set_up_id(run_id: str) -> str:
    """The sandbox in which a run's workspace is set up."""
    return f"{run_id}-setup"


def command_spec(claim: Claim, run_id: str, command: str, workspace: Path) -> RunSpec:
    """A command of the policy in a sandbox: no key, no network, the time that tests get."""
    settings = claim.outside.settings
    timeout_s = float(claim.job.policy.limits.test_timeout_s)
    return RunSpec(
        id=run_id,
        argv=("sh", "-c", command),
        workdir=workspace,
        deadlines=Deadlines(start_s=timeout_s, idle_s=timeout_s, total_s=timeout_s),
        reads=settings.reads,
        limits=settings.sandbox_limits,
    )


async def set_up(claim: Claim, run_id: str, workspace: Path) -> str:
    """Set a workspace up for a run that has not begun; '' or, in one line, why that failed. Raises Unavailable."""
    command = claim.job.policy.setup_command
    if not command:
        return ""
    outside, name = claim.outside, set_up_id(run_id)
    await outside.runner.discard(name)
    spec = command_spec(claim, name, command, workspace)
    await outside.runner.start(replace(spec, egress=outside.settings.setup_egress))
    place = Place(job=claim.job.id, stream=name)
    result = await steps.watched(claim, name, place, [Said(kind="setup", text=command)])
    words = read_tail(result.output, _TAIL).strip().splitlines()
    await outside.runner.discard(name)
    if result.ended in {"lost", "stopped"}:
        raise Unavailable(f"the set-up was {result.ended} on the way", hint="it is run again", code="run_lost")
    if result.ended == "exited" and result.exit_code == 0:
        return ""
    how = f"the {result.deadline} deadline passed" if result.deadline else f"exit code {result.exit_code}"
    last = outside.redact(words[-1].strip())[:_LONGEST_WORDS] if words else "it printed nothing"
    return f"the set-up command fails ({how}): {last}"
