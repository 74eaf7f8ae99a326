"""Pin every dependency with hashes: requirements.lock (to run) and requirements-dev.lock (to develop).

The files name no index: where packages come from is the installing machine's own choice.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    "--quiet",
    "--generate-hashes",
    "--allow-unsafe",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--no-emit-find-links",
    "--no-emit-options",
    "--strip-extras",
    "--no-header",
    "--no-annotate",
]


def main() -> None:
    """Write both files; existing pins are kept where they still fit."""
    for name, extra in (("requirements.lock", []), ("requirements-dev.lock", ["--extra", "dev"])):
        command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *extra, "-o", name, "pyproject.toml"]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
