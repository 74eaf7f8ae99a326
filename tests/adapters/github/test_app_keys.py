"""An App's credentials: minted once, cut down, renewed, replaced when refused, never shown."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.adapters.github.canned import Canned, FakeClock, canned, hangs_up, says

from windlass.adapters.github import AppAuth, GitHubForge, github_forge
from windlass.core.errors import Forbidden, NotFound, WindlassError

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
MINT = "/api/v3/app/installations/42/access_tokens"
REPO = "/api/v3/repos/acme/shop"
GRANTED = {"contents": "write", "issues": "write", "pull_requests": "write", "checks": "read", "metadata": "read"}
INFO = {"id": 1, "full_name": "acme/shop", "default_branch": "main"}


@dataclass
class World:
    server: Canned
    clock: FakeClock
    minted: list[dict[str, Any]] = field(default_factory=list)

    async def mint(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        self.minted.append(await request.json())
        until = datetime.fromtimestamp(self.clock.ms / 1000 + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"token": f"ghs_42_{len(self.minted)}", "expires_at": until}, status=201)

    def forge(self, **changes: Any) -> GitHubForge:
        auth = AppAuth(**({"app_id": 9, "private_key_pem": PEM} | changes))
        return github_forge(api_url=self.server.url, auth=auth, clock=self.clock, timeout_s=2.0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with canned() as server:
        it = World(server, FakeClock())
        installation = {"id": 42, "account": {"login": "Acme"}, "permissions": GRANTED, "suspended_at": None}
        server.on("GET /api/v3/app/installations", says([installation]))
        server.on(f"POST {MINT}", it.mint)
        server.on(f"GET {REPO}", says(INFO))
        yield it


@pytest.fixture
async def forge(world: World) -> AsyncIterator[GitHubForge]:
    client = world.forge()
    yield client
    await client.close()


async def raised(call: Any) -> WindlassError:
    with pytest.raises(WindlassError) as caught:
        await call
    return caught.value


async def test_the_app_signs_for_itself(world: World, forge: GitHubForge) -> None:
    world.server.on("GET /api/v3/app", says({"slug": "windlass"}))
    assert await forge.identity() == "windlass[bot]"
    scheme, _, token = world.server.seen[0].headers["authorization"].partition(" ")
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, KEY.public_key(), algorithms=["RS256"], options=options)
    assert (scheme.lower(), claims["iss"]) == ("bearer", "9")
    assert claims["iat"] < world.clock.ms / 1000 < claims["exp"] <= claims["iat"] + 600


async def test_twenty_callers_cause_one_token(world: World, forge: GitHubForge) -> None:
    await asyncio.gather(*(forge.repository("acme/shop") for _ in range(20)))
    assert len(world.minted) == 1
    assert world.minted[0]["repositories"] == ["shop"]
    assert world.server.calls(f"GET {REPO}")[0].headers["authorization"] == "token ghs_42_1"


async def test_tokens_are_cut_down_to_what_is_granted_and_needed(world: World, forge: GitHubForge) -> None:
    await forge.repository("acme/shop")
    wanted = {"metadata", "contents", "issues", "pull_requests", "checks"}
    assert world.minted[0]["permissions"] == dict.fromkeys(wanted, "read")
    pushing = await forge.credential("acme/shop", write=True)
    assert world.minted[1] == {"repositories": ["shop"], "permissions": {"contents": "write"}}
    fetching = await forge.credential("acme/shop", write=False)
    assert world.minted[2] == {"repositories": ["shop"], "permissions": {"contents": "read"}}
    assert pushing.url == world.server.url.removesuffix("/api/v3") + "/acme/shop.git"
    header = pushing.headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(header) == b"x-access-token:ghs_42_2"
    assert fetching.headers != pushing.headers
    assert header not in repr(pushing)


async def test_tokens_are_kept_apart_by_repository(world: World, forge: GitHubForge) -> None:
    await forge.credential("acme/shop", write=True)
    await forge.credential("acme/other", write=True)
    assert [asked["repositories"] for asked in world.minted] == [["shop"], ["other"]]


async def test_tokens_are_renewed_five_minutes_early(world: World, forge: GitHubForge) -> None:
    await forge.repository("acme/shop")
    world.clock.ms += 54 * 60_000
    await forge.repository("acme/shop")
    assert len(world.minted) == 1
    world.clock.ms += 2 * 60_000
    await forge.repository("acme/shop")
    assert len(world.minted) == 2


async def test_a_refused_token_is_replaced_once_even_for_a_write(world: World, forge: GitHubForge) -> None:
    refused = says({"message": "Bad credentials"}, 401)
    world.server.on(f"POST {REPO}/git/refs", refused, says({}, 201))
    await forge.create_ref("acme/shop", "ai-1", "a" * 40)
    used = [s.headers["authorization"] for s in world.server.calls(f"POST {REPO}/git/refs")]
    assert used == ["token ghs_42_1", "token ghs_42_2"]
    world.server.on(f"POST {REPO}/git/refs", refused)
    problem = await raised(forge.create_ref("acme/shop", "ai-1", "a" * 40))
    assert problem.code == "bad_credentials"
    assert len(world.minted) == 3


async def test_a_permission_that_is_not_granted_is_named(world: World, forge: GitHubForge) -> None:
    world.server.on(f"GET {REPO}/commits/{'a' * 40}/statuses", says([]))
    call = forge.set_status("acme/shop", "a" * 40, context="c", state="pending", description="d")
    problem = await raised(call)
    assert isinstance(problem, Forbidden)
    assert (problem.code, "statuses: write" in problem.hint) == ("permission_missing", True)
    assert all("statuses" not in asked["permissions"] for asked in world.minted)
    world.server.on(f"GET {REPO}/commits/{'a' * 40}/check-runs", says({"total_count": 0, "check_runs": []}))
    made = await forge.upsert_check_run("acme/shop", "a" * 40, name="n", external_id="e", summary="s", text="t")
    assert made is False


async def test_an_account_without_the_app(world: World, forge: GitHubForge) -> None:
    problem = await raised(forge.repository("globex/shop"))
    assert isinstance(problem, NotFound)
    assert problem.code == "not_installed"
    assert len(world.server.calls("GET /api/v3/app/installations")) == 2


async def test_a_suspended_installation(world: World, forge: GitHubForge) -> None:
    suspended = {"id": 42, "account": {"login": "acme"}, "suspended_at": "2026-01-01T00:00:00Z"}
    world.server.on("GET /api/v3/app/installations", says([suspended]))
    assert (await raised(forge.repository("acme/shop"))).code == "installation_suspended"
    assert await forge.repositories() == ()


async def test_only_the_named_installation(world: World) -> None:
    client = world.forge(installation_id=7)
    assert (await raised(client.repository("acme/shop"))).code == "not_installed"
    await client.close()


async def test_a_lost_token_is_asked_for_again(world: World, forge: GitHubForge) -> None:
    world.server.on(f"POST {MINT}", hangs_up, world.mint)
    assert (await forge.repository("acme/shop")).full_name == "acme/shop"


async def test_a_failed_minting_fails_all_who_wait_and_is_not_kept(world: World, forge: GitHubForge) -> None:
    world.server.on(f"POST {MINT}", says({"message": "no such repository"}, 422))
    results = await asyncio.gather(*(forge.repository("acme/shop") for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {NotFound}
    assert len(world.server.calls(f"POST {MINT}")) == 1
    taken = "The permissions requested are not granted to this installation."
    world.server.on(f"POST {MINT}", says({"message": taken}, 422))
    assert (await raised(forge.repository("acme/shop"))).code == "permission_missing"
    world.server.on(f"POST {MINT}", world.mint)
    assert (await forge.repository("acme/shop")).id == 1


async def test_one_who_stops_waiting_stops_nobody_else(world: World, forge: GitHubForge) -> None:
    first = asyncio.create_task(forge.repository("acme/shop"))
    second = asyncio.create_task(forge.repository("acme/shop"))
    while not world.server.calls(f"POST {MINT}"):
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).id == 1
    assert len(world.minted) == 1


@pytest.mark.parametrize("token", [None, "", 5, "a\r\nx: y", "tök"])
async def test_a_token_that_is_none(world: World, forge: GitHubForge, token: Any) -> None:
    world.server.on(f"POST {MINT}", says({"token": token, "expires_at": "never"}, 201))
    assert (await raised(forge.repository("acme/shop"))).code == "bad_answer"


async def test_a_key_that_is_none(world: World) -> None:
    client = world.forge(private_key_pem="-----BEGIN secret")
    problem = await raised(client.repository("acme/shop"))
    assert problem.code == "bad_app_key"
    assert "BEGIN secret" not in str(problem) + repr(AppAuth(app_id=1, private_key_pem="-----BEGIN secret"))
    await client.close()


async def test_lists_the_installations_repositories(world: World, forge: GitHubForge) -> None:
    listed = [{"full_name": "acme/shop"}, {"full_name": "acme/old", "archived": True}, {"full_name": None}]
    world.server.on("GET /api/v3/installation/repositories", says({"total_count": 3, "repositories": listed}))
    assert await forge.repositories() == ("acme/shop",)
    assert world.minted[0] == {"permissions": {"metadata": "read"}}


async def test_failed_deliveries_are_told_once_each(world: World, forge: GitHubForge) -> None:
    def attempt(number: int, guid: str, code: int, at: str = "2026-01-02T00:00:00Z") -> dict[str, Any]:
        return {"id": number, "guid": guid, "status_code": code, "delivered_at": at}

    listed = [
        attempt(9, "a", 200),
        attempt(8, "b", 502),
        attempt(7, "a", 500),
        attempt(6, "b", 0),
        attempt(5, "c", 500),
        attempt(4, "d", 500, "2025-01-01T00:00:00Z"),
    ]
    world.server.on("GET /api/v3/app/hook/deliveries", says(listed))
    since_ms = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert await forge.failed_deliveries(since_ms) == ("5", "8")
    world.server.on("POST /api/v3/app/hook/deliveries/8/attempts", says({}, 202))
    await forge.redeliver("8")
    assert (await raised(forge.redeliver("8/../9"))).code == "bad_name"
