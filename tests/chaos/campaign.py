"""One chaos run on one database: start everything, ask for work, kill, let it settle, and audit."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import audit
from tests.chaos.counter import AgentCounter, Front
from tests.chaos.forge import FAULTS, SECRET, ForgeProcess, start_forge
from tests.chaos.people import People
from tests.chaos.postgres import Server
from tests.chaos.replicas import Killer, Replica
from tests.chaos.scripts import AGENT, BEGIN, BEGIN_IN_CONTAINER, parts
from tests.support.podman import AIRLOCK_IMAGE, Podman
from windlass.adapters.storage import SqlStore, make_engine
from windlass.config import Settings
from windlass.core.errors import WindlassError
from windlass.core.job import Job
from windlass.wiring.parts import SystemClock, build

STANDSTILL_S = 180.0
INSTANCE = "chaos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to do. `jobs` are under way at once; further ones are asked for as long as there are kills left.

    `pace` stretches how long agents and people take. With an `engine`, agents and tests run in containers.
    """

    database: str
    kills: int
    jobs: int
    seed: int
    limit_s: float
    crashes: int = 0
    pace: float = 1.0
    engine: Podman | None = None

    @property
    def replicas(self) -> int:
        """SQLite takes one process."""
        return 1 if self.database == "sqlite" else 2


@dataclass(kw_only=True)
class Result:
    """What came of it."""

    wish: Wish
    kills: int = 0
    freezes: int = 0
    deaths: list[int] = field(default_factory=list)
    crashes: int = 0
    jobs: int = 0
    ended_under_fire: int = 0
    took_s: float = 0.0
    agents: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    logged: dict[str, int] = field(default_factory=dict)
    found: audit.Findings = field(default_factory=audit.Findings)

    @property
    def is_good(self) -> bool:
        """Whether everything held, under as many kills as wished."""
        return self.found.is_clean and self.kills >= self.wish.kills

    def line(self) -> str:
        """One line."""
        ok = self.jobs - len(self.found.lost)
        more = f", {self.freezes} freezes, {self.crashes} database crashes" if self.wish.replicas > 1 else ""
        ended = f"({self.ended_under_fire} of them between kills)"
        where = f"{self.wish.database} in containers" if self.wish.engine else self.wish.database
        return f"{where} {self.kills} kills{more} {self.jobs} jobs {ok} ok {ended} {self.agents} agent runs"


@dataclass(kw_only=True)
class Campaign:
    """The state of one run."""

    wish: Wish
    root: Path
    server: Server | None = None
    result: Result = field(init=False)
    began_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.result = Result(wish=self.wish)
        self._rng = random.Random(self.wish.seed)
        self._deck = iter(parts(self.wish.jobs * 20, self._rng, pace=self.wish.pace))
        self._left = self.wish.kills
        self._counter = AgentCounter()

    async def run(self) -> Result:
        """Everything, to the audit."""
        state = self.root / "state"
        state.mkdir(parents=True, mode=0o700)
        (state / "api-token").write_text("token-that-opens-the-chaos-api-0123456789\n")
        (state / "api-token").chmod(0o600)
        async with self._counter.listening(self.root / "counter"), self._forge() as (forge, front, replicas):
            engine = make_engine(self._database_url)
            store = SqlStore(engine, clock=SystemClock())
            people = People(
                forge=forge,
                api_url=f"http://127.0.0.1:{front.port}",
                api_token=(state / "api-token").read_text().strip(),
            )
            try:
                await self._live(people, store, replicas)
            finally:
                store.close()
            self.result.faults = await forge.faults(dict.fromkeys(FAULTS, 0.0))
            await self._audit(people, forge, replicas)
        self.result.took_s = time.monotonic() - self.began_s
        return self.result

    # ------------------------------------------------------------ life

    @contextlib.asynccontextmanager
    async def _forge(self) -> AsyncIterator[tuple[ForgeProcess, Front, list[Replica]]]:
        replicas = [Replica(name=f"replica-{n}", root=self.root, settings={}) for n in range(self.wish.replicas)]
        async with Front([replica.port for replica in replicas]).listening() as front:
            hook = f"http://127.0.0.1:{front.port}/webhooks/github"
            forge = await start_forge(self.root / "forge", hook, seed=self.wish.seed)
            (self.root / "app-key.pem").write_text(forge.app["private_key_pem"])
            for replica in replicas:
                replica.settings = self._settings(forge)
            try:
                yield forge, front, replicas
            finally:
                await forge.stop()
                for replica in replicas:
                    if replica.is_running and replica.process is not None:
                        replica.process.kill()
                        await replica.process.wait()

    async def _live(self, people: People, store: SqlStore, replicas: list[Replica]) -> None:
        await people.forge.faults(FAULTS)
        killers = [
            Killer(
                replica=replica,
                rng=random.Random(self._rng.random()),
                may_kill=self._may_kill,
                freezes=0.1 if len(replicas) > 1 else 0.0,
            )
            for replica in replicas
        ]
        tasks = [asyncio.create_task(killer.run()) for killer in killers]
        tasks.append(asyncio.create_task(self._crash_database()))
        try:
            await self._ask(people, store, tasks)
            await self._settle(people, store, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        codes = await asyncio.gather(*(replica.stop() for replica in replicas))
        self.result.found.other += [f"{r.name} ended with {c}" for r, c in zip(replicas, codes, strict=True) if c]
        self.result.kills = sum(replica.kills for replica in replicas)
        self.result.freezes = sum(replica.freezes for replica in replicas)
        self.result.deaths = [code for replica in replicas for code in replica.deaths]

    def _may_kill(self) -> bool:
        if self._left <= 0 or self._is_late():
            return False
        self._left -= 1
        return True

    def _is_late(self) -> bool:
        return time.monotonic() - self.began_s > self.wish.limit_s

    async def _crash_database(self) -> None:
        """Spread over the run, by the kills that are left."""
        for number in range(self.wish.crashes if self.server else 0):
            threshold = self.wish.kills * (self.wish.crashes - number) / (self.wish.crashes + 1)
            while self._left > threshold:
                await asyncio.sleep(0.3)
            assert self.server is not None
            self.result.crashes += await asyncio.to_thread(self.server.crash)

    async def _ask(self, people: People, store: SqlStore, tasks: list[asyncio.Task[None]]) -> None:
        """Keep as many jobs under way as wished while there are kills left."""
        for _ in range(self.wish.jobs):
            await people.ask(next(self._deck))
        while self._left > 0 and not self._is_late():
            open_jobs = await self._turn(people, store, tasks)
            self.result.ended_under_fire = len(people.asked) - open_jobs
            if open_jobs < self.wish.jobs * 0.7:
                for _ in range(self.wish.jobs - open_jobs):
                    await people.ask(next(self._deck))

    async def _settle(self, people: People, store: SqlStore, tasks: list[asyncio.Task[None]]) -> None:
        """Until everything is where it should end, or nothing has come to its end for a long time."""
        state, best, since_s = self.root / "state", len(people.asked) + 1, time.monotonic()
        while time.monotonic() - since_s < STANDSTILL_S:
            left = await self._turn(people, store, tasks)
            if not left and not await asyncio.to_thread(self._is_busy, store, state):
                return
            if left < best:
                best, since_s = left, time.monotonic()

    def _is_busy(self, store: SqlStore, state: Path) -> bool:
        runs = [path for name in ("runs", "workspaces", "containers") for path in (state / name).glob("*")]
        return bool(runs or store.open_effects(SystemClock().now_ms() + 1, 1))

    async def _turn(self, people: People, store: SqlStore, tasks: list[asyncio.Task[None]]) -> int:
        """Let people act once; how many issues are not where they should end."""
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
        try:
            found = await asyncio.to_thread(store.jobs, limit=100_000)
        except WindlassError:
            await asyncio.sleep(0.5)
            return len(people.asked)
        jobs: dict[tuple[str, int], Job] = {(job.repository, job.issue.number): job for job in reversed(found)}
        await people.act(jobs)
        await asyncio.sleep(0.5)
        return sum(key not in jobs or not people.is_over(jobs[key]) for key in people.asked)

    # ------------------------------------------------------------ audit

    def _left_behind(self, state: Path) -> list[str]:
        """What is still there after a moment: an engine ends its own processes a little later."""
        for _ in range(50):
            left = audit.left_behind(state, INSTANCE)
            left += self.wish.engine.names() if self.wish.engine else []
            if not left:
                break
            time.sleep(0.2)
        return left

    async def _audit(self, people: People, forge: ForgeProcess, replicas: list[Replica]) -> None:
        found, state = self.result.found, self.root / "state"
        logs = [replica.log for replica in replicas]
        found.orphans += await asyncio.to_thread(self._left_behind, state)
        windlass = build(Settings.model_validate(self._settings(forge)))
        try:
            jobs = await asyncio.to_thread(audit.check_jobs, windlass, people.asked, found)
            await audit.check_forge(forge, jobs, people.asked, found)
            begun = self._counter.begun
            await asyncio.to_thread(audit.check_runs, windlass, jobs, people.asked, begun, found)
            await asyncio.to_thread(audit.check_evidence, windlass, jobs, found)
        finally:
            await windlass.close()
        audit.check_silence(state, logs, forge, people.api_token, found)
        self.result.logged = dict(audit.check_logs(logs, found))
        self.result.jobs, self.result.agents = len(people.asked), sum(begun.values())

    # ------------------------------------------------------------ settings

    @property
    def _database_url(self) -> str:
        return self.server.url if self.server else f"sqlite:///{self.root / 'state' / 'windlass.sqlite'}"

    def _sandbox(self) -> dict[str, Any]:
        engine = self.wish.engine
        if engine is None:
            return {}
        chosen = {"runner": "container", "engine": engine.address, "image": AIRLOCK_IMAGE}
        return {**chosen, "reads": [str(self.root / "counter")]}

    def _settings(self, forge: ForgeProcess) -> dict[str, Any]:
        is_contained = self.wish.engine is not None
        return {
            "sandbox": self._sandbox(),
            "state_dir": str(self.root / "state"),
            "database_url": self.server.url if self.server else "",
            "instance": INSTANCE,
            "forge": {
                "api_url": forge.api_url,
                "app_id": str(forge.app["app_id"]),
                "app_private_key_file": str(self.root / "app-key.pem"),
                "webhook_secret": SECRET,
            },
            "engine": {
                "agent_slots": 20 if is_contained else 6,
                "agent_slots_per_repository": 7 if is_contained else 3,
                "reconcile_period_s": 4.0 * self.wish.pace,
                "checkpoint_period_s": 5.0,
            },
            "agents": {
                "scripted": {
                    "command": (BEGIN_IN_CONTAINER if is_contained else BEGIN) + AGENT,
                    "needs_network": not is_contained,
                    "environment": {
                        "COUNTER_PORT": str(self._counter.port),
                        "COUNTER_SOCKET": str(self.root / "counter" / "counter.sock"),
                    },
                }
            },
            "default_agent": "scripted",
        }
