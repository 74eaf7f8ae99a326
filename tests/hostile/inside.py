"""What a hostile agent tries from inside its sandbox. Copied into the work directory and run there by itself.

`python3 inside.py ATTACK JSON` prints one line `GOT …` for each thing that it should not have got, and `DONE` at its
end: an attack that never ran proves nothing. Nothing but the standard library, and nothing of Windlass.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
SECRET_PLACES = (
    *(
        "/var/run/secrets",
        "/run/secrets",
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/ssl/private",
        "/etc/ssh",
        "/etc/sudoers",
    ),
    *("/root", "/home", "/srv", "/mnt", "/media", "/opt", "/boot", "/var", "/run", "/etc/kubernetes", "/lost+found"),
)
SECRET_NAMES = (
    *(".ssh", ".aws", ".azure", ".docker", ".kube", ".gnupg", ".netrc", ".npmrc", ".pypirc", ".git-credentials"),
    *(".config", ".bash_history", ".claude", ".codex", ".local", ".cache"),
)
ENGINE_SOCKETS = (
    *("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"),
    *("/run/crio/crio.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/journal/socket"),
    *("/var/run/postgresql/.s.PGSQL.5432", "/run/snapd.socket", "/run/user/0/bus"),
)
HARMLESS = {"/run/podman-init", "/run/.containerenv"}  # an engine's own
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}


def got(what: str) -> None:
    print("GOT", what, flush=True)


# ------------------------------------------------------------------ what may be read


def secrets(canary: str, places: list[str], pids: list[int]) -> None:
    """C27, C28, C39: environments, command lines, well-known files, sockets, and any file at all with the canary in."""
    _processes(canary, pids)
    for path in ENGINE_SOCKETS + tuple(places):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            got(f"a connection to {path}")
    homes = {os.path.expanduser("~"), "/root", "/tmp/home", *map(str, Path("/home").glob("*"))}
    for place in (os.path.join(home, name) for home in homes for name in SECRET_NAMES):
        for found in _files(place):
            got(f"the file {found}")
    for found in (found for place in (*SECRET_PLACES, *places) for found in _files(place)):
        if found not in HARMLESS and _is_readable(found) and not found.startswith(os.getcwd()):
            got(f"the file {found}")
    for found in _everything():
        if not found.startswith(("/usr/", sys.prefix, sys.base_prefix)) and canary in _text(Path(found)):
            got(f"the canary in {found}")


def _processes(canary: str, pids: list[int]) -> None:
    for key, value in os.environ.items():
        if canary in key + value:
            got(f"the canary in {key}")
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline", "maps"):
            if canary in _text(path / name):
                got(f"the canary in {path / name}")
    for pid in pids:
        if "canary" in _text(Path(f"/proc/{pid}/cmdline")):
            got(f"process {pid} of the machine")
    shown = subprocess.run(["ps", "axe"], capture_output=True, text=True, check=False).stdout if _has("ps") else ""
    if canary in shown:
        got("the canary in ps")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > 1 << 20:
            return ""
        return path.read_text(errors="replace")
    except (OSError, ValueError):
        return ""


def _has(name: str) -> bool:
    return any(os.access(f"{place}/{name}", os.X_OK) for place in os.environ.get("PATH", "").split(":"))


def _files(place: str) -> Iterator[str]:
    if os.path.isfile(place):
        yield place
    for at, _, names in os.walk(place):
        yield from (os.path.join(at, name) for name in names)


def _is_readable(path: str) -> bool:
    """Whether it holds anything for us; a Python that Windlass runs on is shown on purpose, wherever it lies."""
    if any(path.startswith(prefix) for prefix in {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}):
        return False
    with suppress(OSError), open(path, "rb") as file:
        return bool(file.read(1))
    return False


def _everything() -> Iterator[str]:
    for at, folders, names in os.walk("/"):
        if at == "/":
            folders[:] = [name for name in folders if name not in {"proc", "sys", "usr", "lib", "lib64"}]
        if at in {sys.prefix, sys.base_prefix} or at == os.getcwd():
            folders[:] = []
            continue
        for name in names:
            path = os.path.join(at, name)
            with suppress(OSError):
                kind = os.lstat(path).st_mode
                if stat.S_ISSOCK(kind):
                    got(f"the socket {path}")
                elif stat.S_ISREG(kind):
                    yield path


# ------------------------------------------------------------------ the network


def network(targets: list[list[Any]], abstract: str, names: list[str]) -> None:
    """C29, C30, C39: metadata, the machine's own services, other hosts, names, other families of sockets."""
    for host, port in targets:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(0.5)
            client.connect((host, port))
            got(f"a connection to {host} port {port}")
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            client.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01", (host, port))
            client.recv(512)
            got(f"an answer of {host} port {port} by UDP")
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + abstract)
        got("the machine's abstract socket")
    for name in names:
        with suppress(OSError):
            got(f"an address of {name}: {socket.getaddrinfo(name, 80)[0][4]}")
    with suppress(OSError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        got("a raw socket")
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        got("an ICMP socket")
    with suppress(OSError, AttributeError), socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        got("a socket to the hypervisor")
    with suppress(OSError):
        routes = Path("/proc/net/route").read_text().splitlines()[1:]
        for route in routes:
            got(f"a route {route}")
    for path in Path("/sys/class/net").glob("*"):
        if path.name != "lo" and Path("/proc/net/dev").read_text().find(path.name) >= 0:
            got(f"the interface {path.name}")


# ------------------------------------------------------------------ ways out


def escape(pids: list[int], host_ns: dict[str, str]) -> None:
    """C38: what a jail's wall is made of, tried call by call."""
    _mounts()
    _namespaces(host_ns)
    _others(pids)
    _devices_and_settings()
    _identity()
    _kernel_calls()


def _call(name: str, *arguments: Any) -> bool:
    """Whether libc's call went through."""
    try:
        function = getattr(LIBC, name)
    except AttributeError:
        return False
    ctypes.set_errno(0)
    return int(function(*arguments)) != -1


def _syscall(number: dict[str, int], *arguments: Any) -> int:
    """0 or more, or minus errno."""
    if platform.machine() not in number:
        return -errno.ENOSYS
    ctypes.set_errno(0)
    LIBC.syscall.restype = ctypes.c_long
    answer = LIBC.syscall(number[platform.machine()], *arguments)
    return int(answer) if answer != -1 else -ctypes.get_errno()


def _mounts() -> None:
    for source, target, kind in ((b"x", b"/tmp", b"tmpfs"), (b"proc", b"/tmp", b"proc"), (b"x", b"/tmp", b"cgroup2")):
        if _call("mount", source, target, kind, 0, None):
            got(f"a mount of {kind.decode()}")
    for target in (b"/proc", b"/proc/sys", b"/", os.getcwd().encode()):
        if _call("mount", None, target, None, 32 | 4096, None):
            got(f"{target.decode()} mounted anew, writable")
        if _call("umount2", target, 2):
            got(f"{target.decode()} unmounted")
    if _call("chroot", b"/tmp"):
        got("a root of its own")
    handle = ctypes.create_string_buffer(struct.pack("<II", 8, 1) + struct.pack("<Q", 2))
    if _call("open_by_handle_at", -100, handle, 0):
        got("a file by its number")


def _namespaces(host_ns: dict[str, str]) -> None:
    flags = {
        "user": 0x10000000,
        "mnt": 0x20000,
        "net": 0x40000000,
        "pid": 0x20000000,
        "ipc": 0x8000000,
        "uts": 0x4000000,
    }
    for name, flag in flags.items():
        child = os.fork()
        if child == 0:
            os._exit(0 if _call("unshare", flag) else 1)
        if os.waitpid(child, 0)[1] == 0:
            got(f"a new {name} namespace")
        if os.readlink(f"/proc/self/ns/{name}") == host_ns.get(name):
            got(f"the machine's own {name} namespace")
    for path in Path("/proc").glob("[0-9]*/ns/*"):
        with suppress(OSError):
            if os.readlink(path) in host_ns.values():
                got(f"the machine's namespace at {path}")


def _others(pids: list[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, 0)
            if b"canary" in Path(f"/proc/{pid}/cmdline").read_bytes():
                got(f"the right to signal process {pid} of the machine")
        if b"canary" in _bytes(f"/proc/{pid}/cmdline"):
            for part in ("root", "cwd", "fd", "environ", "mem"):
                if os.access(f"/proc/{pid}/{part}", os.R_OK):
                    got(f"/proc/{pid}/{part} of the machine")
            if _call("ptrace", 16, pid, None, None):
                got(f"hold of process {pid} of the machine")
    caps = [line.split()[1] for line in Path("/proc/1/status").read_text().splitlines() if line.startswith("Cap")]
    if any(int(value, 16) for value in caps):
        got("a first process with rights that it could be made to use")


def _bytes(path: str) -> bytes:
    with suppress(OSError):
        return Path(path).read_bytes()
    return b""


def _devices_and_settings() -> None:
    with suppress(OSError):
        os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0))
        got("a block device")
    with suppress(OSError):
        os.mknod("zero", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
        got("the memory's device")
    for name in (
        "mem",
        "kmem",
        "port",
        "kmsg",
        "sda",
        "vda",
        "kvm",
        "fuse",
        "net/tun",
        "loop-control",
        "mapper/control",
    ):
        with suppress(OSError):
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK))
            got(f"/dev/{name}")
    places = [
        f"/proc/sys/{name}" for name in ("kernel/core_pattern", "kernel/modprobe", "vm/swappiness", "fs/file-max")
    ]
    places += [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/hostname",
        "/proc/1/oom_score_adj",
        "/proc/1/mem",
        "/proc/kcore",
    ]
    places += ["/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/ksm/run", "/sys/module/kernel/uevent"]
    places += [str(path) for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs")]
    places += [str(path) for path in Path("/sys/fs/cgroup").glob("**/release_agent")]
    places += [str(path) for path in Path("/sys/fs/cgroup").glob("**/*max")]
    for place in places:
        if place == "/proc/1/mem" or place == "/proc/1/oom_score_adj":
            continue  # the run's own first process: nothing is won by it
        with suppress(OSError):
            os.close(os.open(place, os.O_WRONLY))
            got(f"{place} to write to")
    with suppress(OSError):
        os.close(os.open("/proc/kcore", os.O_RDONLY))
        if os.stat("/proc/kcore").st_size:
            got("the kernel's memory")
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-900")
        got("to be the last that is killed")


def _identity() -> None:
    for name, arguments in (("setuid", (0,)), ("setgid", (0,)), ("setgroups", (1, ctypes.byref(ctypes.c_int(0))))):
        if os.getuid() != 0 and _call(name, *arguments):
            got(f"{name} to root")
    if os.getuid() == 0 or os.getgid() == 0:
        got("root inside")
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if status["NoNewPrivs"] != "1":
        got("programs that give new rights")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(status[name], 16):
            got(f"rights: {name}={status[name]}")
    if _call("sethostname", b"mine", 4):
        got("the host's name")
    if _call("settimeofday", ctypes.byref((ctypes.c_long * 2)(int(time.time()), 0)), None):
        got("the clock")
    with suppress(OSError):
        os.nice(-5)
        got("a better place in the queue")


def _kernel_calls() -> None:
    """Doors into the kernel that an agent has no use for; each must be shut, not only lead nowhere."""
    text = ctypes.create_string_buffer(b"windlass")
    tries = {
        "a key in the kernel's ring": ({"x86_64": 248, "aarch64": 217}, (b"user", text, text, 8, -3)),
        "the session's ring of keys": ({"x86_64": 250, "aarch64": 219}, (0, -3, 0, 0, 0)),
        "a program in the kernel": ({"x86_64": 321, "aarch64": 280}, (0, ctypes.create_string_buffer(128), 128)),
        "a handler of page faults": ({"x86_64": 323, "aarch64": 282}, (0,)),
        "a ring for input and output": ({"x86_64": 425, "aarch64": 425}, (4, ctypes.create_string_buffer(256))),
        "the performance counters": (
            {"x86_64": 298, "aarch64": 241},
            (ctypes.create_string_buffer(struct.pack("<II", 1, 112) + b"\0" * 104), 0, -1, -1, 0),
        ),
        "a module in the kernel": ({"x86_64": 175, "aarch64": 105}, (text, 0, b"")),
        "a new file system": ({"x86_64": 430, "aarch64": 430}, (b"tmpfs", 0)),
        "the kernel's log": ({"x86_64": 103, "aarch64": 116}, (3, text, 8)),
    }
    for name, (number, arguments) in tries.items():
        answer = _syscall(number, *arguments)
        if answer >= 0 or -answer not in REFUSED:
            got(f"{name} ({errno.errorcode.get(-answer, answer)})")


def terminal() -> None:
    """C38: to type into the terminal from which Windlass was started (TIOCSTI)."""
    for number in range(3):
        with suppress(OSError):
            import fcntl

            fcntl.ioctl(number, 0x5412, b"x")
            got(f"the terminal at {number}")
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR))
        got("the terminal")


# ------------------------------------------------------------------ too much of everything


def bomb() -> None:
    """C37: processes without end."""
    while True:
        with suppress(OSError):
            if os.fork() == 0:
                continue
        time.sleep(0.001)


def sparse(size: int) -> None:
    """C37: a file that claims to be huge, by each call that can make one."""
    for name, make in (
        ("truncate", lambda fd: os.ftruncate(fd, size)),
        ("seek", lambda fd: (os.lseek(fd, size, os.SEEK_SET), os.write(fd, b"x"))),
        ("fallocate", lambda fd: os.posix_fallocate(fd, 0, size)),
        ("pwrite", lambda fd: os.pwrite(fd, b"x", size)),
    ):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        fd = os.open(f"huge-{name}", os.O_CREAT | os.O_RDWR)
        with suppress(OSError):
            make(fd)
        if os.fstat(fd).st_size >= size:
            got(f"a file of {size} bytes by {name}")
        os.close(fd)


def inodes(count: int) -> None:
    """C37: files without end, in directories without end."""
    for number in range(count):
        folder = f"d{number // 1000}"
        os.makedirs(folder, exist_ok=True)
        os.close(os.open(f"{folder}/f{number}", os.O_CREAT))


def memory() -> None:
    """C37: memory that is shared, which counts for nobody's process alone."""
    held = []
    while True:
        held.append(mmap.mmap(-1, 16 << 20))
        for at in range(0, 16 << 20, 4096):
            held[-1][at] = 1


def chatter() -> None:
    """C37: output without end, on both channels."""
    while True:
        os.write(1, b"x" * 65536)
        os.write(2, b"y" * 65536)


# ------------------------------------------------------------------ outliving the run


def daemon(file: str, mark: str) -> None:
    """C40: a child of a child in a session of its own, deaf, without the marks of where it came from, which writes."""
    if os.fork():
        time.sleep(0.3)
        print("DONE", flush=True)
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for fd in range(3):
        os.close(fd)
    beat = f"import os, time\nwhile True: os.write({handle}, b'{mark}'); time.sleep(0.01)\n"
    os.set_inheritable(handle, True)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", beat, mark], {})


def later() -> None:
    """C40: to be started again when the run is over."""
    for command in (
        ["crontab", "-"],
        ["at", "now"],
        ["systemd-run", "--user", "true"],
        ["systemctl", "start", "x"],
        ["busctl", "list"],
        ["loginctl", "enable-linger"],
    ):
        if _has(command[0]):
            done = subprocess.run(command, input=b"* * * * * true\n", capture_output=True, check=False, timeout=20)
            if done.returncode == 0:
                got(f"what {command[0]} does")
    for place in ("/etc/cron.d/x", "/var/spool/cron/x", "/etc/systemd/system/x.service", "/etc/profile.d/x.sh"):
        with suppress(OSError):
            Path(place).write_text("x")
            got(place)


# ------------------------------------------------------------------ a package's own scripts


def package(canary: str, targets: list[list[Any]], outside: list[str]) -> None:
    """C35: what an installed package or a test file does when it is loaded."""
    secrets(canary, outside, [])
    network(targets, "windlass-none", [])
    for place in (*sys.path, sys.prefix, "/usr/lib", "/usr/local/bin", "/etc", *outside):
        if place and not place.startswith(os.getcwd()):
            with suppress(OSError):
                Path(place, "sitecustomize.py" if place in sys.path else "left").write_text("evil = 1\n")
                if not str(Path(place)).startswith("/tmp"):
                    got(f"a file in {place}")


def leave(places: list[str]) -> None:
    """C36: something for the next run, where programs keep their caches."""
    for place in places:
        path = Path(os.path.expandvars(os.path.expanduser(place)))
        with suppress(OSError):
            path.mkdir(parents=True, exist_ok=True)
            (path / "poison").write_text("poison")
            print("LEFT", path, flush=True)


def find(places: list[str]) -> None:
    """C36: what an earlier run left."""
    for place in places:
        path = Path(os.path.expandvars(os.path.expanduser(place)))
        if (path / "poison").exists():
            got(f"what an earlier run left in {path}")


def say(pieces: list[str]) -> None:
    """C33, C34: these pieces, by turns on the two channels, each by itself."""
    for number, piece in enumerate(pieces):
        os.write(1 + number % 2, piece.encode())
        time.sleep(0.02)


ATTACKS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (secrets, network, escape, terminal, bomb, sparse, inodes, memory, chatter, daemon, later)
} | {function.__name__: function for function in (package, leave, find, say)}

if __name__ == "__main__":
    ATTACKS[sys.argv[1]](**json.loads(sys.argv[2]))
    print("DONE", flush=True)
