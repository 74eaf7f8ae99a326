"""What real agents print (captured from the programs where the format says so, else after their code), as events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.agent_events import FORMATS, EventKind, Fields, Reading, Signal, Summary, Usage
from windlass.core.agent_events.values import MAX_LINE_CHARS, instant, money

SAMPLES = Path(__file__).parent / "samples"
CLOSING = "# Fix: add adds\n\nI changed calc.py."


def read(name: str, sample: str) -> tuple[list[str], Summary]:
    reading = Reading(name)
    content = (SAMPLES / sample).read_text()
    if sample.endswith(".json"):
        events = [*reading.feed("some text on standard output"), *reading.feed_file(content)]
    else:
        events = [event for line in content.splitlines() for event in reading.feed(line)]
    return [event.kind.value for event in events], reading.summary()


@pytest.mark.parametrize(
    ("name", "sample", "usage"),
    [
        ("codex", "codex.jsonl", Usage(input_tokens=200, output_tokens=40, cached_tokens=0, turns=1)),
        (
            "claude",
            "claude.jsonl",
            Usage(
                model="claude-sonnet-4-5",
                input_tokens=200,
                output_tokens=40,
                cached_tokens=0,
                cost_usd="0.0012",
                turns=2,
            ),
        ),
        ("qwen", "qwen.jsonl", Usage(model="scripted", input_tokens=200, output_tokens=40, cached_tokens=0, turns=2)),
        ("gemini", "gemini.jsonl", Usage(model="scripted", input_tokens=200, output_tokens=40, cached_tokens=0)),
        (
            "opencode",
            "opencode.jsonl",
            Usage(input_tokens=200, output_tokens=40, cached_tokens=0, cost_usd="0.0012", turns=2),
        ),
        ("goose", "goose.jsonl", None),
        (
            "openhands",
            "openhands.txt",
            Usage(model="openai/scripted", input_tokens=200, output_tokens=40, cached_tokens=10, cost_usd="0.0012"),
        ),
        ("windlass", "windlass.jsonl", Usage(input_tokens=200, output_tokens=40, cost_usd="0.0012")),
    ],
)
def test_a_finished_run(name: str, sample: str, usage: Usage | None) -> None:
    kinds, summary = read(name, sample)
    assert summary.signal is Signal.FINISHED
    assert summary.final_text == CLOSING
    assert (summary.error, summary.tool_calls) == ("", 1)
    assert summary.usage == usage
    assert "tool_call" in kinds
    assert "message" in kinds or name == "openhands"


@pytest.mark.parametrize(
    ("name", "sample", "usage", "calls"),
    [
        ("mini", "mini.json", Usage(model="openai/scripted", cost_usd="0.0012", turns=2), 1),
        (
            "atif",
            "atif.json",
            Usage(model="swe-1.7", input_tokens=200, output_tokens=40, cached_tokens=40, turns=2),
            1,
        ),
    ],
)
def test_a_file_at_the_end(name: str, sample: str, usage: Usage, calls: int) -> None:
    kinds, summary = read(name, sample)
    assert summary.signal is Signal.FINISHED
    assert summary.final_text == "# Fix: add adds"
    assert (summary.tool_calls, summary.usage) == (calls, usage)
    assert kinds[0] == "message"
    assert {"tool_call", "tool_result"} <= set(kinds)


def test_without_its_file_nothing_is_finished() -> None:
    reading = Reading("mini")
    assert reading.feed("Submitted") != ()
    assert reading.feed_file("not json") == ()
    assert reading.summary().signal is Signal.NONE


def test_aider_tells_tokens_and_cost_in_words() -> None:
    kinds, summary = read("aider", "aider.txt")
    assert summary.usage == Usage(
        model="openai/scripted", input_tokens=1500, output_tokens=20, cached_tokens=300, cost_usd="0.0012", turns=1
    )
    assert (summary.signal, summary.tool_calls) == (Signal.FINISHED, 1)
    assert kinds.count("tool_result") == 1
    reading = Reading("aider")
    reading.feed("litellm.AuthenticationError: AuthenticationError: OpenAIException - invalid key")
    assert reading.summary().signal is Signal.FAILED


@pytest.mark.parametrize(
    ("name", "sample", "signal", "error", "tokens"),
    [
        ("codex", "codex-unauthorised.jsonl", Signal.FAILED, "unexpected status 401 Unauthorized", None),
        ("qwen", "qwen-unauthorised.jsonl", Signal.FAILED, "[API Error: 401", 0),
        ("claude", "claude-logged-out.jsonl", Signal.FAILED, "Not logged in", 0),
        ("claude", "claude-turns.jsonl", Signal.CUT, "error_max_turns", 100),
    ],
)
def test_runs_that_did_not_do_it(name: str, sample: str, signal: Signal, error: str, tokens: int | None) -> None:
    _, summary = read(name, sample)
    assert summary.signal is signal
    assert error in summary.error
    assert summary.tool_calls == 0
    assert (summary.usage.input_tokens if summary.usage else None) == tokens


def test_a_run_cut_off_in_the_middle_is_not_finished() -> None:
    for name in ("codex", "claude", "qwen", "gemini", "opencode", "goose"):
        lines = (SAMPLES / f"{name}.jsonl").read_text().splitlines()
        is_tool = [n for n, line in enumerate(lines) if any(e.kind == "tool_call" for e in Reading(name).feed(line))]
        reading = Reading(name)
        for line in lines[: is_tool[0] + 1]:
            reading.feed(line)
        assert reading.summary().signal is Signal.NONE, name


def test_any_agent_by_the_paths_of_its_fields() -> None:
    fields = Fields(
        end="type",
        finished=("done",),
        failed=("broke",),
        message="says.text",
        tool="tool",
        model="m",
        input_tokens="use.in",
        cost_usd="use.usd",
        adds_up=True,
    )
    reading = Reading("jsonl", fields)
    for line in ('{"says":{"text":"hello"},"m":"big"}', '{"tool":"sh"}', '{"use":{"in":3,"usd":"0.1"}}', "noise"):
        reading.feed(line)
    reading.feed('{"use":{"in":4,"usd":0.2},"says":"no path"}')
    assert reading.summary().signal is Signal.NONE
    reading.feed('{"type":"done"}')
    summary = reading.summary()
    assert (summary.signal, summary.final_text, summary.tool_calls) == (Signal.FINISHED, "hello", 1)
    assert summary.usage == Usage(model="big", input_tokens=7, cost_usd="0.3")
    reading.feed('{"type":"broke"}')
    assert reading.summary().signal is Signal.FAILED


def test_what_is_not_reported_is_not_nought() -> None:
    for name in FORMATS:
        assert Reading(name).summary().usage is None
    reading = Reading("codex")
    reading.feed('{"type":"turn.completed","usage":{"input_tokens":0}}')
    usage = reading.summary().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (0, None, None)


@pytest.mark.parametrize(
    ("given", "found"),
    [(0, "0"), (0.1, "0.1"), ("0.25", "0.25"), (-1, None), (float("nan"), None), (True, None), ("x", None), ([], None)],
)
def test_money(given: object, found: str | None) -> None:
    cost = money(given)
    assert (None if cost is None else str(cost)) == found


def test_instants() -> None:
    assert instant("1970-01-01T00:00:01Z") == instant("1970-01-01T00:00:01") == 1000
    assert [instant(v) for v in ("soon", "9999-99-99", -1, 1 << 60, True, None, "x" * 99)] == [None] * 7


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
WORDS = st.sampled_from(
    sorted({word for path in SAMPLES.iterdir() for word in path.read_text().split('"') if word.isidentifier()})
)


@given(st.sampled_from(sorted(FORMATS)), st.lists(st.dictionaries(WORDS, HOSTILE | WORDS, max_size=8), max_size=5))
def test_no_line_stops_the_reading(name: str, lines: list[dict[str, object]]) -> None:
    reading = Reading(name)
    for line in lines:
        for event in reading.feed(json.dumps(line)):
            assert isinstance(event.kind, EventKind)
            assert isinstance(event.text, str)
            assert all(isinstance(fact, str | int) for fact in event.data.values())
        reading.feed_file(json.dumps(line))
    assert isinstance(reading.summary().final_text, str)


@given(st.sampled_from(sorted(FORMATS)), st.text())
def test_no_text_stops_the_reading(name: str, line: str) -> None:
    reading = Reading(name)
    reading.feed(line)
    reading.feed("{" + line)
    reading.feed_file(line)


@given(st.sampled_from(sorted(p.name for p in SAMPLES.iterdir())), st.data())
def test_a_sample_with_anything_in_the_place_of_anything(sample: str, data: st.DataObject) -> None:
    """Every value of a real line may be of another kind than expected."""

    def spoil(value: object) -> object:
        if data.draw(st.integers(0, 12)) == 0:
            return data.draw(HOSTILE)
        if isinstance(value, dict):
            return {key: spoil(inner) for key, inner in value.items()}
        return [spoil(inner) for inner in value] if isinstance(value, list) else value

    name = sample.partition(".")[0].partition("-")[0]
    reading = Reading(name)
    for line in (SAMPLES / sample).read_text().splitlines()[:6]:
        spoilt = json.dumps(spoil(json.loads(line))) if line.startswith("{") and line.endswith("}") else line
        reading.feed(spoilt)
        reading.feed_file(spoilt)
    reading.summary()


def test_lines_that_are_too_large_or_too_deep_are_passed_over() -> None:
    for name in FORMATS:
        reading = Reading(name)
        assert reading.feed("x" * (MAX_LINE_CHARS + 1)) == ()
        assert all(event.kind is EventKind.MESSAGE for event in reading.feed('{"a":' * 100_000))
        assert all(event.kind is EventKind.MESSAGE for event in reading.feed('{"n":' + "9" * 100_000 + "}"))
