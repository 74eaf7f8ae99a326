"""Podman's own filter for system calls, without the ones that open a new world inside the container.

Docker's filter forbids new namespaces to who has no capability; Podman's lets everybody make a user namespace, be root
in it, and reach the parts of the kernel where most holes are found; and both let a container without a network speak
to the hypervisor (AF_VSOCK), which knows no network namespace. So the filter that Podman would use is taken, and
those calls are taken out of it. Where it is not found, Podman's own is used unchanged, and the runner says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from windlass.adapters.runners.syscalls import FAMILIES, NEW_NAMESPACES

PLACES = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM, ENOSYS = 1, 38
NETLINK, AUDIT = 16, 9
MOUNTING = (
    *("mount", "umount", "umount2", "pivot_root", "mount_setattr", "move_mount", "open_tree"),
    *("fsopen", "fsmount", "fsconfig", "fspick"),
)
FORBIDDEN = ("unshare", "setns", "keyctl", "add_key", "request_key", *MOUNTING)


def narrowed(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The same filter without the forbidden calls; clone3 looks absent, so that programs fall back on clone."""
    taken = {*FORBIDDEN, "clone", "clone3", "socket", "socketcall"}
    rules = [
        {**rule, "names": names}
        for rule in profile["syscalls"]
        if (names := [name for name in rule["names"] if rule["action"] != ALLOW or name not in taken])
    ]
    plain = {"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    added = [
        {"names": list(FORBIDDEN), "action": REFUSE, "args": [], "errnoRet": EPERM, "includes": {}, "excludes": {}},
        _allowed("clone", plain),
        {"names": ["clone3"], "action": REFUSE, "args": [], "errnoRet": ENOSYS, "includes": {}, "excludes": {}},
        *(_allowed("socket", _is(0, family)) for family in FAMILIES if family != NETLINK),
        _allowed("socket", _is(0, NETLINK), {**_is(2, AUDIT), "op": "SCMP_CMP_NE"}),
    ]
    kept = [rule for rule in rules if rule["action"] == ALLOW or not taken & set(rule["names"])]
    return {**profile, "syscalls": [*kept, *added]}


def _allowed(name: str, *arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"names": [name], "action": ALLOW, "args": list(arguments), "includes": {}, "excludes": {}}


def _is(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ"}


def write(at: Path, places: Sequence[Path] = PLACES) -> Path | None:
    """The narrowed filter as a file for the engine; None when there is none to narrow."""
    for place in places:
        try:
            text = json.dumps(narrowed(json.loads(place.read_text())))
        except (OSError, ValueError, LookupError, TypeError):
            continue
        fresh = at.with_name(f".{at.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(at)
        return at
    return None
