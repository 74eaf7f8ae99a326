"""The prompt for an issue on a local repository, with no forge, no agent and no state left behind.

The repository is copied first and only read; the same parts render it as in a job, so what is shown is what an agent
would be told, but for comments, which only a forge has.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from windlass.adapters.git import GitRepositories, import_repository
from windlass.adapters.prompts import JinjaPrompts
from windlass.core import testing_commands
from windlass.core.errors import Refused
from windlass.core.job import IssueSnapshot
from windlass.core.policy import Policy
from windlass.core.prompt import PromptRequest, manifest
from windlass.core.tasks import detect_task_type
from windlass.engine.intake import POLICY_PATH, parse_policy
from windlass.faces.cli.options import PreviewOptions, PromptPreview
from windlass.ports import GitCredential
from windlass.wiring.parts import TEMPLATES

_NAME = "local/preview"


async def preview(options: PreviewOptions) -> PromptPreview:
    """Raises Refused for a repository, an issue or a role that there is not."""
    if not options.repo.exists():
        raise Refused(f"{options.repo} does not exist", code="bad_repository", hint="give a git repository")
    with tempfile.TemporaryDirectory(prefix="windlass-preview-") as place:
        work = Path(place)
        base = await import_repository(options.repo, work / "import.git", base=options.base)
        repositories = GitRepositories(work / "mirrors", allow_file=True)
        credential = GitCredential(url=(work / "import.git").as_uri())
        sha = (await repositories.fetch(_NAME, credential, [base]))[base]
        request = await _request(options, repositories, sha)
        prompt = await JinjaPrompts(repositories, TEMPLATES).render(request)
    return PromptPreview(text=prompt.text, manifest=manifest(prompt, digest=prompt.digest, flags=prompt.flags))


async def _request(options: PreviewOptions, repositories: GitRepositories, sha: str) -> PromptRequest:
    title, body = split_issue(options.issue_text, options.title)
    issue = IssueSnapshot(number=1, title=title, body=body, author="you")
    policy_file = await repositories.read_file(_NAME, sha, POLICY_PATH)
    policy = parse_policy(policy_file, Policy()) if policy_file is not None else Policy()
    return PromptRequest(
        repository=_NAME,
        issue=issue,
        task_type=options.task_type or detect_task_type(issue),
        start_sha=sha,
        base_sha=sha,
        role=options.role,
        purpose=options.purpose,
        test_command=options.test_command or policy.test_command or await detected_tests(repositories, _NAME, sha),
        token_limit=options.token_limit or policy.limits.prompt_tokens,
    )


def split_issue(text: str, title: str) -> tuple[str, str]:
    """Title and body of an issue's text; without a given title its first line is one. Raises Refused (bad_issue)."""
    lines = text.strip().splitlines()
    found = title.strip() or (lines[0].lstrip("# ").strip() if lines else "")
    if not found:
        raise Refused("the issue has no text", code="bad_issue", hint="say in a sentence what is wanted")
    body = text if title else "\n".join(lines[1:]).strip() or text
    return found[:256], body


async def detected_tests(repositories: GitRepositories, repo: str, sha: str) -> str:
    """The test command that a commit's files show, or ''."""
    files = await repositories.list_files(repo, sha)
    loop = asyncio.get_running_loop()

    def read(path: str) -> bytes | None:
        return asyncio.run_coroutine_threadsafe(repositories.read_file(repo, sha, path), loop).result()

    return await asyncio.to_thread(testing_commands.detect, files, read)
