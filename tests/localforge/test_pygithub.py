"""PyGithub, a client that is not ours, gets its work done on localforge, and every exchange conforms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import github
import pytest
from github import Auth, Github
from github.GithubException import GithubException, UnknownObjectException

from tests.localforge.conftest import REPO, Desk


def connect(desk: Desk, login: str) -> Github:
    return Github(
        auth=Auth.Token(desk.tokens[login]),
        base_url=desk.forge.api_url,
        retry=None,
        seconds_between_requests=0,
        seconds_between_writes=0,
    )


async def away(work: Callable[[], None]) -> None:
    """The client blocks, and the forge lives in this loop."""
    await asyncio.to_thread(work)


async def test_from_an_issue_to_a_merged_pull_request(desk: Desk) -> None:
    desk.forge.require_checks(REPO, ["gate"])

    def begin() -> None:
        bob = connect(desk, "bob").get_repo(REPO)
        issue = bob.create_issue("Bug", body="It fails", labels=["AI-Ready"])
        assert [label.name for label in bob.get_issue(issue.number).labels] == ["AI-Ready"]
        bob.create_git_ref("refs/heads/ai-1", bob.get_branch("main").commit.sha)
        with pytest.raises(GithubException) as again:
            bob.create_git_ref("refs/heads/ai-1", bob.get_branch("main").commit.sha)
        assert again.value.status == 422

    def work() -> None:
        with connect(desk, "bob") as bob_client, connect(desk, "ann") as ann_client:
            bob, ann = bob_client.get_repo(REPO), ann_client.get_repo(REPO)
            pull = bob.create_pull(base="main", head="ai-1", title="Fix", body="Closes #1")
            pull.add_to_labels("AI-PR")
            pull.create_issue_comment("Done").edit("Really done")
            assert [comment.body for comment in pull.get_issue_comments()] == ["Really done"]
            assert [file.filename for file in pull.get_files()] == ["new.txt"]
            commit = bob.get_commit(pull.head.sha)
            commit.create_status("success", context="gate", description="Approved")
            assert commit.get_combined_status().state == "success"
            with pytest.raises(GithubException) as early:
                ann.get_pull(pull.number).merge()
            assert early.value.status == 405
            assert ann.get_pull(pull.number).create_review(event="APPROVE").state == "APPROVED"
            assert ann.get_pull(pull.number).merge(sha=pull.head.sha).merged
            assert ann.get_issue(1).state == "closed"
            assert [event.event for event in ann.get_issue(1).get_events()] == ["labeled", "closed"]

    await away(begin)
    await desk.branch("ai-1")
    await away(work)


async def test_contents_and_permissions(desk: Desk) -> None:
    def work() -> None:
        with connect(desk, "eve") as client:
            repo = client.get_repo(REPO)
            assert client.get_user().login == "eve"
            assert repo.get_contents("README.md").decoded_content == b"# Demo\n\nMore.\n"  # type: ignore[union-attr]
            assert repo.get_contents("src/ä b.txt", ref="old").size == 4  # type: ignore[union-attr]
            assert repo.get_collaborator_permission("bob") == "write"
            assert repo.compare("old", "main").ahead_by == 1
            assert [branch.name for branch in repo.get_branches()] == ["main", "old"]
            with pytest.raises(UnknownObjectException):
                repo.get_contents("none.txt")
            with pytest.raises(github.GithubException) as refused:
                repo.create_git_ref("refs/heads/x", repo.get_branch("main").commit.sha)
            assert refused.value.status == 403

    await away(work)


async def test_an_app_by_its_key(desk: Desk) -> None:
    app = desk.forge.create_app()

    def work() -> None:
        auth = Auth.AppAuth(app.app_id, app.private_key_pem).get_installation_auth(app.installation_id)
        with Github(auth=auth, base_url=desk.forge.api_url, retry=None, seconds_between_writes=0) as client:
            repo = client.get_repo(REPO)
            sha = repo.get_branch("main").commit.sha
            run = repo.create_check_run("windlass", sha, status="completed", conclusion="neutral")
            assert repo.get_check_run(run.id).app.slug == "windlass"
            issue = repo.create_issue("By a bot")
            assert issue.user.login == "windlass[bot]"

    await away(work)
