"""docs/reasons.md and docs/labelling.md name every reason, error code and state, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.error_codes import collect

from windlass.core.job import Reason, State

DOCS = Path(__file__).parents[2] / "docs"
REASONS, ERRORS = (DOCS / "reasons.md").read_text("utf-8").split("\n## Error codes\n")


def rows(text: str) -> dict[str, list[str]]:
    """Code → the other cells of its row; one row may name several codes."""
    found: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (`.*) \|$", text, re.MULTILINE):
        names, *cells = line.split(" | ")
        for name in re.findall(r"`(\w+)`", names):
            assert name not in found, f"{name} is explained twice"
            found[name] = cells
    return found


def test_every_reason_is_explained_with_what_to_do() -> None:
    explained = rows(REASONS)
    assert set(explained) == {reason.value for reason in Reason}
    assert all(len(cells) == 2 and all(cells) for cells in explained.values())


def test_every_error_code_is_explained() -> None:
    codes, explained = collect(), rows(ERRORS)
    missing = {code: sorted(files) for code, files in codes.items() if code not in explained}
    assert not missing, "add these to docs/reasons.md"
    made_of_a_status = {code for code in explained if re.fullmatch(r"http_\d{3}", code)}
    assert set(explained) - set(codes) - made_of_a_status == set(), "no code says these any more"


def test_codes_are_collected_in_every_way_they_are_given() -> None:
    codes = collect()
    assert "faces/cli/run.py" in codes["bad_option"]  # code="…"
    assert codes["refused"] == {"core/errors.py"}  # a class's own
    assert "adapters/git/local.py" in codes["detached_head"]  # through a function, by position
    assert "adapters/github/wire.py" in codes["timeout"]  # one of two


def test_labelling_explains_every_state() -> None:
    page = (DOCS / "labelling.md").read_text("utf-8")
    table = page.split("## Follow it")[1].split("\n## ")[0]
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|[^|]*\|", table, re.MULTILINE))))
    assert told | {"shadowed"} == {state.value for state in State}
