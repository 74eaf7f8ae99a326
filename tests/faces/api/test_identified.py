"""Every answer says which request it belongs to, and nothing else about it changes."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from windlass.faces.api.app import Identified


async def plain(_request: object) -> PlainTextResponse:
    return PlainTextResponse("fine", 202, {"X-Own": "kept"})


async def streamed(_request: object) -> StreamingResponse:
    return StreamingResponse(iter(["a", "b"]))


def client() -> httpx.AsyncClient:
    app = Identified(Starlette(routes=[Route("/plain", plain), Route("/streamed", streamed)]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api")


@pytest.mark.parametrize("path", ["/plain", "/streamed", "/absent"])
async def test_an_answer_carries_an_id_of_its_own(path: str) -> None:
    async with client() as api:
        first, second = [await api.get(path) for _ in range(2)]
    assert len(first.headers["x-request-id"]) == 32
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["server-timing"].startswith("total;dur=")


async def test_a_given_id_is_answered_and_cut() -> None:
    async with client() as api:
        found = await api.get("/plain", headers={"X-Request-Id": "a" * 100})
    assert found.headers.get_list("x-request-id") == ["a" * 64]
    assert (found.status_code, found.text, found.headers["x-own"]) == (202, "fine", "kept")
