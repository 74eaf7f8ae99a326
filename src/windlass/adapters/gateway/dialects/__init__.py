"""The wire formats that coding agents speak to their models, as far as the gateway has to understand them."""

from collections.abc import Mapping

from windlass.adapters.gateway.dialects.anthropic import Anthropic
from windlass.adapters.gateway.dialects.dialect import Dialect
from windlass.adapters.gateway.dialects.gemini import Gemini
from windlass.adapters.gateway.dialects.openai import OpenAI

__all__ = ["DIALECTS", "Dialect"]

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (Anthropic(), OpenAI(), Gemini())}
