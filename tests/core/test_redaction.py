"""Known secrets never survive masking, however they are encoded and whatever stands around them."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.redaction import MASK, mask

_LABEL = "PRIVATE KEY-----"
PEM = f"-----BEGIN {_LABEL}\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END {_LABEL}\n"
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=8, max_size=60).filter(
    lambda s: len(s.strip()) >= 8 and MASK not in s and s not in MASK and not set(s) <= set(MASK)
)
around = st.binary(max_size=12)


@given(secret=secrets, before=around, after=around)
def test_base64_at_every_alignment(secret: str, before: bytes, after: bytes) -> None:
    data = before + secret.encode() + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        masked = mask(encode(data).decode(), [secret])
        assert MASK in masked
        left = "".join(masked.split(MASK))
        assert len(left) <= len(encode(before + after)) + 8, "no more than the neighbours and the seams"


@given(secret=secrets, before=st.text(max_size=9), after=st.text(max_size=9))
def test_as_it_is_in_json_in_hex_and_in_urls(secret: str, before: str, after: str) -> None:
    raw = secret.encode()
    shapes = [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        raw.hex(),
        raw.hex().upper(),
        urllib.parse.quote(secret, safe=""),
    ]
    for shape in shapes:
        masked = mask(f"{before}{shape}{after}", [secret])
        assert MASK in masked
        assert masked.count(shape) <= f"{before}{MASK}{after}".count(shape)


@given(secret=secrets, longer=st.text("abc-", min_size=4, max_size=8))
def test_a_secret_inside_another_hides_neither(secret: str, longer: str) -> None:
    outer = f"{secret}{longer}tail-of-the-longer"
    for order in ([secret, outer], [outer, secret]):
        masked = mask(f"x {outer} y", order)
        assert "tail-of-the-longer" not in masked
        assert masked == f"x {MASK} y"


def test_a_private_key_is_found_line_by_line() -> None:
    indented = "\n".join("    " + line for line in PEM.splitlines())
    for text in (indented, json.dumps({"key": PEM}), repr(PEM), PEM.replace("\n", "\r\n")):
        masked = mask(text, [PEM])
        assert "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" not in masked
        assert "BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj" not in masked


@pytest.mark.parametrize("short", ["", "a", "hunter2"])
def test_words_too_short_to_be_secrets_leave_text_alone(short: str) -> None:
    assert mask("a hunter2 a", [short]) == "a hunter2 a"


@given(text=st.text(max_size=200))
def test_text_without_the_secret_is_not_touched(text: str) -> None:
    assert mask(text, ["Zq9-never-in-there-Zq9"]) == text or "never" in text
