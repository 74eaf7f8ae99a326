"""Finds a container engine: a Unix socket that answers the Docker API, and what is behind it.

Only Unix sockets: an engine on another machine does not see our files, and one behind an open TCP port hands root to
everybody who reaches it. Asked synchronously, once, with a short timeout, before anything runs.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEME = "unix://"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """An engine that answered. `makes_groups`: it makes control groups of the name that it is told (cgroupfs)."""

    address: str
    name: str
    version: str
    is_rootless: bool
    makes_groups: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}{' rootless' if self.is_rootless else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEngine:
    """Why there is none, in one line."""

    reason: str


def detect(addresses: Sequence[str]) -> EngineFacts | NoEngine:
    """The first of these addresses that answers."""
    reasons = []
    for address in addresses:
        try:
            return _ask(address)
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as error:
            reasons.append(f"{address}: {error}")
    return NoEngine(reason="; ".join(reasons)[:300] or "no address to ask")


def _ask(address: str) -> EngineFacts:
    if not address.startswith(SCHEME):
        raise ValueError("only Unix sockets (unix:///…) can be used")
    version, info = _get(address, "/version"), _get(address, "/info")
    parts = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    return EngineFacts(
        address=address,
        name="podman" if any("podman" in part.lower() for part in parts) else "docker",
        version=str(version["Version"]),
        is_rootless=any("rootless" in str(option) for option in info.get("SecurityOptions") or ()),
        makes_groups=info.get("CgroupDriver") == "cgroupfs",
    )


def _get(address: str, path: str) -> dict[str, Any]:
    connection = _Connection(address.removeprefix(SCHEME))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ValueError(f"{path} is answered with {answer.status}")
        found = json.loads(answer.read(1 << 20))
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise TypeError(f"{path} is not answered as by an engine")
    return found


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)
