"""What every test shares: the parts of the machine that a test may need, and where a fresh one of each comes from."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support import parts

pytest_plugins = ["tests.support.postgres", "tests.support.databases", "tests.support.stores", "tests.support.engines"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, saying why; in CI (`CI` set) the absence is a failure."""
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            why = parts.missing(part)
            if why and os.environ.get("CI"):
                pytest.fail(f"{part} is needed in CI: {why}", pytrace=False)
            elif why:
                pytest.skip(f"{part}: {why}")


@pytest.fixture(scope="session")
def git_binary() -> str:
    """Where git is; every story needs it."""
    found = shutil.which("git")
    assert found, "git is needed"
    return found
