"""`windlass evidence`: exit codes, warnings, key forms, files that are no bundles."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.memory_ledger import SmallLog

from windlass.adapters.signing import verify_ed25519
from windlass.core import notes
from windlass.engine.ledger import ExportSummary
from windlass.faces.cli.evidence import evidence, printable


class Tools:
    """What the wiring supplies."""

    def __init__(self, log: SmallLog) -> None:
        self.log = log

    def verify_signature(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return verify_ed25519(public_key, message, signature)

    def export_evidence(self, job_id: str, out: Path | None) -> ExportSummary:
        return self.log.ledger.export(job_id, out or self.log.root / f"{job_id}.evidence.tar")


@pytest.fixture
def log(tmp_path: Path) -> SmallLog:
    small = SmallLog(tmp_path)
    small.tell_two_jobs()
    small.ledger.export("job-1", tmp_path / "b.tar")
    return small


def run(log: SmallLog, *args: str | Path) -> Result:
    return CliRunner().invoke(evidence, [str(arg) for arg in args], obj=Tools(log))


def test_every_form_of_the_key_pins_the_signer(log: SmallLog) -> None:
    key = notes.parse_vkey(log.ledger.vkey)
    (log.root / "key.pem").write_text(notes.pem(key.public_key))
    (log.root / "key.txt").write_text(log.ledger.vkey + "\n")
    raw = base64.b64encode(key.public_key).decode()
    for form in (log.ledger.vkey, raw, notes.pem(key.public_key), log.root / "key.pem", log.root / "key.txt"):
        result = run(log, "verify", log.root / "b.tar", "--key", form)
        assert result.exit_code == 0, result.output
        assert "the key you gave" in result.stdout
        assert "NOT PINNED" not in result.output


def test_without_a_key_it_says_loudly_that_nobody_vouches(log: SmallLog) -> None:
    result = run(log, "verify", log.root / "b.tar")
    assert result.exit_code == 0
    assert "NOT PINNED" in result.stdout
    assert log.ledger.fingerprint in result.stdout
    assert "WARNING: THE SIGNER IS NOT PINNED" in result.stderr
    assert "Proven:" in result.stdout
    assert "Not proven:" in result.stdout


def test_another_key_and_a_changed_byte_end_with_1(log: SmallLog) -> None:
    other = base64.b64encode(bytes(range(32))).decode()
    result = run(log, "verify", log.root / "b.tar", "--key", other)
    assert result.exit_code == 1
    assert "NOT CONSISTENT" in result.stdout
    data = (log.root / "b.tar").read_bytes()
    (log.root / "c.tar").write_bytes(data.replace(b'"kind":"merge"', b'"kind":"marge"'))
    result = run(log, "verify", log.root / "c.tar", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert not told["ok"]
    assert told["proven"] == []
    assert any("records/000009.json" in line for line in told["problems"])


def test_json_tells_everything(log: SmallLog) -> None:
    told = json.loads(run(log, "verify", log.root / "b.tar", "--json", "--key", log.ledger.vkey).stdout)
    assert told["ok"]
    assert told["is_signer_pinned"]
    assert (told["job"], told["records"], told["fingerprint"]) == ("job-1", 11, log.ledger.fingerprint)


def test_what_cannot_be_read_ends_with_2(log: SmallLog) -> None:
    (log.root / "cut.tar").write_bytes((log.root / "b.tar").read_bytes()[:5000])
    (log.root / "empty").write_bytes(b"")
    os.mkfifo(log.root / "pipe")
    for name in ("cut.tar", "empty", "pipe", "missing", "."):
        result = run(log, "verify", log.root / name)
        assert result.exit_code == 2, name
        assert "Not verified" in result.stderr
    told = json.loads(run(log, "verify", log.root / "empty", "--json").stdout)
    assert told["error"]["code"] == "bad_archive"


@pytest.mark.parametrize("key", ["", "nonsense", "x" * 5000, "AAAA", "a\x00b"])
def test_a_key_that_is_none_ends_with_2(key: str, log: SmallLog) -> None:
    result = run(log, "verify", log.root / "b.tar", "--key", key)
    assert result.exit_code == 2


def test_export_says_what_was_written_and_how_to_pin_it(log: SmallLog) -> None:
    result = run(log, "export", "job-2", "--out", log.root / "two.tar")
    assert result.exit_code == 0, result.output
    assert log.ledger.vkey in result.stdout
    assert run(log, "verify", log.root / "two.tar", "--key", log.ledger.vkey).exit_code == 0
    told = json.loads(run(log, "export", "job-2", "--json").stdout)
    assert told["path"].endswith("job-2.evidence.tar")


def test_nothing_from_a_bundle_steers_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\u202e") == "a?[2Jb?c?"
