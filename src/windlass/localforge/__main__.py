"""The forge as a process of its own: `python -m windlass.localforge --root DIR --port N --config FILE.json`.

Prints one JSON line when it is ready: `base_url`, `api_url`, `admin_token`, `tokens` (login → token) and `apps`. On a
root that was used before it continues there, and the configuration only adds what is missing. SIGTERM saves and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from windlass.core.errors import WindlassError
from windlass.localforge.forge import LocalForge
from windlass.localforge.setup import DEFAULT_PERMISSIONS, EVENTS


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserConfig(_Strict):
    """One user and what they may do where (`owner/name` → permission)."""

    login: str
    is_bot: bool = False
    grants: dict[str, str] = Field(default_factory=dict)


class RepositoryConfig(_Strict):
    """One repository."""

    full_name: str
    source: Path | None = None
    default_branch: str = "main"
    checks: dict[str, str] = Field(default_factory=dict)
    required_checks: list[str] = Field(default_factory=list)
    protected: bool = True
    private: bool = False
    required_reviews: int = 1


class AppConfig(_Strict):
    """One App, installed on `owner`."""

    slug: str
    owner: str
    permissions: dict[str, str] = Field(default_factory=lambda: dict(DEFAULT_PERMISSIONS))


class WebhookConfig(_Strict):
    """One webhook; `repository` None means all."""

    url: str
    secret: str = ""
    repository: str | None = None
    events: list[str] = Field(default_factory=lambda: list(EVENTS))


class ForgeConfig(_Strict):
    """The whole configuration file."""

    users: list[UserConfig] = Field(default_factory=list)
    repositories: list[RepositoryConfig] = Field(default_factory=list)
    apps: list[AppConfig] = Field(default_factory=list)
    webhooks: list[WebhookConfig] = Field(default_factory=list)
    faults: dict[str, float] = Field(default_factory=dict)
    seed: int = 0
    ci_concurrency: int = 2


def furnish(forge: LocalForge, config: ForgeConfig) -> dict[str, Any]:
    """Add what is not there yet; the tokens and Apps for the ready line."""
    world = forge.site.world
    for wanted in config.repositories:
        if wanted.full_name.lower() not in world.repositories:
            forge.create_repository(**wanted.model_dump())
    tokens = {}
    for user in config.users:
        known = user.login.lower() in world.accounts
        make = forge.token_for if known else lambda login, bot=user.is_bot: forge.create_user(login, is_bot=bot)
        tokens[user.login] = make(user.login)
        for full_name, permission in user.grants.items():
            forge.grant(full_name, user.login, permission)
    apps = {}
    for app in config.apps:
        if f"{app.slug}[bot]" not in world.accounts:
            new = forge.create_app(app.slug, owner=app.owner, permissions=app.permissions)
            apps[app.slug] = {
                "app_id": new.app_id,
                "installation_id": new.installation_id,
                "private_key_pem": new.private_key_pem,
            }
    for hook in config.webhooks:
        forge.set_webhook(hook.repository, hook.url, hook.secret, hook.events)
    forge.faults.change(config.faults)
    return {"tokens": tokens, "apps": apps}


async def serve(root: Path, port: int, config: ForgeConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    forge = LocalForge(root, seed=config.seed, ci_concurrency=config.ci_concurrency)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    base_url = await forge.start(port=port)
    made = furnish(forge, config)
    forge.save()
    ready: Mapping[str, Any] = {
        "base_url": base_url,
        "api_url": forge.api_url,
        "admin_token": forge.admin_token,
        **made,
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await forge.stop()


def main() -> int:
    """The command; exit 4 on a bad configuration, 5 on what else fails."""
    parser = argparse.ArgumentParser(
        prog="python -m windlass.localforge", description="An embedded GitHub-compatible server"
    )
    parser.add_argument("--root", type=Path, required=True, help="directory of repositories and state")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 for any")
    parser.add_argument("--config", type=Path, help="JSON file with users, repositories, apps, webhooks, faults")
    arguments = parser.parse_args()
    try:
        raw = arguments.config.read_bytes() if arguments.config else b"{}"
        config = ForgeConfig.model_validate_json(raw)
    except (OSError, ValidationError) as error:
        sys.stderr.write(f"{arguments.config}: {str(error).splitlines()[0]}\n")
        return 4
    try:
        asyncio.run(serve(arguments.root, arguments.port, config))
    except WindlassError as error:
        sys.stderr.write(f"{error}\n")
        return 5
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
