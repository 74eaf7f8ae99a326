"""A real container engine of the tests' own: Podman's API on a Unix socket, storage in a temporary directory.

One for each test process, started once; images are put together from the machine's own programs, without a registry.
Nothing of it is left: containers, mounts, control groups and files go with it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

IMAGE = "localhost/windlass-test:1"
AIRLOCK_IMAGE = "localhost/windlass-airlock:latest"
PYTHON_IMAGE = "localhost/windlass-python:1"
RUNTIMES = ("runc", "crun")
# The machine may lack the right to raise limits, and hybrid control groups suit runc only. Locks in files, because all
# engines of one user share those in memory, and one that begins frees them all: the others then wait for one another.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "{runtime}"
"""
STORAGE_CONF = '[storage]\ndriver = "overlay"\nrunroot = "{home}/run"\ngraphroot = "{home}/storage"\n'
PASSWD = "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/home/agent:/bin/sh\n"


@dataclass
class Podman:
    """One engine. `address` is what a runner is given."""

    home: Path
    process: subprocess.Popen[bytes] | None = None
    images: set[str] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"unix://{self.home}/api.sock"

    def cli(self, *arguments: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, check=False, env=self.environment()
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return done.stdout.decode()

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            argv = self.command("system", "service", "--time=0", self.address)
            self.process = subprocess.Popen(argv, env=self.environment(), stdout=log, stderr=log, cwd=self.home)
        for _ in range(600):
            if (self.home / "api.sock").exists():
                return
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            time.sleep(0.02)
        raise AssertionError("podman does not answer")

    def stop(self) -> None:
        """The service only: containers go on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        (self.home / "api.sock").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Every container there is."""
        return [name for c in json.loads(self.cli("ps", "-a", "--format", "json")) for name in c["Names"]]

    def need(self, image: str) -> str:
        """Make one of the images, once."""
        if image not in self.images:
            made = {IMAGE: _busybox, AIRLOCK_IMAGE: _airlock, PYTHON_IMAGE: _python}[image]()
            self.load(image, made)
            self.images.add(image)
        return image

    def load(self, image: str, archive: bytes) -> None:
        """An image from the archive of its files."""
        self.cli("import", "-q", "-", image, stdin=archive)

    def remove(self) -> None:
        self.cli("rm", "-af", "-t", "0")
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
        if self.home.exists():  # overlay is mounted over itself
            subprocess.run(["umount", "-l", str(self.home / "storage" / "overlay")], check=False, capture_output=True)
            shutil.rmtree(self.home, ignore_errors=True)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The engine's own command line."""
        return ("podman", "--tmpdir", str(self.home / "tmp"), *arguments)

    def environment(self) -> dict[str, str]:
        """What its programs must be told."""
        own = {"CONTAINERS_CONF": self.home / "containers.conf", "CONTAINERS_STORAGE_CONF": self.home / "storage.conf"}
        return {**os.environ, **{name: str(path) for name, path in own.items()}}


def images_home(prefix: str) -> Path:
    """A directory for an engine; short, because a socket's path may not be long."""
    return Path(tempfile.mkdtemp(prefix=prefix))


def make_podman() -> Podman:
    home = images_home("wl-podman-")
    (home / "tmp").mkdir()
    runtime = next(name for name in RUNTIMES if shutil.which(name))
    (home / "containers.conf").write_text(CONTAINERS_CONF.format(runtime=runtime))
    (home / "storage.conf").write_text(STORAGE_CONF.format(home=home))
    podman = Podman(home)
    podman.start()
    return podman


def why_missing() -> str:
    """Why there can be no engine here, or ''."""
    if os.geteuid() != 0:
        return "the tests' engine is run by root"
    if not shutil.which("podman") or not any(shutil.which(name) for name in RUNTIMES):
        return "no podman with a runtime (apt: podman runc)"
    absent = [name for name in ("busybox", "socat") if not shutil.which(name)]
    return f"no {absent[0]} to make images of (apt: busybox-static socat)" if absent else ""


# ------------------------------------------------------------------ images


def _busybox() -> bytes:
    return _archive(_basics())


def _airlock() -> bytes:
    return _archive([*_basics(), *_program("socat")])


def _python() -> bytes:
    """The system's Python with its standard library, as far as scripts and unittest need it."""
    names = sorted(Path("/usr/bin").glob("python3.[0-9]*"))
    python = next(path for path in names if path.name[len("python3.") :].isdigit())
    library = Path("/usr/lib") / python.name
    unwanted = {"test", "__pycache__", "dist-packages", "idlelib", "lib2to3", "pydoc_data", "ensurepip", "tkinter"}
    files = [path for path in sorted(library.rglob("*")) if path.is_file() and not unwanted & set(path.parts)]
    extensions = [path for path in files if path.suffix == ".so"]
    libraries = {library for path in (python, *extensions) for library in _libraries(path)}
    entries = [
        (str(path), path.resolve().read_bytes(), 0o755 if path == python else 0o644) for path in (python, *files)
    ]
    links = [("/usr/bin/python3", python.name), ("/bin/python3", str(python))]
    return _archive([*_basics(), *entries, *((str(p), p.resolve().read_bytes(), 0o755) for p in libraries)], links)


def _basics() -> list[tuple[str, bytes, int]]:
    return [
        ("/bin/busybox", Path(shutil.which("busybox") or "").read_bytes(), 0o755),
        ("/etc/passwd", PASSWD.encode(), 0o644),
        ("/etc/group", b"root:x:0:\nagent:x:1000:\n", 0o644),
    ]


def _program(name: str) -> list[tuple[str, bytes, int]]:
    path = Path(shutil.which(name) or "")
    return [(str(p), p.resolve().read_bytes(), 0o755) for p in (path, *_libraries(path))]


def _libraries(program: Path) -> list[Path]:
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(word) for line in said.splitlines() for word in line.split() if word.startswith("/")]


def _archive(files: Iterable[tuple[str, bytes, int]], links: Iterable[tuple[str, str]] = ()) -> bytes:
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, mode in (("tmp", 0o1777), ("home/agent", 0o755), ("lib64", 0o755), ("run", 0o755)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        for name, data, mode in {entry[0]: entry for entry in files}.values():
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
        shells = [(f"/bin/{name}", "busybox") for name in applets if name != "busybox"]
        for name, target in (*shells, *links):
            link = tarfile.TarInfo(name.lstrip("/"))
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return held.getvalue()
