"""The provider's side: one pool of connections, addresses that a run cannot choose, headers that tell nothing of it.

No cookies are kept and no redirect is followed; the provider's certificate is always verified. A proxy and an authority
of the operator's own come from the settings, never from the environment.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

import httpx

from windlass.core.errors import Refused

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# Never passed on in either direction: RFC 9110 section 7.6.1, and what the other side's framing needs anew.
HOP_BY_HOP = frozenset({
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "content-length", "expect"),
})  # fmt: skip
# What would show the run's own key, choose who pays, or tell of this machine.
NOT_SENT = HOP_BY_HOP | {
    *("host", "authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "accept-encoding"),
    *("content-encoding", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
    *("openai-organization", "openai-project", "x-goog-user-project"),
}  # fmt: skip
NOT_RETURNED = HOP_BY_HOP | {"set-cookie", "location", "alt-svc", "server", "date", "strict-transport-security"}
NOT_SENT_QUERY = frozenset({"key", "access_token"})
# The request never reached the provider: nothing can have been billed.
UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
)
CONNECT_S = 20.0
WRITE_S = 120.0


class Upstream:
    """Sends calls on. `idle_s`: how long the provider may be silent."""

    def __init__(self, *, idle_s: float, proxy_url: str = "", ca_file: str = "") -> None:
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()
        self._transport = httpx.AsyncHTTPTransport(
            verify=verify,
            proxy=_proxy(proxy_url, verify) if proxy_url else None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=15.0),
        )
        self._timeout = {"connect": CONNECT_S, "read": idle_s, "write": WRITE_S, "pool": CONNECT_S}

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        """The provider's answer, not yet read. Raises httpx.TransportError, httpx.InvalidURL."""
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        request = httpx.Request(method, url, headers=raw, content=body, extensions={"timeout": self._timeout})
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Let go of every connection."""
        await self._transport.aclose()


def _proxy(url: str, verify: ssl.SSLContext) -> httpx.Proxy:
    return httpx.Proxy(url, ssl_context=verify if url.startswith("https") else None)


def checked(address: str, *, allows_http: bool) -> str:
    """An upstream's address as given, when it may be used. Raises Refused (gateway_unusable)."""
    parts = _split(address)
    if parts is None or parts.scheme not in {"http", "https"} or parts.username or parts.fragment:
        hint = "give https://host and the path, as the agent itself would be given it"
        raise Refused(f"not an address for a model: {address[:100]!r}", code="gateway_unusable", hint=hint)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allows_http:
        hint = "use https, or set gateway.allows_http for a server in your own network"
        raise Refused(f"{address[:100]} would show the key on the network", code="gateway_unusable", hint=hint)
    return address


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if has_host else None


def address_of(upstream: str, path: str, query: str) -> str:
    """Where a call goes. The upstream's own path and query stay in front."""
    parts = urlsplit(upstream)
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0].lower() not in NOT_SENT_QUERY]
    joined = "&".join([parts.query] * bool(parts.query) + kept)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}" + (f"?{joined}" if joined else "")


def sent_headers(given: Sequence[tuple[str, str]], key: Mapping[str, str]) -> dict[str, str]:
    """A run's headers as the provider gets them. What `Connection` names goes no further either."""
    named = {name.strip().lower() for header, value in given if header == "connection" for name in value.split(",")}
    kept = {name: value for name, value in given if name not in NOT_SENT and name not in named}
    return {**kept, "accept-encoding": "identity", **key}


def returned_headers(answer: httpx.Response, secret: str) -> list[tuple[bytes, bytes]]:
    """The provider's headers as the run gets them."""
    named = {name.strip().lower() for name in answer.headers.get("connection", "").split(",")}
    dropped = NOT_RETURNED | named | ({"content-encoding"} if is_decoded(answer) else set())
    hidden = secret.encode()
    return [
        (name.lower(), value.replace(hidden, b"[redacted]"))
        for name, value in answer.headers.raw
        if name.decode("latin-1").lower() not in dropped
    ]


def is_decoded(answer: httpx.Response) -> bool:
    """Whether reading the answer undoes a compression that nobody asked for."""
    return answer.headers.get("content-encoding", "identity").lower() in {"gzip", "deflate"}
