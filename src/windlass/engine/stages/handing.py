"""What one run hands to the next: a change by its digest, findings by theirs; both are checked on the way.

Rule: a workspace is made from the mirror and a kept change, never from another run's directory. A reader's changes are
thrown away; a tester changes tests and nothing else. Findings that do not fit the schema are no review.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from windlass.core import findings as found_things
from windlass.core.effects import StartRun
from windlass.core.errors import Refused
from windlass.core.findings import Finding, FindingRef
from windlass.core.job import Outcome
from windlass.core.verification import is_test_path
from windlass.engine.stages.context import Claim
from windlass.ports import AgentReport, Collected

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What came of a reviewing run. `outcome` is completed only when its findings could be read."""

    outcome: Outcome
    detail: str
    findings: tuple[FindingRef, ...] = ()
    digest: str = ""


async def lay_out(claim: Claim, effect: StartRun, home: Path) -> None:
    """The workspace of a run that has not begun: the start commit, or the change that it is handed."""
    workspace, fresh = home / "workspace", home / "fresh"
    if workspace.exists():
        await asyncio.to_thread(shutil.rmtree, home)
    await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
    await asyncio.to_thread(fresh.mkdir, parents=True)
    treeish = await handed_tree(claim, effect) or effect.start_sha
    await claim.outside.repositories.materialise(claim.job.repository, treeish, fresh)
    await asyncio.to_thread(fresh.rename, workspace)


async def handed_tree(claim: Claim, effect: StartRun) -> str:
    """The tree of the change that the run is handed, made anew where this mirror lacks it; '' for none."""
    if effect.handed is None:
        return ""
    diff = await asyncio.to_thread(claim.outside.blobs.get, effect.handed.digest)
    return await claim.outside.repositories.restore(claim.job.repository, effect.handed, diff)


async def reviewed(claim: Claim, report: AgentReport) -> Review:
    """Read what a reviewing agent found, and keep it without secrets."""
    if report.outcome not in {Outcome.COMPLETED, Outcome.NO_CHANGE}:
        return Review(outcome=report.outcome, detail=report.detail)
    outside = claim.outside
    try:
        listed = found_things.read(report.report)
    except Refused as error:
        return Review(outcome=Outcome.INCOMPLETE, detail=error.message)
    clean = await asyncio.to_thread(_clean, outside.redact, listed)
    kept = await outside.keep(found_things.encode(clean)) if clean else ""
    references = tuple(found_things.reference(one) for one in clean)
    return Review(outcome=Outcome.COMPLETED, detail="", findings=references, digest=kept)


def _clean(redact: Callable[[str], str], listed: Sequence[Finding]) -> list[Finding]:
    longest_path, longest_text = found_things.LONGEST_PATH, found_things.LONGEST_TEXT
    return [
        replace(
            one,
            path=redact(one.path)[:longest_path].replace("\n", " "),
            text=redact(one.text)[:longest_text] or "(nothing)",
        )
        for one in listed
    ]


async def listed_findings(claim: Claim, digests: Sequence[str]) -> tuple[Finding, ...]:
    """Kept findings, in order, each once."""
    found: dict[Finding, None] = {}
    for name in digests:
        data = await asyncio.to_thread(claim.outside.blobs.get, name)
        found.update(dict.fromkeys(found_things.decode(data)))
    return tuple(found)


async def within_its_role(claim: Claim, effect: StartRun, collected: Collected) -> Collected:
    """A tester's change of anything but tests is refused, whatever the tests in it are worth."""
    if effect.role != "tester" or collected.patch is None:
        return collected
    before = effect.handed.tree_sha if effect.handed is not None else effect.start_sha
    paths = await claim.outside.repositories.changed_paths(claim.job.repository, before, collected.patch.tree_sha)
    beyond = sorted(path for path in paths if not is_test_path(path))
    if not beyond:
        return collected
    named = ", ".join(beyond[:_MOST_NAMED])
    refusal = claim.outside.redact(f"a tester may change tests only; this is none: {named}")
    return replace(collected, refusals=(*collected.refusals, refusal))
