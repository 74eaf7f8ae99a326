"""The runners' contract once more, with Docker as the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.adapters.runners.test_container_adoption import test_a_container_outlives_kill_9_and_its_output_goes_on  # noqa: F401
from tests.contracts.runners import Bench, benches
from tests.contracts.test_runner import *  # noqa: F403 - every one of them
from tests.support.docker import make_docker
from tests.support.podman import IMAGE, Podman

pytestmark = [pytest.mark.needs("docker"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """The engine under the name that the shared tests ask for."""
    made = make_docker()
    made.need(IMAGE)
    yield made
    made.remove()


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches("container", tmp_path, request):
        yield made
