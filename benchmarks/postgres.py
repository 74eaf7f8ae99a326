"""A PostgreSQL server for one benchmark, as safe as a server is by default (fsync on)."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def binaries() -> Path | None:
    """The newest installed server of version 15 or later."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    return found[-1].parent if found and int(found[-1].parent.parent.name) >= 15 else None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Its directory, which is also where its socket is. `binaries` must have found something."""
    place = binaries()
    assert place is not None
    home = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    prefix: list[str] = []
    if os.getuid() == 0:  # the server refuses to be root
        account = pwd.getpwnam("postgres")
        os.chown(home, account.pw_uid, account.pw_gid)
        prefix = ["runuser", "-u", "postgres", "--"]
    control = [*prefix, str(place / "pg_ctl"), "-D", str(home / "data"), "-w", "-s", "-l", str(home / "log")]
    cluster = ["-D", str(home / "data"), "-U", "bench", "--auth=trust", "-E", "UTF8", "--locale=C"]
    try:
        _quietly([*prefix, str(place / "initdb"), *cluster], home)
        options = f"-c listen_addresses= -c unix_socket_directories={home}"
        _quietly([*control, "-o", options, "start"], home)
        try:
            yield str(home)
        finally:
            _quietly([*control, "-m", "immediate", "stop"], home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _quietly(argv: list[str], home: Path) -> None:
    """The server must not inherit our pipes, or reading them would never end."""
    nowhere = subprocess.DEVNULL
    subprocess.run(argv, cwd=home, check=True, stdin=nowhere, stdout=nowhere, stderr=nowhere)


def fresh_database(home: str, name: str) -> str:
    """A new database's URL."""
    place = binaries()
    assert place is not None
    subprocess.run([str(place / "createdb"), "-h", home, "-U", "bench", name], check=True)
    return f"postgresql://bench@/{name}?host={home}"
