"""What of a change is run by others than its tests: when the project is installed, built, opened or checked out.

A review reads code; these files decide which code is fetched and run on machines of people and of CI before anybody
reads a line of it. They are not refused, because much honest work touches them. They are named to the reviewer.
"""

from __future__ import annotations

from collections.abc import Iterable

from windlass.core.lock_files import is_lock_file
from windlass.core.patch_guard import matches_any

PATTERNS = (
    *("dockerfile*", "*.dockerfile", "containerfile*", "*compose*.y*ml", ".devcontainer/", "*.tf", "chart.yaml"),
    *("makefile", "gnumakefile", "*.mk", "cmakelists.txt", "*.cmake", "configure", "configure.ac", "meson.build"),
    *("package.json", ".npmrc", ".yarnrc*", ".pnp.*", "pnpm-workspace.yaml", "bunfig.toml", "deno.json*"),
    *("pyproject.toml", "setup.py", "setup.cfg", "conftest.py", "sitecustomize.py", "tox.ini", "noxfile.py", "*.pth"),
    *("pip.conf", "pipfile", "environment.y*ml", "cargo.toml", "build.rs", ".cargo/", "go.mod", "gemfile", "rakefile"),
    *("*.gemspec", "composer.json", "pom.xml", ".mvn/", "*.gradle*", "gradle/", "gradlew*", "mvnw*", "*.csproj"),
    *("*.props", "*.targets", "nuget.config", "mix.exs", "build.sbt", "flake.nix", "default.nix", "shell.nix"),
    *(".pre-commit-config.yaml", ".husky/", ".githooks/", "lefthook.y*ml", ".envrc", ".vscode/", ".idea/"),
    *(".gitlab-ci.yml", ".gitlab/", ".circleci/", "jenkinsfile*", "azure-pipelines*", ".travis.yml", ".buildkite/"),
    *(".drone.yml", "bitbucket-pipelines.yml", ".woodpecker*", "appveyor.yml", ".gitattributes", ".lfsconfig"),
)


def run_elsewhere(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the paths that are run or obeyed elsewhere, in their order.

    >>> run_elsewhere(["src/a.py", "web/package.json", "web/yarn.lock"])
    ('web/package.json', 'web/yarn.lock')
    """
    return tuple(path for path in paths if is_lock_file(path) or matches_any(PATTERNS, path.casefold()))
