"""`windlass demo`: the whole journey of one issue, live, on an example, ending with the evidence verified offline."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from rich.markup import escape

from windlass.adapters.signing import verify_ed25519
from windlass.core import bundle, notes
from windlass.core.job import Job, State
from windlass.core.messages import verification_line
from windlass.engine.ledger import ExportSummary
from windlass.faces.cli import exits
from windlass.faces.cli.options import OnChange, RunOptions, Say
from windlass.wiring import example, local

_APPROVER = "ada"


async def demo(*, keep: bool, say: Say, on_change: OnChange) -> int:
    """Run the demonstration; the exit code."""
    workdir = Path(tempfile.mkdtemp(prefix="windlass-demo-"))
    source = await asyncio.to_thread(example.make, workdir / "bill")
    options = RunOptions(repo=source, issue_text=example.issue_body(), title=example.TITLE, approve_as=_APPROVER)
    began = time.monotonic()
    say("[bold]1. An embedded forge starts, with a small project that has a fault[/bold]")
    async with local.session(options, workdir, on_change) as here:
        say(f"   forge {here.base_url}   isolation: {escape(here.windlass.outside.runner.isolation())}")
        say(f"[bold]2. {local.REQUESTER} opens an issue and labels it {local.LABEL}: “{example.TITLE}”[/bold]")
        number = await here.ask(example.TITLE, options.issue_text)
        job = await here.rest(number, 120)
        if job.state is not State.REVIEWING:
            say(f"[red]The job ended as {job.state} ({job.reason}): {escape(job.detail)}[/red]")
            return exits.of_job(job)
        _show_pull(say, job, time.monotonic() - began)
        say(f"[bold]4. {_APPROVER} reviews, approves this exact commit and merges[/bold]")
        job = await here.approve_and_merge(job, _APPROVER, 60)
        summary = await asyncio.to_thread(here.windlass.ledger.export, job.id, workdir / f"{job.id}.evidence.tar")
        is_sound = _verify(say, summary)
        _where_to_look(say, here, summary, time.monotonic() - began)
        if keep:
            await _keep(say, here)
    is_good = is_sound and job.state is State.MERGED
    return exits.OK if is_good else exits.FAILED


def _show_pull(say: Say, job: Job, after_s: float) -> None:
    say(f"[bold]3. Pull request #{job.pull_number} is ready for a human, {after_s:.1f} s after the start[/bold]")
    say(f"   {job.pull_url}")
    if job.verification is not None:
        say(f"   verified by Windlass: {escape(verification_line(job.verification))}")


def _verify(say: Say, summary: ExportSummary) -> bool:
    say("[bold]5. The evidence is verified offline, from the file alone[/bold]")
    contents = bundle.decode(summary.path.read_bytes())
    pin = notes.parse_pin(summary.vkey)
    verdict = bundle.verify(contents, pinned_key=pin, verify_signature=verify_ed25519)
    for line in verdict.proven:
        say(f"   [green]✓[/green] {escape(line)}")
    for line in verdict.problems:
        say(f"   [red]✗ {escape(line)}[/red]")
    return verdict.ok


def _where_to_look(say: Say, here: local.LocalSession, summary: ExportSummary, total_s: float) -> None:
    say(f"[bold green]Done in {total_s:.1f} s: issue → pull request → approval → merge, with evidence.[/bold green]")
    say(f"   evidence  {summary.path} ({summary.records} records)")
    say(f"   verify    windlass evidence verify {summary.path} --key '{summary.vkey}'")
    say(f"   files     {here.workdir}")


async def _keep(say: Say, here: local.LocalSession) -> None:
    say("[bold]Everything keeps running; Ctrl-C ends it.[/bold]")
    say(f"   pages     {here.base_url}/{here.repository}")
    for name, token in here.tokens.items():
        say(f"   sign in as {name}: {token}")
    port = here.windlass.settings.api.port
    say(f"   API       http://127.0.0.1:{port}/docs (token in {here.workdir / 'state' / 'api-token'})")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("   stopping")
