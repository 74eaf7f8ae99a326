"""localforge: an embedded GitHub-compatible server for demonstrations, `windlass run` and tests.

A REST subset with GitHub's shapes, git over smart HTTP, signed webhooks, a CI that really runs the repository's checks,
pages for people, and switches that make it fail. It refuses to be more: no forks, no organizations' teams, no search.
"""

from windlass.localforge.api.door import Exchange
from windlass.localforge.ci import CiResult, CiRunner, SubprocessCi
from windlass.localforge.errors import Denied
from windlass.localforge.faults import Faults
from windlass.localforge.forge import LocalForge
from windlass.localforge.model import CheckMode, Delivery, Protection
from windlass.localforge.setup import DEFAULT_PERMISSIONS, EVENTS, NewApp

__all__ = [
    "DEFAULT_PERMISSIONS",
    "EVENTS",
    "CheckMode",
    "CiResult",
    "CiRunner",
    "Delivery",
    "Denied",
    "Exchange",
    "Faults",
    "LocalForge",
    "NewApp",
    "Protection",
    "SubprocessCi",
]
