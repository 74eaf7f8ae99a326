"""The API over a real store: every address, who may call it, and one shape of answer for everything that is wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
import lzma
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.engine.world import REPO, World
from tests.support.stores import open_store

from windlass.adapters.github import translate, verify_signature
from windlass.core.errors import Broken, Failed, Unavailable
from windlass.engine.queries import Queries
from windlass.faces.api.app import Backend, create_app

TOKEN, SECRETS = "t" * 43, ("new-secret", "old-secret")
LIMIT = 26_214_400
EXAMPLES = json.loads(
    lzma.decompress((Path(__file__).parents[2] / "vendor" / "webhooks" / "examples.json.xz").read_bytes())
)


class Place:
    """The API, the world behind it, and what a test may turn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.why_not_ready = ""
        self.failure: Exception | None = None
        self.app = self._app()

    def _app(self) -> FastAPI:
        world = self.world

        async def is_ready() -> str:
            return self.why_not_ready

        async def export(job_id: str) -> bytes:
            if self.failure is not None:
                raise self.failure
            return f"bundle of {job_id}".encode()

        async def reconcile() -> dict[str, Any]:
            return {"looks": 3, "problems": {"issues": "away"}}

        return create_app(
            Backend(
                intake=world.intake,
                queries=Queries(world.store, world.blobs),
                token=TOKEN,
                verify_signature=lambda body, header: verify_signature(body, header, SECRETS),
                is_ready=is_ready,
                now_ms=world.clock.now_ms,
                export_evidence=export,
                reconcile=reconcile,
                largest_payload_bytes=LIMIT,
            )
        )


@pytest.fixture
def place(sqlite_template: Path, tmp_path: Path) -> Iterator[Place]:
    shutil.copyfile(sqlite_template, tmp_path / "windlass.db")
    made = open_store(f"sqlite:///{tmp_path / 'windlass.db'}")
    yield Place(World(made.store, tmp_path, translate=translate))
    made.store.close()


@pytest.fixture
async def api(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=place.app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


def assert_problem(answer: httpx.Response, status: int, code: str = "") -> dict[str, str]:
    assert answer.status_code == status, answer.text
    body: dict[str, str] = answer.json()
    assert set(body) == {"code", "message", "hint"}
    assert all(isinstance(value, str) and "\n" not in value for value in body.values())
    assert body["message"]
    assert not code or body["code"] == code
    return body


# ------------------------------------------------------------ who may call


GUARDED = [
    ("POST", "/start-job"),
    ("POST", "/stop-job"),
    ("GET", "/status"),
    ("POST", "/api/v1/reconcile"),
    ("GET", "/api/v1/jobs/x"),
    ("GET", "/api/v1/jobs/x/why"),
    ("GET", "/api/v1/jobs/x/logs"),
    ("GET", "/api/v1/jobs/x/evidence"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "header", ["", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"]
)
async def test_without_the_token_nothing_is_told(api: httpx.AsyncClient, method: str, path: str, header: str) -> None:
    del api.headers["Authorization"]
    given = {"Authorization": header.encode("latin-1")} if header else {}
    answer = await api.request(method, path, headers=given)  # type: ignore[arg-type]
    body = assert_problem(answer, 401, "no_token")
    assert "api-token" in body["hint"]
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_address_is_guarded_but_the_probes_the_webhooks_and_the_description(place: Place) -> None:
    paths = place.app.openapi()["paths"]
    transport = httpx.ASGITransport(app=place.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as stranger:
        for path, methods in paths.items():
            for method in methods:
                answer = await stranger.request(method.upper(), path.replace("{job}", "x"))
                is_open = path in {"/healthz", "/readyz", "/webhooks/github"}
                assert is_open or answer.status_code == 401, path
    assert {path for _, path in GUARDED} <= {path.replace("{job}", "x") for path in paths}


async def test_the_token_is_compared_in_constant_time(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, object]] = []
    original = hmac.compare_digest

    def compare(first: Any, second: Any) -> bool:
        seen.append((first, second))
        return original(first, second)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert (await api.get("/status")).status_code == 200
    assert seen == [(TOKEN.encode(), TOKEN.encode())]


async def test_the_probes(api: httpx.AsyncClient, place: Place) -> None:
    del api.headers["Authorization"]
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json() == {"status": "ok"}
    place.why_not_ready = "the database is away"
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["why"]) == (503, "the database is away")


async def test_the_description_is_served(api: httpx.AsyncClient) -> None:
    assert "swagger" in (await api.get("/docs")).text.lower()
    description = (await api.get("/openapi.json")).json()
    assert description["info"]["title"] == "Windlass"


# ------------------------------------------------------------ jobs


async def start(api: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    key = {"Idempotency-Key": changes.pop("key")} if "key" in changes else {}
    return await api.post("/start-job", json={"repository": REPO, "issue": 7} | changes, headers=key)


async def test_a_job_is_started_shown_explained_and_stopped(api: httpx.AsyncClient, place: Place) -> None:
    place.world.file_issue(label="none")
    answer = await start(api, agent="codex", type="refactor", requested_by="ops", key="k")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["is_new"], job["branch"], job["requested_by"]) == ("queued", True, "ai-7", "ops")
    again = (await start(api, key="k")).json()
    assert (again["job"], again["is_new"]) == (job["job"], False)
    status = (await api.get("/status")).json()
    assert status["counts"]["queued"] == 1
    assert [one["job"] for one in status["jobs"]] == [job["job"]]
    assert (await api.get("/status", params={"state": "running"})).json()["jobs"] == []
    assert (await api.get("/status", params={"repository": "a/b"})).json()["jobs"] == []
    assert (await api.get("/status", params={"job": job["job"][:5]})).json()["jobs"][0]["job"] == job["job"]
    details = (await api.get(f"/api/v1/jobs/{job['job']}")).json()
    assert details["orders"][0]["effect"] == "CreateBranch"
    why = (await api.get(f"/api/v1/jobs/{job['job']}/why")).json()
    assert [one["event"] for one in why] == ["IssueLabelled"]
    evidence = await api.get(f"/api/v1/jobs/{job['job']}/evidence")
    assert evidence.content == f"bundle of {job['job']}".encode()
    assert evidence.headers["content-type"] == "application/x-tar"
    stop = {"job": job["job"], "reason": "enough", "requested_by": "ops"}
    stopped = (await api.post("/stop-job", json=stop, headers={"Idempotency-Key": "s"})).json()
    assert (stopped["state"], stopped["is_new"]) == ("cancelled", True)
    assert not (await api.post("/stop-job", json=stop, headers={"Idempotency-Key": "s"})).json()["is_new"]


async def test_repair_on_demand(api: httpx.AsyncClient) -> None:
    answer = (await api.post("/api/v1/reconcile")).json()
    assert (answer["looks"], answer["orders"], answer["problems"]) == (3, 0, {"issues": "away"})


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/start-job", {"repository": "no-slash", "issue": 1}, "repository"),
        ("/start-job", {"repository": "a/../b", "issue": 1}, "repository"),
        ("/start-job", {"repository": REPO, "issue": 0}, "issue"),
        ("/start-job", {"repository": REPO, "issue": "seven"}, "issue"),
        ("/start-job", {"repository": REPO, "issue": 2**31}, "issue"),
        ("/start-job", {"repository": REPO}, "issue"),
        ("/start-job", {"repository": REPO, "issue": 1, "typ": "bugfix"}, "typ"),
        ("/start-job", {"repository": REPO, "issue": 1, "type": "magic"}, "type"),
        ("/start-job", {"repository": REPO, "issue": 1, "requested_by": ""}, "requested_by"),
        ("/start-job", [], "body"),
        ("/stop-job", {}, "job"),
        ("/stop-job", {"job": ""}, "job"),
        ("/stop-job", {"job": "x", "reason": "r" * 501}, "reason"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(api: httpx.AsyncClient, path: str, body: Any, named: str) -> None:
    problem = assert_problem(await api.post(path, json=body), 400, "bad_request")
    assert named in problem["message"]
    assert problem["hint"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/start-job", 400, "bad_request"),
        ("GET", "/status?limit=0", 400, "bad_request"),
        ("GET", "/status?state=happy", 400, "bad_request"),
        ("GET", "/status?job=nobody", 404, "not_found"),
        ("GET", "/api/v1/jobs/nobody", 404, "not_found"),
        ("GET", "/api/v1/jobs/nobody/evidence", 404, "not_found"),
        ("GET", "/nowhere", 404, "http_404"),
        ("DELETE", "/status", 405, "http_405"),
    ],
)
async def test_every_error_has_the_same_shape(
    api: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    assert_problem(await api.request(method, path, content=b"{"), status, code)


async def test_what_the_forge_refuses_is_passed_on(api: httpx.AsyncClient, place: Place) -> None:
    assert_problem(await start(api), 404, "not_found")
    place.world.file_issue(state="closed")
    assert_problem(await start(api), 400, "bad_issue")
    place.world.forge.trouble["issue"] = [Unavailable("limit", retry_after_s=5)]
    assert_problem(await start(api), 503, "unavailable")
    assert_problem(await api.post("/stop-job", json={"job": "nobody"}), 404, "not_found")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [(Failed("no"), 502, "failed"), (Broken("torn"), 500, "broken"), (RuntimeError("our inside"), 500, "internal")],
)
async def test_failures_on_our_side(
    api: httpx.AsyncClient, place: Place, failure: Exception, status: int, code: str
) -> None:
    place.failure = failure
    job = place.world.ask()
    problem = assert_problem(await api.get(f"/api/v1/jobs/{job.id}/evidence"), status, code)
    assert "our inside" not in json.dumps(problem)


# ------------------------------------------------------------ webhooks


def sign(body: bytes, secret: str = SECRETS[0]) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def headers(body: bytes, event: str = "ping", number: int = 1, **changes: str) -> dict[str, str]:
    given = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": f"guid-{number}",
        "X-Hub-Signature-256": sign(body),
    }
    return {k: v for k, v in (given | changes).items() if v != "absent"}


async def deliver(api: httpx.AsyncClient, body: bytes, **more: Any) -> httpx.Response:
    return await api.post("/webhooks/github", content=body, headers=headers(body, **more))


def stored(place: Place) -> int:
    return len(place.world.store.claim_deliveries("test", 10_000, 0, place.world.clock.now + 1))


@pytest.mark.parametrize("event", sorted(EXAMPLES))
async def test_every_official_example_is_stored_and_processed(api: httpx.AsyncClient, place: Place, event: str) -> None:
    for number, example in enumerate(EXAMPLES[event]):
        body = json.dumps(example).encode()
        answer = await deliver(api, body, event=event, number=number)
        assert (answer.status_code, answer.text) == (202, "stored")
    done = 0
    while found := await place.world.intake.process_some("test", 100):
        done += found
        place.world.clock.now += 1
    assert done == len(EXAMPLES[event])
    place.world.clock.now += 10**9
    assert await place.world.intake.process_some("test", 100) == 0, "none came back"
    assert place.world.store.jobs() == ()


async def test_both_live_secrets_open_the_door_and_no_other(api: httpx.AsyncClient, place: Place) -> None:
    body = b"{}"
    for number, secret in enumerate(SECRETS):
        signed = {"X-Hub-Signature-256": sign(body, secret)}
        assert (await deliver(api, body, number=number, **signed)).status_code == 202
    for wrong in (
        sign(body, "retired"),
        sign(b"{} "),
        "sha256=",
        "",
        "absent",
        "sha1=" + "0" * 40,
        "sha256=zz",
        "\x7f",
    ):
        answer = await deliver(api, body, number=9, **{"X-Hub-Signature-256": wrong})
        assert_problem(answer, 401, "bad_signature")
    assert stored(place) == 2


async def test_the_same_delivery_twice_is_known(api: httpx.AsyncClient, place: Place) -> None:
    answers = [await deliver(api, b"{}") for _ in range(2)]
    assert [(a.status_code, a.text) for a in answers] == [(202, "stored"), (202, "known")]
    assert stored(place) == 1


@pytest.mark.parametrize(
    ("body", "changes", "status", "code"),
    [
        (b"payload=%7B%7D", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "bad_content_type"),
        (b"{}", {"Content-Type": "absent"}, 415, "bad_content_type"),
        (b"{}", {"X-GitHub-Delivery": "absent"}, 400, "bad_headers"),
        (b"{}", {"X-GitHub-Delivery": "x" * 101}, 400, "bad_headers"),
        (b"{}", {"X-GitHub-Event": "absent"}, 400, "bad_headers"),
        (b"", {}, 400, "bad_json"),
        (b"not json", {}, 400, "bad_json"),
        (b'{"a": "\xff"}', {}, 400, "bad_json"),
        (b"[" * 100_000, {}, 400, "bad_json"),
    ],
)
async def test_what_is_not_a_webhook_is_not_stored(
    api: httpx.AsyncClient, place: Place, body: bytes, changes: dict[str, str], status: int, code: str
) -> None:
    assert_problem(await deliver(api, body, **changes), status, code)
    assert stored(place) == 0


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"7", b'{"a": NaN}'])
async def test_unknown_events_and_odd_json_are_stored_and_done_with(
    api: httpx.AsyncClient, place: Place, body: bytes
) -> None:
    assert (await deliver(api, body, event="sponsorship")).status_code == 202
    assert await place.world.intake.process_some("test") == 1
    assert stored(place) == 0


class Stream(httpx.AsyncByteStream):
    """A body without a length, that counts how much of it was taken."""

    def __init__(self, pieces: int) -> None:
        self.pieces, self.taken = pieces, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.pieces):
            self.taken += 1
            yield b" " * (1 << 20)


async def test_a_body_that_says_it_is_too_large_is_not_read(api: httpx.AsyncClient, place: Place) -> None:
    scope_headers = headers(b"{}") | {"Content-Length": str(LIMIT + 1)}
    stream = Stream(26)
    request = api.build_request("POST", "/webhooks/github", headers=scope_headers, content=stream)
    assert_problem(await api.send(request), 413, "too_large")
    assert stored(place) == 0


async def call_in_pieces(app: FastAPI, pieces: int) -> tuple[int, int]:
    """Status, and how many pieces of 1 MiB were asked for, of a body that does not say how long it is."""
    taken, answers = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b" " * (1 << 20), "more_body": taken < pieces}

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    raw = [(k.lower().encode(), v.encode()) for k, v in headers(b"{}").items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/webhooks/github",
        "raw_path": b"/webhooks/github",
        "query_string": b"",
        "headers": raw,
        "server": ("api", 80),
        "client": ("c", 1),
        "scheme": "http",
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    return next(m["status"] for m in answers if m["type"] == "http.response.start"), taken


async def test_a_body_without_a_length_is_read_no_further_than_the_limit(place: Place) -> None:
    status, taken = await call_in_pieces(place.app, 100)
    assert status == 413
    assert taken == LIMIT // (1 << 20) + 1
    status, taken = await call_in_pieces(place.app, 3)
    assert (status, taken) == (401, 3)


async def test_the_largest_payload_is_taken_and_one_byte_more_is_not(api: httpx.AsyncClient, place: Place) -> None:
    body = b'{"a":"' + b"x" * (LIMIT - 8) + b'"}'
    assert len(body) == LIMIT
    assert (await deliver(api, body)).status_code == 202
    assert_problem(await deliver(api, body + b" ", number=2), 413, "too_large")
    assert stored(place) == 1


async def test_what_cannot_be_stored_is_not_acknowledged(
    api: httpx.AsyncClient, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_deliveries: object) -> object:
        raise Unavailable("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(place.world.store, "put_deliveries", away)
        assert_problem(await deliver(api, b"{}"), 503, "unavailable")
    assert stored(place) == 0
    assert (await deliver(api, b"{}")).text == "stored", "GitHub's redelivery has the same id"
