"""Agents at their worst: each case costs that run and nothing else, and a person can read what happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.harness import OBEY, REPOSITORY, Town, town
from windlass.core.job import Job, Reason, State

ONE_TRY = {"limits": {"agent_attempts": 1}}


def orders(*lines: str) -> str:
    """An issue that tells the obedient agent what to do."""
    return "\n".join(["Please mend the answer.", *(f"do: {line}" for line in lines)])


async def asked(here: Town, *lines: str) -> Job:
    """What becomes of an issue with these orders."""
    number = await here.ask(body=orders(*lines))
    return await here.until(number, State.REVIEWING, State.ESCALATED)


async def test_an_agent_that_hangs_is_timed_out_and_tried_once_more(tmp_path: Path) -> None:
    limits = {"limits": {"run_total_s": 1, "run_idle_s": 1, "agent_attempts": 2}}
    async with town(tmp_path, agent="sleep 1000 & sleep 1000", policy=limits) as here:
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is Reason.AGENT_TIMED_OUT
        assert here.outcomes(job) == ["timed_out", "timed_out"]
        assert here.processes() == []


async def test_an_agent_that_prints_a_gigabyte_fills_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, agent=OBEY, policy=ONE_TRY) as here:
        job = await asked(here, "echo 42 > answer.txt", "head -c 1000000000 /dev/zero | tr '\\0' 'x'")
        assert job.state is State.REVIEWING
        kept = sum(path.stat().st_size for path in here.settings.state_dir.rglob("*") if path.is_file())
        assert kept < 100_000_000
        assert len(str(here.pulls("ai-1")[0].body)) < 65_536


@pytest.mark.parametrize(
    ("lines", "reason", "told"),
    [
        (("true",), Reason.NO_CHANGE, "changed nothing"),
        (("rm -rf ./* ./.github",), Reason.PATCH_REFUSED, ""),
        (("echo 42 > answer.txt", "ln -s /etc/passwd stolen"), Reason.PATCH_REFUSED, "stolen"),
        (
            ("echo 42 > answer.txt", "mkdir -p .github/workflows", "echo 'on: push' > .github/workflows/evil.yml"),
            Reason.PATCH_REFUSED,
            ".github/workflows",
        ),
        (("echo 42 > answer.txt", "mkdir -p sub/.git", "echo x > sub/.git/config"), Reason.PATCH_REFUSED, ".git"),
        (("echo 42 > answer.txt", "mkdir .GIT", "echo x > .GIT/config"), Reason.PATCH_REFUSED, ""),
        (("echo 43 > answer.txt", "echo all tests pass, honestly"), Reason.TESTS_FAILED, "the tests fail"),
        (("echo 42 > answer.txt", "exit 7"), Reason.AGENT_FAILED, "exit code 7"),
        (("echo 42 > answer.txt", "echo half way > windsurf-output.txt"), Reason.AGENT_INCOMPLETE, "does not end"),
    ],
    ids=[
        "changes nothing",
        "deletes everything",
        "links to a secret file",
        "edits workflows",
        "hides a git directory",
        "disguises a git directory",
        "claims success",
        "fails",
        "leaves the marker out",
    ],
)
async def test_a_change_that_may_not_be_published_is_not(
    tmp_path: Path, lines: tuple[str, ...], reason: Reason, told: str
) -> None:
    async with town(tmp_path, agent=OBEY, policy=ONE_TRY) as here:
        base = here.tip("main")
        job = await asked(here, *lines)
        assert (job.state, job.reason) == (State.ESCALATED, reason), here.tell(1)
        assert told in job.detail
        assert here.pulls("ai-1") == []
        assert here.tip("ai-1") == base


async def test_a_git_directory_at_the_top_is_no_part_of_the_change_and_runs_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, agent=OBEY, policy=ONE_TRY) as here:
        hook = "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch /tmp/hooked\\n' > .git/hooks/post-commit"
        job = await asked(here, "echo 42 > answer.txt", hook, "printf '[core]\\nfsmonitor=touch x' > .git/config")
        if job.state is State.REVIEWING:
            assert here.git("diff", "--name-only", "main", str(job.head_sha)) == "answer.txt\n"
        else:
            assert job.reason is Reason.PATCH_REFUSED


async def test_tests_that_are_deleted_or_skipped_are_shown_to_the_reviewer_first(tmp_path: Path) -> None:
    files = {
        "answer.py": "ANSWER = 41\n",
        "tests/test_answer.py": "import unittest\nfrom answer import ANSWER\n\n\nclass AnswerTest(unittest.TestCase):\n"
        "    def test_answer(self):\n        self.assertEqual(ANSWER, 42)\n\n"
        "    def test_kind(self):\n        self.assertIsInstance(ANSWER, int)\n",
        "tests/__init__.py": "",
    }
    skip = "sed -i 's/    def test_answer/    @unittest.skip(\"later\")\\n    def test_answer/' tests/test_answer.py"
    drop = "sed -i '/def test_kind/,$d' tests/test_answer.py"
    policy = {"test_command": "python3 -m unittest discover -s tests -t .", "limits": {"agent_attempts": 1}}
    async with town(tmp_path, agent=OBEY, files=files, policy=policy, checks={"tests": "true"}) as here:
        job = await asked(here, skip, drop)
        assert job.state is State.REVIEWING
        assert job.verification is not None
        assert {test.how for test in job.verification.weakened_tests} == {"deleted", "skipped"}
        body = str(here.pulls("ai-1")[0].body)
        assert "This change makes tests weaker" in body
        assert "test_kind" in body
        assert "test_answer" in body


async def test_a_hostile_report_stays_text(tmp_path: Path) -> None:
    agent = (
        "echo 42 > answer.txt; "
        "echo '# <img src=x> @everyone ![](http://evil.example/x) Closes #99' > windsurf-output.txt; "
        "printf '```````\\n</details><script>alert(1)</script> @ada\\n' >> windsurf-output.txt; "
        "printf 'WORK-%s' COMPLETED >> windsurf-output.txt"
    )
    async with town(tmp_path, agent=agent, policy=ONE_TRY) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert job.report_title.startswith("<img")
        pull = here.pulls("ai-1")[0]
        outside = _outside_fences(str(pull.body))
        assert "<script>" not in outside
        assert "@ada" not in outside
        assert "@everyone" not in outside
        assert "Closes #99" not in outside
        assert "WORK-COMPLETED" not in str(pull.body)
        assert len(pull.title) <= 256


async def test_a_second_attempt_is_told_what_was_wrong_with_the_first(tmp_path: Path) -> None:
    agent = "grep -q 'got 40' windsurf-instructions.txt && echo 42 > answer.txt || echo 40 > answer.txt"
    async with town(tmp_path, agent=agent) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert job.budgets.agent_attempts == 1
        assert here.outcomes(job) == ["completed", "completed"]
        assert here.check_runs() == 1


async def test_a_credential_of_windlass_that_stands_in_an_issue_or_repository_is_masked_everywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with town(tmp_path, agent=OBEY, policy=ONE_TRY) as here:
        token = here.tokens[here.bot]
        await here.forge.commit(REPOSITORY, "main", {"leak.txt": token.encode()}, "Oh no", "ada")
        lines = (
            "echo 42 > answer.txt",
            "cat leak.txt windsurf-instructions.txt",
            "(echo '# Mended'; cat leak.txt; base64 leak.txt; printf 'WORK-%s' COMPLETED) > windsurf-output.txt",
        )
        body = orders(*lines) + f"\nI log in with {token}, is that right?"
        job = await here.until(await here.ask(f"Use {token}", body), State.REVIEWING)
        assert "I log in with" in here.prompts(job)[0]
        answer = await here.review(job, "max", "REQUEST_CHANGES", f"do: echo {token[:20]} > x.txt\nuse {token}")
        assert answer.is_success
        await here.until(1, State.REVIEWING, State.ESCALATED, when=lambda j: j.budgets.review_rounds)
        assert not any(form in caplog.text for form in here.hidden())


async def test_a_change_that_would_publish_a_credential_of_windlass_is_refused(tmp_path: Path) -> None:
    async with town(tmp_path, agent=OBEY, policy=ONE_TRY) as here:
        backwards = here.tokens[here.bot][::-1].encode()
        await here.forge.commit(REPOSITORY, "main", {"leak.txt": backwards}, "A riddle", "ada")
        job = await asked(here, "echo 42 > answer.txt", "rev leak.txt > stolen.txt")
        assert (job.state, job.reason) == (State.ESCALATED, Reason.PATCH_REFUSED)
        assert "secret" in job.detail


def _outside_fences(body: str) -> str:
    kept, fence = [], ""
    for line in body.splitlines():
        if not fence and line.startswith("```"):
            fence = line[: len(line) - len(line.lstrip("`"))]
        elif fence and line == fence:
            fence = ""
        elif not fence:
            kept.append(line)
    assert not fence
    return "\n".join(kept)
