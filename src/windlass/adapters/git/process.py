"""The one way git is started.

Rule: every call gets an environment made from nothing and a fixed set of settings that leave no hook, filter,
driver, credential helper, prompt or foreign protocol to run; settings travel in the environment, so no secret is
ever in an argument. Refuses to run in a directory that an agent wrote, and to let an error text carry a secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from windlass.adapters.git.memory import Memory
from windlass.core.errors import Failed, Unavailable

OUTPUT_BYTES = 256 << 20
ERROR_BYTES = 32 << 10

# The proxy and the certificates of the machine; nothing else of Windlass's own environment reaches git.
_INHERITED = (
    "PATH",
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE"),
)

SETTINGS = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.eol", "lf"),
    ("core.symlinks", "true"),
    ("core.fileMode", "true"),
    ("core.ignoreCase", "false"),
    ("core.precomposeUnicode", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.alternateRefsCommand", "true"),
    ("core.sshCommand", "false"),
    ("core.gitProxy", "false"),
    ("core.quotePath", "true"),
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "500"),
    ("http.lowSpeedTime", "60"),
    ("diff.ignoreSubmodules", "all"),
    ("diff.mnemonicPrefix", "false"),
    ("diff.noprefix", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "no"),
    ("push.recurseSubmodules", "no"),
    ("transfer.bundleURI", "false"),
    ("transfer.fsckObjects", "true"),
    # Old histories that GitHub itself serves; none of these can reach a file system.
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.badEmail", "ignore"),
    ("fetch.fsck.badName", "ignore"),
    ("fetch.fsck.missingEmail", "ignore"),
    ("fetch.fsck.missingNameBeforeEmail", "ignore"),
    ("fetch.fsck.missingSpaceBeforeEmail", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedDate", "ignore"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("log.mailmap", "false"),
    ("init.templateDir", ""),
    ("init.defaultBranch", "main"),
    ("advice.detachedHead", "false"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One git command. `secrets` are left out of every text; `codes` are the exit codes that are answers."""

    args: tuple[str, ...]
    git_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None
    cwd: Path | None = None
    stdin: bytes = b""
    settings: tuple[tuple[str, str], ...] = ()
    env: Mapping[str, str] | None = None
    secrets: tuple[str, ...] = ()
    codes: frozenset[int] | None = frozenset({0})
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a git command ended; `err` is one clean line without secrets."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """The output as one stripped line of text."""
        return os.fsdecode(self.out).strip()


class Git:
    """Runs git commands with a time limit and bounded output."""

    def __init__(self, *, home: Path, timeout_s: float) -> None:
        self.home = home
        self.timeout_s = timeout_s
        self.memory = Memory()

    async def run(self, call: Call) -> Ran:
        """Run to the end. Raises Failed (git_failed, git_missing, git_output) and Unavailable (git_timeout)."""
        command = call.args[0]
        try:
            process = await self._start(call)
        except FileNotFoundError as error:
            missing = "git" if str(error.filename) == "git" else "a directory that git needs"
            raise Failed(f"{missing} is not there", hint="install git 2.39 or later", code="git_missing") from None
        try:
            async with asyncio.timeout(call.timeout_s or self.timeout_s):
                pipes = (_read(process.stdout), _tail(process.stderr), _feed(process, call.stdin))
                out, err, _ = await asyncio.gather(*pipes)
                code = await process.wait()
        except TimeoutError:
            hint = "the network or the disk may be slow; it is tried again"
            raise Unavailable(f"git {command} took too long", hint=hint, code="git_timeout") from None
        finally:
            await _end(process)
        ran = Ran(code=code, out=out, err=clean(err, call.secrets))
        if call.codes is not None and code not in call.codes:
            raise Failed(
                f"git {command} failed: {ran.err or f'exit {code}'}", hint="see the message", code="git_failed"
            )
        return ran

    async def _start(self, call: Call) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "git",
            *call.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=call.cwd or self.home,
            env=self._env(call),
            start_new_session=True,
            umask=0o022,
        )

    def _env(self, call: Call) -> dict[str, str]:
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        home = str(self.home)
        env |= {"HOME": home, "XDG_CONFIG_HOME": home, "LC_ALL": "C", "TZ": "UTC", "GIT_PAGER": "cat"}
        env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}
        env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "false", "SSH_ASKPASS": "false"}
        env |= {"GIT_LITERAL_PATHSPECS": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
        env |= {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_MERGE_AUTOEDIT": "no", "GIT_EDITOR": "false"}
        places = {"GIT_DIR": call.git_dir, "GIT_WORK_TREE": call.work_tree, "GIT_INDEX_FILE": call.index}
        env |= {name: str(place) for name, place in places.items() if place is not None}
        pairs = (*SETTINGS, *call.settings)
        env["GIT_CONFIG_COUNT"] = str(len(pairs))
        for number, (key, value) in enumerate(pairs):
            env[f"GIT_CONFIG_KEY_{number}"] = key
            env[f"GIT_CONFIG_VALUE_{number}"] = value
        return env | dict(call.env or {})


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    found = bytearray()
    while chunk := await stream.read(1 << 18):
        found += chunk
        if len(found) > OUTPUT_BYTES:
            raise Failed("git printed too much", hint="the change or the file is too large", code="git_output")
    return bytes(found)


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    """The end of what was printed, however much that was."""
    assert stream is not None
    found = b""
    while chunk := await stream.read(1 << 16):
        found = (found + chunk)[-ERROR_BYTES:]
    return found


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    stream = process.stdin
    assert stream is not None
    # git may answer and leave before it has read everything.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await stream.wait_closed()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of the process group behind, and no zombie."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def clean(text: bytes, secrets: Sequence[str] = ()) -> str:
    """What git said, as one printable line of at most 400 characters, without secrets."""
    plain = text.decode("utf-8", "replace")
    for secret in sorted(_forms(secrets), key=len, reverse=True):
        plain = plain.replace(secret, "***")
    lines = ("".join(c if c.isprintable() else " " for c in line).strip() for line in plain.splitlines())
    joined = "; ".join(line for line in lines if line)
    return joined if len(joined) <= 400 else "…" + joined[-399:]


def _forms(secrets: Sequence[str]) -> set[str]:
    """Each secret, its words, and what its words hold in base64 (`user:password`)."""
    words = {word for secret in secrets for word in (secret, *secret.split()) if len(word) >= 6}
    inner: set[str] = set()
    for word in words:
        with contextlib.suppress(binascii.Error, UnicodeDecodeError, ValueError):
            pair = base64.b64decode(word, validate=True).decode("ascii")
            inner |= {part for part in (pair, pair.partition(":")[2]) if len(part) >= 6}
    return words | inner
