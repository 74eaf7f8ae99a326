"""What a container may do: the request that makes it, from a run's spec. Pure but for the limits of this process.

Every container is held alike: no capability and no way to get one, a filter for system calls, a read-only root,
a private /tmp and home, memory without swap, processors, processes and file sizes limited, no network of its own, and
of the machine's files only the run's. Refused: a network that nobody allowed, and an egress list where no proxy is.
"""

from __future__ import annotations

import hashlib
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from windlass.adapters.runners.bubblewrap import HOME, SHM_BYTES, TMP_BYTES, programs_in
from windlass.adapters.runners.container.engine import Image
from windlass.core.errors import Refused
from windlass.ports import RunSpec, SandboxLimits

INSTANCE, RUN, ROOT = "dev.windlass.instance", "dev.windlass.run", "dev.windlass.root"
STDIN = "/run/windlass-stdin"
AGENT_UID = 1000
NAME_CHARS = 120
OPEN_FILES = 16384
THREADS_PER_PROCESS, LEAST_THREADS, MOST_THREADS = 64, 4096, 1 << 15
LOG_BYTES = (1 << 23, 1 << 26)
# Both streams become one pipe, so that what is printed stays in order; $1 is what the command reads.
BOOT = 'in=$1; shift; exec "$@" <"$in" 2>&1'


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose containers these are. `root` tells apart two installations that have the same instance name."""

    instance: str
    root: str

    @property
    def labels(self) -> dict[str, str]:
        """What all our containers carry."""
        return {INSTANCE: self.instance, ROOT: self.root}

    def name(self, run_id: str, part: str = "") -> str:
        """The container's name, the same in every process of the instance."""
        wanted = f"windlass-{self.instance}-{run_id}"
        plain = re.sub(r"[^A-Za-z0-9_.-]", "-", wanted)
        if plain != wanted or len(plain) > NAME_CHARS:
            plain = f"{plain[:NAME_CHARS]}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
        return f"{plain}.{part}" if part else plain


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who a container's processes are: inside, and how that is a user outside ('' is the engine's way)."""

    inside: str
    namespace: str = ""
    owner: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the runner decided around a spec. `network`: none, bridge, or container:ID; `writes`: see `RunSpec`."""

    image: Image
    user: User
    network: str
    labels: Mapping[str, str]
    group: str
    log_driver: str
    seccomp: Path | None = None
    stdin: Path | None = None
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = field(default=())


def user_for(uid: int, gid: int, *, is_podman: bool, is_rootless: bool) -> User:
    """The user inside. Never root: 1000, or who runs Windlass where files could not be given to 1000."""
    agent = f"{AGENT_UID}:{AGENT_UID}"
    if uid == 0 and not is_rootless:
        return User(inside=agent, owner=AGENT_UID)
    if is_rootless and is_podman:
        return User(inside=agent, namespace=f"keep-id:uid={AGENT_UID},gid={AGENT_UID}")
    if is_rootless or uid == 0:
        raise Refused(
            "a rootless Docker gives files to nobody but root inside",
            code="engine_unusable",
            hint="use Podman without root, or Docker with root",
        )
    return User(inside=f"{uid}:{gid}")


def network_for(spec: RunSpec, *, allows_open: bool) -> str:
    """none, or bridge where it is asked for and allowed. Raises Refused."""
    if spec.egress:
        raise Refused(
            "this run may reach some hosts, but no egress proxy is there to hold it to them",
            code="no_egress",
            hint="see docs/containers.md for the egress proxy",
        )
    if not spec.needs_network:
        return "none"
    if not allows_open:
        raise Refused(
            "this run asks for the whole network, which containers do not get",
            code="open_network",
            hint="name the hosts it needs (egress), or set sandbox.allows_open_network",
        )
    return "bridge"


def body(spec: RunSpec, frame: Frame) -> dict[str, Any]:
    """The engine's request for the container of a run."""
    where = spec.workdir_inside or str(spec.workdir)
    request: dict[str, Any] = {
        "Image": frame.image.id,
        "User": frame.user.inside,
        "WorkingDir": where if spec.argv else "",
        "Env": [f"{name}={value}" for name, value in _environment(spec, frame).items()],
        "Labels": {**frame.labels, RUN: spec.id},
        "HostConfig": {**_held(spec.limits, frame, has_writable_root=spec.has_writable_root), **_files(spec, frame)},
    }
    if spec.argv:
        source = STDIN if frame.stdin else "/dev/null"
        request |= {"Entrypoint": ["sh"], "Cmd": ["-c", BOOT, "windlass", source, *spec.argv]}
    if ":" not in frame.network:
        request["Hostname"] = "sandbox"
    return request


def _environment(spec: RunSpec, frame: Frame) -> dict[str, str]:
    """Like that of a process; an image's own command keeps the image's."""
    mark = {"WINDLASS_RUN": f"{frame.labels[INSTANCE]}/{spec.id}"}
    if not spec.argv:
        return {**spec.env, **mark}
    own = {"HOME": HOME, "TMPDIR": "/tmp", "LANG": "C.UTF-8", "TERM": "dumb", "USER": "agent"}  # noqa: S108 - inside
    mounted = programs_in(spec.reads)
    if mounted:
        own["PATH"] = ":".join([*map(str, mounted), frame.image.path or "/usr/local/bin:/usr/bin:/bin"])
    return {**own, **spec.env, **mark}


def _held(limits: SandboxLimits, frame: Frame, *, has_writable_root: bool) -> dict[str, Any]:
    return {
        **locked(limits, frame),
        "ReadonlyRootfs": not has_writable_root,
        "PidsLimit": limits.processes,
        "ShmSize": SHM_BYTES,
        "Init": True,
        "Tmpfs": {"/tmp": _tmpfs(TMP_BYTES), HOME: _tmpfs(TMP_BYTES)},  # noqa: S108 - inside
        "LogConfig": {"Type": frame.log_driver, "Config": {"max-size": str(log_bytes(limits))}},
    }


def locked(limits: SandboxLimits, frame: Frame) -> dict[str, Any]:
    """What every container of ours is denied, the sidecar's too."""
    held = {
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", *([f"seccomp={frame.seccomp}"] if frame.seccomp else [])],
        "Privileged": False,
        "ReadonlyRootfs": True,
        "NetworkMode": frame.network,
        "IpcMode": "private",
        "UsernsMode": frame.user.namespace,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        "NanoCpus": int(limits.cpus * 1e9),
        "Ulimits": _ulimits(limits),
        "CgroupParent": frame.group,
    }
    return {key: value for key, value in held.items() if value not in ("", 0) or value is False}


def log_bytes(limits: SandboxLimits) -> int:
    """How much the engine keeps of what is printed; it is read again only when Windlass was restarted."""
    least, most = LOG_BYTES
    return max(least, min(2 * limits.output_bytes, most))


def _ulimits(limits: SandboxLimits) -> list[dict[str, Any]]:
    threads = max(LEAST_THREADS, min(limits.processes * THREADS_PER_PROCESS, MOST_THREADS))
    asked = {
        "nofile": _at_most(resource.RLIMIT_NOFILE, OPEN_FILES),
        "nproc": _at_most(resource.RLIMIT_NPROC, threads),  # the kernel counts a user's threads in all containers
        "fsize": limits.file_bytes,
        "core": 0,
        **({"cpu": limits.cpu_s} if limits.cpu_s else {}),
    }
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in asked.items()]


def _at_most(which: int, value: int) -> int:
    hard = resource.getrlimit(which)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _tmpfs(size: int) -> str:
    return f"rw,exec,nosuid,nodev,size={size},mode=1777"


def _files(spec: RunSpec, frame: Frame) -> dict[str, Any]:
    where = spec.workdir_inside or str(spec.workdir)
    mounts = [_bind(spec.workdir, where, is_writable=not spec.is_read_only)]
    mounts += [_bind(path, f"{where}/{path.relative_to(spec.workdir)}", is_writable=True) for path in frame.writes]
    mounts += [_bind(mount.source, mount.target, is_writable=mount.is_writable) for mount in spec.mounts]
    mounts += [_bind(path, str(path), is_writable=False) for path in frame.reads]
    if frame.stdin:
        mounts.append(_bind(frame.stdin, STDIN, is_writable=False))
    return {"Mounts": mounts}


def _bind(source: Path, target: str, *, is_writable: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": not is_writable}
