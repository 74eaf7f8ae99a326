"""A stream comes out the same however it is cut, and no secret slips through a cut."""

from __future__ import annotations

import base64
import functools
import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.adapters.logs import SecretRedactor
from windlass.adapters.logs.rules import Rules, maintained, provenance
from windlass.adapters.logs.stream import FAILED, NOTICE, UNIT_BYTES
from windlass.ports import CleanLine

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
CHANCE = random.Random(7)


def by_chance(size: int, alphabet: str = ALPHABET) -> str:
    return "".join(CHANCE.choice(alphabet) for _ in range(size))


KNOWN = by_chance(40)
PHRASE = "pass phrase/with ünïcode+" + by_chance(6)
GITHUB = "gh" + "p_" + by_chance(36)
AWS = "AK" + "IA" + by_chance(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
HEAD, FOOT = ("-----%s RSA PRIV" + "ATE KEY-----" for _ in range(2))
BODY = [by_chance(64) for _ in range(12)]
KEY = "\n".join([HEAD % "BEGIN", *BODY, FOOT % "END"])


@functools.cache
def redactor() -> SecretRedactor:
    return SecretRedactor(key=b"k" * 32, known=[KNOWN, PHRASE])


def clean(data: bytes, cuts: list[int]) -> list[CleanLine]:
    stream = redactor().stream()
    lines: list[CleanLine] = []
    last = 0
    for cut in [*sorted(c % (len(data) + 1) for c in cuts), len(data)]:
        lines += stream.add(data[last:cut])
        last = cut
    return [*lines, *stream.close()]


def text_of(lines: list[CleanLine]) -> str:
    return "".join(line.text for line in lines)


def wrapped(text: str) -> str:
    return base64.encodebytes(b"to be wrapped, " * 3 + text.encode() + b" and more" * 4).decode()


pieces = st.sampled_from(
    [
        "plain words\n",
        "\n",
        "\r\n",
        "\x1b[31mred\x1b[0m ",
        "ünï «» \U0001f512 ",
        f"token={KNOWN}\n",
        f"{KNOWN[:17]}\n{KNOWN[17:]}\n",
        f"{KNOWN[:9]}\x1b[1m{KNOWN[9:]}\x1b[0m",
        KNOWN[:20],
        KNOWN[-20:],
        json.dumps({"a": PHRASE, "text": f"x\n{KNOWN}"}) + "\n",
        json.dumps({"wrapped": wrapped(KNOWN)}) + "\n",
        wrapped(KNOWN),
        PHRASE,
        f"use {GITHUB} here\n",
        f"\x1b[32m{GITHUB}\x1b[0m\n",
        f"aws {AWS}\n",
        KEY + "\n",
        json.dumps({"key": KEY}) + "\n",
        HEAD % "BEGIN" + "\n",
        f'if "{HEAD % "BEGIN"}" in text:\n',
        "\ufffd",
    ]
)
texts = st.lists(pieces, max_size=14).map(lambda parts: "".join(parts).encode())
broken = st.tuples(texts, st.binary(max_size=20), texts).map(b"".join)
cuts = st.lists(st.integers(0, 1 << 20), max_size=12)


@settings(max_examples=150, deadline=None)
@given(data=broken, some=cuts)
def test_the_same_comes_out_however_the_stream_is_cut(data: bytes, some: list[int]) -> None:
    whole = clean(data, [])
    assert text_of(clean(data, some)) == text_of(whole)
    assert sum(line.raw_bytes for line in clean(data, some)) == len(data)
    assert text_of(clean(data, list(range(len(data))))) == text_of(whole)


@settings(max_examples=100, deadline=None)
@given(data=texts, some=cuts)
def test_what_is_decided_can_be_taken_up_again(data: bytes, some: list[int]) -> None:
    """A new stream behind any line that was given out goes on as the old one would have."""
    stream = redactor().stream()
    for cut in sorted(some):
        given_out = stream.add(data[: cut % (len(data) + 1)])
        taken = sum(line.raw_bytes for line in given_out)
        again = redactor().stream(data[:taken][-16_384:])
        rest = [*again.add(data[taken:]), *again.close()]
        assert text_of([*given_out, *rest]) == text_of(clean(data, []))
        stream = redactor().stream()


@pytest.mark.parametrize("secret", [KNOWN, GITHUB, KEY, PHRASE, f"{KNOWN[:5]}\n{KNOWN[5:]}"], ids=str.__len__)
def test_no_cut_lets_a_secret_through(secret: str) -> None:
    data = f"before it\nsee {secret} there\nbehind it\n".encode()
    core = [part for part in secret.replace("\n", " ").split() if len(part) > 20]
    for cut in range(len(data)):
        text = text_of(clean(data, [cut]))
        assert "before it" in text
        assert "behind it" in text
        assert not any(part in text for part in core or [secret]), text


def forms(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield from (secret, json.dumps(secret), json.dumps(json.dumps(secret)), repr(secret))
    yield from (raw.hex(), raw.hex().upper(), raw.hex(":"), raw.hex(" "), secret[::-1], " ".join(secret))
    yield from (base64.b64encode(b"x" * n + raw + b"y" * m).decode() for n in range(3) for m in range(3))
    yield base64.urlsafe_b64encode(b"user:" + raw).decode()
    yield base64.b64encode(base64.b64encode(raw)).decode()
    yield from (wrapped(secret), json.dumps(wrapped(secret)), "\n".join(secret), "\x00".join(secret))


@pytest.mark.parametrize("secret", [KNOWN, by_chance(12), by_chance(90)], ids=["40", "12", "90"])
def test_known_values_are_found_in_every_form(secret: str) -> None:
    for form in forms(secret):
        text, found = SecretRedactor(key=b"k" * 32, known=[secret]).redact(f"see {form} there")
        assert sum(found.values()) >= 1, form
        assert text.startswith("see ")
        assert text.rstrip().endswith("there")
        left = text.replace("see ", "").replace(" there", "")
        about = 40 if wrapped("")[:20] not in form else 200
        assert len(left) <= len("«secret:known-value:00000000»") + about, f"{form} leaves {text}"


def test_a_cut_or_halved_token_is_still_found() -> None:
    for part in (KNOWN[7:], KNOWN[:20], KNOWN[20:]):
        assert part not in redactor().redact(f"{part} is all that is left")[0]


def test_equal_secrets_have_equal_marks_in_any_form() -> None:
    one, _ = redactor().redact(KNOWN)
    two, _ = redactor().redact(KNOWN.encode().hex())
    other, _ = SecretRedactor(key=b"l" * 32, known=[KNOWN]).redact(KNOWN)
    assert one == two != other
    assert one.startswith("«secret:known-value:")
    assert redactor().redact(one) == (one, {})


def test_a_line_without_end_is_cleaned_with_bounded_memory() -> None:
    filler = "x" * 1000 + " "
    data = (filler * 60 + GITHUB + " " + filler * 200 + f" {GITHUB} {KNOWN}").encode()
    for shift in range(0, 60, 7):
        moved = b"y" * (UNIT_BYTES - 61_100 % UNIT_BYTES + shift) + b" " + data
        text = text_of(clean(moved, list(range(0, len(moved), 5000))))
        assert text == text_of(clean(moved, []))
        assert GITHUB not in text
        assert KNOWN not in text
    stream = redactor().stream()
    given_out = sum(line.raw_bytes for line in stream.add(b"z" * (1 << 20)))
    assert given_out > (1 << 20) - 2 * UNIT_BYTES


def test_a_key_is_one_line_and_source_code_about_keys_stays() -> None:
    text, found = redactor().redact(f"a\n{KEY}\nb\n")
    assert found["private-key"] == 1
    assert text.count("\n") == 3
    code = f'if "{HEAD % "BEGIN"}" in text:\n    raise Leak("no keys, please")\n'
    assert redactor().redact(code) == (code, {})


def test_release_gives_what_silence_holds_back() -> None:
    stream = redactor().stream()
    assert stream.add(f"the end is {KNOWN[:3]}\n".encode()) == []
    assert text_of(list(stream.release())) == f"the end is {KNOWN[:3]}\n"
    assert stream.add(f"the end is {KNOWN[:11]}\n".encode()) == []
    assert stream.release() == []


class Broken(Rules):
    """Rules that break on one line, as a fault in a library would."""

    def find(self, lines, starts, text):  # type: ignore[no-untyped-def]
        if "poison" in text:
            raise ArithmeticError("broken")
        return super().find(lines, starts, text)


def test_a_line_that_cannot_be_checked_is_left_out_and_only_that(caplog: pytest.LogCaptureFixture) -> None:
    made = SecretRedactor(key=b"k" * 32, known=[KNOWN], rules=Broken(maintained()._rules[:3]))
    text, found = made.redact(f"one\npoison {KNOWN}\nthree {KNOWN}\n")
    lines = text.splitlines()
    assert (lines[0], lines[1], lines[2].startswith("three «secret:")) == ("one", NOTICE, True)
    assert found[FAILED] == 1
    assert KNOWN not in caplog.text


def test_the_rules_come_with_their_source() -> None:
    assert provenance()["license"].startswith("MIT")
    assert len(maintained().names()) > 200


def test_ordinary_output_is_not_touched() -> None:
    ordinary = (
        "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad\n"
        "PASSED tests/test_api.py::test_key_is_kept [ 12%]\n"
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        "Downloading https://example.com/pool/key-1.2.tar.gz (token count: 1200)\n"
        "def authenticate(user, password): return check(password)\n"
    )
    assert redactor().redact(ordinary) == (ordinary, {})


def test_a_runs_own_key_to_the_gateway_is_recognised() -> None:
    key = "wlk_" + by_chance(48, "0123456789abcdef")
    text, found = redactor().redact(f"x-api-key: {key}, again {key}.")
    assert key not in text
    assert found["windlass-run-key"] >= 1
