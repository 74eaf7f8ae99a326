"""What an answer says was used, by the maintained mappings of `genai-prices` for each provider's form of answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genai_prices.data_snapshot import get_snapshot

from windlass.adapters.gateway.dialects.dialect import Found

MAX_MODEL_CHARS = 200
MAX_COUNT = 10**12


def counted(provider: str, flavor: str, answer: Mapping[str, Any], context: Mapping[str, str]) -> Found | None:
    """What one answer used; None when it does not say it in the provider's form."""
    try:
        model, usage = get_snapshot().find_provider(None, provider, None).extract_usage(answer, api_flavor=flavor)
    except (ValueError, LookupError, TypeError, ArithmeticError):
        return None
    values = [usage.reported_value(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens")]
    if any(value != int(value) or value > MAX_COUNT for value in values):
        return None
    return Found(model=(model or "")[:MAX_MODEL_CHARS], usage=usage, context=context)


def object_of(data: bytes) -> dict[str, Any]:
    """A JSON object, or an empty one for everything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def object_in(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part that is an object, or an empty one."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}
