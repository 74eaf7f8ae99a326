"""Write docs/configuration.md from the settings themselves: `python scripts/settings_page.py`, `--check` compares.

Kept: the page names every setting with its variable, default and meaning (a test compares them).
"""

from __future__ import annotations

import sys
from pathlib import Path

from windlass.config import AgentSettings, describe

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
INTRODUCTION = """\
# Configuration

Made by `python scripts/settings_page.py` from `windlass.config`; do not edit it by hand.

Settings come from one YAML file (`--config FILE` or `WINDLASS_CONFIG`), with `WINDLASS_*` variables over it. Every
setting has a default. Unknown keys and unknown `WINDLASS_*` variables are refused, so a typing error cannot pass for a
setting. Keys are nested as their dots show. Lists and mappings in variables are written as YAML.

What belongs to one repository (label, approvers, limits) is not set here but in that repository's own
[policy](policy.md).

```yaml
# windlass.yaml
state_dir: /var/lib/windlass
database_url: postgresql://windlass@db.example.org/windlass   # left out: SQLite in state_dir
forge:
  app_id: "123456"
  app_private_key_file: /var/lib/windlass/github-app.pem
  webhook_secret_file: /var/lib/windlass/github-webhook-secret
api:
  public_url: https://windlass.example.org
agents:
  my-agent:
    command: my-agent --non-interactive < windsurf-instructions.txt
    needs_network: true
    secret_files:
      MY_AGENT_KEY: /var/lib/windlass/my-agent-key
default_agent: my-agent
```

Secrets are best given as `…_file`: such a file should have mode 0600. To rotate the webhook secret, set the new one as
`webhook_secret_file` and the old one as `webhook_secret_old`, restart, change it on the forge, then remove the old one.

## Settings
"""
AGENTS = """\

## One agent

Each entry of `agents` has these keys. See [agents](agents.md) for what a command is expected to do.

| key | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = ["| key | variable | default | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{key}` | `{variable}` | {_shown(default)} | {meaning} |" for key, variable, default, meaning in describe()
    ]
    agent = []
    for name, field in AgentSettings.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        agent.append(f"| `{name}` | {default} | {field.description} |")
    return INTRODUCTION + "\n" + "\n".join(rows) + "\n" + AGENTS + "\n".join(agent) + "\n"


def _shown(default: object) -> str:
    match default:
        case None | "":
            return "none"
        case True | False:
            return f"`{str(default).lower()}`"
        case () | []:
            return "`[]`"
        case dict():
            return "`{}`"
        case _:
            return f"`{default}`"


def main(arguments: list[str]) -> int:
    """0: written, or equal under --check."""
    if "--check" in arguments:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
