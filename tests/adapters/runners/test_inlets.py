"""The way out of a sandbox without a network: loopback ports that lead to sockets outside."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from windlass.adapters.runners.bubblewrap import NoSandbox, detect
from windlass.adapters.runners.process import ProcessRunner
from windlass.core.errors import Refused
from windlass.ports import Inlet, RunSpec

from .runs import PATIENT

KINDS = [pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")), "bare"]
PORT = random.randrange(21_000, 29_000)  # without a sandbox it is the machine's own
ASK = """\
import socket, sys
for text in sys.argv[2:]:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line:
        line.sendall(text.encode()); line.shutdown(socket.SHUT_WR)
        print(b"".join(iter(lambda: line.recv(4096), b"")).decode())
"""


@contextlib.asynccontextmanager
async def shouting(path: Path) -> AsyncIterator[None]:
    """A server that says everything back in capitals, when it has all of it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(-1)).upper())
        writer.write_eof()
        await writer.drain()
        writer.close()

    path.parent.mkdir(exist_ok=True)
    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o666)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


@pytest.fixture(params=KINDS)
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> ProcessRunner:
    sandbox = detect() if request.param == "bubblewrap" else NoSandbox(reason="asked for")
    return ProcessRunner(tmp_path / "runs", instance="mine", sandbox=sandbox)


def spec(tmp_path: Path, *argv: str, ports: tuple[int, ...] = (PORT,)) -> RunSpec:
    (tmp_path / "work").mkdir(exist_ok=True)
    (tmp_path / "work" / "ask.py").write_text(ASK)
    inlets = tuple(Inlet(port=port, socket=tmp_path / f"s{n}" / "model") for n, port in enumerate(ports))
    return RunSpec(id="r1", argv=argv, workdir=tmp_path / "work", deadlines=PATIENT, inlets=inlets)


async def said(runner: ProcessRunner, asked: RunSpec) -> tuple[int | None, str]:
    await runner.start(asked)
    result = await runner.wait(asked.id)
    text = result.output.read_text()
    await runner.discard(asked.id)
    return result.exit_code, text


async def test_a_port_leads_to_its_socket(runner: ProcessRunner, tmp_path: Path) -> None:
    async with shouting(tmp_path / "s0" / "model"):
        found = await said(runner, spec(tmp_path, "python3", "ask.py", str(PORT), "hello", "x" * 100_000, "end"))
    assert found == (0, "HELLO\n" + "X" * 100_000 + "\nEND\n")


async def test_each_port_leads_to_its_own(runner: ProcessRunner, tmp_path: Path) -> None:
    async with shouting(tmp_path / "s0" / "model"):
        command = f"python3 ask.py {PORT} a; python3 ask.py {PORT + 1} b; exit 7"
        code, text = await said(runner, spec(tmp_path, "sh", "-c", command, ports=(PORT,)))
        assert (code, text.splitlines()[0]) == (7, "A")
        assert "ConnectionRefusedError" in text, "there is no other port"
        async with shouting(tmp_path / "s1" / "model"):
            asked = spec(tmp_path, "sh", "-c", command, ports=(PORT, PORT + 1))
            assert await said(runner, asked) == (7, "A\nB\n")


async def test_a_socket_that_is_made_anew_is_found_again(runner: ProcessRunner, tmp_path: Path) -> None:
    command = f"python3 ask.py {PORT} a; touch first; until [ -e go ]; do sleep 0.02; done; python3 ask.py {PORT} b"
    asked = spec(tmp_path, "sh", "-c", command)
    async with shouting(tmp_path / "s0" / "model"):
        await runner.start(asked)
        while not (tmp_path / "work" / "first").exists():
            await asyncio.sleep(0.02)
    async with shouting(tmp_path / "s0" / "model"):
        (tmp_path / "work" / "go").touch()
        result = await runner.wait(asked.id)
    assert result.output.read_text() == "A\nB\n"
    await runner.discard(asked.id)


async def test_nothing_stays_when_the_command_has_ended(runner: ProcessRunner, tmp_path: Path) -> None:
    async with shouting(tmp_path / "s0" / "model"):
        assert await said(runner, spec(tmp_path, "true")) == (0, "")
        assert await said(runner, spec(tmp_path, "sh", "-c", "kill -9 $$")) in [(137, ""), (137, "Killed\n")]
    carriers = [e for e in Path("/proc").glob("[0-9]*/cmdline") if str(PORT).encode() in _read(e)]
    assert carriers == []


async def test_a_command_that_is_not_there_is_told(runner: ProcessRunner, tmp_path: Path) -> None:
    async with shouting(tmp_path / "s0" / "model"):
        code, text = await said(runner, spec(tmp_path, "no-such-agent"))
    assert code == 127
    assert "cannot start no-such-agent" in text


@pytest.mark.needs("bubblewrap")
async def test_inlets_are_the_only_way_out(tmp_path: Path) -> None:
    runner = ProcessRunner(tmp_path / "runs", instance="mine")
    listener = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with shouting(tmp_path / "s0" / "model"):
        command = f"find / -xdev -type s 2>/dev/null; python3 ask.py {PORT} a; python3 ask.py {port} b"
        _, text = await said(runner, spec(tmp_path, "sh", "-c", command))
    listener.close()
    lines = text.splitlines()
    assert lines[0] == "A", "no socket outside is to be seen"
    assert "ConnectionRefusedError" in lines[-1]


async def test_an_inlet_without_a_socket_is_refused(runner: ProcessRunner, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no usable socket") as error:
        await runner.start(spec(tmp_path, "true"))
    assert error.value.code == "inlet_unusable"
    async with shouting(tmp_path / "s0" / "model"):
        asked = spec(tmp_path, "true")
        with pytest.raises(Refused):
            await runner.start(replace(asked, inlets=(replace(asked.inlets[0], port=0),)))


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
