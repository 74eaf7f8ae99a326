"""What Windlass writes to people: the one status comment, the pull request's text, the commit message, the gate.

Deterministic and calm: the same job gives the same words. Text that came from an issue, an agent or CI is quoted as
data: mentions are defused, fences are longer than any run of backticks inside, and GitHub's limits are kept
(title 256, body 65,536 characters, status description 140; sources: GitHub's REST documentation).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from windlass.core.elsewhere import run_elsewhere
from windlass.core.findings import Finding
from windlass.core.job import Job, PatchRef, RunNote, State, TestRun, Verification

TITLE_LIMIT = 256
BODY_LIMIT = 65_000
STATUS_LIMIT = 140
_HEADLINES = {
    State.QUEUED: "waiting for an agent",
    State.RUNNING: "an agent is working on it",
    State.PUBLISHING: "an agent is working on it",
    State.CHECKING: "waiting for the checks",
    State.REVIEWING: "ready for a human's review",
    State.ESCALATED: "a person is needed",
    State.MERGED: "merged",
    State.CLOSED: "closed",
    State.FAILED: "failed",
    State.CANCELLED: "stopped",
    State.SHADOWED: "done in the shadow",
}
_UNDER_WAY = frozenset({State.QUEUED, State.RUNNING, State.PUBLISHING})
_NEXT = {
    State.QUEUED: "Nothing to do: the work starts when an agent is free.",
    State.RUNNING: "Nothing to do: the pull request comes by itself. Take the label off to stop.",
    State.PUBLISHING: "Nothing to do: the pull request comes by itself. Take the label off to stop.",
    State.CHECKING: "Nothing to do: the checks are followed.",
    State.REVIEWING: "Review and approve the pull request, then merge it. A push voids the approval.",
    State.ESCALATED: "Look at the reason, then push to the branch, close the pull request, "
    "or take the label off and put it on again to start over.",
}


_MOST_TICKS = 12
_MOST_FINDINGS = 40
_MOST_ELSEWHERE = 20
_TOO_MANY_TICKS = re.compile(f"`{{{_MOST_TICKS + 1},}}")
# Controls but tab and line feed, line separators, surrogates, and what Unicode calls Default_Ignorable_Code_Point.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# What makes GitHub and other CI services pass a commit over, wherever it stands in a message.
_SWITCH = re.compile(
    r"\[[ \t]*((?:skip|no)[\s_-]+(?:ci|cd|actions?|checks?|build|azurepipelines|travis|netlify|vercel|render)"
    r"|(?:ci|cd|actions?|build|travis|netlify|vercel|render)[\s_-]+skip)[ \t]*\]|\*{3}[ \t]*(no_ci)[ \t]*\*{3}",
    re.IGNORECASE,
)

# The hidden line by which our one comment on an issue is found again, whichever job it speaks of.
MARKER = "<!-- windlass:status -->"


def fingerprint(text: str) -> str:
    """A short name of a text, to see whether it changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def status_comment(job: Job) -> str:
    """The job's one comment on the issue.

    It changes only when a reader has something else to expect: every edit is a write at the forge, which counts them,
    and is made beside the work it tells of. The single steps are in `windlass why` and in the step log.
    """
    lines = [f"### Windlass: {_HEADLINES[job.state]}", ""]
    if job.reason is not None:
        lines += [f"**Reason:** `{job.reason}`{': ' + quoted(job.detail) if job.detail else ''}", ""]
    facts = [("Job", f"`{job.id}`"), ("Branch", f"`{job.branch}`")]
    if job.pull_number is not None:
        facts.append(("Pull request", f"#{job.pull_number}"))
        facts.append(("Head", f"`{(job.head_sha or '')[:12]}`"))
    if job.verification is not None and job.state not in _UNDER_WAY:
        facts.append(("Verified", verification_line(job.verification)))
    if job.approval is not None:
        facts.append(("Approved by", quoted(job.approval.by)))
    lines += [f"- {name}: {value}" for name, value in facts]
    next_step = _NEXT.get(job.state)
    if next_step:
        lines += ["", f"_{next_step}_"]
    return "\n".join([*lines, "", MARKER])


def gate(job: Job) -> tuple[str, str]:
    """State and description of the approval gate for the job's head."""
    head = (job.head_sha or "")[:7]
    if job.approval is not None and job.approval.head_sha == job.head_sha:
        return "success", f"{head} approved by {job.approval.by}"[:STATUS_LIMIT]
    return "pending", f"{head} waits for a human's approval"


def verification_line(verification: Verification) -> str:
    """One line on what Windlass found out itself."""
    base, head = verification.base.status, verification.head.status
    if head == "absent":
        return "no test command was found"
    proof = ", red to green proven" if verification.red_to_green else ""
    weak = len(verification.weakened_tests)
    return f"tests {base} on base, {head} on head{proof}{f', **{weak} weakened test(s)**' if weak else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullText:
    """Everything that goes into a pull request's text. `report` and `findings` are agents' own words, hostile."""

    job_id: str
    issue_number: int
    issue_title: str
    requested_by: str
    agent: str
    report: str
    patch: PatchRef
    verification: Verification | None
    findings: tuple[Finding, ...] = ()
    run_notes: tuple[RunNote, ...] = ()


def pull_title(report_title: str, issue_title: str, issue_number: int) -> str:
    """The agent's title if it is one, else the issue's; one line, no control characters, cut to GitHub's limit.

    >>> pull_title("Add  a flag\\x00", "x", 3)
    'Add a flag'
    >>> pull_title("", "Crash on empty input", 3)
    'Crash on empty input'
    """
    for candidate in (report_title, issue_title):
        text = unswitched(" ".join(visible(candidate).split()))
        if len(text) >= 3:
            return text if len(text) <= TITLE_LIMIT else text[: TITLE_LIMIT - 1] + "…"
    return f"Work on #{issue_number}"


def pull_body(text: PullText) -> str:
    """The pull request's description: what the agent says, what was verified, how it came to be."""
    head = [
        f"Closes #{text.issue_number}",
        "",
        "## What was verified",
        "",
        *_verification_section(text.verification),
        "",
        *_elsewhere_section(text.patch.files),
        *_findings_section(text),
    ]
    tail = [
        "## How this came to be",
        "",
        f"- Asked for by {quoted(text.requested_by)}: {quoted(text.issue_title)}",
        f"- Written by the agent `{_code(text.agent)}` in a sandbox without credentials; "
        "Windlass checked, committed and pushed the change",
        f"- Change: {len(text.patch.files)} file(s), +{text.patch.insertions} −{text.patch.deletions}, "
        f"patch `sha256:{text.patch.digest}`",
        *(
            f"- {_code(one.role)} `{_code(one.agent) or 'default'}`, run `{one.run_id}`: {one.words}"
            for one in text.run_notes
        ),
        f"- Job `{text.job_id}`; a human's approval of the exact head commit is required before the merge",
        "",
        f"<!-- windlass:job:{text.job_id} -->",
    ]
    room = BODY_LIMIT - sum(len(line) + 1 for line in [*head, *tail]) - 200
    report = _report_section(unswitched(text.report), room)
    return "\n".join([*head, *report, *tail])


def _verification_section(verification: Verification | None) -> list[str]:
    if verification is None or verification.head.status == "absent":
        return ["**Not verified:** no test command was found. Set `test_command` in `.github/windlass.yml`."]
    rows = [
        f"Command: `{_code(verification.command)}`",
        "",
        "| tree | tests | summary |",
        "|---|---|---|",
        _row("base", verification.base),
        _row("this change", verification.head),
        "",
        "Red → green: **proven**, the tests of this change fail on the base and pass here."
        if verification.red_to_green
        else "Red → green: not proven.",
    ]
    if verification.weakened_tests:
        rows += ["", "> [!WARNING]", "> This change makes tests weaker. Look at these first:"]
        rows += [
            f"> - `{_code(t.path)}` `{_code(t.name)}`: {t.how}{' (' + quoted(t.detail) + ')' if t.detail else ''}"
            for t in verification.weakened_tests[:20]
        ]
    return rows


def _elsewhere_section(paths: Sequence[str]) -> list[str]:
    found = run_elsewhere(paths)
    if not found:
        return []
    more = f", and {len(found) - _MOST_ELSEWHERE} more" if len(found) > _MOST_ELSEWHERE else ""
    named = ", ".join(f"`{_code(path)}`" for path in found[:_MOST_ELSEWHERE])
    return [
        "> [!NOTE]",
        f"> This change touches what runs when the project is installed, built or opened: {named}{more}.",
        "> Read it as code that runs on your machine.",
        "",
    ]


def _findings_section(text: PullText) -> list[str]:
    """What reviewing agents found and nobody had to mend: for the human who reviews, who may see it otherwise."""
    if not any(one.role == "reviewer" for one in text.run_notes):
        return []
    lines = ["## What reviewing agents found", ""]
    if not text.findings:
        return [*lines, "Nothing. They are agents too: this is no approval.", ""]
    for one in text.findings[:_MOST_FINDINGS]:
        place = f"{_code(one.path) or 'the change'}{f':{one.line}' if one.line else ''}"
        lines.append(f"- {one.severity}, `{place}`: {quoted(one.text)}")
    left_out = len(text.findings) - _MOST_FINDINGS
    return [*lines, *([f"- and {left_out} more, in the evidence"] if left_out > 0 else []), ""]


def _row(name: str, run: TestRun) -> str:
    return f"| {name} | {run.status} | {quoted(run.summary) or ' '} |"


def _report_section(report: str, room: int) -> list[str]:
    text = visible(report).strip()
    if not text:
        return []
    if len(text) > room:
        text = text[: max(room - 60, 0)] + "\n… (cut; the whole report is in the evidence)"
    fence = fenced(text)
    return [
        "<details><summary>The agent's report (<code>windsurf-output.txt</code>)</summary>",
        "",
        fence,
        "",
        "</details>",
        "",
    ]


def commit_message(*, title: str, issue_number: int, job_id: str, agent: str) -> str:
    """Subject, reference and trailers of the commit. The subject notifies nobody and closes no other issue."""
    subject = _defused(pull_title(title, "", issue_number))
    subject = subject if len(subject) <= 72 else subject[:71] + "…"
    trailers = [f"Assisted-by: {unswitched(_line(agent)) or 'agent'}", f"Windlass-Job: {job_id}"]
    return "\n".join([subject, "", f"For #{issue_number}.", "", *trailers, ""])


def quoted(text: str) -> str:
    """Hostile text in one line of Markdown: no markup, no mention, no link, no HTML.

    >>> quoted("ping @ada <b>")
    'ping @\\u200bada &lt;b&gt;'
    """
    line = " ".join(visible(text).split())[:400]
    line = re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"(?i)(:)(?=//)|\b(www)(?=\.)", "\\1\\2\u200b", line)
    return _defused(line)


def _defused(line: str) -> str:
    """Without mentions and references: `@ada`, `#7`, `GH-7`."""
    return re.sub(r"(?i)(@)(?=\w)|(#)(?=\d)|\b(gh)(?=-\d)", "\\1\\2\\3\u200b", line)


def unswitched(text: str) -> str:
    """Without the words that switch checks off. A squashed commit has the pull request's title and text as message.

    >>> unswitched("Mend it [skip ci]")
    'Mend it (skip ci)'
    """
    return _SWITCH.sub(lambda found: f"({found[1] or found[2]})", text)


def fenced(text: str) -> str:
    """Hostile text as a code block whose fence no line of it can close, and at most 40 characters longer.

    Longer runs of backticks are cut, because each would make both fences as long as itself.
    """
    text = _TOO_MANY_TICKS.sub("`" * _MOST_TICKS, text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _code(text: str) -> str:
    return " ".join(visible(text).replace("`", "'").split())[:200]


def _line(text: str) -> str:
    return " ".join(visible(text).split())[:100]


def visible(text: str) -> str:
    """Without control, bidirectional and invisible characters, which make text say what it does not show."""
    return _HIDDEN.sub("", text)
