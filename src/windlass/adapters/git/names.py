"""Names that reach a command line or a path: checked before anything is made of them.

Rule: a name is taken only when it has exactly the shape Windlass itself gives out; nothing is quoted or repaired.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from windlass.core.errors import Refused
from windlass.core.patch_guard import shown

_OWNER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9_])?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_OBJECT = re.compile(r"[0-9a-f]{40}")
_JOB_BRANCH = re.compile(r"ai-[1-9][0-9]{0,17}")
_UNSAFE_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


def mirror_path(root: Path, repo: str) -> Path:
    """Where the mirror of `owner/name` lies. Raises Refused (bad_repository_name)."""
    owner, _, name = repo.partition("/")
    ends_badly = name in {".", ".."} or name.lower().endswith((".git", ".lock"))
    if not _OWNER.fullmatch(owner) or not _NAME.fullmatch(name) or ends_badly:
        raise Refused(
            f"{shown(repo)} is not a repository name", hint="use the form owner/name", code="bad_repository_name"
        )
    return root / owner / f"{name}.git"


def checked_object(sha: str) -> str:
    """The id, when it is a full SHA-1 object id in lower case. Raises Refused (bad_object_id)."""
    if not _OBJECT.fullmatch(sha):
        raise Refused(f"{shown(sha)} is not an object id", hint="give all 40 hexadecimal digits", code="bad_object_id")
    return sha


def checked_branch(branch: str) -> str:
    """The name, when `refs/heads/<branch>` is well formed (git-check-ref-format(1)). Raises Refused (bad_branch)."""
    parts = branch.split("/")
    is_bad_part = any(not p or p.startswith(".") or p.endswith((".lock", ".")) for p in parts)
    if is_bad_part or _UNSAFE_IN_REF.search(branch) or branch.startswith("-") or branch in {"@", "HEAD"}:
        raise Refused(f"{shown(branch)} is not a branch name", hint="see git check-ref-format", code="bad_branch")
    if len(branch.encode("utf-8", "replace")) > 240 or not branch.isprintable():
        raise Refused("the branch name is too long or not printable", hint="choose a shorter name", code="bad_branch")
    return branch


def checked_job_branch(branch: str) -> str:
    """The name, when it is `ai-<issue number>`: the only branches ever written. Raises Refused (bad_branch)."""
    if not _JOB_BRANCH.fullmatch(branch):
        raise Refused(
            f"{shown(branch)} is not a branch of Windlass",
            hint="only ai-<issue number> is ever pushed",
            code="bad_branch",
        )
    return branch


def checked_url(url: str, *, allow_file: bool) -> str:
    """The URL's scheme: http, https or, where allowed, file. Raises Refused (bad_git_url).

    User names and passwords belong into headers: a URL is seen in process lists.
    """
    try:
        parts = urlsplit(url)
        has_user = parts.username is not None or parts.password is not None
    except ValueError:
        raise Refused(
            "the git URL cannot be read", hint="use https://host/owner/name.git", code="bad_git_url"
        ) from None
    is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    is_usable = is_usable or (allow_file and parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc)
    if not is_usable or has_user or not url.isprintable() or " " in url or parts.query or parts.fragment:
        raise Refused(
            "the git URL is not one that Windlass uses",
            hint="use https://host/owner/name.git, without user name, password, query or fragment",
            code="bad_git_url",
        )
    return parts.scheme


def checked_header(name: str, value: str) -> str:
    """`Name: value`, when it is one line. Raises Refused (bad_header); the text never holds the value."""
    if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii() or not value:
        raise Refused("a header for git is malformed", hint="check the forge's credential", code="bad_header")
    return f"{name}: {value}"
