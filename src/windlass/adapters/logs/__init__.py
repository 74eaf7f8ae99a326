"""Secrets out of everything that is written: known values in all their encodings, private keys, then rules."""

from windlass.adapters.logs.redactor import SecretRedactor, correlation_key

__all__ = ["SecretRedactor", "correlation_key"]
