"""What carries the bytes of a run's inlets: what it does to the command, under load, and when either side goes away."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adapters.runners.runs import Bench, alive_with

from windlass.adapters.runners.shim.inlets import MAX_PAIRS
from windlass.ports import Inlet

SANDBOXED = [pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap"))]
EACH = [*SANDBOXED, pytest.param("bare")]
CALL = """python3 - "$@" <<'END'
import socket
with socket.create_connection(("127.0.0.1", PORT), 20) as way:
    BODY
END
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path, for sockets."""
    made = Path(tempfile.mkdtemp(prefix="w-"))
    yield made
    shutil.rmtree(made)


@contextlib.contextmanager
def served(path: Path, answer: bytes = b"") -> Iterator[None]:
    """A server that hears everything until the caller stops writing, then says it (or `answer`) in capitals."""

    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            heard = self.rfile.read()
            with contextlib.suppress(OSError):
                self.wfile.write(answer or heard.upper())

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *about: object) -> None:
            """Quiet: callers that go away are part of the tests."""

    server = Server(str(path), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def deserted(path: Path) -> Path:
    """A socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def call(port: int, body: str) -> str:
    return CALL.replace("PORT", str(port)).replace("BODY", body.replace("\n", "\n    "))


ECHO = "way.sendall(b'hello')\nway.shutdown(socket.SHUT_WR)\nprint(b''.join(iter(lambda: way.recv(99), b'')).decode())"


@pytest.mark.parametrize("kind", EACH)
async def test_much_goes_through_many_connections_at_once(tmp_path: Path, place: Path, kind: str) -> None:
    bench, port = Bench.make(tmp_path, kind), free_port()
    many = f"""python3 - <<'END'
import concurrent.futures, hashlib, os, socket
def one(n):
    data = os.urandom(300_000).hex().encode()
    with socket.create_connection(("127.0.0.1", {port}), 30) as way:
        way.sendall(data)
        way.shutdown(socket.SHUT_WR)
        back = b"".join(iter(lambda: way.recv(1 << 16), b""))
    return back == data.upper()
with concurrent.futures.ThreadPoolExecutor(40) as pool:
    print(sum(pool.map(one, range(40))))
END
"""
    with served(place / "s"):
        result = await bench.run(many, inlets=(Inlet(port=port, socket=place / "s"),))
    assert result.output.read_text() == "40\n"


@pytest.mark.parametrize("kind", EACH)
async def test_the_command_keeps_its_input_signals_environment_and_exit_code(
    tmp_path: Path, place: Path, kind: str
) -> None:
    bench, port = Bench.make(tmp_path, kind), free_port()
    look = (
        "cat; grep -E '^Sig(Ign|Blk)' /proc/self/status; "
        "env | sort | grep -Ev '^(WINDLASS_RUN|HOME|TMPDIR)='; ls /proc/self/fd; exit 7"
    )
    told = {"stdin": b"the prompt\n", "env": {"LANG": "C", "GIVEN": "yes"}}
    plain = await bench.run(look, **told)
    joined = await bench.run(look, inlets=(Inlet(port=port, socket=deserted(place / "s")),), **told)
    assert joined.exit_code == plain.exit_code == 7
    assert joined.output.read_text() == plain.output.read_text()


@pytest.mark.parametrize("kind", SANDBOXED)
async def test_nothing_but_the_port_is_reached(tmp_path: Path, place: Path, kind: str) -> None:
    bench, port, elsewhere = Bench.make(tmp_path, kind), free_port(), free_port()
    probe = f"""python3 - <<'END'
import socket
for address in [("127.0.0.1", {elsewhere}), ("169.254.169.254", 80), ("198.51.100.7", 443), ("::1", {elsewhere})]:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as one:
        one.settimeout(3)
        print(one.connect_ex(address) != 0)
try:
    print(socket.getaddrinfo("example.org", 80))
except OSError:
    print("no names")
END
tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '
find / -xdev -type s 2>/dev/null; ls {place} 2>/dev/null; true
"""
    with socket.create_server(("127.0.0.1", elsewhere)), served(place / "s"):
        result = await bench.run(probe, inlets=(Inlet(port=port, socket=place / "s"),))
    assert result.output.read_text().split("\n") == [*["True"] * 4, "no names", "lo", ""]


@pytest.mark.parametrize("kind", EACH)
async def test_a_socket_that_comes_late_is_waited_for_and_may_be_made_anew(
    tmp_path: Path, place: Path, kind: str
) -> None:
    bench, port = Bench.make(tmp_path, kind), free_port()
    await_next = "while [ ! -e next ]; do sleep 0.02; done"
    spec = bench.spec(
        f"touch begun; {call(port, ECHO)} touch first; {await_next}; {call(port, ECHO)}",
        inlets=(Inlet(port=port, socket=deserted(place / "s")),),
    )
    await bench.runner.start(spec)
    await bench.until((bench.workdir / "begun").exists)
    (place / "s").unlink()
    with served(place / "s", b"one"):
        await bench.until((bench.workdir / "first").exists)
    (place / "s").unlink()
    with served(place / "s", b"two"):
        (bench.workdir / "next").touch()
        result = await bench.runner.wait(spec.id)
    assert result.output.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("kind", SANDBOXED)
async def test_nobody_outside_means_a_closed_connection_not_a_hang(tmp_path: Path, place: Path, kind: str) -> None:
    bench, port = Bench.make(tmp_path, kind), free_port()
    result = await bench.run(call(port, "print(way.recv(9))"), inlets=(Inlet(port=port, socket=deserted(place / "s")),))
    assert result.output.read_text() == "b''\n"


@pytest.mark.parametrize("kind", EACH)
async def test_a_socket_deep_in_the_file_system(tmp_path: Path, kind: str) -> None:
    bench, port, deep = Bench.make(tmp_path, kind), free_port(), tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    here = Path.cwd()
    os.chdir(deep)
    try:
        with served(Path("s")):
            result = await bench.run(call(port, ECHO), inlets=(Inlet(port=port, socket=deep / "s"),))
    finally:
        os.chdir(here)
    assert result.output.read_text() == "HELLO\n"


@pytest.mark.parametrize("kind", EACH)
async def test_more_connections_than_are_carried_wait_their_turn(tmp_path: Path, place: Path, kind: str) -> None:
    bench, port = Bench.make(tmp_path, kind), free_port()
    flood = f"""python3 - <<'END'
import socket
held = []
for _ in range({MAX_PAIRS + 60}):
    held.append(socket.create_connection(("127.0.0.1", {port}), 20))
for one in held[:{MAX_PAIRS}]:
    one.close()
last = held[-1]
last.sendall(b"still here")
last.shutdown(socket.SHUT_WR)
print(last.recv(99).decode())
END
"""
    with served(place / "s"):
        result = await bench.run(flood, inlets=(Inlet(port=port, socket=place / "s"),))
    assert result.output.read_text() == "STILL HERE\n"


@pytest.mark.parametrize(("kind", "port"), [pytest.param("bubblewrap", 80, marks=pytest.mark.needs("bubblewrap"))])
async def test_a_port_that_cannot_be_opened_is_said(tmp_path: Path, place: Path, kind: str, port: int) -> None:
    bench = Bench.make(tmp_path, kind)
    result = await bench.run("echo started", inlets=(Inlet(port=port, socket=deserted(place / "s")),))
    assert result.exit_code == 127
    assert result.output.read_text().startswith(f"windlass: cannot open port {port} for sh: ")


async def test_a_port_that_is_taken_is_said_without_a_sandbox(tmp_path: Path, place: Path) -> None:
    bench = Bench.make(tmp_path, "bare")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = await bench.run("echo started", inlets=(Inlet(port=port, socket=deserted(place / "s")),))
    assert result.exit_code == 127
    assert result.output.read_text().startswith("windlass: cannot open a port on loopback: ")


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("way", ["end", "stop", "shim killed"])
async def test_what_carries_the_bytes_ends_with_the_run(tmp_path: Path, place: Path, kind: str, way: str) -> None:
    bench, port = Bench.make(tmp_path, kind), free_port()
    spec = bench.spec("touch up; [ ! -e wait ] || sleep 60", inlets=(Inlet(port=port, socket=deserted(place / "s")),))
    if way != "end":
        (bench.workdir / "wait").touch()
    await bench.runner.start(spec)
    await bench.until((bench.workdir / "up").exists)
    match way:
        case "stop":
            await bench.runner.stop(spec.id)
        case "shim killed":
            for pid in alive_with(str(bench.root / spec.id)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
                break
    await bench.runner.wait(spec.id)
    await bench.until(lambda: not alive_with(str(bench.root / spec.id)))
