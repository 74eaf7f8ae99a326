"""Runs process trees in containers of Docker or Podman; fills `ports.Runner`.

Every run is a directory under `root`, a container that is found again by its name, and, while somebody looks after it,
a task of this process (`supervision.py`). A container goes on when Windlass is killed; the next process takes it up.
Refused: images that are not here (nothing is fetched by a tag), names of containers that are not ours, and everything
that `plan.py` refuses. Only containers with our labels are ever touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from windlass.adapters.runners import bubblewrap
from windlass.adapters.runners.container import seccomp
from windlass.adapters.runners.container.charge import REMOVED, Charge
from windlass.adapters.runners.container.detect import EngineFacts, NoEngine, detect
from windlass.adapters.runners.container.engine import Engine, away
from windlass.adapters.runners.container.files import mountable, placed
from windlass.adapters.runners.container.making import ContainerSettings, Maker, find_image
from windlass.adapters.runners.container.meter import group_name, remove_groups
from windlass.adapters.runners.container.plan import RUN, Owner
from windlass.adapters.runners.container.supervision import Supervision, remove
from windlass.adapters.runners.rundir import RunDirectory, unwanted
from windlass.core.errors import Refused, Unavailable
from windlass.core.run_ids import RUN_ID
from windlass.ports import RunResult, RunSpec

log = logging.getLogger("windlass.runners")

POLL_S = (0.01, 0.25)
STOP_S = 60.0
NOTHING_KNOWN: dict[str, Any] = {"exit_code": None, "deadline": "", "duration_s": 0.0}


class ContainerRunner:
    """Containers of one Windlass instance. Several processes may share `root` if they share `instance`.

    `addresses`: where an engine may answer (`unix:///…`), in order; looked for now, and again while there is none.
    """

    def __init__(
        self, root: Path, *, instance: str, addresses: Sequence[str], settings: ContainerSettings | None = None
    ) -> None:
        self._root = root.absolute()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._owner = Owner(instance=instance, root=hashlib.sha256(str(self._root).encode()).hexdigest()[:16])
        self._addresses = tuple(addresses)
        narrow = seccomp.write(self._root.with_name(f"{self._root.name}-seccomp.json"))
        self._settings = replace(settings or ContainerSettings(), seccomp=narrow)
        self._facts = detect(self._addresses)
        self._engine = self._new_engine()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # -------------------------------------------------------------- the port

    async def start(self, spec: RunSpec) -> bool:
        """Start, or adopt; True when it was started now.

        Raises Refused: run_id_invalid, workdir_missing, mount_missing, image_missing, no_engine, no_egress,
        open_network, inlet_unusable, container_foreign; Unavailable (engine_away), Failed (engine_refuses).
        """
        run = RunDirectory.of(self._root, spec.id)
        if not run.was_started:
            spec = replace(spec, workdir=placed(spec.workdir))
            mountable(spec)
            bubblewrap.readable(spec.reads)
            maker = await self._maker(spec)
            run.at.mkdir(mode=0o700, exist_ok=True)
            lock = await self._hold(run)
            if lock is not None and not run.was_started:
                await self._start(run, spec, maker, lock)
                return True
            if lock is not None:
                os.close(lock)
        await self._take_up(run)
        return False

    def is_known(self, run_id: str) -> bool:
        """Whether a run was started under this id and not discarded."""
        return RunDirectory.of(self._root, run_id).was_started

    def has(self, run_id: str) -> bool:
        """Whether there is anything of a run here, begun or not."""
        return RunDirectory.of(self._root, run_id).at.is_dir()

    def output(self, run_id: str) -> Path:
        """The file with what the run has printed so far."""
        return RunDirectory.of(self._root, run_id).output

    async def wait(self, run_id: str) -> RunResult:
        """Until it ends. Raises NotFound (run_unknown), Unavailable (engine_away) when the engine stays away."""
        run = RunDirectory.known(self._root, run_id)
        pause_s, longest_s = POLL_S
        while True:
            task = self._task(run_id)
            if task is not None:
                await asyncio.wait({task})
                task.result()
            elif not run.is_alive():
                found = run.result()
                if found is not None:
                    return found
                await self._take_up(run)
            else:  # another process, or another loop of this one, looks after it
                await asyncio.sleep(pause_s)
                pause_s = min(longest_s, pause_s * 1.5)

    async def stop(self, run_id: str) -> None:
        """Kill everything under this id and wait until it is dead; a result that exists stays as it is."""
        run = RunDirectory.of(self._root, run_id)
        if not run.at.is_dir():
            return
        if run.result() is None:
            (run.at / "stop").touch()
            charge = Charge.read(run)
            if charge is not None:
                await (await self._connected()).kill(charge.name)
        try:
            async with asyncio.timeout(STOP_S):
                await self.wait(run_id)
        except TimeoutError:
            raise Unavailable(f"run {run_id} cannot be stopped", code="engine_away", hint="see the engine") from None

    async def discard(self, run_id: str) -> None:
        """Stop, and remove every trace."""
        run = RunDirectory.of(self._root, run_id)
        await self.stop(run_id)
        await self._forget(run)

    async def reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """Discard the runs of our instance that nobody wants; the ids of those that were still alive."""
        killed = []
        found = await asyncio.to_thread(lambda: list(unwanted(self._root, self._owner.instance, is_wanted)))
        for run_id, run in found:
            if run.was_started and run.result() is None:
                killed.append(run_id)
            await self.discard(run_id)
        return (*killed, *(await self._reap_containers(is_wanted)))

    def isolation(self, run_id: str = "") -> str:
        """What holds a run, in one line."""
        if isinstance(self._facts, NoEngine):
            return f"NO CONTAINER ENGINE ({self._facts.reason})"
        charge = Charge.read(RunDirectory.of(self._root, run_id)) if run_id else None
        network = (charge.network if charge else "none").partition(":")[0].replace("container", "only through inlets")
        is_open = self._facts.name == "podman" and self._settings.seccomp is None
        return f"{self._facts} (container, network {network}{', nested namespaces allowed' if is_open else ''})"

    def notice(self) -> str:
        """What people must be told before they rely on this runner; '' when there is nothing."""
        if isinstance(self._facts, EngineFacts):
            return ""
        return f"No container engine answers: {self._facts.reason}. Runs in containers are refused until one does."

    async def close(self) -> None:
        """Let go of the engine and of this loop's tasks; containers go on and can be taken up again."""
        here = asyncio.get_running_loop()
        tasks = [task for task in self._tasks.values() if task.get_loop() is here]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engine.close()

    # -------------------------------------------------------------- starting

    async def _start(self, run: RunDirectory, spec: RunSpec, maker: Maker, lock: int) -> None:
        """The container, made and begun. The lock goes to its supervision."""
        try:
            charge = await maker.make(run, spec)
        except BaseException:
            os.close(lock)
            raise
        await asyncio.shield(self._supervise(run, charge, lock).started)

    async def _maker(self, spec: RunSpec) -> Maker:
        facts = await self._insist_on_engine()
        image = await find_image(self._engine, spec.image or self._settings.image, self._settings)
        return Maker(self._engine, facts, self._owner, self._settings, image)

    async def _insist_on_engine(self) -> EngineFacts:
        if isinstance(self._facts, NoEngine):
            self._facts = await asyncio.to_thread(detect, self._addresses)
            self._engine = self._new_engine()
        return self._found()

    def _new_engine(self) -> Engine:
        facts = self._facts
        return Engine(facts.address, facts.api) if isinstance(facts, EngineFacts) else Engine("", "")

    def _found(self) -> EngineFacts:
        if isinstance(self._facts, NoEngine) and self._facts.is_silent:
            raise away("looked for", self._facts.reason)
        if isinstance(self._facts, NoEngine):
            raise Refused(
                f"no container engine answers: {self._facts.reason}",
                code="no_engine",
                hint="install Podman or Docker and start its API socket, or set sandbox.engine",
            )
        return self._facts

    async def _connected(self) -> Engine:
        await self._insist_on_engine()
        return self._engine

    # -------------------------------------------------------------- looking after

    async def _hold(self, run: RunDirectory) -> int | None:
        """The run's lock; None once somebody else has started it."""
        while True:
            lock = run.try_hold()
            if lock is not None or run.was_started:
                return lock
            await asyncio.sleep(POLL_S[0])

    async def _take_up(self, run: RunDirectory) -> None:
        """See a run through that nobody looks after; what cannot be found again is lost."""
        lock = None if run.result() is not None else run.try_hold()
        if lock is None:
            return
        charge = Charge.read(run)
        if run.result() is None and charge is not None and run.was_started:
            await self._insist_or_release(lock)
            self._supervise(run, charge, lock)
            return
        try:
            if run.result() is None:
                if charge is not None:
                    await remove(await self._connected(), charge)
                run.output.touch()
                ended = "stopped" if (run.at / "stop").exists() else "lost"
                run.write("result.json", {"ended": ended, **NOTHING_KNOWN})
                (run.at / REMOVED).touch()
        finally:
            os.close(lock)

    async def _insist_or_release(self, lock: int) -> None:
        try:
            await self._insist_on_engine()
        except BaseException:
            os.close(lock)
            raise

    def _supervise(self, run: RunDirectory, charge: Charge, lock: int) -> Supervision:
        supervision = Supervision(self._engine, run, charge)
        name = run.at.name
        task = asyncio.create_task(supervision.see_through(lock), name=f"container-{name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._done(name, done))
        return supervision

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and task.exception() is not None:
            log.warning("a container is no longer looked after", extra={"run": name, "error": str(task.exception())})

    def _task(self, run_id: str) -> asyncio.Task[None] | None:
        task = self._tasks.get(run_id)
        return task if task is not None and task.get_loop() is asyncio.get_running_loop() else None

    # -------------------------------------------------------------- clearing up

    async def _forget(self, run: RunDirectory) -> None:
        charge = Charge.read(run)
        if charge is not None and not (run.at / REMOVED).exists():
            await remove(await self._connected(), charge)
        await asyncio.to_thread(run.remove)

    async def _reap_containers(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """Containers of ours without a directory: left by a start that was killed, or by a directory that is gone."""
        if isinstance(self._facts, NoEngine):
            return ()
        killed: dict[str, None] = {}
        for name, is_running, labels in await self._engine.labelled(self._owner.labels):
            run_id = str(labels.get(RUN, ""))
            if is_wanted(run_id) or (RUN_ID.fullmatch(run_id) and RunDirectory.of(self._root, run_id).at.is_dir()):
                continue
            await self._engine.remove(name)
            await asyncio.to_thread(remove_groups, group_name(self._owner.instance, self._owner.root, run_id))
            if is_running:
                killed[run_id] = None
        return tuple(killed)
