"""Accounts, Apps and installations as GitHub shows them."""

from __future__ import annotations

import base64
from typing import Any

from windlass.localforge.model import Account, App, Installation
from windlass.localforge.site import Site, iso


def node_id(kind: str, number: int | str) -> str:
    """An opaque GraphQL-like id."""
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def user(site: Site, account: Account) -> dict[str, Any]:
    """The `simple-user` shape."""
    url = f"{site.base_url}/api/v3/users/{account.login}"
    return {
        "login": account.login,
        "id": account.id,
        "node_id": node_id("User", account.id),
        "avatar_url": f"{site.base_url}/avatars/u/{account.id}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{site.base_url}/{account.login}",
        "followers_url": f"{url}/followers",
        "following_url": f"{url}/following{{/other_user}}",
        "gists_url": f"{url}/gists{{/gist_id}}",
        "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{url}/subscriptions",
        "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events",
        "type": account.kind,
        "site_admin": False,
    }


def maybe_user(site: Site, login: str | None) -> dict[str, Any] | None:
    """`simple-user`, or null."""
    account = site.ghost(login)
    return None if account is None else user(site, account)


def public_user(site: Site, account: Account) -> dict[str, Any]:
    """The `public-user` shape."""
    at = iso(account.created_at_ms)
    blank = dict.fromkeys(("name", "company", "location", "email", "hireable", "bio", "twitter_username"))
    counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
    return (
        user(site, account)
        | blank
        | counts
        | {"blog": "", "created_at": at, "updated_at": at, "user_view_type": "public"}
    )


def private_user(site: Site, account: Account) -> dict[str, Any]:
    """The `private-user` shape: one's own account."""
    counts = ("private_gists", "total_private_repos", "owned_private_repos", "disk_usage", "collaborators")
    own = {"two_factor_authentication": False, "user_view_type": "private"}
    return public_user(site, account) | dict.fromkeys(counts, 0) | own


def app(site: Site, found: App) -> dict[str, Any]:
    """The `integration` shape."""
    at = iso(found.created_at_ms)
    return {
        "id": found.id,
        "slug": found.slug,
        "node_id": node_id("App", found.id),
        "owner": user(site, site.account(found.owner)),
        "name": found.name,
        "description": None,
        "external_url": site.base_url,
        "html_url": f"{site.base_url}/apps/{found.slug}",
        "created_at": at,
        "updated_at": at,
        "permissions": dict(found.permissions),
        "events": list(found.events),
    }


def maybe_app(site: Site, app_id: int | None) -> dict[str, Any] | None:
    """`integration`, or null."""
    return None if app_id is None else app(site, site.app(app_id))


def installation(site: Site, found: Installation) -> dict[str, Any]:
    """The `installation` shape."""
    api = f"{site.base_url}/api/v3"
    account = site.account(found.account)
    at = iso(found.created_at_ms)
    owner = site.app(found.app_id)
    return {
        "id": found.id,
        "account": user(site, account),
        "repository_selection": "all" if found.repositories is None else "selected",
        "access_tokens_url": f"{api}/app/installations/{found.id}/access_tokens",
        "repositories_url": f"{api}/installation/repositories",
        "html_url": f"{site.base_url}/settings/installations/{found.id}",
        "app_id": found.app_id,
        "app_slug": owner.slug,
        "target_id": account.id,
        "target_type": "Organization" if account.kind == "Organization" else "User",
        "permissions": dict(found.permissions),
        "events": list(owner.events),
        "single_file_name": None,
        "created_at": at,
        "updated_at": at,
        "suspended_by": None,
        "suspended_at": None,
    }
