"""How an agent reaches its model: which way is chosen, and a run through the gateway in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.agents.desk import Desk
from tests.adapters.gateway.provider import Answer, Heard, Provider, chunks, events, provider, whole

from windlass.adapters.agents.access import Access, grant_of, path_of
from windlass.adapters.agents.catalogue import shipped
from windlass.adapters.agents.catalogue_agent import CatalogueAgent, Given
from windlass.adapters.agents.preset import Preset, changed, parse
from windlass.adapters.gateway import UPSTREAMS, LocalGateway
from windlass.config import AgentSettings, Settings
from windlass.core.agent_events import Usage
from windlass.core.errors import Refused
from windlass.core.job import Outcome
from windlass.wiring.agents import agents_of, with_environment

KEY = "sk-real-0123456789abcdef"
ENTRY = {
    "name": "mine",
    "command": ["sh", "-c", "true"],
    "outcome": {"finished_by": "exit"},
    "secrets": ["MODEL_KEY", "OTHER_KEY"],
    "gateway": [{"protocol": "openai", "key": "MODEL_KEY", "environment": {"MODEL_URL": "{gateway_url}/v1"}}],
    "needs_network": True,
}
# Asks the model as agents do, and looks around.
ASK = """\
import json, os, urllib.error, urllib.request
body = json.dumps({"model": os.environ.get("MODEL", "gpt-4o"), "stream": True, "max_tokens": 100}).encode()
asked = urllib.request.Request(os.environ["MODEL_URL"] + "/chat/completions", body)
asked.add_header("Authorization", "Bearer " + os.environ["MODEL_KEY"])
try:
    print(urllib.request.urlopen(asked).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
    raise SystemExit(1)
print(sorted(os.environ.items()))
open("calc.py", "w").write("def add(a, b):\\n    return a + b\\n")
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LocalGateway]:
    found = LocalGateway(tmp_path / "gateway")
    yield found
    found.forget("r1")
    found.stop()


@pytest.fixture
def model() -> Iterator[Provider]:
    with provider() as found:
        found.answer = lambda heard: events(*chunks())
        yield found


def mine(**keys: Any) -> Preset:
    return parse({**ENTRY, **keys}, "test")


def why(preset: Preset, secrets: list[str], **access: Any) -> str:
    given = {"gateway": LocalGateway(Path("/nowhere")), "upstreams": UPSTREAMS, **access}
    path = path_of(preset, Access(**given), dict.fromkeys(secrets, KEY))
    return path.way.key if path.way else path.why


def test_the_gateway_is_used_where_there_is_one_way() -> None:
    assert why(mine(), ["MODEL_KEY"]) == "MODEL_KEY"
    assert why(mine(), ["MODEL_KEY"], gateway=None) == "the gateway is switched off"
    assert why(mine(), ["MODEL_KEY"], wish=False) == "agents.mine.gateway is false"
    assert why(mine(), ["MODEL_KEY"], keeps_network=True) == "its sandbox keeps an open network"
    assert why(mine(), []) == "no key is given"
    assert why(mine(), ["OTHER_KEY"]) == "there is no way for OTHER_KEY"
    assert why(mine(), ["MODEL_KEY", "OTHER_KEY"]) == "2 keys of models are given (MODEL_KEY, OTHER_KEY), not one"
    assert why(mine(gateway=[]), ["MODEL_KEY"]) == "this agent knows no way to one"
    assert why(mine(secrets=["MODEL_KEY", "NPM_TOKEN"]), ["MODEL_KEY", "NPM_TOKEN"], keys=("MODEL_KEY",)) == "MODEL_KEY"


def test_what_is_insisted_on_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(Refused, match="cannot use the gateway: there is no way for OTHER_KEY") as error:
        why(mine(), ["OTHER_KEY"], wish=True)
    assert error.value.code == "agent_unusable"


def test_a_way_may_be_for_some_models_only() -> None:
    openhands = shipped()["openhands"]
    for model, protocol in (("anthropic/claude-sonnet-4-5", "anthropic"), ("openai/gpt-5.1", "openai")):
        path = path_of(
            changed(openhands, "test", {"model": model}),
            Access(gateway=LocalGateway(Path("/nowhere"))),
            {"LLM_API_KEY": KEY},
        )
        assert path.way is not None
        assert path.way.protocol == protocol
    assert why(changed(openhands, "test", {"model": "mistral/large"}), ["LLM_API_KEY"]).endswith("model mistral/large")


def test_the_upstream_is_the_setting_then_the_agents_own_address_then_the_entrys_then_the_providers() -> None:
    way = mine().gateway[0]
    ours = {"environment": {"MODEL_URL": "https://mine/v1"}}
    cases = [
        (mine(**ours), Access(upstream="https://set", upstreams=UPSTREAMS), "https://set"),
        (mine(**ours), Access(upstreams=UPSTREAMS), "https://mine/v1"),
        (mine(), Access(upstreams=UPSTREAMS), "https://api.openai.com/v1"),
    ]
    for preset, access, upstream in cases:
        grant = grant_of(way, preset, access, KEY, 2.5)
        assert (grant.upstream, grant.key, grant.cost_limit_usd) == (upstream, KEY, 2.5)
        assert KEY not in repr(grant)
    qwen = shipped()["qwen"]
    assert "dashscope" in grant_of(qwen.gateway[0], qwen, Access(upstreams=UPSTREAMS), KEY, None).upstream


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_ways_name_keys_and_hosts_of_their_own(name: str) -> None:
    preset = shipped()[name]
    for way in preset.gateway:
        assert way.key in preset.secrets
        assert way.upstream.startswith("https://") or not way.upstream


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ({"protocol": "openai", "key": "NO_KEY", "environment": {"U": "{gateway_url}"}}, "gateway.0.key: NO_KEY"),
        ({"protocol": "openai", "key": "MODEL_KEY"}, "nothing names {gateway_url}"),
        ({"protocol": "openai", "key": "MODEL_KEY", "arguments": ["{gateway_url}{prompt}"]}, "placeholder {prompt}"),
        ({"protocol": "smtp", "key": "MODEL_KEY", "arguments": ["{gateway_url}"]}, "gateway.0.protocol"),
        ({"protocol": "openai", "key": "MODEL_KEY", "url": "x"}, "unknown key gateway.0.url"),
    ],
)
def test_a_way_that_cannot_work_is_refused(way: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match="test: ") as error:
        mine(gateway=[way])
    assert why in error.value.message


def at_work(gateway: LocalGateway, model: Provider, **keys: Any) -> CatalogueAgent:
    access = Access(gateway=gateway, upstream=f"{model.url}/v1", upstreams=UPSTREAMS)
    preset = mine(command=["python3", "-c", ASK], **keys)
    return CatalogueAgent(preset, Given(secrets={"MODEL_KEY": KEY}, access=access))


@pytest.mark.parametrize("kind", [pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")), "bare"])
async def test_a_run_through_the_gateway(tmp_path: Path, gateway: LocalGateway, model: Provider, kind: str) -> None:
    desk = Desk(tmp_path, kind)
    agent = at_work(gateway, model)
    spec = agent.spec(desk.task())
    assert (spec.needs_network, len(spec.inlets)) == (False, 1)
    assert KEY not in repr((spec.argv, spec.env, spec.stdin))
    report = await desk.work(agent, desk.task())
    assert (report.outcome, report.model_access) == (Outcome.COMPLETED, "gateway")
    assert "hello" in desk.printed()
    assert KEY not in desk.printed()
    assert report.usage == Usage(
        model="gpt-4o-2024-11-20", input_tokens=1000, output_tokens=200, cached_tokens=400, cost_usd="0.004"
    )
    assert report.model == "gpt-4o-2024-11-20"
    assert agent.model_access() == "through the model gateway; MODEL_KEY stays outside"
    agent.discard("r1")
    assert gateway.refusal("r1") is None
    again = agent.conclude(desk.task(), desk.result)
    assert (again.model_access, again.usage) == ("gateway", report.usage), "a stopped run is discarded before that"
    assert agent.conclude(desk.task(), desk.result).model_access == "environment", "of a run that was not admitted"


async def test_a_run_whose_money_is_used_up_is_incomplete(
    tmp_path: Path, gateway: LocalGateway, model: Provider
) -> None:
    desk = Desk(tmp_path, "bare")
    report = await desk.work(at_work(gateway, model), desk.task(cost_limit_usd=0.0001))
    assert report.outcome is Outcome.INCOMPLETE
    assert "the model gateway said no: the run's money budget is used up" in report.detail
    assert report.usage is None
    assert model.heard == []


async def test_a_providers_refusal_is_not_the_moneys(tmp_path: Path, gateway: LocalGateway, model: Provider) -> None:
    def refuse(heard: Heard) -> Answer:
        return whole({"error": {"message": "no such model"}}, 404)

    model.answer = refuse
    desk = Desk(tmp_path, "bare")
    report = await desk.work(at_work(gateway, model), desk.task(cost_limit_usd=5))
    assert report.outcome is Outcome.FAILED
    assert report.usage == Usage(cost_usd="0")


async def test_without_the_gateway_the_key_goes_in_and_that_is_told(tmp_path: Path, model: Provider) -> None:
    desk = Desk(tmp_path, "bare")
    preset = mine(command=["python3", "-c", ASK], environment={"MODEL_URL": f"{model.url}/v1"})
    agent = CatalogueAgent(preset, Given(secrets={"MODEL_KEY": KEY}))
    report = await desk.work(agent, desk.task())
    assert (report.outcome, report.model_access, report.usage) == (Outcome.COMPLETED, "environment", None)
    assert agent.model_access() == "in the agent's environment, because the gateway is switched off"
    keyless = CatalogueAgent(mine(secrets=[], gateway=[]))
    assert keyless.conclude(desk.task(), desk.result).model_access == ""


def test_settings_say_how_a_key_travels(tmp_path: Path) -> None:
    gateway = LocalGateway(tmp_path / "gateway")

    def told(name: str, **given: Any) -> str:
        settings = Settings(agents={name: AgentSettings(**given)})
        agent = agents_of(settings, gateway)[name]
        assert isinstance(agent, CatalogueAgent)
        return agent.model_access()

    key = {"ANTHROPIC_API_KEY": KEY}
    assert "through the model gateway" in told("claude-code", secrets=key)
    assert "through the model gateway" in told("claude-code", secrets={**key, "NPM_TOKEN": "npm-token-1234"})
    assert "gateway is false" in told("claude-code", secrets=key, gateway=False)
    assert "open network" in told("claude-code", secrets=key, needs_network=True)
    assert "no way for CLAUDE_CODE_OAUTH_TOKEN" in told("claude-code", secrets={"CLAUDE_CODE_OAUTH_TOKEN": KEY})
    assert told("claude-code") == "no key is given"
    settings = with_environment(Settings(), "codex", {"CODEX_API_KEY": KEY})
    agent = agents_of(settings, gateway)["codex"]
    assert isinstance(agent, CatalogueAgent)
    assert "CODEX_API_KEY stays outside" in agent.model_access()
    assert not (tmp_path / "gateway").exists(), "nothing was started or written"
