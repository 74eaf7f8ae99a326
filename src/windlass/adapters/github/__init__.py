"""The GitHub adapter: the forge (github.com, GitHub Enterprise Server, localforge) and the door for its webhooks."""

from windlass.adapters.github.forge import GitHubForge, github_forge
from windlass.adapters.github.keys import AppAuth, TokenAuth
from windlass.adapters.github.webhooks import translate, verify_signature

__all__ = ["AppAuth", "GitHubForge", "TokenAuth", "github_forge", "translate", "verify_signature"]
