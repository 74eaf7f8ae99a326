"""Docker as the tests' engine: a daemon of their own that has no bridge and touches no firewall."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from tests.support.podman import Podman, images_home


class Docker(Podman):
    """Like the other engine, with Docker's daemon and command line."""

    def command(self, *arguments: str) -> tuple[str, ...]:
        return ("docker", "-H", self.address, *arguments)

    def start(self) -> None:
        places = [f"--{name}={self.home / name}" for name in ("data-root", "exec-root", "pidfile")]
        network = ("--iptables=false", "--ip6tables=false", "--bridge=none")
        with (self.home / "log").open("ab") as log:
            argv = ("dockerd", *network, "--storage-driver=overlay2", *places, "-H", self.address)
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.home)
        for _ in range(600):
            if subprocess.run(self.command("version"), capture_output=True, check=False).returncode == 0:
                return
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError("dockerd does not answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def names(self) -> list[str]:
        return self.cli("ps", "-a", "--format", "{{.Names}}").split()

    def load(self, image: str, archive: bytes) -> None:
        self.cli("import", "-", image, stdin=archive)

    def remove(self) -> None:
        if left := self.names():
            self.cli("rm", "-f", *left)
        self.stop()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(str(self.home)):
                subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def make_docker() -> Docker:
    docker = Docker(images_home("wl-docker-"))
    docker.start()
    return docker


def why_missing() -> str:
    """Why there can be no Docker here, or ''."""
    absent = [name for name in ("dockerd", "docker", "runc", "busybox", "socat") if not shutil.which(name)]
    return f"no {absent[0]} (apt: docker.io busybox-static socat)" if absent else ""
