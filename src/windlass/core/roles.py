"""Who does what, in which order: a repository's workflow as data, and what may stand in one.

A workflow is a line of steps. Coders and testers write, one at a time; reviewers read, several side by side. A coder's
step may have several candidates, of which the repository's own tests choose one. Findings lead back to the coder
before. Refused is what could not end: no coder at all, a reviewer before there is anything to review, writers side by
side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from windlass.core.policy_reading import mapping_of, no_unknown, wrong

ROLES = ("coder", "reviewer", "tester")
MOST_STEPS = 10
MOST_SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpec:
    """One role in a step. `agent` '' is the job's own; `candidates` is how many try it side by side (coders only)."""

    role: str
    agent: str = ""
    candidates: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is done at the same time: one writer, or readers side by side."""

    members: tuple[RoleSpec, ...]

    @property
    def role(self) -> str:
        """What its members are asked to be; all the same."""
        return self.members[0].role

    @property
    def is_reading(self) -> bool:
        """Whether nobody in it changes anything."""
        return self.role == "reviewer"


Workflow = tuple[Step, ...]

STRAIGHT: Workflow = (Step(members=(RoleSpec(role="coder"),)),)


def coder_before(workflow: Workflow, index: int) -> int | None:
    """The nearest coder's step before `index`, which findings go back to."""
    return next((at for at in range(index - 1, -1, -1) if workflow[at].role == "coder"), None)


def first_coder(workflow: Workflow) -> int:
    """The first coder's step; every workflow has one."""
    return next(at for at, step in enumerate(workflow) if step.role == "coder")


def has_coded(workflow: Workflow, index: int) -> bool:
    """Whether a coder has worked by the end of this step: only then must the tests pass."""
    return any(step.role == "coder" for step in workflow[: index + 1])


def parse_workflow(document: object) -> Workflow:
    """A workflow out of a policy: names of roles, mappings with `role`, or `parallel` with a list of these.

    Raises Refused (bad_policy).

    >>> [step.role for step in parse_workflow(["coder", {"role": "reviewer", "agent": "codex"}])]
    ['coder', 'reviewer']
    """
    if not isinstance(document, list) or not 0 < len(document) <= MOST_STEPS:
        raise wrong("workflow", document, f"a list of 1 to {MOST_STEPS} steps")
    steps = tuple(_step(f"workflow.{number}", entry) for number, entry in enumerate(document))
    _insist_on_order(steps)
    return steps


def _step(key: str, entry: object) -> Step:
    if not (isinstance(entry, dict) and "parallel" in entry):
        return Step(members=(_member(key, entry),))
    no_unknown(mapping_of(entry, key), {"parallel"}, f"{key}.")
    listed = entry["parallel"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_SIDE_BY_SIDE:
        raise wrong(f"{key}.parallel", listed, f"a list of 1 to {MOST_SIDE_BY_SIDE} reviewers")
    members = tuple(_member(f"{key}.parallel.{number}", one) for number, one in enumerate(listed))
    for number, member in enumerate(members):
        if member.role != "reviewer":
            wanted = "reviewer: whoever writes works alone (use `candidates` for several coders)"
            raise wrong(f"{key}.parallel.{number}.role", member.role, wanted)
    return Step(members=members)


def _member(key: str, entry: object) -> RoleSpec:
    mapping = {"role": entry} if isinstance(entry, str) else mapping_of(entry, key)
    no_unknown(mapping, {"role", "agent", "candidates"}, f"{key}.")
    role, agent, candidates = mapping.get("role"), mapping.get("agent", ""), mapping.get("candidates", 1)
    if role not in ROLES:
        raise wrong(f"{key}.role", role, f"one of {', '.join(ROLES)}")
    if not isinstance(agent, str) or "\0" in agent or len(agent) > 100:
        raise wrong(f"{key}.agent", agent, "an agent's name")
    most = MOST_SIDE_BY_SIDE if role == "coder" else 1
    if isinstance(candidates, bool) or not isinstance(candidates, int) or not 1 <= candidates <= most:
        raise wrong(f"{key}.candidates", candidates, f"a whole number from 1 to {most} for a {role}")
    return RoleSpec(role=role, agent=agent, candidates=candidates)


def _insist_on_order(steps: Sequence[Step]) -> None:
    if not any(step.role == "coder" for step in steps):
        raise wrong("workflow", [step.role for step in steps], "a list with a coder in it")
    for number, step in enumerate(steps):
        if step.is_reading and all(before.is_reading for before in steps[:number]):
            raise wrong(
                f"workflow.{number}.role", step.role, "a role that comes after a coder: nothing is there to review"
            )
