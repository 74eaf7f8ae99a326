"""Files, refs, commits, comparisons and branches."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote

from windlass.localforge.actors import has_permission
from windlass.localforge.acts.refs import protection_fault, ref_fault, ref_moved
from windlass.localforge.api.calls import Call, Reply, operation
from windlass.localforge.errors import Denied, forbidden, not_found, unprocessable
from windlass.localforge.git import ZERO
from windlass.localforge.gitdata import Entry
from windlass.localforge.model import Protection
from windlass.localforge.shapes import repositories as shapes

_ROOT = "/repos/{owner}/{repo}"
_CONTENT_LIMIT = 100 << 20
_INLINE_LIMIT = 1 << 20
_SHA = re.compile(r"[0-9a-f]{40}")


async def commit_of(call: Call, name: str) -> str:
    """The commit that a ref names. Raises Denied: 409 for an empty repository, 422 when there is none."""
    if not call.git.refs:
        raise Denied(409, "Git Repository is empty.")
    sha = await call.git.resolve(name)
    if sha is None:
        raise unprocessable(f"No commit found for SHA: {name[:100]}")
    return sha


# -------------------------------------------------------------------- files


@operation(f"GET {_ROOT}/contents/{{path}}", app=["contents:read"], user="read")
async def contents(call: Call) -> Reply:
    """A file (JSON, or its bytes with the raw media type) or the entries of a directory."""
    path = call.params["path"].strip("/")
    ref = call.query.get("ref") or call.repo.default_branch
    sha = await call.git.resolve(ref)
    if sha is None:
        raise Denied(404, f"No commit found for the ref {ref[:100]}" if call.git.refs else "This repository is empty.")
    if "\0" in path or {"", ".", ".."} & set(path.split("/")):
        raise not_found()
    entries = await call.git.entries(sha, path)
    if not entries:
        raise not_found()
    entry = entries[0]
    if entry.kind == "tree":
        inside = await call.git.entries(sha, path + "/")
        return Reply(body=[_entry(call, found, ref) for found in inside])
    if entry.kind != "blob":
        raise not_found()
    return await _file(call, entry, ref)


async def _file(call: Call, entry: Entry, ref: str) -> Reply:
    is_raw = ".raw" in call.accept
    if entry.size > _CONTENT_LIMIT:
        raise forbidden("This API returns blobs up to 100 MB in size.")
    data = await call.git.blob(entry.sha) if is_raw or entry.size <= _INLINE_LIMIT else b""
    if is_raw:
        return Reply(body=data, media_type="application/vnd.github.raw+json; charset=utf-8")
    fits = entry.size <= _INLINE_LIMIT
    text = base64.encodebytes(data).decode() if fits else ""
    return Reply(body=_entry(call, entry, ref) | {"content": text, "encoding": "base64" if fits else "none"})


def _entry(call: Call, entry: Entry, ref: str) -> dict[str, Any]:
    url, html = shapes.api_url(call.site, call.repo), f"{call.site.base_url}/{call.repo.full_name}"
    path, at = quote(entry.path), quote(ref, safe="")
    kind = {"tree": "dir", "commit": "submodule"}.get(entry.kind, "file")
    own = f"{url}/contents/{path}?ref={at}"
    git_url = f"{url}/git/{'trees' if kind == 'dir' else 'blobs'}/{entry.sha}"
    page = f"{html}/{'tree' if kind == 'dir' else 'blob'}/{at}/{path}"
    return {
        "type": kind,
        "name": entry.path.rsplit("/", 1)[-1],
        "path": entry.path,
        "sha": entry.sha,
        "size": entry.size,
        "url": own,
        "html_url": page,
        "git_url": git_url,
        "download_url": f"{html}/raw/{at}/{path}" if kind == "file" else None,
        "_links": {"self": own, "git": git_url, "html": page},
    }


# -------------------------------------------------------------------- refs


@operation(f"GET {_ROOT}/git/ref/{{ref}}", app=["contents:read"], user="read")
async def get_ref(call: Call) -> Reply:
    """One ref, by its exact name."""
    name = f"refs/{call.params['ref']}"
    sha = call.git.refs.get(name)
    if sha is None:
        raise Denied(409, "Git Repository is empty.") if not call.git.refs else not_found()
    return Reply(body=shapes.ref(call.site, call.repo, name, sha))


@operation(f"GET {_ROOT}/git/matching-refs/{{ref}}", app=["contents:read"], user="read")
async def matching_refs(call: Call) -> Reply:
    """Refs that begin with a name; none is an empty list."""
    start = f"refs/{call.params['ref']}"
    found = [(name, sha) for name, sha in sorted(call.git.refs.items()) if name.startswith(start)]
    return call.listing(found, lambda pair: shapes.ref(call.site, call.repo, *pair))


async def _target(call: Call) -> str:
    sha = call.needed_text("sha", "Reference")
    if not _SHA.fullmatch(sha):
        raise unprocessable("The sha parameter must be exactly 40 characters and contain only [0-9a-f].")
    if not await call.git.has_commit(sha):
        raise unprocessable("Object does not exist")
    return sha


async def _check_workflows(call: Call, base: str | None, sha: str) -> None:
    """Commits that touch workflows need a permission of their own (Apps only)."""
    if call.actor.installation is None or has_permission(call.actor, "workflows:write"):
        return
    known = [tip for name, tip in call.git.refs.items() if name.startswith("refs/heads/")]
    if sha in known:
        return
    start = base or call.git.branch(call.repo.default_branch)
    changes = await call.git.changes(start, sha) if start else ()
    if any(change.path.startswith(".github/workflows/") for change in changes):
        raise forbidden("Resource not accessible by integration")


@operation(f"POST {_ROOT}/git/refs", app=["contents:write"], user="write")
async def create_ref(call: Call) -> Reply:
    """A new branch or tag."""
    name = call.needed_text("ref", "Reference")
    fault = ref_fault(name)
    if fault:
        raise unprocessable(fault if name.startswith("refs/") else "Reference name must start with 'refs/'.")
    sha = await _target(call)
    await _check_workflows(call, None, sha)
    async with call.site.lock(call.repo):
        if name in call.git.refs or not await call.git.set_ref(name, sha, ZERO):
            raise unprocessable("Reference already exists")
        await ref_moved(call.hub, call.repo, name, ZERO, sha, call.actor.login)
    return Reply(status=201, body=shapes.ref(call.site, call.repo, name, sha))


@operation(f"PATCH {_ROOT}/git/refs/{{ref}}", app=["contents:write"], user="write")
async def update_ref(call: Call) -> Reply:
    """Move a ref; only forwards unless `force`."""
    name, sha, is_forced = f"refs/{call.params['ref']}", await _target(call), call.flag("force")
    async with call.site.lock(call.repo):
        old = call.git.refs.get(name)
        if old is None or name.startswith("refs/pull/"):
            raise unprocessable("Reference does not exist")
        _check_protection(call, name, sha)
        await _check_workflows(call, old, sha)
        if not is_forced and not await call.git.is_ancestor(old, sha):
            raise unprocessable("Update is not a fast forward")
        if old != sha:
            if not await call.git.set_ref(name, sha, old):
                raise Denied(409, "Reference was moved meanwhile")
            await ref_moved(call.hub, call.repo, name, old, sha, call.actor.login)
    return Reply(body=shapes.ref(call.site, call.repo, name, sha))


def _check_protection(call: Call, name: str, new: str) -> None:
    fault = protection_fault(call.repo, name, new, is_new=False, level=call.level())
    if fault:
        raise unprocessable(fault)


@operation(f"DELETE {_ROOT}/git/refs/{{ref}}", app=["contents:write"], user="write")
async def delete_ref(call: Call) -> Reply:
    """Delete a branch or tag; not the default branch."""
    name = f"refs/{call.params['ref']}"
    async with call.site.lock(call.repo):
        old = call.git.refs.get(name)
        if old is None or name.startswith("refs/pull/"):
            raise unprocessable("Reference does not exist")
        _check_protection(call, name, ZERO)
        if name == f"refs/heads/{call.repo.default_branch}":
            raise unprocessable("Cannot delete the default branch")
        await call.git.drop_ref(name)
        await ref_moved(call.hub, call.repo, name, old, ZERO, call.actor.login)
    return Reply(status=204)


# -------------------------------------------------------------------- commits


@operation(f"GET {_ROOT}/git/commits/{{commit_sha}}", app=["contents:read"], user="read")
async def git_commit(call: Call) -> Reply:
    """A commit as git has it."""
    sha = call.params["commit_sha"]
    if not _SHA.fullmatch(sha) or not await call.git.has_commit(sha):
        raise not_found()
    return Reply(body=shapes.git_commit(call.site, call.repo, await call.git.commit(sha)))


@operation(f"GET {_ROOT}/commits/{{ref}}", app=["contents:read"], user="read")
async def get_commit(call: Call) -> Reply:
    """A commit with its files; its id alone with the sha media type; a diff with the diff one."""
    sha = await commit_of(call, call.params["ref"])
    if ".sha" in call.accept:
        return Reply(body=sha.encode(), media_type="application/vnd.github.sha; charset=utf-8")
    commit = await call.git.commit(sha)
    base = commit.parents[0] if commit.parents else (await call.git.tree_with(None, {}))
    if ".diff" in call.accept:
        return Reply(body=await call.git.diff(base, sha), media_type="application/vnd.github.diff; charset=utf-8")
    files = await call.git.changes(base, sha)
    stats = {"additions": sum(f.additions for f in files), "deletions": sum(f.deletions for f in files)}
    page, headers = call.page_of(files)
    body = shapes.commit(call.site, call.repo, commit) | {
        "stats": stats | {"total": stats["additions"] + stats["deletions"]},
        "files": [shapes.file_change(call.site, call.repo, change, sha) for change in page],
    }
    return Reply(body=body, headers=headers)


@operation(f"GET {_ROOT}/compare/{{basehead}}", app=["contents:read"], user="read")
async def compare(call: Call) -> Reply:
    """`base...head`: what head has since it left base."""
    ends = [end.rpartition(":")[2] for end in call.params["basehead"].split("...")]
    if len(ends) != 2:
        raise not_found()
    git = call.git
    base, head = await git.resolve(ends[0]), await git.resolve(ends[1])
    fork = await git.merge_base(base, head) if base and head else None
    if base is None or head is None or fork is None:
        raise Denied(404, "Not Found" if not (base and head) else "No common ancestor between the two.")
    if ".diff" in call.accept:
        return Reply(body=await git.diff(fork, head), media_type="application/vnd.github.diff; charset=utf-8")
    ahead, behind = await git.log(base, head), await git.log(head, base)
    page, headers = call.page_of(ahead)
    return Reply(body=await _comparison(call, (base, fork, head), ahead, behind, page), headers=headers)


async def _comparison(
    call: Call, ends: tuple[str, str, str], ahead: tuple[str, ...], behind: tuple[str, ...], page: list[str]
) -> dict[str, Any]:
    base, fork, head = ends
    git, site, repo = call.git, call.site, call.repo
    html = f"{site.base_url}/{repo.full_name}/compare/{base}...{head}"
    status = ("diverged" if behind else "ahead") if ahead else ("behind" if behind else "identical")
    return {
        "url": f"{shapes.api_url(site, repo)}/compare/{base}...{head}",
        "html_url": html,
        "permalink_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "base_commit": shapes.commit(site, repo, await git.commit(base)),
        "merge_base_commit": shapes.commit(site, repo, await git.commit(fork)),
        "status": status,
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "commits": [shapes.commit(site, repo, await git.commit(sha)) for sha in page],
        "files": [shapes.file_change(site, repo, change, head) for change in (await git.changes(fork, head))[:300]],
    }


# -------------------------------------------------------------------- branches


@operation(f"GET {_ROOT}/branches", app=["contents:read"], user="read")
async def list_branches(call: Call) -> Reply:
    """All branches."""
    url = shapes.api_url(call.site, call.repo)

    def shape(pair: tuple[str, str]) -> dict[str, Any]:
        name, sha = pair
        commit = {"sha": sha, "url": f"{url}/commits/{sha}"}
        return {"name": name, "commit": commit, "protected": name in call.repo.protections}

    return call.listing(list(call.git.branches().items()), shape)


def _branch(call: Call) -> tuple[str, str]:
    name = call.params["branch"]
    sha = call.git.branch(name)
    if sha is None:
        raise Denied(404, "Branch not found")
    return name, sha


@operation(f"GET {_ROOT}/branches/{{branch}}", app=["contents:read"], user="read")
async def get_branch(call: Call) -> Reply:
    """One branch, with the short form of its protection."""
    name, sha = _branch(call)
    rules = call.repo.protections.get(name)
    url = f"{shapes.api_url(call.site, call.repo)}/branches/{quote(name, safe='')}"
    required = rules.required_checks if rules else []
    checks = {
        "enforcement_level": "non_admins" if required else "off",
        "contexts": list(required),
        "checks": [{"context": context, "app_id": None} for context in required],
    }
    body = {
        "name": name,
        "commit": shapes.commit(call.site, call.repo, await call.git.commit(sha)),
        "_links": {"self": url, "html": f"{call.site.base_url}/{call.repo.full_name}/tree/{name}"},
        "protected": rules is not None,
        "protection": {"enabled": rules is not None, "required_status_checks": checks},
        "protection_url": f"{url}/protection",
    }
    return Reply(body=body)


def _rules(call: Call) -> tuple[str, Protection]:
    name, _ = _branch(call)
    rules = call.repo.protections.get(name)
    if rules is None:
        raise Denied(404, "Branch not protected")
    return f"{shapes.api_url(call.site, call.repo)}/branches/{quote(name, safe='')}/protection", rules


@operation(f"GET {_ROOT}/branches/{{branch}}/protection", app=["administration:read"], user="admin")
async def protection(call: Call) -> Reply:
    """The whole protection of a branch."""
    url, rules = _rules(call)
    reviews = {
        "url": f"{url}/required_pull_request_reviews",
        "dismiss_stale_reviews": rules.dismisses_stale_reviews,
        "require_code_owner_reviews": False,
        "require_last_push_approval": False,
        "required_approving_review_count": rules.required_reviews,
    }
    body = {
        "url": url,
        "required_pull_request_reviews": reviews,
        "enforce_admins": {"url": f"{url}/enforce_admins", "enabled": rules.is_enforced_for_admins},
        "required_linear_history": {"enabled": False},
        "allow_force_pushes": {"enabled": False},
        "allow_deletions": {"enabled": False},
    }
    if rules.required_checks:
        body["required_status_checks"] = _check_policy(url, rules)
    return Reply(body=body)


def _check_policy(url: str, rules: Protection) -> dict[str, Any]:
    return {
        "url": f"{url}/required_status_checks",
        "strict": rules.needs_up_to_date,
        "contexts": list(rules.required_checks),
        "contexts_url": f"{url}/required_status_checks/contexts",
        "checks": [{"context": context, "app_id": None} for context in rules.required_checks],
    }


@operation(
    f"GET {_ROOT}/branches/{{branch}}/protection/required_status_checks", app=["administration:read"], user="admin"
)
async def required_checks(call: Call) -> Reply:
    """The required checks of a branch."""
    url, rules = _rules(call)
    if not rules.required_checks:
        raise Denied(404, "Required status checks not enabled")
    return Reply(body=_check_policy(url, rules))


@operation(f"GET {_ROOT}/rules/branches/{{branch}}", app=["metadata:read"], user="read")
async def branch_rules(call: Call) -> Reply:
    """The same protection, in the words of rulesets, which everybody may read."""
    rules = call.repo.protections.get(call.params["branch"])
    if rules is None:
        return Reply(body=[])
    source = {"ruleset_source_type": "Repository", "ruleset_source": call.repo.full_name, "ruleset_id": call.repo.id}
    reviews = {
        "dismiss_stale_reviews_on_push": rules.dismisses_stale_reviews,
        "require_code_owner_review": False,
        "require_last_push_approval": False,
        "required_approving_review_count": rules.required_reviews,
        "required_review_thread_resolution": False,
    }
    found: list[dict[str, Any]] = [{"type": "pull_request", "parameters": reviews}, {"type": "non_fast_forward"}]
    if rules.required_checks:
        checks = {
            "required_status_checks": [{"context": context} for context in rules.required_checks],
            "strict_required_status_checks_policy": rules.needs_up_to_date,
        }
        found.append({"type": "required_status_checks", "parameters": checks})
    return call.listing([rule | source for rule in found], lambda rule: rule)
