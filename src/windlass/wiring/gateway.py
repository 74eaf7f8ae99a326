"""From settings to the model gateway, and what it is for each agent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from windlass.adapters.gateway import GatewayOptions, LocalGateway, OwnPrice
from windlass.config import GatewaySettings
from windlass.core.errors import Refused
from windlass.ports import Runner


def gateway_of(given: GatewaySettings, root: Path, keys: Mapping[str, str]) -> LocalGateway | None:
    """The gateway that keeps its files in `root`; None when it is switched off. Raises Refused (bad_config)."""
    if not given.is_enabled:
        return None
    ca_file = given.ca_file.expanduser().absolute() if given.ca_file else None
    if ca_file is not None and not ca_file.is_file():
        raise Refused(f"gateway.ca_file: there is no {ca_file}", code="bad_config", hint="give a file of certificates")
    options = GatewayOptions(
        prices=[
            OwnPrice(pattern=name, input_usd=price.input, output_usd=price.output, cached_usd=price.cached)
            for name, price in given.prices.items()
        ],
        run_limit_usd=given.run_limit_usd,
        allows_http=given.allows_http,
        proxy_url=given.proxy_url,
        ca_file=str(ca_file or ""),
        idle_s=given.idle_s,
        largest_body_bytes=given.largest_body_bytes,
        output_tokens=given.output_tokens,
    )
    return LocalGateway(root, options, keys)


async def tended(gateway: LocalGateway | None, runner: Runner) -> None:
    """Have it live while a run needs it, and forget runs that the runner does not know. Raises Unavailable."""
    if gateway is not None:
        await asyncio.to_thread(gateway.tend, runner.is_known)


async def left(gateway: LocalGateway | None) -> None:
    """Leave it; it ends when no run needs it."""
    if gateway is not None:
        await asyncio.to_thread(gateway.stop)
