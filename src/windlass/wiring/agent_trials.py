"""What `windlass agents` asks for: the catalogue as plain data, and one agent tried on a tiny job."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets as randomness
import tempfile
from pathlib import Path
from typing import Any

from windlass.adapters.agents.catalogue_agent import CatalogueAgent
from windlass.adapters.agents.preset import as_document
from windlass.adapters.agents.trial import RUN_ID, attempt
from windlass.adapters.gateway import LocalGateway
from windlass.config import Settings
from windlass.core.errors import NotFound, Refused
from windlass.core.redaction import mask
from windlass.faces.cli.options import AgentTrialOptions
from windlass.wiring.agents import KnownAgent, agent_keys, known_agents, labelled_keys, with_environment
from windlass.wiring.gateway import gateway_of
from windlass.wiring.runners import guarded_runner


def listed(settings: Settings) -> tuple[dict[str, Any], ...]:
    """Every agent: name, source, kind, description, and why it cannot be run here ('' when it may be)."""
    return tuple(_line(name, known) for name, known in sorted(_agents(settings).items()))


def entry(settings: Settings, name: str) -> dict[str, Any]:
    """One agent's entry, without keys. Raises NotFound."""
    known = _known(settings, name)
    document = as_document(known.agent.preset) if isinstance(known.agent, CatalogueAgent) else {}
    how = {"model_access": known.agent.model_access()} if isinstance(known.agent, CatalogueAgent) else {}
    return {**_line(name, known), **how, **document}


def tried(settings: Settings, options: AgentTrialOptions) -> dict[str, Any]:
    """Try an agent. Raises NotFound, Refused (agent_missing, agent_unusable)."""
    settings = with_environment(settings, options.name, options.environment, model=options.model)
    with tempfile.TemporaryDirectory(prefix="windlass-check-") as root:
        gateway = gateway_of(settings.gateway, Path(root) / "gateway", labelled_keys(settings))
        known = _known(settings, options.name, gateway)
        try:
            return asyncio.run(_tried(settings, known, options, Path(root)))
        finally:
            if gateway is not None:
                gateway.forget(RUN_ID)
                gateway.stop()


async def _tried(settings: Settings, known: KnownAgent, options: AgentTrialOptions, root: Path) -> dict[str, Any]:
    runner, inner = guarded_runner(settings.sandbox, root, instance=f"check-{randomness.token_hex(4)}")
    reads = (*settings.sandbox.reads, *options.mounts)
    try:
        trial = await attempt(known.agent, runner, root, options.timeout_s, tuple(p.absolute() for p in reads))
    finally:
        isolation = runner.isolation(RUN_ID)
        await runner.reap(lambda _: False)
        await inner.close()
    hidden = agent_keys(settings)
    return {
        "agent": options.name,
        "is_good": trial.is_good,
        "version": mask(trial.version, hidden),
        "isolation": isolation,
        "outcome": trial.outcome.value,
        "detail": mask(trial.detail, hidden),
        "duration_s": round(trial.duration_s, 3),
        "is_mended": trial.is_mended,
        "model": mask(trial.model, hidden) or None,
        "model_access": trial.model_access or None,
        "usage": dataclasses.asdict(trial.usage) if trial.usage else None,
        "title": mask(trial.title, hidden),
        "noise": list(trial.noise),
        "left": list(trial.left),
    }


def _agents(settings: Settings) -> dict[str, KnownAgent]:
    state = settings.state_dir.expanduser()
    return known_agents(settings, gateway_of(settings.gateway, state / "gateway", {}))


def _known(settings: Settings, name: str, gateway: LocalGateway | None = None) -> KnownAgent:
    agents = known_agents(settings, gateway) if gateway is not None else _agents(settings)
    if name not in agents:
        raise NotFound(f"there is no agent {name!r}", hint=f"known agents: {', '.join(sorted(agents))}")
    return agents[name]


def _line(name: str, known: KnownAgent) -> dict[str, Any]:
    line = {"name": name, "source": known.source, "kind": "command", "description": "", "unusable": ""}
    if isinstance(known.agent, CatalogueAgent):
        preset = known.agent.preset
        line |= {"kind": preset.kind, "description": preset.description}
        try:
            known.agent.check_usable()
        except Refused as error:
            line["unusable"] = error.message
    elif name == "patch" and known.source == "built in":
        line |= {"kind": "patch", "description": "Applies the unified diff found in the issue. No model, no network."}
    return line
