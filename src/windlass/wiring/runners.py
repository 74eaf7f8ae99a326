"""From settings to the runner: processes and containers behind one face, chosen run by run, with proxies around."""

from __future__ import annotations

from pathlib import Path

from windlass.adapters.runners.container.making import ContainerSettings
from windlass.adapters.runners.container.runner import ContainerRunner
from windlass.adapters.runners.egress.guarded import GuardedRunner
from windlass.adapters.runners.process import ProcessRunner
from windlass.adapters.runners.routed import RoutedRunner
from windlass.config import SandboxSettings, engine_addresses
from windlass.core.errors import Refused


def guarded_runner(sandbox: SandboxSettings, state: Path, *, instance: str) -> tuple[GuardedRunner, RoutedRunner]:
    """The runner that everybody uses, and the one inside, which has notices and connections."""
    inner = runner_of(sandbox, state, instance=instance)
    return GuardedRunner(inner, state / "egress", instance=instance), inner


def runner_of(sandbox: SandboxSettings, state: Path, *, instance: str) -> RoutedRunner:
    """Both runners, with their directories in `state`. Raises Refused (bad_config)."""
    if sandbox.runner == "container" and not sandbox.image:
        raise Refused(
            "sandbox.runner is container, and sandbox.image names no image",
            code="bad_config",
            hint="set sandbox.image to the image that agents and tests run in",
        )
    chosen = ContainerSettings(
        image=sandbox.image,
        airlock_image=sandbox.airlock_image,
        allows_open_network=sandbox.allows_open_network,
        pulls_by_digest=sandbox.pulls_by_digest,
    )
    containers = ContainerRunner(
        state / "containers", instance=instance, addresses=engine_addresses(sandbox), settings=chosen
    )
    processes = ProcessRunner(state / "runs", instance=instance)
    return RoutedRunner(processes, containers, prefers_containers=sandbox.runner == "container")
