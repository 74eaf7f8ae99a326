"""What no namespace hides: the host's keys, the hypervisor, the kernel's rarely used parts. Asked from the inside."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contracts.runners import KINDS, Bench, benches
from tests.support.podman import PYTHON_IMAGE

from windlass.adapters.runners.syscalls import AARCH64, ABSENT, FAMILIES, I386, MACHINES, X86_64, Architecture, program

ALLOWED = 0x7FFF0000
CANARY = b"windlass-test-canary"
SESSION_KEYRING = -3
NUMBERS = X86_64 if platform.machine() == "x86_64" else AARCH64

ASK = f"""\
import ctypes, errno, os, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *given):
    ctypes.set_errno(0)
    return "ok" if libc.syscall(number, *given) >= 0 else errno.errorcode[ctypes.get_errno()]
calls = {dict(NUMBERS.calls)!r}
print("search", call(calls["keyctl"], 10, {SESSION_KEYRING}, b"user", {CANARY!r}, 0))
print("add", call(calls["add_key"], b"user", b"x", b"y", 1, {SESSION_KEYRING}))
for name in ("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "unshare", "setns"):
    print(name, call(calls[name], 0x10000000, 0, 0, 0, 0))
for flag in (0x10000000, 0x40000000, 0x00020000):
    print("clone", call({NUMBERS.clone}, flag | 17, 0, 0, 0, 0))
for family in (40, 38, 17, 21):
    try:
        socket.socket(family, socket.SOCK_STREAM)
        print("family", family, "ok")
    except OSError as error:
        print("family", family, errno.errorcode[error.errno])
try:
    print("keys", {CANARY!r} in open("/proc/keys", "rb").read())
except OSError:
    print("keys False")
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    socket.socket(family, socket.SOCK_DGRAM).close()
one = threading.Thread(target=lambda: print("thread"))
one.start()
one.join()
if os.fork() == 0:
    print("child", flush=True)
    os._exit(0)
os.wait()
"""


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in benches(request.param, tmp_path, request):
        yield made


@pytest.fixture
def key() -> Iterator[None]:
    """A key in the session of who runs Windlass."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    made = libc.syscall(NUMBERS.calls["add_key"], b"user", CANARY, b"secret", 6, SESSION_KEYRING)
    if made < 0:
        pytest.skip(f"no keys here: {errno.errorcode[ctypes.get_errno()]}")
    yield
    libc.syscall(NUMBERS.calls["keyctl"], 9, made, SESSION_KEYRING)


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no filter for this machine")
async def test_what_no_namespace_hides_is_refused_and_everything_else_works(bench: Bench, key: None) -> None:
    image = bench.podman.need(PYTHON_IMAGE) if bench.podman else ""
    text = await bench.says("exec python3 -u -", stdin=ASK.encode(), image=image)
    told = [line.rpartition(" ") for line in text.splitlines() if line not in ("thread", "child")]
    assert {"thread", "child"} <= set(text.splitlines()), text
    assert len(told) == 16, text
    assert [f"{what} {how}" for what, _, how in told if how == "ok" or how == "True"] == []


@pytest.mark.needs("bubblewrap")
async def test_the_filter_is_said_and_its_absence_too(tmp_path: Path) -> None:
    async for bench in benches("process", tmp_path, None):  # type: ignore[arg-type]
        assert "not filtered" not in bench.runner.isolation()


# ------------------------------------------------------------------ the program itself


def answer(way: Architecture, number: int, first: int = 0, *, machine: str) -> str:
    """What the kernel would answer: the filter's steps, carried out."""
    steps = list(struct.iter_unpack("=HBBI", program(machine)))
    data = struct.pack("=IIQQ", number, way.mark, 0, first)
    held, at = 0, 0
    while True:
        code, yes, no, value = steps[at]
        match code:
            case 0x20:
                (held,) = struct.unpack_from("=I", data, value)
                at += 1
            case 0x06:
                return "allow" if value == ALLOWED else errno.errorcode[value & 0xFFFF]
            case _:
                holds = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
                at += 1 + (yes if holds else no)


WAYS = [(machine, way) for machine, ways in MACHINES.items() for way in ways]


@pytest.mark.parametrize(("machine", "way"), WAYS, ids=["x86_64", "i386", "aarch64"])
def test_the_answers_of_every_architecture(machine: str, way: Architecture) -> None:
    for name, number in way.calls.items():
        assert answer(way, number, machine=machine) == ("ENOSYS" if name in ABSENT else "EPERM"), name
    refused = set(way.calls.values())
    for number in range(470):
        if number not in refused | {way.clone, way.socket}:
            assert answer(way, number, 0x7E020000, machine=machine) == "allow", number
    assert answer(way, way.clone, 0x01200011, machine=machine) == "allow"
    assert answer(way, way.clone, 0x003D0F00, machine=machine) == "allow"
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(way, way.clone, flag | 17, machine=machine) == "EPERM"
    for family in range(50):
        wanted = "allow" if family in FAMILIES else "EAFNOSUPPORT"
        assert answer(way, way.socket, family, machine=machine) == wanted
    assert answer(way, way.socket, 2 | 1 << 40, machine=machine) == "allow", "a family is an int"


def test_other_ways_into_the_kernel_are_closed() -> None:
    assert answer(X86_64, 0x40000000 + 41, machine="x86_64") == "ENOSYS"
    assert answer(AARCH64, 198, machine="x86_64") == "ENOSYS"
    assert answer(I386, I386.calls["socketcall"], machine="x86_64") == "ENOSYS"
    assert program("riscv64") == b""


def test_the_program_fits_the_kernel() -> None:
    assert all(len(program(machine)) // 8 <= 4096 for machine in MACHINES)
