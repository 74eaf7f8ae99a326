"""VerifyPatch: the repository's own tests, run by Windlass, on the base and on the change, each in a clean sandbox.

The base is run with the change's test files put on it, so that "red on base, green on head" is proven for the new
tests and not merely claimed. Neither run has a network or a credential.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable

from windlass.core import testing_commands, verification
from windlass.core.effects import VerifyPatch, verification_run_ids
from windlass.core.errors import Unavailable
from windlass.core.events import PatchVerified
from windlass.core.job import TestRun, Verification
from windlass.core.weakening_config import is_test_config
from windlass.engine.execution_log import Place, Said
from windlass.engine.stages import preparing, steps
from windlass.engine.stages.context import Claim, Overtaken, read_tail
from windlass.ports import RunResult

_LONGEST_FILE = 1 << 20
_LONGEST_LOG = 2 << 20


async def verify_patch(claim: Claim, effect: VerifyPatch) -> PatchVerified:
    """Test base and head side by side. Raises Unavailable, Broken."""
    repo, repositories = claim.job.repository, claim.outside.repositories
    diff = await asyncio.to_thread(claim.outside.blobs.get, effect.patch.digest)
    head_tree = await repositories.restore(repo, effect.patch, diff)
    files = await repositories.list_files(repo, head_tree)
    weakened = verification.weakened_tests(await _changes(claim, effect, head_tree))
    command = await _command(claim, effect.base_sha, files)
    if not command:
        absent = TestRun(status="absent", summary="no test command")
        return _answer(
            claim, Verification(command="", base=absent, head=absent, red_to_green=False, weakened_tests=weakened)
        )
    tests = [path for path in effect.patch.files if verification.is_test_path(path)]
    base_tree = await repositories.graft(repo, effect.base_sha, head_tree, tests)
    base_id, head_id = verification_run_ids(claim.job.id, claim.seq)
    base, head = await _both(
        _run(claim, command, base_tree, "base", base_id), _run(claim, command, head_tree, "head", head_id)
    )
    return _answer(claim, verification.conclude(command, base, head, weakened))


def _answer(claim: Claim, found: Verification) -> PatchVerified:
    return PatchVerified(seq=claim.seq, verification=found)


async def _command(claim: Claim, base_sha: str, files: tuple[str, ...]) -> str:
    """The operator's command, the policy's, or the one that the base's own files show; never the change's."""
    given = claim.outside.settings.test_command or claim.job.policy.test_command
    if given:
        return given
    return await _detect(claim, base_sha, await repositories_files(claim, base_sha)) or await _detect(
        claim, base_sha, files
    )


async def repositories_files(claim: Claim, treeish: str) -> tuple[str, ...]:
    """All paths at a commit."""
    return await claim.outside.repositories.list_files(claim.job.repository, treeish)


async def _detect(claim: Claim, base_sha: str, files: tuple[str, ...]) -> str:
    """Detection is pure and asks for files as it goes; it runs in a thread and reads through the loop."""
    loop = asyncio.get_running_loop()
    repositories, repo = claim.outside.repositories, claim.job.repository

    def read(path: str) -> bytes | None:
        return asyncio.run_coroutine_threadsafe(repositories.read_file(repo, base_sha, path), loop).result()

    return await asyncio.to_thread(testing_commands.detect, files, read)


async def _changes(claim: Claim, effect: VerifyPatch, head_tree: str) -> tuple[verification.FileChange, ...]:
    changes = []
    for path in effect.patch.files[:1000]:
        if _may_weaken(path):
            before = await _text(claim, effect.base_sha, path)
            after = await _text(claim, head_tree, path)
            changes.append(verification.FileChange(path=path, before=before, after=after))
    return tuple(changes)


def _may_weaken(path: str) -> bool:
    """Files in which a test can be weakened; Rust keeps tests beside the code."""
    return verification.is_test_path(path) or is_test_config(path) or path.endswith(".rs")


async def _text(claim: Claim, treeish: str, path: str) -> str | None:
    data = await claim.outside.repositories.read_file(claim.job.repository, treeish, path)
    return None if data is None else data[:_LONGEST_FILE].decode("utf-8", "replace")


async def _both(base: Awaitable[TestRun], head: Awaitable[TestRun]) -> tuple[TestRun, TestRun]:
    """Side by side; both end before a problem is raised, so that a second try never meets the rest of the first."""
    tasks = [asyncio.ensure_future(run) for run in (base, head)]
    await asyncio.gather(*tasks, return_exceptions=True)
    return tasks[0].result(), tasks[1].result()


async def _run(claim: Claim, command: str, tree: str, which: str, run_id: str) -> TestRun:
    outside = claim.outside
    home = outside.settings.workspaces / run_id
    if not outside.runner.is_known(run_id):
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        workspace = home / "workspace"
        await asyncio.to_thread(workspace.mkdir, parents=True)
        await outside.repositories.materialise(claim.job.repository, tree, workspace)
        why = await preparing.set_up(claim, run_id, workspace)
        if why:
            await _clear(claim, run_id)
            return TestRun(status="errored", summary=why)
        await outside.runner.start(preparing.command_spec(claim, run_id, command, workspace))
    place = Place(job=claim.job.id, stream=f"verify-{claim.seq}-{which}")
    result = await steps.watched(claim, run_id, place, [Said(kind="verification", text=f"{which}: {command}")])
    if not await claim.is_current():  # a newer claim may be waiting for the same run
        if await claim.is_unwanted():
            await _clear(claim, run_id)
        raise Overtaken(claim.key)
    found = None if result.ended in {"lost", "stopped"} else await _judge(claim, result)
    await _clear(claim, run_id)
    if found is not None:
        await steps.verified(claim, which, found)
    else:
        raise Unavailable(f"the tests were {result.ended} on the way", hint="they are run again", code="run_lost")
    return found


async def _clear(claim: Claim, run_id: str) -> None:
    """The sandbox and its files go."""
    await claim.outside.runner.discard(run_id)
    home = claim.outside.settings.workspaces / run_id
    await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


async def _judge(claim: Claim, result: RunResult) -> TestRun:
    log = await asyncio.to_thread(lambda: claim.outside.redact(read_tail(result.output, _LONGEST_LOG)))
    log_digest = await claim.outside.keep(log.encode())
    return verification.judge(
        ended=result.ended,
        exit_code=result.exit_code,
        output=log,
        duration_s=result.duration_s,
        log_digest=log_digest,
    )
