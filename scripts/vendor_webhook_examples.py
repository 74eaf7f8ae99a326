"""Brings the official webhook examples that concern us into tests/vendor/webhooks, from npm, at one pinned version.

    python scripts/vendor_webhook_examples.py [TARBALL]

Without TARBALL it is fetched with `npm pack`. Refuses a package whose SHA-256 is not the pinned one. The result is
the same bytes on every run: examples.json.xz (sorted keys, no white space) and SOURCE.json beside it.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PACKAGE, VERSION = "@octokit/webhooks-examples", "7.6.1"
TARBALL_SHA256 = "89e6cb1c6345d32e3dd775617fa54effbdc26c859e514898d7728e95e9738280"
MEMBER = "package/api.github.com/index.json"
HERE = Path(__file__).resolve().parent.parent / "tests" / "vendor" / "webhooks"
EVENTS = (
    "check_run",
    "check_suite",
    "installation",
    "installation_repositories",
    "issue_comment",
    "issues",
    "merge_group",
    "ping",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "repository",
    "status",
    "workflow_job",
    "workflow_run",
)


def fetch(directory: Path) -> Path:
    """Have npm download the package."""
    argv = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent"]
    subprocess.run(argv, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return next(directory.glob("*.tgz"))


def read(tarball: Path) -> dict[str, list[Any]]:
    """The wanted examples, by event."""
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if digest != TARBALL_SHA256:
        sys.exit(f"{tarball} has SHA-256 {digest}, not the pinned {TARBALL_SHA256}")
    with tarfile.open(tarball) as package:
        member = package.extractfile(MEMBER)
        assert member is not None
        every = json.load(member)
    found = {entry["name"]: entry["examples"] for entry in every}
    return {event: found[event] for event in EVENTS}


def write(examples: dict[str, list[Any]]) -> None:
    """The vendored files."""
    plain = json.dumps(examples, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    packed = lzma.compress(plain, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=9)
    source = {
        "package": PACKAGE,
        "version": VERSION,
        "repository": "https://github.com/octokit/webhooks",
        "licence": "MIT, see LICENSE",
        "tarball_sha256": TARBALL_SHA256,
        "member": MEMBER,
        "content_sha256": hashlib.sha256(plain).hexdigest(),
        "examples": {event: len(listed) for event, listed in examples.items()},
        "made_by": "scripts/vendor_webhook_examples.py",
    }
    HERE.mkdir(parents=True, exist_ok=True)
    (HERE / "examples.json.xz").write_bytes(packed)
    (HERE / "SOURCE.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    print(f"{sum(source['examples'].values())} examples, {len(plain):,} bytes, packed {len(packed):,}")


def main() -> None:
    """Fetch, check, write."""
    with tempfile.TemporaryDirectory() as directory:
        write(read(Path(sys.argv[1]) if len(sys.argv) > 1 else fetch(Path(directory))))


if __name__ == "__main__":
    main()
