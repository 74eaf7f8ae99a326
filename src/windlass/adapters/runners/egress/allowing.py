"""Which hosts a run may reach, as the proxy's own configuration. Pure text; every name is checked before it is in it.

A name means that host, `.example.org` it and everything below, `*` everything that is public; ports are 443 for tunnels
and 80 for plain requests. `host:port` is the operator's own word for one door, also on a private network. Refused
whatever the list says: addresses in place of names, and names that lead to private, loopback, link-local or metadata
addresses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from windlass.core.errors import Refused

EVERYTHING = "*"
MOST_HOSTS = 500
LOG_FORMAT = "%ts%03tu %Ss %#rm %#>rd %>rP %>st %<st"
_NAME = re.compile(r"\.?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# Nobody's public address: RFC 6890's table, what translates to IPv4, and multicast. An IPv4 address written as an IPv6
# one is an IPv4 address to squid.
PRIVATE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fc00::/7", "fe80::/10"),
    "ff00::/8",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One host and port that the operator named himself."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """What a run may reach."""

    names: tuple[str, ...] = ()
    doors: tuple[Door, ...] = ()
    is_everything: bool = False


def allow_list(hosts: Sequence[str]) -> AllowList:
    """The hosts of a `RunSpec`, checked. Raises Refused (bad_egress).

    >>> allow_list(["API.example.org", "localhost:8080"])
    AllowList(names=('api.example.org',), doors=(Door(host='localhost', port=8080),), is_everything=False)
    """
    if len(hosts) > MOST_HOSTS:
        raise _bad(f"{len(hosts)} hosts", f"at most {MOST_HOSTS}")
    names: dict[str, None] = {}
    doors: dict[Door, None] = {}
    for entry in hosts:
        host, colon, port = entry.strip().lower().rpartition(":")
        if colon and port.isascii() and port.isdecimal():
            doors[_door(entry, host, int(port))] = None
        elif entry != EVERYTHING:
            names[_name(entry)] = None
    plain = tuple(name for name in names if not any(name != wide and _covers(wide, name) for wide in names))
    return AllowList(names=plain, doors=tuple(doors), is_everything=EVERYTHING in hosts)


def configuration(allowed: AllowList, *, port: int, user: str = "") -> str:
    """What squid is told. Its decisions go to standard output; `user`: who it becomes when it is started as root."""
    lines = [
        "# One run's way out. Made by Windlass; a change here lasts until the run is over.",
        f"http_port 127.0.0.1:{port}",
        "visible_hostname windlass-egress",
        "pid_filename none",
        *([f"cache_effective_user {user}"] if user else []),
        "cache deny all",
        "cache_mem 1 MB",
        "memory_pools off",
        "max_filedescriptors 4096",
        "shutdown_lifetime 0 seconds",
        "client_persistent_connections on",
        "forwarded_for delete",
        "icp_port 0",
        "htcp_port 0",
        "pinger_enable off",
        "negative_dns_ttl 60 seconds",
        f"logformat windlass {LOG_FORMAT}",
        "access_log stdio:/dev/stdout windlass",
        "cache_log /dev/stderr",
        "acl tunnel method CONNECT",
        "acl tunnel_port port 443",
        "acl plain_port port 80",
        r"acl literal dstdom_regex -n ^[0-9.]+$ ^\[ : ^0x",
        f"acl private dst {' '.join(PRIVATE)}",
        *_doors(allowed.doors),
        "http_access deny literal",
        "http_access deny tunnel !tunnel_port",
        "http_access deny !tunnel !plain_port",
        *_names(allowed),
        "http_access deny all",
    ]
    return "\n".join(lines) + "\n"


def _doors(doors: Sequence[Door]) -> list[str]:
    lines = []
    for number, door in enumerate(doors):
        lines += [
            f"acl door{number} dstdomain -n {door.host}",
            f"acl door{number}_port port {door.port}",
            f"http_access allow door{number} door{number}_port",
        ]
    return lines


def _names(allowed: AllowList) -> list[str]:
    """Who is not on the list is refused before a name is looked up: a question to a name server is a way out too."""
    if allowed.is_everything:
        return ["http_access deny private", "http_access allow all"]
    if not allowed.names:
        return []
    return [
        f"acl allowed dstdomain -n {' '.join(allowed.names)}",
        "http_access deny !allowed",
        "http_access deny private",
        "http_access allow allowed",
    ]


def _door(entry: str, host: str, port: int) -> Door:
    try:
        literal = str(ipaddress.IPv4Address(host))
    except ValueError:
        literal = _name(host)
    if literal.startswith(".") or not 0 < port < 65536:
        raise _bad(repr(entry[:80]), "a host and a port")
    return Door(host=literal, port=port)


def _name(entry: str) -> str:
    name = entry.strip().lower().rstrip(".")
    if len(name) > 253 or not _NAME.fullmatch(name) or re.fullmatch(r"[0-9.]+", name):
        raise _bad(repr(entry[:80]), "a host's name, `.name` for it and all below, `name:port`, or `*`")
    return name


def _covers(wide: str, name: str) -> bool:
    """Squid refuses a list in which one entry holds another."""
    return wide.startswith(".") and (name.removeprefix(".") == wide[1:] or name.endswith(wide))


def _bad(found: str, wanted: str) -> Refused:
    return Refused(f"{found} cannot be in an egress list", code="bad_egress", hint=f"give {wanted}")
