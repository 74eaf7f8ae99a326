"""A filter for the system calls of a sandboxed process, as the program that bubblewrap hands to the kernel.

Namespaces hide files, processes and networks, but not all of a kernel: a session's keys are inherited through them,
sockets to the hypervisor (AF_VSOCK) know no network namespace, and most holes are found in parts that builds and tests
never call. So these calls are answered with an error: keys, new namespaces, mounts, bpf, perf, userfaultfd, io_uring,
and sockets of other families than local ones, IPv4, IPv6 and netlink. Everything else is left alone; the filter is one
wall more and not the wall. Unknown architectures get no filter, and the runner says so.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… flag of clone(2)
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
X32_CALLS = 0x40000000
ALLOW, ERROR = 0x7FFF0000, 0x00050000
LOAD, RETURN, IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16

# From 424 on all architectures have the same numbers.
_COMMON = "open_tree=428 move_mount=429 fsopen=430 fsconfig=431 fsmount=432 fspick=433 mount_setattr=442 clone3=435"
_IO_URING = "io_uring_setup=425 io_uring_enter=426 io_uring_register=427"
ABSENT = {"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "socketcall"}  # programs do without these


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One way into the kernel: the kernel's mark for it and its numbers. `socketcall` hides its family from filters."""

    mark: int
    clone: int
    socket: int
    own: str

    @property
    def calls(self) -> Mapping[str, int]:
        """What is refused whatever its arguments, by name."""
        pairs = (pair.split("=") for pair in f"{self.own} {_COMMON} {_IO_URING}".split())
        return {name: int(number) for name, number in pairs}


X86_64 = Architecture(
    mark=0xC000003E,
    clone=56,
    socket=41,
    own="add_key=248 request_key=249 keyctl=250 unshare=272 setns=308 mount=165 umount2=166 pivot_root=155 bpf=321 "
    "perf_event_open=298 userfaultfd=323 open_by_handle_at=304 kexec_load=246 init_module=175 finit_module=313",
)
I386 = Architecture(
    mark=0x40000003,
    clone=120,
    socket=359,
    own="add_key=286 request_key=287 keyctl=288 unshare=310 setns=346 mount=21 umount=22 umount2=52 pivot_root=217 "
    "bpf=357 perf_event_open=336 userfaultfd=374 open_by_handle_at=342 kexec_load=283 init_module=128 "
    "finit_module=350 socketcall=102",
)
AARCH64 = Architecture(
    mark=0xC00000B7,
    clone=220,
    socket=198,
    own="add_key=217 request_key=218 keyctl=219 unshare=97 setns=268 mount=40 umount2=39 pivot_root=41 bpf=280 "
    "perf_event_open=241 userfaultfd=282 open_by_handle_at=265 kexec_load=104 init_module=105 finit_module=273",
)
MACHINES = {"x86_64": (X86_64, I386), "aarch64": (AARCH64,)}


def program(machine: str = "") -> bytes:
    """The filter for this machine (or another), as an array of `struct sock_filter`; b'' for one that is not known."""
    ways = MACHINES.get(machine or platform.machine(), ())
    if not ways:
        return b""
    steps = [_step(LOAD, ARCHITECTURE_AT)]
    for way in ways:
        block = _block(way)
        steps += [_step(IF_EQUAL, way.mark, no=len(block)), *block]
    return b"".join([*steps, _error(errno.ENOSYS)])


def _block(way: Architecture) -> Sequence[bytes]:
    """What is answered to the calls of one architecture; ends in an answer, whatever is called."""
    steps = [_step(LOAD, NUMBER_AT)]
    if way is X86_64:
        steps += [_step(IF_AT_LEAST, X32_CALLS, no=1), _error(errno.ENOSYS)]
    for name, number in way.calls.items():
        steps += [_step(IF_EQUAL, number, no=1), _error(errno.ENOSYS if name in ABSENT else errno.EPERM)]
    namespaces = [_step(LOAD, FIRST_ARGUMENT_AT), _step(IF_ANY_BIT, NEW_NAMESPACES, no=1), _error(errno.EPERM)]
    steps += [_step(IF_EQUAL, way.clone, no=len(namespaces) + 1), *namespaces, _allow()]
    known = [_step(IF_EQUAL, family, yes=len(FAMILIES) - n) for n, family in enumerate(FAMILIES)]
    families = [_step(LOAD, FIRST_ARGUMENT_AT), *known, _error(errno.EAFNOSUPPORT)]
    return [*steps, _step(IF_EQUAL, way.socket, no=len(families)), *families, _allow()]


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _error(number: int) -> bytes:
    return _step(RETURN, ERROR | number)


def _allow() -> bytes:
    return _step(RETURN, ALLOW)
