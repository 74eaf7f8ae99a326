"""Makes the container of a run, ready to begin: its files given, its image found, its sidecar open.

What fails here leaves no container behind. Refused: an image that is not on this machine (nothing is fetched by a tag)
and the name of a container that is not ours.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windlass.adapters.runners import bubblewrap
from windlass.adapters.runners.container import airlock, plan
from windlass.adapters.runners.container.charge import Charge
from windlass.adapters.runners.container.detect import EngineFacts
from windlass.adapters.runners.container.engine import Engine, Image
from windlass.adapters.runners.container.files import give, write_places
from windlass.adapters.runners.container.meter import group_name
from windlass.adapters.runners.container.plan import RUN, Frame, Owner
from windlass.adapters.runners.container.supervision import remove
from windlass.adapters.runners.rundir import RunDirectory
from windlass.core.errors import Failed, NotFound, Refused, WindlassError
from windlass.ports import RunSpec

log = logging.getLogger("windlass.runners")

AIRLOCK = "airlock"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSettings:
    """What an operator decides. `image`: of runs that name none. `pulls_by_digest`: an image may be fetched if its
    name holds its digest. `seccomp`: a filter for Podman in place of its own."""

    image: str = ""
    airlock_image: str = "localhost/windlass-airlock"
    allows_open_network: bool = False
    pulls_by_digest: bool = False
    seccomp: Path | None = None


class Maker:
    """Makes containers of one image for one owner."""

    def __init__(
        self, engine: Engine, facts: EngineFacts, owner: Owner, settings: ContainerSettings, image: Image
    ) -> None:
        self._engine = engine
        self._facts = facts
        self._owner = owner
        self._settings = settings
        self._image = image

    async def make(self, run: RunDirectory, spec: RunSpec) -> Charge:
        """The container, not begun, and on disk what is to be known of it."""
        network = plan.network_for(spec, allows_open=self._settings.allows_open_network)
        makes_groups = not self._facts.is_rootless and await self._engine.makes_groups()
        group = group_name(self._owner.instance, self._owner.root, spec.id) if makes_groups else ""
        frame = await asyncio.to_thread(self._frame, run, spec, network, group)
        charge = self._charge(spec, frame)
        run.write("owner.json", {"instance": self._owner.instance, "id": spec.id, "groups": []})
        await self._clear_away(charge, spec.id)
        charge.write(run)  # from here on the names in it are ours to remove
        try:
            network = await self._open_airlock(charge, spec, frame)
            charge, frame = replace(charge, network=network), replace(frame, network=network)
            charge.write(run)
            await self._create(charge.name, plan.body(spec, frame))
        except BaseException:
            with suppress(WindlassError):
                await remove(self._engine, charge)
            raise
        return charge

    def _frame(self, run: RunDirectory, spec: RunSpec, network: str, group: str) -> Frame:
        is_podman, is_rootless = self._facts.name == "podman", self._facts.is_rootless
        user = plan.user_for(os.geteuid(), os.getegid(), is_podman=is_podman, is_rootless=is_rootless)
        writes = write_places(spec)
        ours = [mount.source for mount in spec.mounts if mount.is_writable]
        for path in (*ours, *(writes if spec.is_read_only else [spec.workdir])):
            give(path, user.owner)
        return Frame(
            image=self._image,
            user=user,
            network=network,
            labels=self._owner.labels,
            group=group,
            log_driver="k8s-file" if is_podman else "json-file",
            seccomp=self._settings.seccomp if is_podman else None,
            stdin=_stdin(run, spec),
            reads=bubblewrap.readable(spec.reads),
            writes=writes,
        )

    def _charge(self, spec: RunSpec, frame: Frame) -> Charge:
        return Charge.of(
            spec,
            name=self._owner.name(spec.id),
            sidecar=self._owner.name(spec.id, AIRLOCK) if spec.inlets else "",
            group=frame.group,
            image=frame.image.id,
            network=frame.network,
        )

    async def _clear_away(self, charge: Charge, run_id: str) -> None:
        """Containers of a start that never came to its command. Raises Refused (container_foreign)."""
        ours = {**self._owner.labels, RUN: run_id}.items()
        found = {name: await self._engine.seen(name) for name in (charge.name, charge.sidecar) if name}
        for name, seen in found.items():
            if seen is not None and not ours <= dict(seen.labels).items():
                raise Refused(
                    f"a container named {name} is there and not ours",
                    code="container_foreign",
                    hint="remove it, or change the setting `instance`",
                )
        if any(found.values()):
            await remove(self._engine, charge)

    async def _open_airlock(self, charge: Charge, spec: RunSpec, frame: Frame) -> str:
        """The network of the run's container."""
        if not spec.inlets:
            return frame.network
        if spec.needs_network:
            raise Refused(
                "a run has inlets or a network, not both", code="open_network", hint="leave needs_network out"
            )
        image = await find_image(self._engine, self._settings.airlock_image, self._settings)
        # Sockets let in who made them: us. Without a capability that is a user like any other.
        owner = frame.user.inside if frame.user.namespace else f"{os.geteuid()}:{os.getegid()}"
        request = airlock.body(spec, replace(frame, image=image), owner=owner)
        return await airlock.open_airlock(self._engine, charge.sidecar, request)

    async def _create(self, name: str, request: Mapping[str, Any]) -> None:
        try:
            await self._engine.create(name, request)
        except Failed as error:
            if "init binary" not in error.message:
                raise
            log.warning("the engine has no init program: orphans in containers are not collected")
            await self._engine.create(name, {**request, "HostConfig": {**request["HostConfig"], "Init": False}})


def _stdin(run: RunDirectory, spec: RunSpec) -> Path | None:
    """What the command reads, as a file: given before it begins, the same after a restart of Windlass."""
    if not spec.stdin:
        return None
    path = run.at / "stdin"
    path.write_bytes(spec.stdin)
    path.chmod(0o444)  # its directory is shut; the container sees this file alone
    return path


async def find_image(engine: Engine, name: str, settings: ContainerSettings) -> Image:
    """The image that is here under this name. Raises Refused (image_missing)."""
    if not name:
        raise Refused("no container image is named", code="image_missing", hint="set sandbox.image or the agent's")
    try:
        return await engine.image(name)
    except NotFound:
        if settings.pulls_by_digest and "@sha256:" in name:
            await engine.pull(name)
            return await engine.image(name)
    is_airlock = name == settings.airlock_image
    hint = "build it from deploy/images/airlock" if is_airlock else "build or pull it; see docs/containers.md"
    raise Refused(f"the image {name} is not on this machine", code="image_missing", hint=hint)
