"""Starts the command of a run: its own session, its control groups, its limits, sealed standard input.

What cannot be started is said in the output, with exit code 127, as a shell does.
"""
# ruff: noqa: PTH123 - pathlib doubles the time this takes to start

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal

from windlass.adapters.runners.shim.files import Spec
from windlass.adapters.runners.shim.tree import Use

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
EXIT_NOT_STARTED = 127
FILTER_FD, WAY_FD = 3, 4
KEYCTL = {"x86_64": 250, "aarch64": 219}
KEYCTL_JOIN_SESSION_KEYRING = 1
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent has gone."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int) -> None:
    """Be killed when the process `parent`, which has just forked this one, dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_NOT_STARTED)


def start(spec: Spec, use: Use, stdin: int, output: int, way: int | None = None) -> int:
    """Fork the command into its own session, groups and limits; `way` becomes its descriptor `WAY_FD`."""
    shim = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        die_with(shim)
        use.join_groups()
        for source, target in ((stdin, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        if way is not None:
            os.dup2(way, WAY_FD)
        leave_keys_behind()
        if spec.get("filter"):
            os.dup2(os.open(spec["filter"], os.O_RDONLY | os.O_CLOEXEC), FILTER_FD)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(spec["cwd"])
        os.nice(spec["nice"])
        for name, value in spec["rlimits"].items():
            limit(getattr(resource, name), value)
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - argv is data, no shell is wanted
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the shim's own code after a fork
        os.write(2, f"windlass: cannot start {spec['argv'][0]}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(EXIT_NOT_STARTED)


def leave_keys_behind() -> None:
    """A session keyring of its own: the one of who runs Windlass may hold keys, and is inherited through namespaces."""
    number = KEYCTL.get(os.uname().machine)
    if number is not None:
        _libc.syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None)


def limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def sealed(path: str) -> int:
    """The command's standard input as bytes that nobody can change."""
    with open(path, "rb") as file:
        data = file.read()
    memory = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(memory, "wb", closefd=False) as copy:
        copy.write(data)
    os.lseek(memory, 0, os.SEEK_SET)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return memory
