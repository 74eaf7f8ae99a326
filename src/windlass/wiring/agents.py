"""From settings to agents: the catalogue, what the operator changed in it, and commands of the operator's own.

Keeps the rule that a key has one way to an agent (the gateway, or the environment of its process), and that every key
is known to the redaction. Refuses a key that is too short to be found again in a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from windlass.adapters.agents.access import Access
from windlass.adapters.agents.catalogue import catalogue, shipped
from windlass.adapters.agents.catalogue_agent import CatalogueAgent, Given
from windlass.adapters.agents.command import CommandAgent
from windlass.adapters.agents.patch import PatchAgent
from windlass.adapters.agents.preset import Preset, changed
from windlass.adapters.agents.windsurf import WindsurfAgent
from windlass.adapters.gateway import UPSTREAMS
from windlass.config import AgentSettings, Settings, secret
from windlass.core.errors import Refused
from windlass.ports import Agent, ModelGateway, SandboxLimits

SHORTEST_SECRET = 8
_KEY = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_OVERRIDES = ("model", "image", "needs_network")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAgent:
    """One agent and where it comes from: built in, preset, agents_dir or settings."""

    agent: Agent
    source: str


def known_agents(settings: Settings, gateway: ModelGateway | None = None) -> dict[str, KnownAgent]:
    """Every agent by name, with the gateway for those that know a way to it. Raises Refused (bad_config, bad_agent)."""
    presets, own = catalogue(settings.agents_dir), shipped()
    found = {"patch": KnownAgent(agent=PatchAgent(), source="built in")}
    for name, preset in presets.items():
        source = "preset" if own.get(name) == preset else "agents_dir"
        found[name] = KnownAgent(agent=_driven(preset, Given(limits=sandbox_limits(settings))), source=source)
    for name, given in settings.agents.items():
        found[name] = KnownAgent(agent=_configured(name, given, presets, settings, gateway), source="settings")
    return found


def agents_of(settings: Settings, gateway: ModelGateway | None = None) -> dict[str, Agent]:
    """Every agent by name, and the default one among them. Raises Refused (bad_config, bad_agent)."""
    agents = {name: known.agent for name, known in known_agents(settings, gateway).items()}
    if settings.default_agent not in agents:
        known = ", ".join(sorted(agents))
        raise Refused(f"default_agent is {settings.default_agent!r}", code="bad_config", hint=f"known agents: {known}")
    return agents


def with_environment(
    settings: Settings, name: str, environment: Mapping[str, str], *, model: str = "", needs_network: bool = False
) -> Settings:
    """The settings with variables handed to one agent; those whose names sound like keys are treated as keys."""
    if name in {"", "patch"} or not (environment or model or needs_network):
        return settings
    keys = {key for key, value in environment.items() if _KEY.search(key) and len(value) >= SHORTEST_SECRET}
    given = settings.agents.get(name, AgentSettings())
    changes: dict[str, Any] = {
        "environment": {**given.environment, **{k: v for k, v in environment.items() if k not in keys}},
        "secrets": {**given.secrets, **{k: SecretStr(v) for k, v in environment.items() if k in keys}},
        "model": model or given.model,
        "needs_network": needs_network or given.needs_network,
    }
    return settings.model_copy(update={"agents": {**settings.agents, name: given.model_copy(update=changes)}})


def agent_keys(settings: Settings) -> tuple[str, ...]:
    """Every key of every agent, variables that sound like keys included. Raises Refused (bad_config)."""
    keys = [value for name, given in settings.agents.items() for value in _secrets(name, given).values()]
    told = [pair for given in settings.agents.values() for pair in given.environment.items()]
    return (*keys, *(value for name, value in told if _KEY.search(name) and len(value) >= SHORTEST_SECRET))


def labelled_keys(settings: Settings) -> dict[str, str]:
    """Every key of every agent by the name of its setting. Raises Refused (bad_config)."""
    return {
        f"agents.{name}.{variable}": value
        for name, given in settings.agents.items()
        for variable, value in _secrets(name, given).items()
    }


def _configured(
    name: str,
    given: AgentSettings,
    presets: Mapping[str, Preset],
    settings: Settings,
    gateway: ModelGateway | None,
) -> Agent:
    reads = tuple(path.expanduser().absolute() for path in given.reads)
    secrets = _secrets(name, given)
    if isinstance(given.command, str) and given.command:
        return CommandAgent(
            name,
            given.command,
            needs_network=bool(given.needs_network),
            env={**given.environment, **secrets},
            reads=reads,
            limits=sandbox_limits(settings),
            image=given.image,
            has_keys=bool(secrets),
            egress=() if given.needs_network else given.egress,
        )
    preset = presets.get(given.preset or name)
    if preset is None:
        raise Refused(
            f"agents.{name}: there is no preset {given.preset or name!r}",
            code="bad_config",
            hint=f"give a command, or a preset: {', '.join(sorted(presets))}",
        )
    access = Access(
        gateway=gateway,
        wish=given.gateway,
        upstream=given.upstream,
        upstreams=UPSTREAMS,
        keys=preset.secrets or None,
        keeps_network=bool(given.needs_network),
    )
    limits = sandbox_limits(settings)
    added = Given(
        secrets=secrets,
        arguments=given.arguments,
        reads=reads,
        limits=limits,
        egress=() if given.needs_network else given.egress,
        access=access,
    )
    profile = given.profile.expanduser().absolute() if given.profile else None
    return _driven(changed(preset, f"agents.{name}", _changes(name, given, preset)), added, profile)


def _driven(preset: Preset, given: Given, profile: Path | None = None) -> Agent:
    """The driver for an entry's kind. Raises Refused (bad_config) on settings that the kind has no use for."""
    if preset.kind == "windsurf" and given.arguments:
        raise Refused(
            f"agents.{preset.name}: the windsurf image takes no arguments", code="bad_config", hint="remove arguments"
        )
    if preset.kind == "windsurf":
        return WindsurfAgent(preset, given, profile)
    if profile is not None:
        hint = "remove it; other agents get files by home_files in an entry of agents_dir"
        raise Refused(f"agents.{preset.name}: only Windsurf has a profile", code="bad_config", hint=hint)
    return CatalogueAgent(preset, given)


def _changes(name: str, given: AgentSettings, preset: Preset) -> dict[str, Any]:
    chosen = {key: getattr(given, key) for key in _OVERRIDES}
    changes: dict[str, Any] = {key: value for key, value in chosen.items() if value not in {None, ""}}
    if given.command:
        changes["command"] = given.command
    if given.needs_network is not None or given.egress:
        changes["egress"] = () if given.needs_network else given.egress
    if given.environment:
        changes["environment"] = {**preset.environment, **given.environment}
    extra = tuple(key for key in (*given.secrets, *given.secret_files) if key not in preset.secrets)
    if extra:
        changes["secrets"] = (*preset.secrets, *extra)
    return {**changes, "name": name} if name != preset.name else changes


def _secrets(name: str, given: AgentSettings) -> dict[str, str]:
    values = {key: value.get_secret_value() for key, value in given.secrets.items()}
    for key, path in given.secret_files.items():
        values[key] = secret(None, Path(path), f"agents.{name}.secret_files.{key}") or ""
    for key, value in values.items():
        if len(value) < SHORTEST_SECRET:
            raise Refused(
                f"agents.{name}: {key} is shorter than {SHORTEST_SECRET} characters",
                code="bad_config",
                hint="so short a key cannot be kept out of logs; put what is no secret into environment",
            )
    return values


def sandbox_limits(settings: Settings) -> SandboxLimits:
    """What every sandbox of agents and tests may use."""
    given = settings.sandbox
    return SandboxLimits(
        memory_bytes=given.memory_bytes,
        processes=given.processes,
        cpus=given.cpus,
        disk_bytes=given.disk_bytes,
        disk_files=given.disk_files,
    )
