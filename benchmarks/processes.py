"""Other processes of a benchmark: started clean of our settings, ended by SIGTERM, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

STOP_S = 15.0


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a readable standard output, whose standard error is a file."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
    with log.open("wb") as errors:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def module(name: str, *arguments: object) -> list[str]:
    """How a module of ours is started as a process."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def first_line(process: subprocess.Popen[str], log: Path) -> Any:
    """The JSON that it prints when it is ready. Raises RuntimeError with its log when it ends before."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"it did not start: {log.read_text()[-2000:]}")
    return json.loads(line)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
