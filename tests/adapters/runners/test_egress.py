"""The egress proxy around both runners: what is listed gets through, nothing else does, and all of it is told."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.runners import KINDS, Bench, benches
from tests.support.podman import AIRLOCK_IMAGE, PYTHON_IMAGE
from tests.support.web import world_on_loopback

from windlass.adapters.runners.egress import proxy
from windlass.adapters.runners.egress.allowing import allow_list, configuration
from windlass.adapters.runners.egress.guarded import GuardedRunner
from windlass.adapters.runners.rundir import marked
from windlass.core.errors import Refused
from windlass.ports import RunResult, RunSpec

pytestmark = pytest.mark.needs("squid")
SEND = 50_000

# What an agent tries: each line says what came of one request; `direct` goes past the proxy.
ASK = """\
import os, socket, sys
way = os.environ["HTTP_PROXY"].rpartition(":")[2]
def ask(text):
    with socket.create_connection(("127.0.0.1", int(way)), 20) as line:
        line.sendall(text)
        return line.recv(4096).split(b"\\r\\n")[0].decode()
def get(url, body=b""):
    host = url.split("/")[2]
    head = f"{'POST' if body else 'GET'} {url} HTTP/1.0\\r\\nHost: {host}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    return ask(head.encode() + body)
def tunnel(to):
    return ask(f"CONNECT {to} HTTP/1.1\\r\\nHost: {to}\\r\\n\\r\\n".encode())
def direct(host, port):
    try:
        socket.create_connection((host, port), 5).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture
def world() -> Iterator[int]:
    """Whoever the agent wants to reach, by port."""
    with world_on_loopback() as port:
        yield port


class Guard:
    """A guarded runner over a bench, with Python to ask with."""

    def __init__(self, bench: Bench, root: Path) -> None:
        self.bench, self.root = bench, root
        self.runner = self.another()

    def another(self, instance: str = "") -> GuardedRunner:
        """As another process of the instance, or of another one, has it."""
        name = instance or self.bench.instance
        return GuardedRunner(self.bench.another(name), self.root, instance=name)

    def spec(self, program: str, *hosts: str) -> RunSpec:
        image = ""
        if self.bench.podman is not None:
            image = self.bench.podman.need(PYTHON_IMAGE)
            self.bench.podman.need(AIRLOCK_IMAGE)
        spec = self.bench.spec("exec python3 -", stdin=(ASK + program).encode())
        return RunSpec(
            id=spec.id, argv=spec.argv, workdir=spec.workdir, deadlines=spec.deadlines, stdin=spec.stdin,
            egress=hosts, image=image,
        )  # fmt: skip

    async def says(self, program: str, *hosts: str) -> tuple[list[str], RunResult]:
        spec = self.spec(program, *hosts)
        await self.runner.start(spec)
        result = await self.runner.wait(spec.id)
        return result.output.read_text().splitlines(), result

    def processes(self, instance: str = "") -> set[int]:
        marks = {f"{instance or self.bench.instance}/{path.name}/egress" for path in self.root.iterdir()}
        return {pid for mark in marks for pid in marked(mark)}


@pytest.fixture(params=KINDS)
async def guard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Guard]:
    async for bench in benches(request.param, tmp_path, request):
        made = Guard(bench, tmp_path / "egress")
        yield made
        await made.runner.reap(lambda _run_id: False)
        assert list(made.root.iterdir()) == []


async def test_listed_hosts_are_reached_and_every_decision_is_told(guard: Guard, world: int) -> None:
    body = f"b'x' * {SEND}"
    program = f"""
print(get("http://localhost:{world}/", {body}))
print(tunnel("localhost:{world}"))
print(tunnel("elsewhere.example:443"))
print(get("http://localhost:{world + 1}/"))
print(get("http://127.0.0.1:{world}/"))
print(direct("127.0.0.1", {world}), direct("192.0.2.1", 80))
"""
    lines, result = await guard.says(program, f"localhost:{world}", "api.example")
    assert lines[0].endswith("200 OK")
    assert lines[1].endswith("200 Connection established")
    assert [line.split()[1] for line in lines[2:5]] == ["403"] * 3
    assert "connected" not in lines[5]
    told = {(one.method, one.host, one.port, one.is_allowed) for one in result.contacts}  # in the order they ended
    assert told == {
        ("POST", "localhost", world, True),
        ("CONNECT", "localhost", world, True),
        ("CONNECT", "elsewhere.example", 443, False),
        ("GET", "localhost", world + 1, False),
        ("GET", "127.0.0.1", world, False),
    }
    assert result.bytes_out is not None
    assert SEND < result.bytes_out < SEND + 2000


@pytest.mark.parametrize("hosts", [("*",), ("localhost", "metadata.example")])
async def test_no_list_opens_the_private_network(guard: Guard, world: int, hosts: tuple[str, ...]) -> None:
    program = f"""
for to in ("localhost:443", "127.0.0.1:443", "169.254.169.254:443", "[::1]:443", "0x7f000001:443", "2130706433:443"):
    print(tunnel(to).split()[1])
for url in ("http://169.254.169.254/latest", "http://localhost/", "http://10.0.0.1/", "http://[fe80::1]/", "http://017700000001/"):
    print(get(url).split()[1])
print(tunnel("localhost:{world}").split()[1])
"""
    lines, result = await guard.says(program, *hosts)
    assert set(lines) <= {"403", "400"}, lines
    assert not any(one.is_allowed for one in result.contacts), result.contacts
    assert len(result.contacts) >= 8


async def test_what_was_decided_is_known_of_a_run_that_was_stopped(guard: Guard, world: int) -> None:
    program = f"""
print(get("http://elsewhere.example/"))
line = socket.create_connection(("127.0.0.1", int(way)))
line.sendall(b"CONNECT localhost:{world} HTTP/1.1\\r\\n\\r\\n")
print("open", line.recv(99)[:12], flush=True)
while True: line.recv(1)
"""
    spec = guard.spec(program, f"localhost:{world}")
    await guard.runner.start(spec)
    await guard.bench.printed(spec, b"open")
    assert "through a proxy" in guard.runner.isolation(spec.id)
    await guard.runner.stop(spec.id)
    result = await guard.another().wait(spec.id)
    assert result.ended == "stopped"
    told = {(one.host, one.is_allowed) for one in result.contacts}
    assert told == {("elsewhere.example", False), ("localhost", True)}
    assert guard.processes() == set()
    await guard.runner.discard(spec.id)
    assert list(guard.root.iterdir()) == []


async def test_a_run_goes_on_and_is_taken_up_when_who_started_it_is_gone(guard: Guard, world: int) -> None:
    program = f"""
import time
while not os.path.exists("go"): time.sleep(0.02)
print(get("http://localhost:{world}/"))
"""
    spec = guard.spec(program, f"localhost:{world}")
    await guard.runner.start(spec)
    later = guard.another()
    assert not await later.start(spec)
    await guard.bench.until(lambda: later.is_known(spec.id))
    assert not await later.start(spec)
    assert await later.reap(lambda run_id: run_id == spec.id) == ()
    assert len(guard.processes()) >= 2
    (guard.bench.workdir / "go").touch()
    result = await later.wait(spec.id)
    assert result.output.read_text().endswith("200 OK\n"), result.output.read_text()
    assert [one.is_allowed for one in result.contacts] == [True]


async def test_others_proxies_are_left_alone(guard: Guard) -> None:
    spec = guard.spec("import time; time.sleep(60)", "api.example")
    await guard.runner.start(spec)
    await guard.another("somebody-else").reap(lambda _run_id: False)
    assert len(guard.processes()) >= 2
    await guard.runner.reap(lambda _run_id: False)
    assert guard.processes() == set()


async def test_a_run_that_cannot_begin_leaves_no_proxy(guard: Guard) -> None:
    spec = guard.spec("", "api.example")
    missing = RunSpec(
        id=spec.id, argv=spec.argv, workdir=guard.bench.root / "no", deadlines=spec.deadlines, egress=spec.egress
    )
    with pytest.raises(Refused):
        await guard.runner.start(missing)
    assert list(guard.root.iterdir()) == []


@pytest.mark.needs("bubblewrap")
async def test_without_the_programs_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async for bench in benches("process", tmp_path, None):  # type: ignore[arg-type]
        guard = Guard(bench, tmp_path / "egress")
        monkeypatch.setattr(proxy, "PATHS", "/nowhere")
        with pytest.raises(Refused) as caught:
            await guard.runner.start(guard.spec("", "api.example"))
        assert caught.value.code == "no_egress"
        assert "squid" in caught.value.message
        assert list(guard.root.iterdir()) == []


@pytest.mark.needs("bubblewrap")
@pytest.mark.needs("root")  # a world of one's own is a network namespace
def test_in_a_world_of_its_own_public_hosts_are_public_and_names_may_not_lie(tmp_path: Path) -> None:
    """A public address lives on the loopback of a fresh network namespace; names come from a hosts file there."""
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost\n203.0.113.5 good.example below.good.example other.example\n"
        "127.0.0.1 rebound.good.example\n169.254.169.254 meta.good.example\n10.0.0.7 inner.good.example\n"
    )
    script = Path(__file__).with_name("egress_world.py")
    setting = f"mount --bind {hosts} /etc/hosts && ip link set lo up && ip addr add 203.0.113.5/32 dev lo"
    command = f"{setting} && exec {sys.executable} {script} {tmp_path}"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", command], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    by_list = "good.example 200, below.good.example 200, other.example 403, rebound 403, meta 403, inner 403"
    by_all = "good.example 200, below.good.example 200, other.example 200, rebound 403, meta 403, inner 403"
    assert done.stdout.splitlines() == [by_list, by_all]


def test_a_port_is_ours_only_when_we_hold_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert proxy._listens(os.getpid(), port)
        assert not proxy._listens(os.getppid(), port)
    assert not proxy._listens(os.getpid(), port)


NAMES = st.from_regex(r"\A[a-zA-Z0-9.*:_-]{1,20}\Z")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(NAMES | st.sampled_from([".a.example", "a.example", "b.a.example", "*", "h:80"]), max_size=5))
def test_a_list_is_refused_or_understood(tmp_path_factory: pytest.TempPathFactory, hosts: list[str]) -> None:
    try:
        allowed = allow_list(hosts)
    except Refused:
        return
    at = tmp_path_factory.mktemp("squid")
    (at / "squid.conf").write_text(configuration(allowed, port=9))
    squid = proxy.programs().squid
    done = subprocess.run(
        [squid, "-k", "parse", "-f", str(at / "squid.conf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    assert "ERROR" not in done.stderr, done.stderr


def test_the_shipped_example_is_what_is_made() -> None:
    shipped = Path(__file__).parents[3] / "deploy" / "egress" / "squid.conf"
    allowed = allow_list(["api.example.org", ".packages.example.org", "models.internal:8443"])
    assert shipped.read_text() == configuration(allowed, port=40000, user="proxy")


NO_HOSTS = (
    *("", " ", "a b", "a\nhttp_access allow all", "http://a.example", "10.0.0.1", "[::1]", "a..b", "-", "a:0"),
    *("a:99999", ".:80", "ä.example", "a" * 300, "*.example"),
)


@pytest.mark.parametrize("entry", NO_HOSTS)
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(Refused) as caught:
        allow_list([entry])
    assert caught.value.code == "bad_egress"


async def test_the_lists_own_words() -> None:
    found = allow_list(["Example.org", ".example.org", "127.0.0.1:8080"])
    assert found.names == (".example.org",)
    assert [(door.host, door.port) for door in found.doors] == [("127.0.0.1", 8080)]
    assert allow_list(["*"]).is_everything
    await asyncio.sleep(0)
