"""The manifest flow against a stand-in that behaves as GitHub's documentation says, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import html.parser
import json
import lzma
import re
import secrets
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from windlass.adapters.github.keys import OPTIONAL, REQUIRED, Need
from windlass.adapters.github.webhooks import translate
from windlass.config import load
from windlass.core.errors import Conflict, Failed, Refused, Unavailable, WindlassError
from windlass.core.hints import Ignored
from windlass.faces.cli.options import AppMade, AppRequest
from windlass.wiring import github_app

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "vendor" / "webhooks" / "examples.json.xz"
URL = "https://windlass.example.org"


class GitHub:
    """The documented behaviour: takes the posted manifest, comes back with a code, exchanges it once."""

    def __init__(self) -> None:
        self.base = ""
        self.manifests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.codes: dict[str, dict[str, Any]] = {}
        self.answer: dict[str, Any] = {}
        self.status = 201

    async def register(self, request: web.Request) -> web.Response:
        form = await request.post()
        manifest = json.loads(str(form["manifest"]))
        assert {"name", "url"} <= manifest.keys()
        assert manifest["hook_attributes"]["url"].startswith("https://")
        assert set(manifest["default_permissions"].values()) <= {"read", "write", "admin"}
        self.manifests.append(manifest)
        self.paths.append(request.path)
        code = secrets.token_hex(20)
        self.codes[code] = manifest
        back = f"{manifest['redirect_url']}?code={code}&state={request.query['state']}"
        raise web.HTTPFound(back)

    async def convert(self, request: web.Request) -> web.Response:
        manifest = self.codes.pop(request.match_info["code"], None)
        if manifest is None:
            return web.json_response({"message": "Not Found"}, status=404)
        document = {
            "id": 4711,
            "slug": "windlass-test",
            "node_id": "MDxOkludGVncmF0aW9uMQ==",
            "owner": {"login": "ada", "id": 1},
            "name": manifest["name"],
            "external_url": manifest["url"],
            "html_url": f"{self.base}/apps/windlass-test",
            "client_id": "Iv1.8a61f9b3a7aba766",
            "client_secret": "1726be1638095a19edd134c77bde3aa2ece1e5d8",
            "webhook_secret": "e340154128314309424b7c8e90325147d99fdafa",
            "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n",
            "permissions": manifest["default_permissions"],
            "events": manifest["default_events"],
        }
        return web.json_response(document | self.answer, status=self.status)


@pytest.fixture
async def github() -> AsyncIterator[GitHub]:
    site = GitHub()
    app = web.Application()
    app.router.add_post("/settings/apps/new", site.register)
    app.router.add_post("/organizations/acme/settings/apps/new", site.register)
    app.router.add_post("/api/v3/app-manifests/{code}/conversions", site.convert)
    runner = web.AppRunner(app)
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0)
    await place.start()
    site.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


class Form(html.parser.HTMLParser):
    """The one form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "input":
            self.fields[given["name"]] = given["value"]


def request_of(github: GitHub, tmp_path: Path, **more: Any) -> AppRequest:
    usual: dict[str, Any] = {
        "public_url": URL,
        "forge_url": github.base,
        "state_dir": tmp_path / "state",
        "config": tmp_path / "windlass.yaml",
        "timeout_s": 20.0,
    }
    return AppRequest(**usual | more)


class Waiting:
    """`create` under way, and the page it shows."""

    def __init__(self, request: AppRequest) -> None:
        self._shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(github_app.create(request, self._shown.set_result))

    async def page(self) -> str:
        await asyncio.wait({self._shown, self.task}, return_when=asyncio.FIRST_COMPLETED)
        return self._shown.result()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=20) as client:
        yield client


async def confirm(client: httpx.AsyncClient, page: str) -> str:
    """Press the button and confirm on the forge; where it leads back to."""
    form = Form((await client.get(page)).text)
    answer = await client.post(form.action, data=form.fields)
    assert answer.status_code == 302
    return answer.headers["location"]


async def register(request: AppRequest) -> AppMade:
    waiting = Waiting(request)
    async with browser() as client:
        back = await confirm(client, await waiting.page())
        await client.get(back)
    return await waiting.task


async def test_the_command_registers_the_app_and_leaves_a_working_configuration(github: GitHub, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "windlass", "github-app", "create", "--url", URL, "--forge", github.base),
        *("--state-dir", str(tmp_path / "state"), "--config", str(tmp_path / "windlass.yaml")),
        *("--organization", "acme", "--name", "Windlass of acme"),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    shown = (await process.stdout.readline()).decode()
    page = re.search(r"http://\S+", shown)
    assert page, shown
    async with browser() as client:
        done = await client.get(await confirm(client, page[0]))
    out = (await process.stdout.read()).decode()
    assert await process.wait() == 0
    assert done.status_code == 200
    assert "Registered" in done.text
    assert github.paths == ["/organizations/acme/settings/apps/new"]
    assert github.manifests[0]["name"] == "Windlass of acme"
    assert f"{github.base}/apps/windlass-test/installations/new" in out
    assert f"{URL}/webhooks/github" in out
    assert "BEGIN RSA" not in out
    assert "e340154128314309" not in out

    settings = load(tmp_path / "windlass.yaml", {})
    assert settings.forge.app_id == "4711"
    assert settings.forge.api_url == f"{github.base}/api/v3"
    assert settings.api.public_url == URL
    assert settings.state_dir == tmp_path / "state"
    assert settings.forge.app_private_key_file is not None
    assert settings.forge.webhook_secret_file is not None
    assert settings.forge.app_private_key_file.read_text().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert settings.forge.webhook_secret_file.read_text() == "e340154128314309424b7c8e90325147d99fdafa\n"
    for path in (settings.forge.app_private_key_file, settings.forge.webhook_secret_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def test_an_answer_with_another_state_is_refused_and_does_not_end_the_wait(
    github: GitHub, tmp_path: Path
) -> None:
    waiting = Waiting(request_of(github, tmp_path))
    async with browser() as client:
        page = await waiting.page()
        back = await confirm(client, page)
        forged = await client.get(f"{page}created?code=abc&state=forged")
        without = await client.get(f"{page}created?code=abc")
        no_code = await client.get(re.sub(r"code=[^&]*", "code=", back))
        assert (forged.status_code, without.status_code, no_code.status_code) == (403, 403, 400)
        assert not waiting.task.done()
        assert (await client.get(back)).status_code == 200
    assert (await waiting.task).app_id == 4711


async def test_a_code_is_used_once(github: GitHub, tmp_path: Path) -> None:
    waiting = Waiting(request_of(github, tmp_path))
    async with browser() as client:
        back = await confirm(client, await waiting.page())
        first, second = await asyncio.gather(client.get(back), client.get(back))
    assert sorted([first.status_code, second.status_code]) == [200, 409]
    assert (await waiting.task).slug == "windlass-test"


async def test_the_page_answers_only_to_its_own_name(github: GitHub, tmp_path: Path) -> None:
    waiting = Waiting(request_of(github, tmp_path, timeout_s=1.0))
    async with browser() as client:
        page = await waiting.page()
        rebound = await client.get(page, headers={"Host": "evil.example"})
        own = await client.get(page)
    assert (rebound.status_code, own.status_code) == (403, 200)
    assert "state=" not in rebound.text
    assert f"form-action 'self' {github.base}" in own.headers["content-security-policy"]
    with pytest.raises(Unavailable, match="nobody confirmed"):
        await waiting.task


@pytest.mark.parametrize(
    ("answer", "status", "kind", "code"),
    [
        ({"pem": ""}, 201, Failed, "bad_answer"),
        ({"pem": "no key"}, 201, Failed, "bad_answer"),
        ({"webhook_secret": None}, 201, Failed, "bad_answer"),
        ({"id": "4711"}, 201, Failed, "bad_answer"),
        ({"slug": "../x"}, 201, Failed, "bad_answer"),
        ({}, 404, Refused, "bad_code"),
        ({}, 422, Refused, "bad_code"),
        ({}, 500, Failed, "bad_answer"),
    ],
)
async def test_a_bad_answer_of_the_forge_is_told_and_writes_nothing(
    answer: dict[str, Any], status: int, kind: type[WindlassError], code: str, github: GitHub, tmp_path: Path
) -> None:
    github.answer, github.status = answer, status
    with pytest.raises(kind) as caught:
        await register(request_of(github, tmp_path))
    assert caught.value.code == code
    assert caught.value.hint
    assert not (tmp_path / "windlass.yaml").exists()
    assert not (tmp_path / "state" / "github-app.pem").exists()


async def test_an_install_page_elsewhere_is_not_believed(github: GitHub, tmp_path: Path) -> None:
    github.answer = {"html_url": "https://evil.example/apps/windlass-test"}
    made = await register(request_of(github, tmp_path))
    assert made.install_url == f"{github.base}/apps/windlass-test/installations/new"


@pytest.mark.parametrize("name", ["state/github-app.pem", "state/github-webhook-secret", "windlass.yaml"])
async def test_nothing_is_overwritten_and_no_app_is_made(name: str, github: GitHub, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(Conflict, match="there already"):
        await github_app.create(request_of(github, tmp_path), lambda _page: pytest.fail("a page was shown"))
    assert (tmp_path / name).read_text() == "mine"
    assert github.manifests == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"public_url": "http://windlass.example.org"}, "bad_option"),
        ({"public_url": "windlass.example.org"}, "bad_option"),
        ({"public_url": "https://user:pw@windlass.example.org"}, "bad_option"),
        ({"public_url": "https://windlass.example.org?x=1"}, "bad_option"),
        ({"forge_url": "http://github.example.org"}, "bad_forge_url"),
        ({"forge_url": "https://github.com", "public_url": "http://127.0.0.1:8470"}, "bad_option"),
        ({"organization": "acme/../x"}, "bad_option"),
        ({"name": ""}, "bad_option"),
        ({"name": "x" * 35}, "bad_option"),
    ],
)
async def test_bad_options_are_refused_before_a_page_is_shown(
    change: dict[str, str], code: str, github: GitHub, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as caught:
        await github_app.create(request_of(github, tmp_path, **change), lambda _page: pytest.fail("a page was shown"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("web_url", "api_url"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://github.com/", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://git.example.org", "https://git.example.org/api/v3"),
    ],
)
def test_where_the_api_is(web_url: str, api_url: str) -> None:
    assert github_app.forge_address(web_url).api_url == api_url


def test_the_app_may_do_what_the_adapter_needs_and_nothing_more() -> None:
    needed: dict[str, str] = {}
    for need in Need:
        for permission, level in (OPTIONAL.get(need, {}) | dict(REQUIRED[need])).items():
            if needed.get(permission) != "write":
                needed[permission] = level
    assert needed == github_app.PERMISSIONS | {"administration": "read"}


def test_every_event_of_the_manifest_is_one_that_is_understood() -> None:
    with lzma.open(EXAMPLES) as stream:
        examples = json.load(stream)
    for event in github_app.EVENTS:
        hints = [hint for example in examples[event] for hint in translate(event, json.dumps(example).encode())]
        assert any(not isinstance(hint, Ignored) for hint in hints), event


def test_the_published_manifest_is_the_one_that_is_posted() -> None:
    published = json.loads((ROOT / "deploy" / "github-app" / "manifest.json").read_text())
    assert published == github_app.manifest("Windlass", URL, "http://127.0.0.1:8471/created")
