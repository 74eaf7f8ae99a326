"""Who am I, which Apps and installations are there, which repositories may I see."""

from __future__ import annotations

from typing import Any

from windlass.localforge.actors import (
    Actor,
    Need,
    allows,
    bad_credentials,
    installation_token,
    level_of,
)
from windlass.localforge.api.calls import Call, Reply, need_account, operation, wrong_type
from windlass.localforge.errors import Denied, forbidden, not_found, unprocessable
from windlass.localforge.model import App, Installation, Repository
from windlass.localforge.shapes import people
from windlass.localforge.shapes.repositories import full_repository, repository, rights
from windlass.localforge.site import covers, iso

_GRADES = {"read": 1, "write": 2, "admin": 3}


@operation("GET /user")
async def own_account(call: Call) -> Reply:
    """The user behind the token; installations have none."""
    need_account(call)
    if call.actor.installation is not None or call.actor.account is None:
        raise forbidden("Resource not accessible by integration")
    return Reply(body=people.private_user(call.site, call.actor.account))


@operation("GET /users/{username}")
async def account(call: Call) -> Reply:
    """Anybody."""
    return Reply(body=people.public_user(call.site, call.site.account(call.params["username"])))


@operation("GET /rate_limit")
async def rate_limit(call: Call) -> Reply:
    """What is left of the hour."""
    return Reply(body=dict(call.rate))


# -------------------------------------------------------------------- Apps


def the_app(call: Call) -> App:
    """The App behind a JWT. Raises Denied (401) for every other caller."""
    if call.actor.app is None or call.actor.installation is not None:
        if call.actor.account is None:
            raise Denied(401, "A JSON web token could not be decoded")
        raise bad_credentials()
    return call.actor.app


@operation("GET /app")
async def own_app(call: Call) -> Reply:
    """The App behind the JWT."""
    app = the_app(call)
    count = sum(found.app_id == app.id for found in call.site.world.installations.values())
    return Reply(body=people.app(call.site, app) | {"installations_count": count})


@operation("GET /app/installations")
async def installations(call: Call) -> Reply:
    """Where the App is installed."""
    app = the_app(call)
    own = [found for found in call.site.world.installations.values() if found.app_id == app.id]
    return call.listing(own, lambda found: people.installation(call.site, found))


def _own_installation(call: Call) -> Installation:
    app = the_app(call)
    found = call.site.world.installations.get(call.number("installation_id"))
    if found is None or found.app_id != app.id:
        raise not_found()
    return found


@operation("GET /app/installations/{installation_id}")
async def installation(call: Call) -> Reply:
    """One installation."""
    return Reply(body=people.installation(call.site, _own_installation(call)))


@operation("GET /repos/{owner}/{repo}/installation")
async def repository_installation(call: Call) -> Reply:
    """The App's installation on a repository."""
    found = call.site.installation_for(call.repo, the_app(call).id)
    if found is None:
        raise not_found()
    return Reply(body=people.installation(call.site, found))


@operation("POST /app/installations/{installation_id}/access_tokens")
async def access_token(call: Call) -> Reply:
    """A token for an hour, narrowed to repositories and permissions when asked."""
    found = _own_installation(call)
    permissions = _narrowed(found, call.data.get("permissions"))
    repositories = _chosen(call, found)
    token = installation_token(call.site, found, permissions, repositories)
    call.site.touch()
    body: dict[str, Any] = {
        "token": token.value,
        "expires_at": iso(token.expires_at_ms or 0),
        "permissions": permissions if permissions is not None else dict(found.permissions),
        "repository_selection": "all" if found.repositories is None and repositories is None else "selected",
    }
    if repositories is not None:
        body["repositories"] = [repository(call.site, call.site.repository(name)) for name in repositories]
    return Reply(status=201, body=body)


def _narrowed(found: Installation, asked: Any) -> dict[str, str] | None:
    if not asked:
        return None
    if not isinstance(asked, dict):
        raise wrong_type("permissions", asked, "object")
    for name, grade in asked.items():
        if not isinstance(grade, str) or grade not in _GRADES:
            raise wrong_type(f"permissions/{name}", grade, "permission")
        if _GRADES[grade] > _GRADES.get(found.permissions.get(name, ""), 0):
            raise unprocessable("The permissions requested are not granted to this installation.")
    return {"metadata": "read", **asked}


def _chosen(call: Call, found: Installation) -> list[str] | None:
    names, ids = call.data.get("repositories"), call.data.get("repository_ids")
    if names is None and ids is None:
        return None
    wanted = {name.lower() for name in call.texts("repositories", names or [])}
    if not isinstance(ids or [], list):
        raise wrong_type("repository_ids", ids, "array")
    numbers = set(ids or [])
    reach = [repo for repo in call.site.world.repositories.values() if covers(found, repo)]
    chosen = [repo for repo in reach if repo.name.lower() in wanted or repo.id in numbers]
    if len(chosen) != len(wanted | {repo.name.lower() for repo in chosen}) or not numbers <= {
        repo.id for repo in chosen
    }:
        message = (
            "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
        raise unprocessable(message)
    return [repo.full_name.lower() for repo in chosen]


# -------------------------------------------------------------------- repositories


@operation("GET /installation/repositories")
async def installation_repositories(call: Call) -> Reply:
    """The repositories that an installation token reaches."""
    actor = call.actor
    if actor.installation is None:
        raise forbidden("You must authenticate with an installation access token in order to list repositories.")
    reach = [repo for repo in call.site.world.repositories.values() if _in_reach(actor, repo)]
    page, headers = call.page_of(reach)
    selection = "all" if actor.installation.repositories is None and actor.repositories is None else "selected"
    body = {
        "total_count": len(reach),
        "repository_selection": selection,
        "repositories": [full_repository(call.site, repo, "read") for repo in page],
    }
    return Reply(body=body, headers=headers)


def _in_reach(actor: Actor, repo: Repository) -> bool:
    assert actor.installation is not None
    chosen = actor.repositories is None or repo.full_name.lower() in actor.repositories
    return covers(actor.installation, repo) and chosen


@operation("GET /user/repos")
async def own_repositories(call: Call) -> Reply:
    """Repositories in which the user has a part."""
    need_account(call)
    if call.actor.installation is not None:
        raise forbidden("Resource not accessible by integration")
    login = call.actor.login.lower()
    own = [
        repo
        for repo in call.site.world.repositories.values()
        if repo.owner.lower() == login or repo.levels.get(login, "none") != "none"
    ]
    level = {repo.full_name: level_of(call.site, call.actor, repo) for repo in own}
    return call.listing(own, lambda repo: full_repository(call.site, repo, level[repo.full_name]))


@operation("GET /repos/{owner}/{repo}", app=["metadata:read"], user="read")
async def one_repository(call: Call) -> Reply:
    """One repository, with what the caller may do there."""
    level = call.level()
    if call.actor.installation is not None:
        can_push = allows(call.site, call.actor, call.repo, Need(app=("contents:write",)))
        level = "write" if can_push else "read"
    return Reply(body=full_repository(call.site, call.repo, level))


@operation("GET /repos/{owner}/{repo}/collaborators/{username}/permission", app=["metadata:read"], user="read")
async def permission(call: Call) -> Reply:
    """What a user may do: `permission` knows four words, `role_name` all of them."""
    found = call.site.account(call.params["username"])
    level = call.site.level(call.repo, found.login)
    coarse = {"maintain": "write", "triage": "read"}.get(level, level)
    shape = people.user(call.site, found) | {"permissions": rights(level), "role_name": level}
    return Reply(body={"permission": coarse, "role_name": level, "user": shape})
