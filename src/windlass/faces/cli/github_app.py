"""`windlass github-app create`: from nothing to a registered GitHub App and a ready configuration file.

Keeps the rule that no secret is typed, pasted or printed: GitHub hands the key to this process, which writes it with
mode 0600. Refuses to overwrite anything, and says so before an App is made.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from windlass.core.errors import WindlassError
from windlass.faces.cli import exits
from windlass.faces.cli.options import AppRequest, Tools


@click.group("github-app")
def github_app() -> None:
    """Register the GitHub App that Windlass works as."""


@github_app.command()
@click.option("--url", "public_url", required=True, help="Where GitHub reaches this server: https://HOST[/PATH].")
@click.option("--organization", default="", metavar="ORG", help="Register it there; default: your own account.")
@click.option("--name", default="Windlass", show_default=True, help="Name of the App; unique on the forge.")
@click.option("--forge", "forge_url", default="https://github.com", show_default=True, help="The forge's web address.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("~/.local/state/windlass"),
    show_default=True,
    help="Where the key, the secret and all state are kept.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("windlass.yaml"),
    show_default=True,
    help="The settings file to write.",
)
@click.option("--with-administration", is_flag=True, help="Also let it read classic branch protection rules.")
@click.option("--port", default=0, help="Port on loopback for the one page; default: any free one.")
@click.option("--timeout", "timeout_s", default=3600.0, show_default=True, help="Longest wait for you, in seconds.")
@click.pass_obj
def create(
    tools: Tools,
    public_url: str,
    organization: str,
    name: str,
    forge_url: str,
    state_dir: Path,
    config: Path,
    with_administration: bool,
    port: int,
    timeout_s: float,
) -> None:
    """Open one page on this machine that leads through GitHub's own registration, and keep what GitHub hands out."""
    request = AppRequest(
        public_url=public_url,
        organization=organization,
        name=name,
        forge_url=forge_url,
        state_dir=state_dir,
        config=config,
        reads_administration=with_administration,
        port=port,
        timeout_s=timeout_s,
    )
    try:
        made = tools.create_github_app(request, lambda page: click.echo(f"Open this page in your browser: {page}"))
    except WindlassError as error:
        click.echo(f"windlass: {error}", err=True)
        sys.exit(exits.of_error(error))
    click.echo(f"The App {made.slug} (id {made.app_id}) is registered.")
    click.echo(f"  private key     {made.private_key_file}")
    click.echo(f"  webhook secret  {made.webhook_secret_file}")
    click.echo(f"  settings        {made.config}")
    click.echo("What is left to do:")
    click.echo(f"  1. Install it on your repositories: {made.install_url}")
    click.echo(f"  2. Start the server: windlass serve --config {made.config}")
    click.echo(f"  3. Have {made.webhook_url} lead to it (a reverse proxy with TLS).")
