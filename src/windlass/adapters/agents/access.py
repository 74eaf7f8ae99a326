"""How an agent reaches its model: through the gateway, so that it never has the key, or with it in its environment.

Keeps the rule that an agent with a way through the gateway has no network of its own. One that the operator gives an
open network cannot have such a way: what leads to the gateway is the loopback of a sandbox without a network.
What is chosen follows from the settings alone; what really was is what gets recorded. Refused: a gateway that is asked
for where there is no way to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from windlass.adapters.agents.preset import GatewayWay, Preset, filled
from windlass.core.agent_events import Usage
from windlass.core.errors import Refused
from windlass.ports import Admission, Grant, ModelGateway

GATEWAY, ENVIRONMENT = "gateway", "environment"
URL = "{gateway_url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the operator says about it. `keys`: which of the entry's variables hold keys of models (None: all secrets).

    `upstreams`: the providers' own addresses by protocol; `keeps_network`: the operator gave the agent a network.
    """

    gateway: ModelGateway | None = None
    wish: bool | Literal["auto"] = "auto"
    upstream: str = ""
    upstreams: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] | None = None
    keeps_network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The way that was chosen; `way` None: in the environment, and `why` says why not through the gateway."""

    way: GatewayWay | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A run with a way through the gateway."""

    way: GatewayWay
    admission: Admission

    def variables(self, values: Mapping[str, str]) -> dict[str, str]:
        """The variables that lead the agent to the gateway, its own key among them."""
        found = {name: filled(text, self._known(values)) for name, text in self.way.environment.items()}
        return {self.way.key: self.admission.key, **{name: text for name, text in found.items() if text}}

    def arguments(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The arguments that do."""
        return tuple(filled(text, self._known(values)) for text in self.way.arguments)

    def _known(self, values: Mapping[str, str]) -> dict[str, str]:
        return {**values, "gateway_url": self.admission.base_url, "run_key": self.admission.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the gateway says of a run: what it used, and why it was refused a call for its money ('': never)."""

    usage: Usage | None
    refusal: str


def path_of(preset: Preset, access: Access, secrets: Mapping[str, str]) -> Path:
    """The way for this agent with these keys. Raises Refused (agent_unusable) where the gateway is wanted in vain."""
    way, why = _way(preset, access, secrets)
    if way is None and access.wish is True:
        hint = f"take agents.{preset.name}.gateway away to hand the key to the agent"
        raise Refused(f"agent {preset.name} cannot use the gateway: {why}", code="agent_unusable", hint=hint)
    return Path(way=way, why=why)


def grant_of(way: GatewayWay, preset: Preset, access: Access, key: str, limit_usd: float | None) -> Grant:
    """What the gateway is asked for. The upstream: the setting, else the address that the agent itself was given."""
    own = [preset.environment.get(name, "") for name, text in way.environment.items() if URL in text]
    upstream = access.upstream or next(filter(None, own), "") or way.upstream or access.upstreams[way.protocol]
    return Grant(protocol=way.protocol, upstream=upstream, key=key, cost_limit_usd=limit_usd)


def merged(own: Usage | None, counted: Usage | None) -> Usage | None:
    """What was used: the gateway's count, with the turns that only the agent knows."""
    return replace(counted, turns=own.turns if own else None) if counted is not None else None


def _way(preset: Preset, access: Access, secrets: Mapping[str, str]) -> tuple[GatewayWay | None, str]:
    if access.gateway is None:
        return None, "the gateway is switched off"
    if access.wish is False:
        return None, f"agents.{preset.name}.gateway is false"
    if not preset.gateway:
        return None, "this agent knows no way to one"
    if access.keeps_network:
        return None, "its sandbox keeps an open network"
    names = preset.secrets if access.keys is None else access.keys
    held = [name for name in names if secrets.get(name)]
    if len(held) != 1:
        return None, f"{len(held)} keys of models are given ({', '.join(held)}), not one" if held else "no key is given"
    for way in preset.gateway:
        if way.key == held[0] and _fits(way, preset.model):
            return way, ""
    return None, f"there is no way for {held[0]}" + (f" and the model {preset.model}" if preset.model else "")


def _fits(way: GatewayWay, model: str) -> bool:
    return not way.models or any(fnmatchcase(model, pattern) for pattern in way.models)
