"""The runners' contract once more, with Docker as the engine, and what an engine of its own might do otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.adapters.runners.test_container import (  # noqa: F401
    test_a_program_that_the_image_has_not_is_exit_127,
    test_a_start_that_hangs_is_tried_again,
    test_a_writable_place_that_leads_out_is_refused,
    test_an_engine_s_proxy_settings_stay_outside,
    test_it_can_write_its_directory_and_memory_and_nothing_else,
    test_it_has_no_rights_and_no_way_to_get_any,
    test_it_sees_nothing_of_the_machine,
    test_links_in_the_work_directory_are_never_followed,
    test_the_root_of_an_image_is_writable_only_where_it_is_asked_for,
)
from tests.adapters.runners.test_container_adoption import (  # noqa: F401
    test_a_container_outlives_kill_9_and_its_output_goes_on,
    test_what_ended_while_nobody_looked_gives_its_real_end,
)
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
