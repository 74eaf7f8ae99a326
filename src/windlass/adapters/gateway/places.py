"""Where the gateway of one Windlass keeps its files and sockets, and the lock that says that it lives.

All of it is private to the user that runs Windlass (0700). Only the directory with the one socket that runs knock at
may be shown inside a sandbox, whose user is another. A socket's path has room for 107 bytes only: where the state
directory's is longer, the sockets lie in a private directory of the system's temporary one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from windlass.core.errors import Refused

LONGEST_SOCKET = 107


@dataclass(frozen=True, slots=True)
class Places:
    """Everything below `root`, and the sockets below `sockets`."""

    root: Path
    sockets: Path

    @property
    def runs(self) -> Path:
        """A file for each run."""
        return self.root / "runs"

    @property
    def alive(self) -> Path:
        """Locked by the gateway as long as it lives."""
        return self.root / "alive"

    @property
    def starting(self) -> Path:
        """Locked by who looks whether one lives, and starts it."""
        return self.root / "starting"

    @property
    def secret(self) -> Path:
        """What runs' own keys are derived from."""
        return self.root / "secret"

    @property
    def log(self) -> Path:
        """What the newest gateway had to say."""
        return self.root / "log"

    @property
    def control(self) -> Path:
        """The socket that Windlass speaks to it by."""
        return self.sockets / "control"

    @property
    def door(self) -> Path:
        """The socket that runs knock at, alone in its directory."""
        return self.sockets / "door" / "model"

    def make(self) -> None:
        """Make the directories. Raises Refused (gateway_unusable) when somebody else's is in the way."""
        for place in (self.root, self.runs, self.sockets):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = place.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise Refused(
                    f"{place} is not private", code="gateway_unusable", hint=f"chmod 700 {place}, or remove it"
                )
        self.door.parent.mkdir(exist_ok=True)
        self.door.parent.chmod(0o755)

    def is_alive(self) -> bool:
        """Whether a gateway lives."""
        try:
            fd = os.open(self.alive, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def clear(self) -> None:
        """Remove the sockets of a gateway that ended, and the directory for them where it is not the state's own."""
        for path in (self.control, self.door):
            path.unlink(missing_ok=True)
        if self.sockets != self.root:
            with suppress(OSError):
                self.door.parent.rmdir()
                self.sockets.rmdir()


def places_of(root: Path) -> Places:
    """The places for a gateway that keeps its files in `root`."""
    root = root.absolute()
    if len(os.fsencode(root / "door" / "model")) <= LONGEST_SOCKET:
        return Places(root, root)
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return Places(root, Path(tempfile.gettempdir()) / f"windlass-{os.geteuid()}-{name}")
