"""The commands of docs/evidence.md, run on a real bundle: they pass on it, and fail when it was changed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.memory_ledger import SmallLog

from windlass.core import ustar
from windlass.core.bundle_layout import GUIDE
from windlass.core.evidence import KINDS
from windlass.engine.ledger import ExportSummary

PAGE = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^```(?:sh|python) (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
STEPS = ("fingerprint", "checkpoint", "sums", "inclusion")


@pytest.fixture
def summary(tmp_path: Path) -> ExportSummary:
    log = SmallLog(tmp_path)
    log.tell_two_jobs()
    (tmp_path / "desk").mkdir()
    return log.ledger.export("job-1", tmp_path / "desk" / "bundle.tar")


def sh(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def unpack(summary: ExportSummary) -> Path:
    desk = summary.path.parent
    (desk / "inclusion.py").write_text(BLOCKS["inclusion.py"])
    assert sh(BLOCKS["unpack"], desk).returncode == 0
    return desk / "bundle"


@pytest.mark.needs("openssl")
def test_every_command_of_the_page_passes_on_a_real_bundle(summary: ExportSummary) -> None:
    bundle = unpack(summary)
    said = {}
    for step in STEPS:
        done = sh(BLOCKS[step], bundle)
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
        said[step] = done.stdout
    assert said["fingerprint"].split()[0] == summary.fingerprint
    assert "Verified Successfully" in said["checkpoint"]
    assert "Verified Successfully" in said["sums"]
    assert summary.root in said["inclusion"]


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint", "checkpoint"),
        ("SHA256SUMS", "sums"),
        ("records/000004.json", "sums"),
        ("records/000004.json", "inclusion"),
        ("proofs/000004.tlog-proof", "inclusion"),
        ("manifest.json", "sums"),
    ],
)
def test_the_commands_find_a_changed_byte(name: str, step: str, summary: ExportSummary) -> None:
    path = unpack(summary) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if name != "checkpoint" else 3] ^= 1
    path.write_bytes(bytes(data))
    assert sh(BLOCKS[step], path.parents[name.count("/")]).returncode != 0


@pytest.mark.needs("openssl")
def test_the_commands_find_missing_and_added_files(summary: ExportSummary) -> None:
    bundle = unpack(summary)
    (bundle / "records" / "000011.json").write_bytes((bundle / "records" / "000010.json").read_bytes())
    assert sh(BLOCKS["sums"], bundle).returncode != 0
    assert sh(BLOCKS["inclusion"], bundle).returncode != 0
    for number in ("10", "11"):
        (bundle / "records" / f"0000{number}.json").unlink()
    assert sh(BLOCKS["sums"], bundle).returncode != 0
    assert sh(BLOCKS["inclusion"], bundle).returncode != 0


@pytest.mark.needs("openssl")
def test_the_page_in_the_bundle_works_too(summary: ExportSummary) -> None:
    bundle = unpack(summary)
    guide = ustar.unpack(summary.path.read_bytes())[GUIDE].decode()
    assert summary.fingerprint in guide
    script = "".join(line[4:] for line in guide.splitlines(keepends=True) if line.startswith("    "))
    script = script[script.index("# the fingerprint") :]
    done = sh(script, bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Verified Successfully") == 2
    assert summary.fingerprint in done.stdout
    assert "sums are right" in done.stdout


def test_the_page_names_every_kind_and_its_fields() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]*\| ([^|]*)\|$", PAGE, re.MULTILINE))
    assert {kind: re.findall(r"`(\w+)`", fields) for kind, fields in rows.items()} == {
        kind: list(fields) for kind, fields in KINDS.items()
    }
