"""Fetch from and push to a forge: the only two acts that leave the machine.

Rule: full URLs and explicit refspecs from our own records, the credential in the environment of one call, scoped to
that one URL; only `refs/heads/ai-*` is ever written, and only from the commit that we expect there. What the forge
answers is hostile text: it is classified by git's own words and shown as one clean line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windlass.adapters.git import names
from windlass.adapters.git.process import Call, Git, Ran
from windlass.core.errors import Conflict, Failed, Forbidden, NotFound, Refused, Unavailable, WindlassError
from windlass.ports import GitCredential

# The other end of a file:// URL is a process of this machine that does not inherit our settings.
SAFE_SERVER = "git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c protocol.allow=never -c gc.auto=0"

_FETCHES = 3
_MISSING_REF = "couldn't find remote ref"
_UNAVAILABLE = re.compile(
    r"returned error: (?:5\d\d|408|429)|could ?n.t resolve|could not resolve|failed to connect|couldn't connect"
    r"|connection (?:reset|refused|timed out)|operation (?:timed out|too slow)|timed out|early eof|rpc failed"
    r"|hung up|empty reply|internal server error|recv failure|send failure|gnutls_handshake|ssl_error_syscall"
    r"|transfer closed|unexpected disconnect|bad gateway|service unavailable|temporarily unavailable"
)
_DENIED = re.compile(r"authentication failed|could not read (?:username|password)|returned error: 40[13]|access denied")
_ABSENT = re.compile(r"returned error: 404|repository .*not found|does not appear to be a git repository|not found")
_REDIRECT = re.compile(r"redirect|returned error: 30\d")
_CERTIFICATE = re.compile(r"certificate|ssl peer")
_RACED = re.compile(r"cannot lock ref|failed to lock|incorrect old value|stale info|fetch first|failed to update ref")


@dataclass(frozen=True, slots=True)
class Door:
    """What one call needs to reach one URL."""

    url: str
    settings: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    is_file: bool

    def server(self, option: str, program: str) -> tuple[str, ...]:
        """How the local other end of a file URL is started; nothing for a forge on the network."""
        return (f"--{option}={SAFE_SERVER} {program}",) if self.is_file else ()


def door(credential: GitCredential, *, allow_file: bool) -> Door:
    """The way in for a credential. Raises Refused (bad_git_url, bad_header)."""
    scheme = names.checked_url(credential.url, allow_file=allow_file)
    headers = [names.checked_header(name, value) for name, value in credential.headers.items()]
    scoped = tuple((f"http.{credential.url}.extraHeader", header) for header in headers)
    allowed = (f"protocol.{scheme}.allow", "always")
    secrets = tuple(credential.headers.values())
    return Door(credential.url, (allowed, *scoped), secrets, scheme == "file")


async def fetch(git: Git, mirror: Path, at: Door, branches: Sequence[str]) -> dict[str, str]:
    """Bring these branches into the mirror; branch → tip for those that exist. The mirror's lock is held.

    The forge is asked for the tips first: mostly one of two branches is not there yet and the other has not moved.
    """
    wanted = [names.checked_branch(branch) for branch in dict.fromkeys(branches)]
    for _ in range(_FETCHES):
        there, here = await asyncio.gather(tips(git, mirror, at, wanted), _local_tips(git, mirror, wanted))
        await _forget(git, mirror, [branch for branch in here if branch not in there])
        moved = [branch for branch, sha in there.items() if here.get(branch) != sha]
        ran = await _fetch(git, mirror, at, moved)
        if ran.code == 0:
            return await _local_tips(git, mirror, list(there)) if moved else there
        if _MISSING_REF not in ran.err:
            raise remote_error("fetch", ran)
    raise Unavailable("the branches come and go while they are fetched", hint="it is tried again")


async def _fetch(git: Git, mirror: Path, at: Door, branches: Sequence[str]) -> Ran:
    if not branches:
        return Ran(code=0, out=b"", err="")
    flags = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance")
    refspecs = tuple(f"+refs/heads/{branch}:refs/heads/{branch}" for branch in branches)
    server = at.server("upload-pack", "upload-pack")
    args = ("fetch", *flags, "--refmap=", *server, at.url, *refspecs)
    return await git.run(Call(args=args, git_dir=mirror, settings=at.settings, secrets=at.secrets, codes=None))


async def _forget(git: Git, mirror: Path, branches: Sequence[str]) -> None:
    """Drop the refs of branches that the forge has no more; their commits stay."""
    for branch in branches:
        await git.run(Call(args=("update-ref", "-d", f"refs/heads/{branch}"), git_dir=mirror))


async def _local_tips(git: Git, mirror: Path, branches: Sequence[str]) -> dict[str, str]:
    if not branches:
        return {}
    refs = tuple(f"refs/heads/{branch}" for branch in branches)
    ran = await git.run(Call(args=("for-each-ref", "--format=%(objectname) %(refname)", *refs), git_dir=mirror))
    return _named(ran.text, branches)


async def tips(git: Git, mirror: Path, at: Door, branches: Sequence[str]) -> dict[str, str]:
    """What the forge says now; branch → tip for those that exist. Raises what `remote_error` makes."""
    refs = tuple(f"refs/heads/{branch}" for branch in branches)
    args = ("ls-remote", "--quiet", *at.server("upload-pack", "upload-pack"), at.url, *refs)
    ran = await git.run(Call(args=args, git_dir=mirror, settings=at.settings, secrets=at.secrets, codes=None))
    if ran.code:
        raise remote_error("ls-remote", ran)
    return _named(ran.text, branches)


def _named(text: str, branches: Sequence[str]) -> dict[str, str]:
    """`<id> refs/heads/<branch>` lines as branch → id, in the order asked."""
    pairs = [line.split(None, 1) for line in text.splitlines()]
    found = {pair[1].strip(): pair[0] for pair in pairs if len(pair) == 2}
    return {branch: found[f"refs/heads/{branch}"] for branch in branches if f"refs/heads/{branch}" in found}


async def push(git: Git, mirror: Path, at: Door, *, sha: str, branch: str, expected_sha: str) -> None:
    """Move the branch; fine when it is there already. Raises Conflict (branch_moved), Refused (push_refused), …"""
    names.checked_object(sha)
    ref = f"refs/heads/{names.checked_job_branch(branch)}"
    lease = f"--force-with-lease={ref}:{names.checked_object(expected_sha) if expected_sha else ''}"
    flags = ("--porcelain", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed")
    args = ("push", *flags, lease, *at.server("receive-pack", "receive-pack"), at.url, f"{sha}:{ref}")
    ran = await git.run(Call(args=args, git_dir=mirror, settings=at.settings, secrets=at.secrets, codes=None))
    if ran.code == 0:
        return
    verdict = _verdict(ran)
    if verdict is None:
        raise remote_error("push", ran)
    if (await tips(git, mirror, at, [branch])).get(branch) == sha:
        return
    raise _rejection(verdict, branch, ran)


def _verdict(ran: Ran) -> str | None:
    """What `git push --porcelain` says of our one ref when it was not moved: `! <from>:<to> <summary>`."""
    lines = ran.out.decode("utf-8", "replace").splitlines()
    return next((line.split("\t", 2)[-1] for line in lines if line.startswith("!\t")), None)


def _rejection(verdict: str, branch: str, ran: Ran) -> WindlassError:
    why = "".join(c if c.isprintable() else " " for c in verdict)[:200]
    if _RACED.search(verdict.lower()):
        return Conflict(
            f"{branch} is not where it was expected: {why}", hint="somebody else moved the branch", code="branch_moved"
        )
    if _UNAVAILABLE.search(verdict.lower()):
        return Unavailable(f"the forge could not take the push: {why}", hint="it is tried again")
    detail = f": {ran.err}" if ran.err else ""
    return Refused(
        f"the forge refused the push, {why}{detail}",
        hint="check branch rules, required signatures and the App's permissions (contents: write)",
        code="push_refused",
    )


def remote_error(act: str, ran: Ran) -> WindlassError:
    """What it means that a call to the forge failed, by git's own words."""
    said = ran.err.lower()
    text = f"git {act}: {ran.err or f'exit {ran.code}'}"
    if _DENIED.search(said):
        return Forbidden(text, hint="check that the App is installed on the repository and may use its contents")
    if _UNAVAILABLE.search(said):
        return Unavailable(text, hint="the forge or the network did not answer; it is tried again")
    if _CERTIFICATE.search(said):
        return Refused(text, hint="give the forge's certificate authority by SSL_CERT_FILE", code="bad_certificate")
    if _REDIRECT.search(said):
        return Refused(text, hint="the repository moved; use its present URL", code="redirected")
    if _ABSENT.search(said):
        return NotFound(text, hint="check the repository's name and that the App is installed on it")
    return Failed(text, hint="see the message", code="git_failed")
