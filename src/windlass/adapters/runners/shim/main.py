"""Sees one run through to its end, whatever becomes of Windlass.

It starts the command that `spec.json` names, keeps what it prints, holds its deadlines and limits, kills everything
it left behind, and writes `result.json` last, by rename. It holds a lock (file descriptor 3, on `alive`) as long as
it lives. It refuses to start a command for a directory whose run was started before.
"""
# ruff: noqa: PTH108, PTH110, PTH118, PTH123 - pathlib doubles the time this takes to start

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time

from windlass.adapters.runners.shim.files import Spec, write_json
from windlass.adapters.runners.shim.inlets import joined_pair, start_relay
from windlass.adapters.runners.shim.launch import adopt_orphans, sealed, start
from windlass.adapters.runners.shim.life import TICK_S, Life
from windlass.adapters.runners.shim.output import Output
from windlass.adapters.runners.shim.tree import Use, kill_all, reap, stat_fields

ALIVE_FD = 3
READ_BYTES = 1 << 18
DRAIN_S = 2.0
UNSTARTABLE = ("/bin/sh", "-c", 'echo "$0" >&2; exit 127')


def drain(pipe: int, output: Output, life: Life, until: float) -> bool:
    """Take what is in the pipe; True when nobody can write any more."""
    while True:
        try:
            data = os.read(pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return True
        output.add(data)
        life.sign()
        if time.monotonic() > until:
            return False


def follow(
    child: int, pipe: int, wake: int, output: Output, life: Life, use: Use, stop_file: str
) -> tuple[str, str, int | None]:
    """Until the child ends or must end: (how it ended, missed deadline, wait status)."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    poller.register(wake, select.POLLIN)
    status: int | None = None
    checked = 0.0
    while True:
        for fd, _ in poller.poll(life.next_s() * 1000 + 1):
            if fd == wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            elif drain(pipe, output, life, time.monotonic() + TICK_S):
                poller.unregister(pipe)
        status, _ = reap(child, status)
        if status is not None:
            return "exited", "", status
        if os.path.exists(stop_file):
            return "stopped", "", None
        if time.monotonic() - checked >= TICK_S:
            checked = time.monotonic()
            life.look()
            over = use.over()
            if over:
                output.add(b"\nwindlass: %s; the run was ended\n" % over.encode())
                return "exited", "", signal.SIGKILL
        missed = life.missed()
        if missed:
            return "timed_out", missed, None


def exit_code(status: int | None) -> int | None:
    """128 plus the signal for a command that a signal ended, as shells say it."""
    if status is None:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def begin(spec: Spec, use: Use, at: str, output: int) -> int:
    """Start the command, and what carries its inlets' bytes; the command's process id."""
    stdin = sealed(os.path.join(at, "stdin"))
    if not spec.get("inlets"):
        return start(spec, use, stdin, output)
    if not spec["inlets_inside"]:
        try:
            start_relay(spec, None, output)
        except OSError as error:
            spec["argv"] = [*UNSTARTABLE, f"windlass: cannot open a port on loopback: {error}"]
        return start(spec, use, stdin, output)
    ours, theirs = joined_pair()
    child = start(spec, use, stdin, output, theirs.fileno())
    theirs.close()
    start_relay(spec, ours, output)
    ours.close()
    return child


def run(spec: Spec, at: str) -> None:
    """One run from its first process to its result."""
    use = Use(spec)
    use.make_groups()
    pipe, pipe_in = os.pipe()
    wake, wake_in = os.pipe()
    for fd in (pipe, wake, wake_in):
        os.set_blocking(fd, False)
    for number_ in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number_, lambda *_: None)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    output, life = Output(os.path.join(at, "output"), spec["output_bytes"]), Life(spec)
    child = begin(spec, use, at, pipe_in)
    os.close(pipe_in)
    os.unlink(os.path.join(at, "stdin"))
    ended, deadline, status = follow(child, pipe, wake, output, life, use, os.path.join(at, "stop"))
    duration_s = time.monotonic() - life.began
    kill_all(child, status, use)
    until = time.monotonic() + DRAIN_S
    while not drain(pipe, output, life, until) and time.monotonic() < until:
        time.sleep(0.005)
    output.close()
    cpu_s, peak = use.measure()
    use.remove_groups()
    write_json(
        os.path.join(at, "result.json"),
        {
            "ended": ended,
            "exit_code": exit_code(status) if ended == "exited" else None,
            "deadline": deadline,
            "duration_s": duration_s,
            "cpu_s": cpu_s,
            "peak_memory_bytes": peak,
            "output_bytes": output.total,
        },
    )


def main(at: str) -> int:
    """Take over the directory, say who we are, and run."""
    os.set_inheritable(ALIVE_FD, False)
    os.closerange(ALIVE_FD + 1, os.sysconf("SC_OPEN_MAX"))  # what Windlass itself inherited is not the agent's business
    adopt_orphans()
    with open(os.path.join(at, "spec.json"), encoding="utf-8") as file:
        spec = json.load(file)
    os.unlink(file.name)  # its environment may hold an agent's key
    started = os.path.join(at, "started.json")
    if os.path.exists(started):
        return 1
    write_json(started, {"pid": os.getpid(), "start_ticks": int(stat_fields("self")[19])})
    run(spec, at)
    return 0
