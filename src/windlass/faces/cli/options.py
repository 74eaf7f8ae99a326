"""What the commands hand to the wiring, and what they get back: plain data, so that faces know no adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from windlass.core.job import Job, TaskType
from windlass.engine.ledger import ExportSummary

OnChange = Callable[[Job, Sequence[str]], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One job on a repository of the user's own. `agent_environment` are variables handed to the agent's command."""

    repo: Path
    issue_text: str
    title: str = ""
    task_type: TaskType | None = None
    agent: str = ""
    agent_command: str = ""
    agent_network: bool = False
    agent_environment: Mapping[str, str] = field(default_factory=dict)
    agents_dir: Path | None = None
    model: str = ""
    image: str = ""
    test_command: str = ""
    base: str = ""
    mounts: tuple[Path, ...] = ()
    workdir: Path | None = None
    approve_as: str = ""
    timeout_s: float = 7200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a local job ended, as `windlass run --json` prints it. `exit_code`: 0 ready or merged, 3, 4, 5."""

    exit_code: int
    document: Mapping[str, Any]
    workdir: Path
    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTrialOptions:
    """One agent to be tried on a tiny job. `environment` are variables handed to it, keys among them."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Path, ...] = ()
    model: str = ""
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRequest:
    """What the App to be registered is called, where it is registered, and where its secrets and settings go."""

    public_url: str
    organization: str = ""
    name: str = "Windlass"
    forge_url: str = "https://github.com"
    state_dir: Path
    config: Path
    reads_administration: bool = False
    port: int = 0
    timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppMade:
    """The registered App and the files that were written."""

    app_id: int
    slug: str
    install_url: str
    webhook_url: str
    private_key_file: Path
    webhook_secret_file: Path
    config: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """The prompt that a role would be given for an issue on a local repository. '' and None: found from the rest."""

    repo: Path
    issue_text: str
    title: str = ""
    task_type: TaskType | None = None
    role: str = "coder"
    purpose: str = "implement"
    base: str = ""
    test_command: str = ""
    token_limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPreview:
    """A prompt and its manifest (`core.prompt.manifest`)."""

    text: str
    manifest: Mapping[str, Any]


class Tools(Protocol):
    """What the commands need in `ctx.obj`; `windlass.__main__` supplies it from the wiring."""

    def run(self, options: RunOptions, on_change: OnChange) -> RunSummary:
        """Take one job on a local repository to its end."""

    def demo(self, *, keep: bool, say: Say, on_change: OnChange) -> int:
        """The whole journey on an example, live; the exit code."""

    def serve(self, config: Path | None) -> None:
        """Run until SIGTERM or SIGINT."""

    def preview_prompt(self, options: PreviewOptions) -> PromptPreview:
        """Render a prompt, offline."""

    def api_address(self, config: Path | None) -> tuple[str, str]:
        """Base URL and bearer token of the configured `windlass serve`."""

    def agents(self, config: Path | None) -> Sequence[Mapping[str, Any]]:
        """Every agent: `name`, `source`, `kind`, `description`, and in `unusable` why it cannot be run here."""

    def agent(self, config: Path | None, name: str) -> Mapping[str, Any]:
        """One agent's entry, without keys. Raises NotFound."""

    def try_agent(self, config: Path | None, options: AgentTrialOptions) -> Mapping[str, Any]:
        """Have an agent do a tiny job. Raises NotFound, Refused (agent_missing, agent_unusable)."""

    def create_github_app(self, request: AppRequest, show: Say) -> AppMade:
        """Register a GitHub App; `show` is given the page to open."""

    def verify_signature(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether an Ed25519 signature holds."""

    def export_evidence(self, job_id: str, out: Path | None) -> ExportSummary:
        """Write a job's bundle."""
