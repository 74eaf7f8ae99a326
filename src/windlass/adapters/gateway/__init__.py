"""The model gateway: holds the real keys, gives each run one of its own, counts, refuses when the money is spent."""

from windlass.adapters.gateway.dialects import DIALECTS
from windlass.adapters.gateway.local import GatewayOptions, LocalGateway
from windlass.adapters.gateway.prices import OwnPrice

UPSTREAMS = {name: dialect.upstream for name, dialect in DIALECTS.items()}

__all__ = ["UPSTREAMS", "GatewayOptions", "LocalGateway", "OwnPrice"]
