"""The door for webhooks: signatures, every official example, and every way in which a payload can be wrong."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.adapters.github.webhooks import ISSUE_ACTIONS, translate, verify_signature
from windlass.core.errors import Refused
from windlass.core.hints import Ignored, IssueHint, PullHint, RepositoryHint

VENDORED = Path(__file__).resolve().parents[2] / "vendor" / "webhooks"
PLAIN = lzma.decompress((VENDORED / "examples.json.xz").read_bytes())
EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads(PLAIN)
EVERY = [(event, index) for event, listed in EXAMPLES.items() for index in range(len(listed))]
HINTS = (IssueHint, PullHint, RepositoryHint, Ignored)
SECRET, OLD = "new secret", "old secret"


def sign(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_the_vendored_examples_are_what_their_source_says() -> None:
    source = json.loads((VENDORED / "SOURCE.json").read_text())
    assert hashlib.sha256(PLAIN).hexdigest() == source["content_sha256"]
    assert {event: len(listed) for event, listed in EXAMPLES.items()} == source["examples"]
    assert "MIT License" in (VENDORED / "LICENSE").read_text()


@pytest.mark.parametrize("event", sorted(EXAMPLES))
def test_signatures_of_every_example(event: str) -> None:
    for example in EXAMPLES[event]:
        body = json.dumps(example).encode()
        for live in (SECRET, OLD):
            assert verify_signature(body, sign(body, live), [SECRET, OLD])
            assert verify_signature(body, sign(body, live), [SECRET, OLD]), "a replay is signed as well"
            assert not verify_signature(body + b" ", sign(body, live), [SECRET, OLD])
        assert not verify_signature(body, sign(body, "retired"), [SECRET, OLD])


def test_signatures_that_never_fit() -> None:
    body = b"{}"
    good = sign(body, SECRET)
    for header in (
        "",
        "sha256=",
        good[:-1],
        good.upper(),
        good[7:],
        "sha1=" + good[7:],
        "sha256=é",
        "\udcff",
        good * 2,
    ):
        assert not verify_signature(body, header, [SECRET]), header
    assert not verify_signature(body, good, [])
    assert not verify_signature(body, sign(body, ""), [""])


def test_signature_of_githubs_own_documentation() -> None:
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert verify_signature(b"Hello, World!", header, ["It's a Secret to Everybody"])


def expected(event: str, payload: dict[str, Any]) -> type:
    if event == "issues":
        return IssueHint if payload["action"] in ISSUE_ACTIONS else Ignored
    if event.startswith(("pull_request", "check_")) or event in {"status", "workflow_run"}:
        return PullHint
    if event == "push":
        return PullHint if payload["ref"].startswith("refs/heads/") else Ignored
    if event == "installation":
        return RepositoryHint if payload.get("repositories") else Ignored
    return RepositoryHint if event in {"installation_repositories", "repository"} else Ignored


@pytest.mark.parametrize(("event", "index"), EVERY)
def test_every_example_is_translated(event: str, index: int) -> None:
    payload = EXAMPLES[event][index]
    hints = translate(event, json.dumps(payload).encode())
    assert {type(hint) for hint in hints} == {expected(event, payload)}
    for hint in hints:
        if not isinstance(hint, Ignored):
            assert "/" in hint.repository
        if isinstance(hint, PullHint) and event != "push":
            assert len(hint.sha) == 40


def test_the_examples_hold_every_kind_of_hint() -> None:
    kinds = Counter(
        type(h) for e, listed in EXAMPLES.items() for p in listed for h in translate(e, json.dumps(p).encode())
    )
    assert set(kinds) == set(HINTS)


def translated(event: str, payload: Any) -> Any:
    return translate(event, json.dumps(payload).encode())


def test_an_issue_is_told_with_number_and_sender() -> None:
    payload = next(p for p in EXAMPLES["issues"] if p["action"] == "labeled")
    wanted = IssueHint(
        repository=payload["repository"]["full_name"],
        number=payload["issue"]["number"],
        action="labeled",
        by=payload["sender"]["login"],
    )
    assert translated("issues", payload) == (wanted,)
    closed = payload | {"action": "closed"}
    assert translated("issues", closed)[0].action == "closed"
    as_pull = payload | {"issue": payload["issue"] | {"pull_request": {"url": "x"}}}
    assert type(translated("issues", as_pull)[0]) is Ignored


def test_a_forks_branch_is_never_taken_for_ours() -> None:
    payload = copy.deepcopy(next(p for p in EXAMPLES["pull_request"] if p["action"] == "synchronize"))
    payload["pull_request"]["head"]["ref"] = "ai-42"
    assert translated("pull_request", payload)[0].branch == "ai-42"
    payload["pull_request"]["head"]["repo"]["full_name"] = "mallory/shop"
    assert translated("pull_request", payload)[0].branch == ""
    payload["pull_request"]["head"]["repo"] = None
    hint = translated("pull_request", payload)[0]
    assert (hint.branch, hint.number) == ("", payload["number"])


def test_checks_of_forks_name_only_the_commit() -> None:
    payload = copy.deepcopy(next(p for p in EXAMPLES["check_suite"] if p["action"] == "completed"))
    payload["check_suite"] |= {"head_branch": None, "pull_requests": []}
    (hint,) = translated("check_suite", payload)
    assert (hint.number, hint.branch, hint.sha) == (None, "", payload["check_suite"]["head_sha"])
    run = copy.deepcopy(EXAMPLES["workflow_run"][1])
    run["workflow_run"]["head_repository"]["full_name"] = "mallory/shop"
    assert translated("workflow_run", run)[0].branch == ""


def test_one_hint_per_pull_request_of_this_repository() -> None:
    payload = copy.deepcopy(next(p for p in EXAMPLES["check_run"] if p["check_run"]["pull_requests"]))
    pull = payload["check_run"]["pull_requests"][0]
    foreign = copy.deepcopy(pull) | {"number": 99}
    foreign["base"]["repo"]["id"] = 1
    payload["check_run"]["pull_requests"] = [pull, pull, foreign, {"number": 3}]
    assert [h.number for h in translated("check_run", payload)] == [pull["number"], 3]


def test_a_comment_concerns_us_on_pull_requests_only() -> None:
    payload = copy.deepcopy(EXAMPLES["issue_comment"][0])
    assert type(translated("issue_comment", payload)[0]) is Ignored
    payload["issue"]["pull_request"] = {"url": "x"}
    (hint,) = translated("issue_comment", payload)
    assert (hint.number, hint.what) == (payload["issue"]["number"], f"issue_comment.{payload['action']}")


def push(**changes: Any) -> dict[str, Any]:
    payload = copy.deepcopy(EXAMPLES["push"][0])
    payload |= {"ref": "refs/heads/ai-7", "after": "a" * 40, "forced": False, "deleted": False}
    return payload | changes


def test_pushes() -> None:
    repo = push()["repository"]["full_name"]
    assert translated("push", push()) == (
        PullHint(repository=repo, number=None, branch="ai-7", sha="a" * 40, what="push"),
    )
    (gone,) = translated("push", push(after="0" * 40, deleted=True))
    assert (gone.branch, gone.sha) == ("ai-7", "")
    default = "refs/heads/" + push()["repository"]["default_branch"]
    quiet = [{"added": ["a"], "modified": [], "removed": []}]
    loud = [{"added": [], "modified": [".github/windlass.yml"], "removed": []}]
    policy = RepositoryHint(repository=repo, what="push.policy")
    assert policy not in translated("push", push(ref=default, commits=quiet))
    assert policy in translated("push", push(ref=default, commits=loud))
    assert policy in translated("push", push(ref=default, commits=quiet, forced=True))
    assert policy not in translated("push", push(commits=loud))


def test_a_renamed_repository_is_told_under_both_names() -> None:
    payload = copy.deepcopy(next(p for p in EXAMPLES["repository"] if p["action"] == "renamed"))
    payload["changes"]["repository"]["name"]["from"] = "Old-Name"
    names = [hint.repository for hint in translated("repository", payload)]
    assert names == [payload["repository"]["full_name"], f"{payload['repository']['owner']['login']}/Old-Name"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'"a"',
        b"\xff",
        b"payload=%7B%7D",
        b"{}",
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_payload_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        translate("pull_request", body)
    assert caught.value.code == "bad_payload"
    assert caught.value.hint


def test_unknown_events_are_ignored_whatever_they_hold() -> None:
    for event in ("star", "", "x" * 10_000, "issues\n"):
        (hint,) = translate(event, b"\xff not read at all")
        assert isinstance(hint, Ignored)
        assert len(hint.why) < 200


def paths(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = [at] if at else []
    for key, value in items:
        found += paths(value, (*at, key))
    return found


PATHS = {(event, index): paths(EXAMPLES[event][index]) for event, index in EVERY}
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "\x00", "../..", "a/b\n", "0" * 40, "x" * 5000, 10**30, -1]),
    st.just([]),
    st.just([None, 1, "a", {}]),
    st.just({}),
)


def hints_or_refusal(event: str, payload: Any) -> tuple[Any, ...]:
    """Hints, at least one; () when it was refused as a bad payload. Every other exception goes through."""
    try:
        hints = translate(event, json.dumps(payload).encode())
    except Refused as refused:
        return () if refused.code == "bad_payload" else pytest.fail(f"refused with {refused.code}")
    return hints or pytest.fail("no hint at all")


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_any_field_may_be_missing_or_anything(data: st.DataObject) -> None:
    event, index = data.draw(st.sampled_from(EVERY))
    payload = copy.deepcopy(EXAMPLES[event][index])
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(PATHS[event, index]))
        spot: Any = payload
        try:
            for key in way:
                spot = spot[key]
            if data.draw(st.booleans()):
                del spot[last]
            else:
                spot[last] = data.draw(STRANGE)
        except (KeyError, IndexError, TypeError):
            continue
    for hint in hints_or_refusal(event, payload):
        assert isinstance(hint, HINTS)
        json.dumps([getattr(hint, name) for name in hint.__slots__], ensure_ascii=False).encode("utf-8")
        assert "\x00" not in str(hint)


@pytest.mark.parametrize("event", sorted(EXAMPLES))
def test_every_single_field_may_be_null(event: str) -> None:
    """Exhaustive over the first two levels, where the fields are that decide."""
    for index, example in enumerate(EXAMPLES[event]):
        for way in (p for p in PATHS[event, index] if len(p) <= 2):
            payload = copy.deepcopy(example)
            spot: Any = payload
            for key in way[:-1]:
                spot = spot[key]
            spot[way[-1]] = None
            hints_or_refusal(event, payload)
