"""Prompts from templates in a sandbox, hostile text reduced and fenced, context from the repository's commits."""

from windlass.adapters.prompts.markdown import reduced
from windlass.adapters.prompts.render import JinjaPrompts

__all__ = ["JinjaPrompts", "reduced"]
