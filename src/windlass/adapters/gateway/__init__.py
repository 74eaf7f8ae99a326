"""The model gateway: holds the real keys, gives each run one of its own, counts, refuses when the money is spent."""

from windlass.adapters.gateway.local import LocalGateway
from windlass.adapters.gateway.options import UPSTREAMS, GatewayOptions, OwnPrice

__all__ = ["UPSTREAMS", "GatewayOptions", "LocalGateway", "OwnPrice"]
