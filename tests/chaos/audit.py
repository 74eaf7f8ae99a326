"""What must hold when a chaos run is over, from the forge's own records, the tables, the disk and the process table.

Each check gives one line per thing that is wrong; nothing is repaired or looked away from.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.forge import SECRET, SLUG, ForgeProcess
from tests.chaos.people import Asked
from tests.chaos.scripts import REPOSITORIES
from windlass.adapters.signing import verify_ed25519
from windlass.core import bundle, messages, notes
from windlass.core.job import Job
from windlass.wiring.parts import Windlass

_TOKEN = re.compile(rb"gh[so]_[A-Za-z0-9]{16,}|lfa_[0-9a-f]{16,}")
_NUMBER = re.compile(r"\b[0-9a-f]*[0-9][0-9a-f]*\b")
_UNFORESEEN = ("effect failed unexpectedly", "duty failed; it is tried again", "a finished run could not be cleaned up")


@dataclass(kw_only=True)
class Findings:
    """What is wrong, by kind. `lost`: jobs that are missing or not where they should be."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything holds."""
        return not (self.lost or self.doubled or self.orphans or self.other)

    def lines(self) -> list[str]:
        """Everything that is wrong."""
        kinds = {"lost": self.lost, "doubled": self.doubled, "orphan": self.orphans, "wrong": self.other}
        return [f"{kind}: {line}" for kind, found in kinds.items() for line in found]


def check_jobs(windlass: Windlass, asked: Mapping[tuple[str, int], Asked], found: Findings) -> dict[Any, Job]:
    """Every issue has exactly one job, where its script ends, with nothing left to carry out."""
    jobs: dict[Any, list[Job]] = defaultdict(list)
    for job in windlass.store.jobs(limit=100_000):
        jobs[(job.repository, job.issue.number)].append(job)
    for key, one in asked.items():
        mine, script = jobs.get(key, []), one.part.script
        if len(mine) > 1:
            found.doubled.append(f"{key}: {len(mine)} jobs")
        if not mine:
            found.lost.append(f"{key}: no job")
        elif (mine[0].state, mine[0].reason) != (script.state, script.reason):
            last = windlass.queries.why(mine[0].id)[-3:]
            said = " | ".join(f"{told.event}: {'; '.join(told.why)}" for told in last)
            found.lost.append(f"{key} {mine[0].id} {script.name}: {mine[0].state} {mine[0].reason} ({said})")
    for key in jobs.keys() - asked.keys():
        found.other.append(f"{key}: a job that nobody asked for")
    for stored in windlass.store.open_effects(windlass.clock.now_ms() + 1, 1000):
        found.lost.append(f"{stored.job_id}: order {stored.order.seq} {stored.order.effect.kind} is still open")
    return {key: mine[0] for key, mine in jobs.items() if key in asked}


async def check_forge(
    forge: ForgeProcess, jobs: Mapping[Any, Job], asked: Mapping[tuple[str, int], Asked], found: Findings
) -> None:
    """Branches, pull requests and comments, as the forge has them."""
    for repository in REPOSITORIES:
        issues = await forge.everything(repository, "/issues?state=all")
        pulls = await forge.everything(repository, "/pulls?state=all")
        branches = _branches(forge, repository)
        heads = Counter(pull["head"]["ref"] for pull in pulls)
        for branch in branches.keys() - {"main"} - {f"ai-{issue['number']}" for issue in issues}:
            found.other.append(f"{repository}: branch {branch} belongs to nobody")
        for (name, number), one in asked.items():
            if name == repository:
                _check_branch(f"{name}#{number}", one, f"ai-{number}", branches, heads, found)
        for key, job in jobs.items():
            if key[0] == repository:
                await _check_comment(forge, job, found)


def _check_branch(
    where: str, one: Asked, branch: str, branches: Mapping[str, str], heads: Mapping[str, int], found: Findings
) -> None:
    script = one.part.script
    if (branch in branches) != script.has_branch:
        found.other.append(f"{where} {script.name}: branch {branch} is {'there' if branch in branches else 'missing'}")
    pulls = heads.get(branch, 0)
    if pulls > (1 if script.pulls is None else script.pulls):
        found.doubled.append(f"{where} {script.name}: {pulls} pull requests")
    elif script.pulls is not None and pulls < script.pulls:
        found.lost.append(f"{where} {script.name}: no pull request")


async def _check_comment(forge: ForgeProcess, job: Job, found: Findings) -> None:
    listed = await forge.everything(job.repository, f"/issues/{job.issue.number}/comments")
    bodies = [item["body"] for item in listed if messages.MARKER in item["body"]]
    where = f"{job.repository}#{job.issue.number} {job.id}"
    if len(bodies) > 1:
        found.doubled.append(f"{where}: {len(bodies)} status comments")
    elif not bodies:
        found.lost.append(f"{where}: no status comment")
    elif bodies[0] != messages.status_comment(job):
        found.other.append(f"{where}: the status comment is out of date: {bodies[0][:80]!r}, job {job.state}")


def _branches(forge: ForgeProcess, repository: str) -> dict[str, str]:
    (path,) = [p for p in forge.root.rglob(f"{repository.split('/')[1]}.git") if (p / "HEAD").exists()]
    listing = ("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
    done = subprocess.run(["git", "--git-dir", str(path), *listing], check=True, capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines())


def check_runs(
    windlass: Windlass,
    jobs: Mapping[Any, Job],
    asked: Mapping[tuple[str, int], Asked],
    begun: Mapping[str, int],
    found: Findings,
) -> None:
    """No agent worked twice under one id, none without a record, and none more often than its script says."""
    recorded = set()
    for key, job in jobs.items():
        runs = windlass.store.runs(job.id)
        recorded |= {run.id for run in runs}
        worked = [run.id for run in runs if begun.get(run.id)]
        part = asked[key].part
        script = part.script
        if len(worked) > part.most_runs:
            found.doubled.append(f"{key} {job.id} {script.name}: agents worked {len(worked)} times: {worked}")
        elif script.runs is not None and len(worked) < part.most_runs:
            found.other.append(f"{key} {job.id} {script.name}: agents worked {len(worked)} times only")
        for run in runs:
            if run.finished_at_ms is None:
                found.other.append(f"{run.id}: its record never ends ({run.status})")
            if run.outcome == "infra_error":
                found.other.append(f"{run.id}: its run was lost: {run.detail}")
    found.doubled += [f"{run_id}: its agent began {count} times" for run_id, count in begun.items() if count > 1]
    found.other += [f"{run_id}: an agent worked without a record" for run_id in begun.keys() - recorded]


def check_evidence(windlass: Windlass, jobs: Mapping[Any, Job], found: Findings) -> None:
    """The whole ledger and every job's bundle verify, and every decision replays."""
    report = windlass.ledger.verify()
    found.other += [f"ledger: {problem}" for problem in report.problems]
    pin = notes.parse_pin(windlass.ledger.vkey)
    for job in jobs.values():
        contents = bundle.decode(windlass.ledger.export_bytes(job.id))
        verdict = bundle.verify(contents, pinned_key=pin, verify_signature=verify_ed25519)
        found.other += [f"bundle of {job.id}: {problem}" for problem in verdict.problems]
        if verdict.state != job.state.value:
            found.other.append(f"bundle of {job.id} says {verdict.state}, not {job.state}")
        for told in windlass.queries.why(job.id):
            if told.is_replayed is False:
                found.other.append(f"{job.id}: event {told.number} {told.event} does not replay")


def left_behind(state: Path, instance: str) -> list[str]:
    """Runs, workspaces, containers' directories and processes that nobody needs any more."""
    places = ("workspaces", "runs", "containers", "egress")
    left = [f"{path.parent.name}/{path.name}" for name in places for path in (state / name).glob("*")]
    marks = (f"WINDLASS_RUN={instance}/".encode(), f"windlass-{instance}-".encode(), str(state).encode())
    return left + [line for line, text in _processes() if any(mark in text for mark in marks)]


def _processes() -> Iterator[tuple[str, bytes]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            yield f"process {entry.name}: {command[:200]!r}", command + (entry / "environ").read_bytes()
        except OSError:
            continue


def check_silence(state: Path, logs: list[Path], forge: ForgeProcess, api_token: str, found: Findings) -> None:
    """No credential in any log, nor in anything that Windlass keeps but its two key files."""
    key = max(str(forge.ready["apps"][SLUG]["private_key_pem"]).splitlines(), key=len)
    words = [word.encode() for word in (SECRET, key, api_token)]
    kept = [path for path in state.rglob("*") if path.is_file() and path.name not in {"ledger-key.pem", "api-token"}]
    for path in (*logs, *kept):
        data = path.read_bytes()
        if any(word in data for word in words) or _TOKEN.search(data):
            found.other.append(f"a credential stands in {path.name}")


def check_logs(logs: list[Path], found: Findings) -> Counter[str]:
    """What was logged as a warning or worse, counted; what nobody foresaw is wrong."""
    seen: Counter[str] = Counter()
    for path in logs:
        for line in path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                seen[f"{path.stem}: {line[:150]}"] += 1
                continue
            if record["level"] in {"WARNING", "ERROR", "CRITICAL"}:
                why = record.get("error") or record.get("why") or ""
                last = _NUMBER.sub("#", (str(why).strip().splitlines() or [""])[-1])
                seen[f"{record['level']} {record['message'][:100]}: {last}"[:200]] += 1
            if record["message"] in _UNFORESEEN:
                trace = str(record.get("error", "")).strip().splitlines()
                found.other.append(f"{path.stem}: {record['message']}: {trace[-1:]}")
    return seen
