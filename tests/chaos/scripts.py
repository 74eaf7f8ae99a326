"""What happens to each job of a chaos run, and where it must end.

A script is the part that an agent, a CI and a person play for one issue. The agent reads its script in the issue's
text; whatever is killed meanwhile, the job must end in the script's state after exactly the script's number of runs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from windlass.core.job import Reason, State

REPOSITORIES = ("acme/alpha", "acme/beta", "acme/gamma")
MARK = "chaos-script="

# Tells who counts (an address that only this test knows) that it began.
BEGIN = """set -e
python3 -I -S -c "
import os, socket
s = socket.create_connection(('127.0.0.1', int(os.environ['COUNTER_PORT'])), 20)
s.sendall(os.environ['WINDLASS_RUN'].encode() + bytes([10]))
s.recv(1)
"
"""
# The same out of a container, which has no network but sees the directory of the counter's socket.
BEGIN_IN_CONTAINER = """set -e
test "$(echo "$WINDLASS_RUN" | socat -t 20 - "UNIX-CONNECT:$COUNTER_SOCKET")" = .
"""
# Works for a while, then does its part.
AGENT = f"""script=$(sed -n 's/.*{MARK}\\([a-z_]*\\).*/\\1/p' windsurf-instructions.txt | head -n 1)
sleep "$(sed -n 's/.*chaos-seconds=\\([0-9.]*\\).*/\\1/p' windsurf-instructions.txt | head -n 1)"
echo "worked on $WINDLASS_ISSUE as $script"
[ "$script" != fails ] || exit 1
if [ -d windlass-desk ]; then
  printf '# Fine\n\n```json\n[]\n```\n\nWORK-COMPLETED\n' > windlass-desk/windsurf-output.txt
  exit 0
fi
mkdir -p work
if [ -f "work/$WINDLASS_ISSUE.txt" ]; then
  echo again > "work/$WINDLASS_ISSUE.mended"
else
  echo "$script" > "work/$WINDLASS_ISSUE.txt"
fi
printf '# Do %s\\n\\nDone as asked.\\nWORK-COMPLETED\\n' "$WINDLASS_ISSUE" > windsurf-output.txt
"""

# The tests are green with every change; the forge's CI finds a fault in the first try of `ci_mended` only.
FILES = {
    "README.md": "# A repository under chaos\n",
    "test.sh": "test -f README.md && echo '1 passed'\n",
    "check.sh": 'for f in $(grep -l ci_mended work/*.txt); do test -f "${f%.txt}.mended" || exit 1; done\n',
    ".github/windlass.yml": "test_command: sh test.sh\nlimits: {checks_quiet_s: 0, revivals: 20, job_s: 7200}\n",
}
# In one repository several agents work on each issue: two coders for the same, and two who read what they made.
CREW = REPOSITORIES[2]
WORKFLOW = "workflow: [{role: coder, candidates: 2}, {parallel: [reviewer, reviewer]}]\n"


def files_of(repository: str) -> dict[str, str]:
    """What is in a repository under chaos."""
    policy = ".github/windlass.yml"
    return {**FILES, policy: FILES[policy] + (WORKFLOW if repository == CREW else "")}


@dataclass(frozen=True, slots=True)
class Script:
    """One part to play. `runs`: how often the agent is started (None: at most once); `pulls`: pull requests made."""

    name: str
    state: State
    reason: Reason | None
    runs: int | None
    pulls: int | None
    has_branch: bool


SCRIPTS = {
    script.name: script
    for script in (
        Script("plain", State.MERGED, None, 1, 1, True),
        Script("ci_mended", State.MERGED, None, 2, 1, True),
        Script("reviewed", State.MERGED, None, 2, 1, True),
        Script("fails", State.ESCALATED, Reason.AGENT_FAILED, 2, 0, True),
        Script("stopped", State.CANCELLED, Reason.STOPPED, None, None, False),
        Script("closed", State.CLOSED, Reason.PULL_REQUEST_CLOSED, 1, 1, True),
    )
}
_SHARES = {"plain": 4, "ci_mended": 2, "reviewed": 1, "fails": 1, "stopped": 2, "closed": 1}


@dataclass(frozen=True, slots=True)
class Part:
    """One issue to come. `stop_after_s`: when a person stops it, counted from its first sight."""

    number: int
    repository: str
    script: Script
    agent_s: float
    stop_after_s: float

    @property
    def most_runs(self) -> int:
        """How often agents may be started, at most."""
        if self.repository != CREW:
            return 1 if self.script.runs is None else self.script.runs
        if self.script.name == "fails":
            return 3  # both candidates, and one more attempt
        rounds = 1 if self.script.runs is None else self.script.runs
        return 4 + 3 * (rounds - 1)  # two coders and two readers; later rounds have one coder

    @property
    def title(self) -> str:
        """Unique, so that an issue whose answer got lost is found again."""
        return f"Part {self.number}: {self.script.name}"

    @property
    def body(self) -> str:
        """What the agent reads."""
        return f"Please do it.\n\n{MARK}{self.script.name}\nchaos-seconds={self.agent_s:.2f}\n"


def parts(count: int, rng: random.Random, *, pace: float) -> list[Part]:
    """`count` issues with all scripts among the first; `pace` stretches all times."""
    names = [name for name, share in _SHARES.items() for _ in range(share)]
    deck = [names[i % len(names)] if i >= len(SCRIPTS) else list(SCRIPTS)[i] for i in range(count)]
    head, tail = deck[: len(SCRIPTS)], deck[len(SCRIPTS) :]
    rng.shuffle(head)
    rng.shuffle(tail)
    return [
        Part(
            number=number,
            repository=REPOSITORIES[number % len(REPOSITORIES)],
            script=SCRIPTS[name],
            agent_s=rng.uniform(0.2, 3.0) * pace,
            stop_after_s=rng.uniform(0.0, 20.0) * pace,
        )
        for number, name in enumerate([*head, *tail])
    ]
