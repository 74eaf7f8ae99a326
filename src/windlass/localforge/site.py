"""The ground all parts of the local forge stand on: the world, its repositories on disk, the clock, the doors out.

It looks things up and makes ids and times; it decides nothing. What changes the world are the acts.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from windlass.core.errors import Broken
from windlass.localforge.errors import not_found
from windlass.localforge.faults import Dice, Faults
from windlass.localforge.git import Git, import_repository
from windlass.localforge.model import Account, App, Installation, Issue, Repository, World
from windlass.ports import Clock

STATE_FILE: Final = "localforge.json"
_WORLD: Final = TypeAdapter(World)


class SystemClock:
    """The machine's time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1_000_000


def iso(at_ms: int) -> str:
    """GitHub's way to write a time: `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Site:
    """One forge's state and surroundings."""

    def __init__(self, root: Path, *, clock: Clock, seed: int) -> None:
        self.root = root
        self.clock = clock
        self.faults = Faults()
        self.dice = Dice(self.faults, seed)
        self.base_url = "http://127.0.0.1"
        self.is_dirty = False
        self.world = World()
        self.locks: dict[str, asyncio.Lock] = {}
        self._gits: dict[str, Git] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._load()

    # ---------------------------------------------------------------- keeping

    def _load(self) -> None:
        path = self.root / STATE_FILE
        if not path.exists():
            return
        try:
            self.world = _WORLD.validate_json(path.read_bytes())
        except ValidationError as error:
            hint = "the directory belongs to another version, or was edited; start with an empty one"
            raise Broken(f"{path} cannot be read: {error.error_count()} faults", hint=hint, code="bad_state") from error

    def save(self) -> None:
        """Write the world to one file, atomically."""
        path = self.root / STATE_FILE
        scratch = path.with_suffix(".new")
        data = _WORLD.dump_json(self.world)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        self.is_dirty = False

    def touch(self) -> None:
        """The world has changed and wants saving."""
        self.is_dirty = True

    # ---------------------------------------------------------------- time and tasks

    def now_ms(self) -> int:
        """The clock's time."""
        return self.clock.now_ms()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this in the background; it is cancelled when the forge stops. Outside a loop it is not begun."""
        try:
            task = asyncio.get_running_loop().create_task(work)
        except RuntimeError:
            work.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Cancel what runs in the background and wait until it is gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---------------------------------------------------------------- looking up

    def repository(self, full_name: str) -> Repository:
        """By `owner/name`, in any case. Raises Denied (404)."""
        found = self.world.repositories.get(full_name.lower())
        if found is None:
            raise not_found()
        return found

    def account(self, login: str) -> Account:
        """By login, in any case. Raises Denied (404)."""
        found = self.world.accounts.get(login.lower())
        if found is None:
            raise not_found()
        return found

    def ghost(self, login: str | None) -> Account | None:
        """The account, or None for None."""
        return None if login is None else self.account(login)

    def issue(self, repo: Repository, number: int) -> Issue:
        """An issue or pull request. Raises Denied (404)."""
        found = repo.issues.get(number)
        if found is None:
            raise not_found()
        return found

    def app(self, app_id: int) -> App:
        """By id. Raises Denied (404)."""
        found = self.world.apps.get(app_id)
        if found is None:
            raise not_found()
        return found

    def bot_of(self, app: App) -> Account:
        """The account that an App acts under."""
        return self.account(f"{app.slug}[bot]")

    def installation_for(self, repo: Repository, app_id: int | None = None) -> Installation | None:
        """The first installation (of one App) that covers the repository."""
        for found in self.world.installations.values():
            if (app_id is None or found.app_id == app_id) and covers(found, repo):
                return found
        return None

    def level(self, repo: Repository, login: str) -> str:
        """What a user may do: a grant, else admin for the owner, else read when it is public."""
        granted = repo.levels.get(login.lower())
        if granted is not None:
            return granted
        if repo.owner.lower() == login.lower():
            return "admin"
        return "none" if repo.is_private else "read"

    # ---------------------------------------------------------------- repositories on disk

    def git_path(self, repo: Repository) -> Path:
        """Where the bare repository is."""
        return self.root / "git" / f"{repo.full_name.lower()}.git"

    def git(self, repo: Repository) -> Git:
        """The bare repository's commands."""
        found = self._gits.get(repo.full_name)
        if found is None:
            found = Git(self.git_path(repo))
            found.reload_refs()
            self._gits[repo.full_name] = found
        return found

    def import_git(self, repo: Repository, source: Path | None) -> Git:
        """Make the bare repository. Raises Refused (code bad_source)."""
        git = import_repository(self.git_path(repo), source, repo.default_branch)
        self._gits[repo.full_name] = git
        return git

    def lock(self, repo: Repository) -> asyncio.Lock:
        """Held while refs move and pull requests follow."""
        return self.locks.setdefault(repo.full_name, asyncio.Lock())


def covers(installation: Installation, repo: Repository) -> bool:
    """Whether an installation reaches a repository."""
    if installation.account.lower() != repo.owner.lower():
        return False
    return installation.repositories is None or repo.full_name.lower() in installation.repositories
