"""`windlass evidence`: export a job's evidence, and verify a bundle offline.

Keeps the rule that checking needs nothing but the file: no configuration, no database, no network. Refuses to call a
bundle good when any byte of it does not fit, and to keep quiet about a signer that nobody vouched for.

Exit codes of `verify`: 0 consistent (and by the given key), 1 inconsistent, 2 unreadable, not a bundle, or bad usage.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path
from typing import Protocol

import click

from windlass.core import bundle, notes
from windlass.core.bundle import Verdict
from windlass.core.bundle_layout import BundleContents
from windlass.core.errors import Refused
from windlass.core.notes import Pin
from windlass.engine.ledger import ExportSummary

_MAX_KEY_BYTES = 4096


class EvidenceTools(Protocol):
    """What these commands need in `ctx.obj`; the wiring supplies it."""

    def verify_signature(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether an Ed25519 signature holds; needs no configuration."""

    def export_evidence(self, job_id: str, out: Path | None) -> ExportSummary:
        """Write a job's bundle to `out`, or to a file of its own choice in the current directory."""


@click.group()
def evidence() -> None:
    """Export a job's evidence, or verify a bundle without trusting us."""


@evidence.command("export")
@click.argument("job")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default <job>.evidence.tar here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_obj
def export_command(tools: EvidenceTools, job: str, out: Path | None, as_json: bool) -> None:
    """Write the records, proofs and blobs of JOB into one tar file."""
    summary = tools.export_evidence(job, out)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(summary), "path": str(summary.path)}))
        return
    click.echo(f"{summary.path}: {summary.records} records and {summary.blobs} blobs of job {summary.job}")
    if summary.absent_blobs:
        click.echo(f"  left out, because gone or too large: {len(summary.absent_blobs)} blobs")
    click.echo(f"  log head: {summary.size} entries, root {summary.root}")
    click.echo(f"  signed by: {summary.vkey}")
    click.echo(f"  fingerprint (SHA-256 of the key's DER form): {summary.fingerprint}")
    click.echo("Give the key to your auditor by another way than the bundle.")


@evidence.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "key", default=None, help="The signer's public key: a vkey, base64, PEM, or a file with one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def verify_command(ctx: click.Context, file: Path, key: str | None, as_json: bool) -> None:
    """Check everything in the bundle FILE, offline."""
    try:
        pinned = None if key is None else read_key(key)
        contents = read_bundle(file)
    except Refused as error:
        _say_unreadable(error, as_json=as_json)
        ctx.exit(2)
    tools: EvidenceTools = ctx.obj
    verdict = bundle.verify(contents, pinned_key=pinned, verify_signature=tools.verify_signature)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(verdict)))
    else:
        _show(verdict)
    ctx.exit(0 if verdict.ok else 1)


def read_bundle(path: Path) -> BundleContents:
    """Read a bundle into memory; nothing is unpacked. Raises Refused (bad_archive, unreadable_file)."""
    return bundle.decode(_read_file(path, bundle.MAX_BUNDLE_BYTES))


def read_key(text: str) -> Pin:
    """The key that `--key` names: itself, or a file that holds it. Raises Refused (malformed_note, unreadable_file)."""
    if _is_file(text):
        try:
            text = _read_file(Path(text), _MAX_KEY_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused("the key file is not text", hint="give a PEM public key", code="unreadable_file") from error
    return notes.parse_pin(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        # O_NONBLOCK: a named pipe must not make us wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{path} is not a file", hint="name a regular file", code="unreadable_file")
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{path} cannot be read: {why}", hint="check the path", code="unreadable_file") from error
    if len(data) > max_bytes:
        raise Refused(f"{path} is larger than {max_bytes} bytes", hint="check the path", code="unreadable_file")
    return data


def _say_unreadable(error: Refused, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ok": False, "error": {"code": error.code, "message": error.message}}))
    click.echo(f"Not verified: {printable(str(error))}", err=True)


def _show(verdict: Verdict) -> None:
    click.echo("CONSISTENT" if verdict.ok else "NOT CONSISTENT: this bundle proves nothing")
    for problem in verdict.problems:
        click.echo(f"  ! {printable(problem)}")
    if verdict.ok:
        click.echo(f"  job {printable(verdict.job)}, {printable(verdict.state)}, closed at {verdict.exported_at}")
        click.echo(f"  {verdict.records} records, {verdict.blobs} blobs")
        click.echo(f"  log {printable(verdict.origin)}, {verdict.size} entries, root {verdict.root}")
    _show_list("Proven:", verdict.proven)
    _show_list("Not proven:", verdict.not_proven)
    pinned = (
        "the key you gave" if verdict.is_signer_pinned else "NOT PINNED: compare the fingerprint with the operator's"
    )
    click.echo(f"Signer: {printable(verdict.signer)} ({pinned})")
    click.echo(f"Fingerprint: {verdict.fingerprint}")
    if not verdict.is_signer_pinned:
        click.echo("WARNING: THE SIGNER IS NOT PINNED. Anybody can sign a consistent bundle; use --key.", err=True)


def _show_list(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        click.echo(title)
    for line in lines:
        click.echo(f"  - {printable(line)}")


def printable(text: str) -> str:
    """A text from a bundle, fit for a terminal: no escapes, no line breaks."""
    return "".join(char if char.isprintable() else "?" for char in text)
