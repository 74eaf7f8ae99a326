"""A small chaos run in every test run: each script once, a few kills, the same audit as the large one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign, Result, Wish
from tests.chaos.postgres import Server
from tests.support.podman import AIRLOCK_IMAGE, Podman

pytestmark = pytest.mark.timeout(240)


def wish(database: str) -> Wish:
    return Wish(database=database, kills=6, jobs=6, seed=7, limit_s=120, pace=0.3)


def insist(result: Result) -> None:
    assert result.is_good, "\n".join([result.line(), *result.found.lines()])
    assert result.jobs >= 6
    assert result.faults["api_5xx"] > 0


async def test_every_job_ends_where_it_should_on_sqlite(tmp_path: Path) -> None:
    insist(await Campaign(wish=wish("sqlite"), root=tmp_path).run())


@pytest.mark.needs("postgres")
async def test_every_job_ends_where_it_should_on_postgres(
    tmp_path: Path, make_postgres_database: Callable[..., str]
) -> None:
    server = Server(url=make_postgres_database())
    insist(await Campaign(wish=wish("postgres"), root=tmp_path, server=server).run())


@pytest.mark.needs("podman")
async def test_every_job_ends_where_it_should_in_containers(tmp_path: Path, podman: Podman) -> None:
    podman.need(AIRLOCK_IMAGE)
    insist(await Campaign(wish=replace(wish("sqlite"), engine=podman), root=tmp_path).run())
    assert podman.names() == []
