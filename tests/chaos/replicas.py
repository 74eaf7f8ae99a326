"""`windlass serve` as processes that are killed: start, kill -9, freeze, and stop as an operator would."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

READY_LIMIT_S = 90.0
FREEZE_S = 8.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(kw_only=True)
class Replica:
    """One process and its log. `deaths` are the exit codes of lives that ended by themselves."""

    name: str
    root: Path
    settings: Mapping[str, Any]
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    kills: int = 0
    freezes: int = 0
    deaths: list[int] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What it wrote, over all its lives."""
        return self.root / f"{self.name}.log"

    async def start(self) -> None:
        """Begin a life."""
        config = self.root / f"{self.name}.yml"
        config.write_text(yaml.safe_dump({**self.settings, "api": {"port": self.port}}))
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore", "-m", "windlass", "serve", "--config", str(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("WINDLASS_")},
            )

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.returncode is None

    async def ready(self) -> bool:
        """Wait until it listens; False when it died before."""
        until = time.monotonic() + READY_LIMIT_S
        while self.is_running:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert time.monotonic() < until, f"{self.name} does not get ready, see {self.log}"
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return True
        return False

    async def pause(self, seconds: float) -> bool:
        """Let it live so long; False when it ended by itself meanwhile."""
        assert self.process is not None
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def kill(self) -> None:
        """kill -9, and nothing else."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        self.kills += 1

    def died(self) -> None:
        """Note that it ended by itself."""
        assert self.process is not None
        assert self.process.returncode is not None
        self.deaths.append(self.process.returncode)

    async def freeze(self) -> None:
        """Stop it in the middle of whatever it does, long enough to be declared dead, and let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.freezes += 1
        await asyncio.sleep(FREEZE_S)
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.is_running:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 60)


@dataclass(kw_only=True)
class Killer:
    """Kills one replica again and again. `may_kill` says whether there is a kill left; it then counts as done."""

    replica: Replica
    rng: random.Random
    may_kill: Callable[[], bool]
    freezes: float = 0.0

    async def run(self) -> None:
        """Until no kill is left; the replica then lives."""
        while True:
            await self.replica.start()
            is_alive = await self._life()
            if is_alive and not self.may_kill():
                break
            if is_alive:
                await self.replica.kill()
        await self.guard()

    async def guard(self) -> None:
        """What a supervisor does: whoever ends by himself is started again."""
        while True:
            assert self.replica.process is not None
            await self.replica.process.wait()
            self.replica.died()
            await asyncio.sleep(0.2)
            await self.replica.start()

    async def _life(self) -> bool:
        """One life, half of them not even to their start's end; False when it ended by itself."""
        if self.rng.random() < 0.5 and not await self.replica.ready():
            return self._died()
        if self.rng.random() < self.freezes and self.replica.is_running:
            await self.replica.freeze()
        if not await self.replica.pause(self.rng.uniform(0.3, 3.0)):
            return self._died()
        return True

    def _died(self) -> bool:
        self.replica.died()
        return False
