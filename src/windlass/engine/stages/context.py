"""What a stage may use, and the claim under which it writes to the outside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from windlass.core.errors import Refused
from windlass.core.job import Job
from windlass.core.redaction import mask
from windlass.engine.execution_log import ExecutionLog
from windlass.ports import (
    Agent,
    Blobs,
    Clock,
    Forge,
    Notifier,
    Prompts,
    Redactor,
    Repositories,
    Runner,
    SandboxLimits,
    Store,
)


class Overtaken(Exception):
    """This claim is not the current one any more: whoever holds the newer one answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """What an operator chose for the stages.

    `reads` are extra paths that agents and tests may read, `setup_egress` hosts that set-up commands may reach.
    """

    workspaces: Path
    default_agent: str = "patch"
    test_command: str = ""
    reads: tuple[Path, ...] = ()
    setup_egress: tuple[str, ...] = ()
    public_url: str = ""
    sandbox_limits: SandboxLimits = field(default_factory=SandboxLimits)
    author: tuple[str, str] = ("Windlass", "windlass@localhost")
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Every role that the stages use."""

    store: Store
    forge: Forge
    repositories: Repositories
    runner: Runner
    agents: Mapping[str, Agent]
    blobs: Blobs
    prompts: Prompts
    notifier: Notifier
    clock: Clock
    settings: StageSettings
    waiting: set[str] = field(default_factory=set)
    redactor: Redactor | None = None
    steps: ExecutionLog | None = None

    async def keep(self, data: bytes) -> str:
        """Keep a blob, without the secrets that we know; its digest."""
        return await asyncio.to_thread(self.blobs.put, data)

    async def keep_text(self, text: str) -> str:
        """Keep a long text, redacted beside the loop because that takes its time; the digest."""
        clean = await asyncio.to_thread(self.redact, text)
        return await self.keep(clean.encode("utf-8", "replace"))

    def redact(self, text: str) -> str:
        """Text without any secret that we know or can recognise."""
        if self.redactor is None:
            return mask(text, self.settings.secrets)
        return self.redactor.redact(text)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to carry out one effect: valid until somebody claims it anew or the order is void."""

    outside: Outside
    job: Job
    seq: int
    number: int

    @property
    def key(self) -> str:
        """`<job>:<seq>`."""
        return f"{self.job.id}:{self.seq}"

    async def is_current(self) -> bool:
        """Whether this claim may still write."""
        return await asyncio.to_thread(self.outside.store.is_current, self.job.id, self.seq, self.number)

    async def is_unwanted(self) -> bool:
        """Whether the job ended meanwhile and no newer job uses what it made: then that must not stay."""
        store, job = self.outside.store, self.job
        newest = await asyncio.to_thread(store.latest_job, job.repository, job.issue.number)
        return newest is not None and newest.id == job.id and newest.is_terminal

    async def check(self) -> None:
        """Call before every write to the outside. Raises Overtaken."""
        if not await self.is_current():
            raise Overtaken(self.key)


def unusable(message: str, hint: str = "") -> Refused:
    """The repository cannot be worked on as it is."""
    return Refused(message, hint=hint, code="repository_unusable")


def read_tail(path: Path, limit: int) -> str:
    """The end of a file as text, at most `limit` bytes of it; '' when it cannot be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(size - limit, 0))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
