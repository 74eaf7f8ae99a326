"""Which parts of the machine are here: `missing(part)` is '' or the reason."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from tests.support import docker, podman
from windlass.adapters.runners.egress import proxy as egress
from windlass.core.errors import Refused


@functools.cache
def missing(part: str) -> str:
    """Why `part` cannot be used here, or ''."""
    match part:
        case "postgres":
            is_here = os.environ.get("WINDLASS_TEST_POSTGRES") or postgres_bin() or _has_module("pgserver")
            return "" if is_here else "no PostgreSQL server (apt: postgresql)"
        case "bubblewrap":
            return _bubblewrap()
        case "podman":
            return podman.why_missing()
        case "docker":
            return docker.why_missing()
        case "squid":
            return _squid()
        case "node":
            return "" if shutil.which("npm") and shutil.which("node") else "no Node.js with npm"
        case "openssl":
            return "" if shutil.which("openssl") else "no openssl command"
        case "chromium":
            return "" if shutil.which("chromium") else "no chromium (apt: chromium)"
        case "root":
            return "" if os.geteuid() == 0 else "run as root"
        case _:
            raise AssertionError(f"unknown part {part!r}")


def postgres_bin() -> Path | None:
    """The newest installed PostgreSQL server's bin directory, version 15 or later."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parent.parent.name))
    usable = [p.parent for p in found if int(p.parent.parent.name) >= 15]
    return usable[-1] if usable else None


def _has_module(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _squid() -> str:
    try:
        egress.programs()
    except Refused as error:
        return f"{error.message} (apt: squid socat)"
    return ""


def _bubblewrap() -> str:
    if not shutil.which("bwrap"):
        return "no bwrap command (apt: bubblewrap)"
    probe = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-user", "--unshare-pid", "--unshare-net"]
    done = subprocess.run([*probe, "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"bwrap cannot make namespaces here: {done.stderr.strip()[:200]}"
