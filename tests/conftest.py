"""What every test shares: the parts of the machine that a test may need, and where a fresh one of each comes from."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support import parts

pytest_plugins = ["tests.support.postgres", "tests.support.databases", "tests.support.stores", "tests.support.engines"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which tests, by the parts of the machine that they need: engines take their time and have their own target."""
    help_text = "%s tests that need one of these parts (comma-separated)"
    parser.addoption("--only", default="", help=help_text % "only")
    parser.addoption("--without", default="", help=help_text % "leave out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for."""
    only, without = ({*filter(None, config.getoption(name).split(","))} for name in ("only", "without"))
    kept, left_out = [], []
    for item in items:
        needed = {part for mark in item.iter_markers("needs") for part in mark.args}
        is_wanted = not needed & without and (not only or needed & only)
        (kept if is_wanted else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


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
