"""A PostgreSQL server for a chaos run that survives its own crash: nothing committed may get lost with it.

Debian's server, as user postgres when we are root; a given server (`WINDLASS_TEST_POSTGRES`) is used but not crashed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import parts
from tests.support.postgres import create_database, drop_database


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `control` is the pg_ctl command line, () when the server is not ours."""

    url: str
    control: tuple[str, ...] = ()

    def crash(self) -> bool:
        """Stop it at once, as if it was killed, and start it again; False when it is not ours."""
        if not self.control:
            return False
        _quietly([*self.control, "-m", "immediate", "restart"])
        return True


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server with an empty database while the block runs. Raises AssertionError when there is none to start."""
    given = os.environ.get("WINDLASS_TEST_POSTGRES")
    if given:
        name = f"chaos_{uuid.uuid4().hex}"
        yield Server(url=create_database(given, name))
        drop_database(given, name)
        return
    binaries = parts.postgres_bin()
    assert binaries is not None, "a PostgreSQL server is needed (apt: postgresql), or WINDLASS_TEST_POSTGRES"
    home = Path(tempfile.mkdtemp(prefix="wlchaos", dir="/tmp"))
    prefix: tuple[str, ...] = ()
    if os.getuid() == 0:
        os.chown(home, pwd.getpwnam("postgres").pw_uid, -1)
        prefix = ("runuser", "-u", "postgres", "--")
    # fsync only matters when the machine dies; the server's own death must lose nothing, so commits are synchronous.
    options = f"-c fsync=off -c max_connections=200 -c listen_addresses= -c unix_socket_directories={home}"
    control = (*prefix, str(binaries / "pg_ctl"), "-D", str(home / "data"), "-w", "-s", "-l", str(home / "log"))
    try:
        cluster = ("-D", str(home / "data"), "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        _quietly([*prefix, str(binaries / "initdb"), *cluster])
        _quietly([*control, "-o", options, "start"])
        yield Server(url=create_database(f"postgresql://test@/postgres?host={home}", "chaos"), control=control)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd="/", capture_output=False)
        shutil.rmtree(home, ignore_errors=True)


def _quietly(argv: list[str]) -> None:
    """The server must not inherit our pipes, or reading them would never end."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")
        output.seek(0)
        assert done.returncode == 0, output.read().decode("utf-8", "replace")
