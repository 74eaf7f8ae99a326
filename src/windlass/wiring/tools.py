"""What the command line asks of the wiring."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx

from windlass.adapters.signing import verify_ed25519
from windlass.config import Settings, load
from windlass.core import bundle
from windlass.core.errors import Broken, NotFound, Refused
from windlass.engine.ledger import ExportSummary
from windlass.faces.cli.options import (
    AgentTrialOptions,
    AppMade,
    AppRequest,
    OnChange,
    PreviewOptions,
    PromptPreview,
    RunOptions,
    RunSummary,
    Say,
)
from windlass.wiring import agent_trials, demo, github_app, local, logs, parts, preview, service


class WiredTools:
    """Fills faces.cli.options.Tools."""

    def run(self, options: RunOptions, on_change: OnChange) -> RunSummary:
        """`windlass run`."""
        logs.set_up("ERROR")
        return asyncio.run(local.run(options, on_change))

    def demo(self, *, keep: bool, say: Say, on_change: OnChange) -> int:
        """`windlass demo`."""
        logs.set_up("ERROR")
        return asyncio.run(demo.demo(keep=keep, say=say, on_change=on_change))

    def serve(self, config: Path | None) -> None:
        """`windlass serve`."""
        settings = load(config)
        logs.set_up(settings.log_level, parts.known_secrets(settings))
        asyncio.run(service.serve(settings))

    def preview_prompt(self, options: PreviewOptions) -> PromptPreview:
        """`windlass prompt preview`."""
        return asyncio.run(preview.preview(options))

    def api_address(self, config: Path | None) -> tuple[str, str]:
        """Where the configured server is, and its token. Raises NotFound when it never ran."""
        return _address(load(config))

    def agents(self, config: Path | None) -> tuple[dict[str, Any], ...]:
        """Every agent, as plain data."""
        return agent_trials.listed(load(config))

    def agent(self, config: Path | None, name: str) -> dict[str, Any]:
        """One agent's entry."""
        return agent_trials.entry(load(config), name)

    def try_agent(self, config: Path | None, options: AgentTrialOptions) -> dict[str, Any]:
        """`windlass agents check`."""
        return agent_trials.tried(load(config), options)

    def create_github_app(self, request: AppRequest, show: Say) -> AppMade:
        """`windlass github-app create`."""
        return asyncio.run(github_app.create(request, show))

    def verify_signature(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether an Ed25519 signature holds."""
        return verify_ed25519(public_key, message, signature)

    def export_evidence(self, job_id: str, out: Path | None) -> ExportSummary:
        """Write a job's bundle, through the running server when there is one."""
        config = os.environ.get("WINDLASS_CONFIG")
        settings = load(Path(config) if config else None)
        destination = out or Path(f"{job_id}.evidence.tar")
        try:
            return asyncio.run(_export(settings, job_id, destination))
        except Refused as error:
            if error.code != "already_running":
                raise
        return self._export_from_server(job_id, destination, settings)

    def _export_from_server(self, job_id: str, destination: Path, settings: Settings) -> ExportSummary:
        base, token = _address(settings)
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{base}/api/v1/jobs/{job_id}/evidence", headers=headers, timeout=300, trust_env=False)
        if not answer.is_success:
            raise Refused(f"the server answers {answer.status_code}", hint=answer.text[:200], code="not_exported")
        destination.write_bytes(answer.content)
        return _summary(destination)


def _address(settings: Settings) -> tuple[str, str]:
    path = settings.state_dir.expanduser() / service.TOKEN_FILE
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="start `windlass serve` once, with the same --config")
    return f"http://{settings.api.host}:{settings.api.port}", service.api_token(settings.state_dir)


async def _export(settings: Settings, job_id: str, destination: Path) -> ExportSummary:
    windlass = parts.build(settings)
    try:
        return await asyncio.to_thread(windlass.ledger.export, windlass.queries.job(job_id).id, destination)
    finally:
        await windlass.close()


def _summary(path: Path) -> ExportSummary:
    """What a bundle that the server made says of itself."""
    verdict = bundle.verify(bundle.decode(path.read_bytes()), pinned_key=None, verify_signature=verify_ed25519)
    if not verdict.ok:
        raise Broken(f"the server's bundle is not consistent: {verdict.problems[0]}", code="bad_bundle")
    return ExportSummary(
        path=path,
        job=verdict.job,
        records=verdict.records,
        blobs=verdict.blobs,
        absent_blobs=(),
        size=verdict.size,
        root=verdict.root,
        vkey=verdict.signer,
        fingerprint=verdict.fingerprint,
    )
