"""git over smart HTTP, by `git http-backend`: clone, fetch and push with the same tokens and rules as REST.

What may be moved is decided before the pack is read: the door reads the push's commands and hands the refusals to the
`update` hook, which is ours, so git itself reports each refused ref to the client. Bodies are spooled to disk.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import IO, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from windlass.localforge.actors import Actor, Need, allows, has_permission, identify, level_of, may_see
from windlass.localforge.acts.refs import protection_fault, ref_fault, ref_moved
from windlass.localforge.errors import Denied
from windlass.localforge.git import ZERO, clean_environment
from windlass.localforge.hub import Hub
from windlass.localforge.model import Repository

UPDATE_HOOK: Final = """#!/bin/sh
# Refuses what the server decided to refuse: lines of "<ref> <reason>" in WINDLASS_REFUSALS, and, when
# WINDLASS_NO_WORKFLOWS is set, commits that touch workflow files.
reason=$(printf '%s\\n' "$WINDLASS_REFUSALS" | while read -r name why; do
  [ "$name" = "$1" ] && printf '%s' "$why" && break
done)
if [ -n "$reason" ]; then echo "error: GH006: $reason" >&2; exit 1; fi
if [ -n "$WINDLASS_NO_WORKFLOWS" ] && ! expr "$3" : '0*$' >/dev/null; then
  base=$2
  if expr "$base" : '0*$' >/dev/null; then
    base=$(git merge-base "$WINDLASS_DEFAULT" "$3" 2>/dev/null || git hash-object -t tree /dev/null)
  fi
  if [ -n "$(git diff-tree -r --name-only "$base" "$3" -- .github/workflows)" ]; then
    echo "error: refusing to allow a GitHub App to create or update workflow without \\`workflows\\` permission" >&2
    exit 1
  fi
fi
exit 0
"""
SETTINGS: Final = {
    "http.receivepack": "true",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": "2g",
    "receive.hideRefs": "refs/pull",
    "receive.autogc": "false",
    "gc.auto": "0",
    "transfer.advertisePushOptions": "false",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "core.logAllRefUpdates": "false",
}
_ROUTE: Final = re.compile(r"/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)")
_SPOOL_BYTES: Final = 4 << 20
_CHUNK: Final = 1 << 16
_LIMIT_S: Final = 600.0
_COMMANDS_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One line of a push."""

    old: str
    new: str
    ref: str


def prepare(hub: Hub, repo: Repository) -> None:
    """Set a new bare repository up for serving: settings and our hook. Blocking."""
    git = hub.site.git(repo)
    with (git.path / "config").open("a", encoding="utf-8") as file:
        for name, value in SETTINGS.items():
            section, key = name.split(".", 1)
            file.write(f"[{section}]\n\t{key} = {value}\n")
    hook = git.path / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(UPDATE_HOOK, encoding="utf-8")
    hook.chmod(0o755)


def is_git_path(path: str) -> bool:
    """Whether a request path is git's."""
    return _ROUTE.fullmatch(path) is not None


class GitDoor:
    """git's requests as an ASGI endpoint."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def answer(self, request: Request) -> Response:
        """Answer one request of a git client."""
        match = _ROUTE.fullmatch(request.url.path)
        assert match is not None
        try:
            service = _service(request, match[3])
            repo = self._admit(request, f"{match[1]}/{match[2]}", is_push=service == "git-receive-pack")
            actor = identify(self.hub.site, request.headers.get("authorization"))
            if match[3] == "git-receive-pack":
                return await self._push(request, repo, actor)
            return await self._pass(request, repo, match[3])
        except Denied as refusal:
            headers = {"WWW-Authenticate": 'Basic realm="localforge"'} if refusal.status == 401 else {}
            return PlainTextResponse(f"{refusal.message}\n", refusal.status, headers)
        except ClientDisconnect:
            return PlainTextResponse("", 400)

    def _admit(self, request: Request, full_name: str, *, is_push: bool) -> Repository:
        """The repository, if the caller may. git asks for credentials on 401, so nobody gets 401, not 404."""
        site = self.hub.site
        actor = identify(site, request.headers.get("authorization"))
        repo = site.world.repositories.get(full_name.lower())
        if repo is None or not may_see(site, actor, repo):
            raise (
                Denied(401, "Authentication required")
                if actor.account is None
                else Denied(404, "Repository not found.")
            )
        need = Need(app=("contents:write",), user="write") if is_push else Need(app=("contents:read",), user="read")
        if not allows(site, actor, repo, need):
            if actor.account is None:
                raise Denied(401, "Authentication required")
            raise Denied(403, f"Permission to {repo.full_name}.git denied to {actor.login}.")
        return repo

    # ---------------------------------------------------------------- fetch and advertisement

    async def _pass(self, request: Request, repo: Repository, tail: str) -> Response:
        body = await _spool(request)
        process = await self._backend(request, repo, tail, body, {})
        return await _stream(process, body)

    async def _backend(
        self, request: Request, repo: Repository, tail: str, body: IO[bytes], extra: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        length = body.seek(0, os.SEEK_END)
        body.seek(0)
        os.lseek(body.fileno(), 0, os.SEEK_SET)  # what the child sees, whatever Python has buffered
        env = {
            "GIT_PROJECT_ROOT": str(self.hub.site.git_path(repo).parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{self.hub.site.git_path(repo).name}/{tail}",
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.scope["query_string"].decode("latin-1"),
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_USER": "windlass",
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": _plain(request.headers.get("git-protocol", "")),
            **extra,
        }
        if request.headers.get("content-encoding") in ("gzip", "x-gzip"):
            env["HTTP_CONTENT_ENCODING"] = "gzip"
        return await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(env),
        )

    # ---------------------------------------------------------------- push

    async def _push(self, request: Request, repo: Repository, actor: Actor) -> Response:
        site = self.hub.site
        if site.dice.strikes("git_push_5xx"):
            return PlainTextResponse("", 502)
        body = await _spool(request)
        commands = read_commands(body)
        refusals = self._refusals(repo, actor, commands)
        extra = {"WINDLASS_REFUSALS": refusals, "WINDLASS_DEFAULT": f"refs/heads/{repo.default_branch}"}
        if actor.installation is not None and not has_permission(actor, "workflows:write"):
            extra["WINDLASS_NO_WORKFLOWS"] = "1"
        async with site.lock(repo):
            before = dict(site.git(repo).refs)
            process = await self._backend(request, repo, "git-receive-pack", body, extra)
            response = await _collect(process, body)
            await site.git(repo).refresh_refs()
            await self._follow(repo, actor, commands, before)
        return PlainTextResponse("", 502) if site.dice.strikes("git_push_lost_response") else response

    def _refusals(self, repo: Repository, actor: Actor, commands: list[Command]) -> str:
        level = level_of(self.hub.site, actor, repo)
        lines = []
        for command in commands:
            is_new = command.old == ZERO
            fault = ref_fault(command.ref) if command.new != ZERO else ""
            fault = fault or protection_fault(repo, command.ref, command.new, is_new=is_new, level=level)
            if fault:
                lines.append(f"{command.ref} Protected or invalid ref {command.ref}: {fault}")
        return "\n".join(line.replace("\n", " ") for line in lines)

    async def _follow(self, repo: Repository, actor: Actor, commands: list[Command], before: Mapping[str, str]) -> None:
        refs = self.hub.site.git(repo).refs
        for name in dict.fromkeys(command.ref for command in commands):
            old, new = before.get(name, ZERO), refs.get(name, ZERO)
            if old != new:
                await ref_moved(self.hub, repo, name, old, new, actor.login)


def read_commands(body: IO[bytes]) -> list[Command]:
    """The ref updates that a push asks for: the pkt-lines before the pack. Raises Denied (400)."""
    body.seek(0)
    out: list[Command] = []
    read = 0
    while read < _COMMANDS_LIMIT:
        head = body.read(4)
        try:
            size = int(head, 16)
        except ValueError as error:
            raise Denied(400, "The push cannot be read.") from error
        if size == 0:
            return out
        line = body.read(size - 4) if size > 4 else b""
        read += size
        parts = line.split(b"\0", 1)[0].rstrip(b"\n").decode(errors="replace").split(" ", 2)
        if len(parts) == 3 and re.fullmatch(r"[0-9a-f]{40}", parts[0]) and re.fullmatch(r"[0-9a-f]{40}", parts[1]):
            out.append(Command(old=parts[0], new=parts[1], ref=parts[2]))
        elif not line.startswith(b"shallow "):
            raise Denied(400, "The push cannot be read.")
    raise Denied(413, "The push updates too many refs.")


def _service(request: Request, tail: str) -> str:
    if tail != "info/refs":
        if request.method != "POST":
            raise Denied(405, "Method not allowed")
        return tail
    service = request.query_params.get("service", "")
    if request.method != "GET" or service not in ("git-upload-pack", "git-receive-pack"):
        raise Denied(403, "Please upgrade your git client.")
    return service


def _plain(text: str) -> str:
    return text if re.fullmatch(r"[a-z0-9=:.]{0,64}", text) else ""


async def _spool(request: Request) -> IO[bytes]:
    """The whole body in a temporary file, whatever its size: a file descriptor is what the backend reads from."""
    file: IO[bytes] = tempfile.TemporaryFile(buffering=_SPOOL_BYTES)  # noqa: SIM115 - closed when answered
    async for chunk in request.stream():
        file.write(chunk)
    file.flush()
    return file


async def _head(process: asyncio.subprocess.Process) -> tuple[int, dict[str, str]]:
    """Status and headers of a CGI answer. Raises Denied (500) when there is none."""
    assert process.stdout is not None
    headers: dict[str, str] = {}
    async with asyncio.timeout(_LIMIT_S):
        while (line := (await process.stdout.readline()).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip()] = value.strip()
    if not headers:
        await process.wait()
        raise Denied(500, "git http-backend gave no answer.")
    status = int(headers.pop("Status", "200").split()[0])
    return status, headers


async def _stream(process: asyncio.subprocess.Process, body: IO[bytes]) -> Response:
    status, headers = await _head(process)

    async def chunks() -> AsyncIterator[bytes]:
        assert process.stdout is not None
        try:
            while chunk := await process.stdout.read(_CHUNK):
                yield chunk
        finally:
            body.close()
            if not process.stdout.at_eof() and process.returncode is None:
                process.kill()
            await process.wait()

    return StreamingResponse(chunks(), status, headers)


async def _collect(process: asyncio.subprocess.Process, body: IO[bytes]) -> Response:
    status, headers = await _head(process)
    assert process.stdout is not None
    async with asyncio.timeout(_LIMIT_S):
        content = await process.stdout.read()
        await process.wait()
    body.close()
    return Response(content, status, headers)
