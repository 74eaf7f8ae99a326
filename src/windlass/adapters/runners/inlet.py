"""The program inside a sandbox that listens on its loopback and hands each connection to a socket shown into it.

Run by path with the standard library alone: `inlet.py PORT SOCKET [PORT SOCKET …] -- COMMAND…`. It listens, leaves a
child of its own to carry the bytes, and becomes the command, so that the command's end is the sandbox's end and takes
the child along. It belongs to the sandbox: an agent that ends it has closed its own way out, nothing else. What stands
behind a socket decides what gets further. A port that is taken is told, and the command is not started.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import sys

READ_BYTES = 1 << 16
BACKLOG = 256
EXIT_NOT_STARTED = 127


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end; the end is passed on."""
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return
    writer.transport.abort()


async def join(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, both ways."""
    try:
        far_reader, far_writer = await asyncio.open_unix_connection(path)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
    for side in (writer, far_writer):
        side.close()


async def serve(doors: list[tuple[socket.socket, str]]) -> None:
    """All ports, for good."""
    servers = [await asyncio.start_server(functools.partial(join, path), sock=door) for door, path in doors]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def listening(port: int) -> socket.socket:
    """A listening socket on loopback."""
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", port))
    door.listen(BACKLOG)
    return door


def leave(doors: list[tuple[socket.socket, str]]) -> None:
    """Carry bytes in a process that is not the command's child, and that nobody waits for at its end."""
    if os.fork():
        os.wait()
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    void = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(void, fd)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        asyncio.run(serve(doors))
    finally:
        os._exit(1)


def main(argv: list[str]) -> int:
    """Becomes the command; returns only when it cannot."""
    end = argv.index("--")
    told, command = argv[:end], argv[end + 1 :]
    try:
        doors = [(listening(int(told[n])), told[n + 1]) for n in range(0, end, 2)]
        leave(doors)
        for door, _ in doors:
            door.close()
        os.execvp(command[0], command)  # noqa: S606 - argv is data, no shell is wanted
    except OSError as error:
        print(f"windlass: cannot start {command[0]}: {error}", file=sys.stderr)  # noqa: T201 - the run's own output
    return EXIT_NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
