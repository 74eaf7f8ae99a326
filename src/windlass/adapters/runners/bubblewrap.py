"""The sandbox: what a command sees of the machine when bubblewrap holds it.

It sees the system's programs and libraries read-only, an `/etc` made for it, a private `/tmp`, its work directory at
its own path (the only host directory it can write), and what the operator lets it read. Everything else of the host
is not hidden but absent: homes, sockets, keys, other runs, other processes, and the network unless it is needed. A
run's inlets (`shim/inlets.py`) are ports on its own loopback; of what they lead to it sees nothing either.

Root needs one thing more. A process of uid 0 without capabilities may still write most of /proc/sys, and from there
become root outside (`kernel.core_pattern`): /proc and /proc/sys are mounted read-only, always. Of what /proc tells of
the whole machine, the parts that name keys and memory are covered. What no namespace hides is refused by a filter for
system calls (`syscalls.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from windlass.adapters.runners import syscalls
from windlass.adapters.runners.shim.inlets import OPENER
from windlass.adapters.runners.shim.launch import FILTER_FD, WAY_FD
from windlass.core.errors import Refused
from windlass.ports import Inlet, RunSpec

UID = 1000
TMP_BYTES = 2 << 30
SHM_BYTES = 256 << 20
HOME = "/tmp/home"  # noqa: S108 - a path inside the sandbox's own /tmp
PROBE_TIMEOUT_S = 10
FILTER, NOTHING = "filter", "nothing"  # beside the accounts, outside
COVERED = (
    *("keys", "key-users", "kcore", "kpagecount", "kpageflags", "latency_stats", "sched_debug", "slabinfo"),
    *("timer_list", "vmallocinfo"),
)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "mime.types"),
    *("protocols", "services", "ca-certificates", "ssl/certs", "ssl/openssl.cnf", "maven"),
    *("pki/tls/certs", "pki/tls/cert.pem", "pki/ca-trust/extracted"),
)
ETC_NETWORK = ("resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf")
PASSWD = f"agent:x:{UID}:{UID}:agent:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = f"agent:x:{UID}:\nnogroup:x:65534:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A bubblewrap that works here. `can_forbid_namespaces`: it knows --disable-userns (0.8.0 and later).

    `filters_calls`: the kernel takes our filter for system calls; it forbids new namespaces as well.
    """

    program: str
    version: str
    can_forbid_namespaces: bool
    filters_calls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSandbox:
    """Why there is none, in one line."""

    reason: str


def detect() -> Sandbox | NoSandbox:
    """Try bubblewrap for real; version numbers say nothing about what the kernel allows."""
    program = which("bwrap")
    if program is None:
        return NoSandbox(reason="the bwrap command is not installed (package bubblewrap)")
    try:
        version = _run([program, "--version"]).stdout.strip().removeprefix("bubblewrap ")
        error = ""
        for can_forbid, filters in ((True, True), (False, True), (True, False), (False, False)):
            sandbox = Sandbox(program=program, version=version, can_forbid_namespaces=can_forbid, filters_calls=filters)
            tried = _tried(sandbox)
            if tried.returncode == 0:
                return sandbox
            error = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"exit code {tried.returncode}"
    except (OSError, subprocess.TimeoutExpired) as failure:
        error = str(failure)
    return NoSandbox(reason=f"bwrap cannot make namespaces here: {error[:200]}")


def _tried(sandbox: Sandbox) -> subprocess.CompletedProcess[str]:
    held = [*_namespaces(sandbox, needs_network=False), *_system(())]
    given, filling = os.pipe()
    try:
        os.write(filling, syscalls.program())
        os.close(filling)
        filtered = ("--seccomp", str(given)) if sandbox.filters_calls else ()
        return _run([sandbox.program, *held, *filtered, "--", "/bin/sh", "-c", ":"], given)
    finally:
        os.close(given)


def _run(argv: Sequence[str], *given: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_S, pass_fds=given)


def wrap(sandbox: Sandbox, spec: RunSpec, *, system_reads: Sequence[Path], etc: Path) -> tuple[str, ...]:
    """The command line that runs `spec.argv` inside. `etc` holds `passwd` and `group` (see `write_etc`).

    The filter for system calls is read from descriptor `FILTER_FD`, which the shim opens.

    The environment is not in it: it is given to bubblewrap clean, because command lines are public on a host.
    """
    network = [*_binds(Path("/etc") / name for name in ETC_NETWORK)] if spec.needs_network else []
    workdir = str(spec.workdir.resolve())
    return (
        sandbox.program,
        *_namespaces(sandbox, needs_network=spec.needs_network),
        *_system((*system_reads, *(own_python() if spec.inlets else ()))),
        *_covered(etc / NOTHING),
        *network,
        *("--ro-bind", str(etc / "passwd"), "/etc/passwd", "--ro-bind", str(etc / "group"), "/etc/group"),
        *_binds(readable(spec.reads)),
        *_workdir(spec, workdir),
        *("--remount-ro", "/", "--chdir", workdir),
        *(("--seccomp", str(FILTER_FD)) if sandbox.filters_calls else ()),
        "--",
        *_opening(spec),
        *spec.argv,
    )


def _workdir(spec: RunSpec, workdir: str) -> tuple[str, ...]:
    """The work directory; a reader's is read-only but for what it may write."""
    if not spec.is_read_only:
        return ("--bind", workdir, workdir)
    places = [f"{workdir}/{name}" for name in spec.writes]
    return ("--ro-bind", workdir, workdir, *(part for place in places for part in ("--bind", place, place)))


def _opening(spec: RunSpec) -> tuple[str, ...]:
    """What stands before the command to open its ports inside; the sockets they lead to are never shown in there."""
    if not spec.inlets:
        return ()
    ports = ",".join(str(inlet.port) for inlet in spec.inlets)
    return (sys.executable, "-I", "-S", "-c", OPENER, str(WAY_FD), ports)


def check_inlets(inlets: Sequence[Inlet]) -> None:
    """Raises Refused (inlet_unusable) for one that leads to no socket."""
    for inlet in inlets:
        if not inlet.socket.is_socket() or not 0 < inlet.port < 65536:
            raise unusable(inlet)


def unusable(inlet: Inlet) -> Refused:
    """What is to be raised for an inlet that leads nowhere."""
    return Refused(
        f"inlet {inlet.port} leads to {inlet.socket}, which is no usable socket",
        code="inlet_unusable",
        hint="it must be listened on before the run starts",
    )


def programs_in(reads: Sequence[Path]) -> list[Path]:
    """The directories of programs in what is shown of Python installations and virtual environments."""
    return [path / "bin" for path in reads if (path / "pyvenv.cfg").exists() or (path / "bin/python3").exists()]


def write_etc(etc: Path) -> None:
    """The accounts that exist inside: one, without a password and without a host's names; the filter; an empty file."""
    etc.mkdir(exist_ok=True)
    (etc / FILTER).write_bytes(syscalls.program())
    (etc / NOTHING).write_bytes(b"")
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)


def readable(reads: Sequence[Path]) -> tuple[Path, ...]:
    """What the operator lets a run read, and the Python a virtual environment among it was made from.

    Raises Refused (mount_missing) for a path that is not there: silence would show up as a puzzling test failure.
    """
    found: dict[Path, None] = {}
    for path in reads:
        if not path.exists():
            raise Refused(f"cannot mount {path}: it does not exist", code="mount_missing", hint="name an existing path")
        found[path.absolute()] = None
        origin = (path / "bin" / "python").resolve().parent.parent if (path / "pyvenv.cfg").exists() else path
        if origin != path and any((origin / "lib").glob("python3*")) and not origin.is_relative_to("/usr"):
            found[origin] = None
    return tuple(found)


def own_python() -> tuple[Path, ...]:
    """The Python that runs Windlass, so that tests in Python can run where the system has none."""
    prefixes = dict.fromkeys(Path(prefix).resolve() for prefix in (sys.base_prefix, sys.prefix))
    return tuple(prefix for prefix in prefixes if not prefix.is_relative_to("/usr") and prefix != Path("/"))


def _namespaces(sandbox: Sandbox, *, needs_network: bool) -> tuple[str, ...]:
    return (
        *("--unshare-all", "--unshare-user", "--uid", str(UID), "--gid", str(UID), "--hostname", "sandbox"),
        *(("--share-net",) if needs_network else ()),
        *(("--disable-userns",) if sandbox.can_forbid_namespaces else ()),
        *("--cap-drop", "ALL", "--new-session", "--die-with-parent"),
    )


def _system(reads: Sequence[Path]) -> tuple[str, ...]:
    etc = [Path("/etc") / name for name in ETC] + sorted(Path("/etc").glob("java-*-openjdk"))
    return (
        *(part for name in SYSTEM for part in _as_on_host(Path(name))),
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--remount-ro", "/proc"),
        *("--dev", "/dev", "--size", str(SHM_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--remount-ro", "/dev"),
        *("--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp", "--dir", HOME),  # noqa: S108
        *_binds(path for path in etc if path.exists()),
        *_binds(reads),
    )


def _covered(by: Path) -> tuple[str, ...]:
    """What /proc tells of the whole machine and nobody inside needs, behind an empty file."""
    places = [f"/proc/{name}" for name in COVERED if Path("/proc", name).exists()]
    return tuple(part for place in places for part in ("--ro-bind", str(by), place))


def _as_on_host(path: Path) -> tuple[str, ...]:
    if path.is_symlink():
        return ("--symlink", str(path.readlink()), str(path))
    return ("--ro-bind", str(path), str(path)) if path.exists() else ()


def _binds(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(part for path in paths for part in ("--ro-bind-try", str(path), str(path)))
