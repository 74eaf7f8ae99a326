"""The container engine as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.podman import IMAGE, Podman, make_podman


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """The engine of this test process with its smallest image; ask for more with `need`."""
    made = make_podman()
    made.need(IMAGE)
    yield made
    made.remove()
