"""Images that behave like windsurfinabox: one made here in a moment, one with the project's own entrypoint.

Neither holds a file of that project: the second takes them from a checkout that somebody names. The editor in both is a
stand-in (`windsurf-image/editor`), told by its profile how to act.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.podman import Podman

STAND_IN = "localhost/windlass-windsurf:1"
ORIGINAL = "localhost/windlass-windsurfinabox:1"
CHECKOUT = "WINDLASS_TEST_WINDSURFINABOX"
SCRIPTS = Path(__file__).with_name("windsurf-image")
PROGRAMS = (
    *(
        "bash",
        "cat",
        "cp",
        "grep",
        "head",
        "ls",
        "mkdir",
        "mkfifo",
        "mv",
        "sed",
        "sleep",
        "stty",
        "tail",
        "touch",
        "wc",
    ),
)
PASSWD = b"root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n"
GROUP = b"root:x:0:\nubuntu:x:1000:\n"
WORKFLOW = b"Follow windsurf-instructions.txt.\n"
UBUNTU = 1000
# What the original's entrypoint calls, from the distribution of the machine.
PACKAGES = "xvfb,xdotool,imagemagick,x11-apps,i3-wm,xterm"
CONTAINERFILE = """\
FROM scratch
ADD rootfs.tar /
COPY editor windsurf /usr/bin/
COPY entrypoint.sh /entrypoint.sh
RUN useradd -u 1000 -m -s /bin/bash ubuntu && chmod ugo+x /entrypoint.sh
USER ubuntu:ubuntu
RUN mkdir -p /home/ubuntu/workspace /home/ubuntu/.config/i3
COPY --chown=ubuntu entry-workflow.md /home/ubuntu/entry-workflow.md
COPY --chown=ubuntu i3.conf /home/ubuntu/.config/i3/config
CMD ["/entrypoint.sh"]
"""
WINDOW = "#!/bin/sh\nexec xterm -e /usr/bin/editor\n"
FILES = {
    "src/scripts/entrypoint.sh": "entrypoint.sh",
    "src/workflows/entry-workflow.md": "entry-workflow.md",
    "src/config/i3.conf": "i3.conf",
}


def stand_in(podman: Podman) -> str:
    """The image made here, once for each engine."""
    if STAND_IN not in podman.images:
        options = ("-c", "USER 1000:1000", "-c", 'CMD ["/entrypoint"]')
        podman.cli("import", "-q", *options, "-", STAND_IN, stdin=_archive())
        podman.images.add(STAND_IN)
    return STAND_IN


def why_no_original() -> str:
    """Why the project's own entrypoint cannot be tried, or ''."""
    given = os.environ.get(CHECKOUT)
    if not given:
        return f"{CHECKOUT} names no checkout of the project"
    missing = [name for name in FILES if not (Path(given) / name).is_file()]
    if missing:
        return f"{given} has no {missing[0]}"
    return "" if shutil.which("mmdebstrap") else "no mmdebstrap to make a root file system with (apt: mmdebstrap)"


def original(podman: Podman) -> str:
    """The image with the project's own entrypoint, workflow and window manager settings; minutes the first time."""
    if ORIGINAL not in podman.images:
        checkout = Path(os.environ[CHECKOUT])
        with tempfile.TemporaryDirectory(prefix="wl-windsurf-") as name:
            place = Path(name)
            (place / "rootfs.tar").symlink_to(_root_file_system())
            shutil.copy(SCRIPTS / "editor", place / "editor")
            (place / "windsurf").write_text(WINDOW)
            (place / "windsurf").chmod(0o755)
            (place / "Containerfile").write_text(CONTAINERFILE)
            for source, target in FILES.items():
                shutil.copy(checkout / source, place / target)
            context = io.BytesIO()
            with tarfile.open(fileobj=context, mode="w", dereference=True) as archive:
                archive.add(place, ".")
            podman.cli("build", "-q", "--network", "none", "-t", ORIGINAL, "-", stdin=context.getvalue())
        podman.images.add(ORIGINAL)
    return ORIGINAL


def _root_file_system() -> Path:
    """A Debian with a virtual screen, made once and kept in the cache directory."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "windlass-tests"
    made = cache / "windsurf-rootfs.tar"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(f".{os.getpid()}.part.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", _suite(), str(part)]
        subprocess.run(command, check=True, capture_output=True)
        part.rename(made)
    return made


def _suite() -> str:
    told = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return told["VERSION_CODENAME"].strip('"')


def _archive() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, mode, owner in (
            ("tmp", 0o1777, 0),
            ("home/ubuntu", 0o755, UBUNTU),
            ("home/ubuntu/workspace", 0o755, UBUNTU),
            ("home/ubuntu/.config", 0o755, UBUNTU),
        ):
            _add(archive, name, None, mode, owner)
        for name, data in _files():
            _add(archive, name, data, 0o755)
        for name, data in (("etc/passwd", PASSWD), ("etc/group", GROUP)):
            _add(archive, name, data, 0o644)
        _add(archive, "home/ubuntu/entry-workflow.md", WORKFLOW, 0o644, UBUNTU)
    return held.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    """Programs, the libraries they need, and our two scripts."""
    programs = [Path(shutil.which(name) or name) for name in PROGRAMS]
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    libraries = {Path(word) for word in said.replace(":", " ").split() if word.startswith("/lib")}
    for path in sorted(libraries):
        yield str(path).lstrip("/"), path.resolve().read_bytes()
    for path in programs:
        yield f"bin/{path.name}", path.resolve().read_bytes()
    yield "entrypoint", (SCRIPTS / "entrypoint").read_bytes()
    yield "bin/editor", (SCRIPTS / "editor").read_bytes()


def _add(archive: tarfile.TarFile, name: str, data: bytes | None, mode: int, owner: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid = mode, owner, owner
    if data is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    else:
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
