"""The command line: `windlass`."""

from __future__ import annotations

from pathlib import Path

import click

from windlass import __version__
from windlass.core.errors import WindlassError
from windlass.faces.cli import exits
from windlass.faces.cli.agents import agents
from windlass.faces.cli.evidence import evidence
from windlass.faces.cli.github_app import github_app
from windlass.faces.cli.jobs import reconcile, start_job, status, stop_job, why
from windlass.faces.cli.logs import logs, report
from windlass.faces.cli.options import Tools
from windlass.faces.cli.policy import policy
from windlass.faces.cli.prompt import prompt
from windlass.faces.cli.run import demo, run


class _Commands(click.Group):
    """The commands, with every foreseen error as one line and its own exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except WindlassError as error:
            click.echo(f"windlass: {error}", err=True)
            ctx.exit(exits.of_error(error))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="windlass")
def windlass() -> None:
    """From an issue labelled AI-Ready to a verified pull request that a human can approve.

    Exit codes: 0 done, 2 usage, 3 a person is needed, 4 refused, 5 failed, 6 unavailable for now.
    """


@windlass.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="WINDLASS_CONFIG",
    help="Settings as YAML; WINDLASS_* variables come on top.",
)
@click.pass_obj
def serve(tools: Tools, config: Path | None) -> None:
    """Run the orchestrator and its API until SIGTERM."""
    tools.serve(config)


_JOBS = (run, demo, start_job, stop_job, status, why, logs, report)
for _command in (*_JOBS, reconcile, evidence, policy, prompt, agents, github_app):
    windlass.add_command(_command)
