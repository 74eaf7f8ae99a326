"""A private PostgreSQL server for the tests of this process, and a fresh database on it for each test.

`WINDLASS_TEST_POSTGRES` (a URL of a login that may create databases) is used instead where it is set. Else Debian's
server, as user postgres when we are root; else the `pgserver` wheel. Nothing here is durable (fsync off).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from tests.support import parts

_SPEED = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a server's own database; each xdist worker has its own server."""
    given = os.environ.get("WINDLASS_TEST_POSTGRES")
    found = parts.postgres_bin()
    server = contextlib.nullcontext(given) if given else _debian(found) if found else _wheel()
    with server as url:
        assert url is not None
        yield url


@pytest.fixture
def make_postgres_database(postgres_url: str) -> Iterator[Callable[..., str]]:
    """Makes fresh databases (`template` names one to copy); dropped after the test."""
    made: list[str] = []

    def make(template: str = "template1") -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        return create_database(postgres_url, made[-1], template)

    yield make
    for name in made:
        drop_database(postgres_url, name)


def create_database(server: str, name: str, template: str = "template1") -> str:
    """A new database; its URL."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _administer(server, statement)
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def drop_database(server: str, name: str) -> None:
    """Drop a database, whoever is still connected to it."""
    _administer(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _administer(server: str, statement: sql.Composed) -> None:
    url = sa.make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@contextlib.contextmanager
def _debian(binaries: Path) -> Iterator[str]:
    """The server refuses to run as root, so its directory belongs to user postgres then."""
    home = Path(tempfile.mkdtemp(prefix="wlpg", dir="/tmp"))
    prefix: list[str] = []
    if os.getuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(home, account.pw_uid, account.pw_gid)
        prefix = ["runuser", "-u", "postgres", "--"]
    control = [*prefix, str(binaries / "pg_ctl"), "-D", str(home / "data"), "-w", "-s", "-l", str(home / "log")]
    options = " ".join(f"-c {option}" for option in (*_SPEED, "listen_addresses=", f"unix_socket_directories={home}"))
    cluster = ["-D", str(home / "data"), "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    try:
        _run([*prefix, str(binaries / "initdb"), *cluster], home)
        _run([*control, "-o", options, "start"], home)
        try:
            yield f"postgresql://test@/postgres?host={home}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd=home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(argv: list[str], home: Path) -> None:
    """The server must not inherit our pipes, or reading them would never end."""
    with (home / "output").open("ab") as output:
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=home)
    assert done.returncode == 0, (home / "output").read_text()


@contextlib.contextmanager
def _wheel() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime directory that a container does not have
        import pgserver

    home = Path(tempfile.mkdtemp(prefix="wlpg", dir="/tmp"))
    server = pgserver.get_server(home / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)
