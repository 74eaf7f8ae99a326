"""Finds a container engine: a Unix socket that answers the Docker API, and what is behind it.

Only Unix sockets: an engine on another machine does not see our files, and one behind an open TCP port hands root to
everybody who reaches it. What is asked needs nothing of the engine's containers, so that a busy engine still answers.
Whether it is root's is read from the kernel, not from its words.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

SCHEME = "unix://"
TIMEOUT_S = 5.0
PEER = struct.Struct("3i")  # process, user, group: ucred of unix(7)
VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """An engine that answered. `api`: the version of the interface that it speaks."""

    address: str
    name: str
    version: str
    api: str
    is_rootless: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}{' rootless' if self.is_rootless else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEngine:
    """Why there is none, in one line. `is_silent`: there is a socket, but nobody answers as an engine does."""

    reason: str
    is_silent: bool = False


def detect(addresses: Sequence[str]) -> EngineFacts | NoEngine:
    """The first of these addresses that answers."""
    reasons, is_silent = [], False
    for address in addresses:
        try:
            return _ask(address)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reasons.append(f"{address}: {error}")
            is_silent = is_silent or not isinstance(error, ValueError | FileNotFoundError | PermissionError)
    return NoEngine(reason="; ".join(reasons)[:300] or "no address to ask", is_silent=is_silent)


def _ask(address: str) -> EngineFacts:
    if not address.startswith(SCHEME):
        raise ValueError("only Unix sockets (unix:///…) can be used")
    connection = _Connection(address.removeprefix(SCHEME))
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        answer.read(1 << 10)
        if answer.status != http.client.OK or not answer.getheader("Api-Version"):
            raise ConnectionError(f"not answered as by an engine ({answer.status})")
        user = PEER.unpack(connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))[1]
    finally:
        connection.close()
    told = answer.getheader("Libpod-Api-Version")
    found = VERSION.search(told or answer.getheader("Server") or "")
    return EngineFacts(
        address=address,
        name="podman" if told else "docker",
        version=found.group(0) if found else "?",
        api=f"v{answer.getheader('Api-Version')}",
        is_rootless=user != 0,
    )


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)
