"""The sandbox of templates: they call nothing, reach nothing, and print no hostile text but fenced."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass.adapters.prompts.templates import Hostile, Templates
from windlass.core.errors import Failed, Refused


def render(tmp_path: Path, template: str, **data: object) -> str:
    (tmp_path / "bugfix").mkdir()
    (tmp_path / "bugfix" / "coder.md.j2").write_text(template)
    (tmp_path / "part.md.j2").write_text("part\n")
    return Templates(tmp_path).render("bugfix", "coder", data)[0]


@pytest.mark.parametrize(
    "template",
    [
        "{{ x }}",
        "{{ x ~ 'y' }}",
        "{{ 'a' + x }}",
        "{{ x | data('Not a label') }}",
        "{{ x | data('a\nb') }}",
        "{{ 'plain' | data('issue') }}",
        "{{ x | upper }}",
        "{{ x | safe }}",
        "{{ x.fenced('issue') }}",
        "{{ x._text }}",
        "{{ x.__class__ }}",
        "{{ ''.join(['a']) }}",
        "{{ 'a'.upper() }}",
        "{{ [].__class__.__mro__ }}",
        "{{ range(3) }}",
        "{{ lipsum() }}",
        "{{ self.__init__ }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 2 ** 100000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{% macro m() %}a{% endmacro %}{{ m() }}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% include '../outside.md.j2' %}",
        "{% include x %}",
        "{% import 'part.md.j2' as p %}",
        "{% extends 'part.md.j2' %}",
        "{{ unknown }}",
        "{{ item.unknown }}",
        "{{ x is callable }}",
        "{% if %}",
    ],
)
def test_what_a_template_may_not_do(tmp_path: Path, template: str) -> None:
    (tmp_path.parent / "outside.md.j2").write_text("outside")
    with pytest.raises((Failed, Refused)) as caught:
        render(tmp_path, template, x=Hostile("EVIL"), item={"a": 1})
    assert caught.value.code in {"bad_template", "no_template"}
    assert "EVIL" not in str(caught.value)


def test_what_a_template_may_do(tmp_path: Path) -> None:
    template = (
        "{% include 'part.md.j2' %}\n{% for a in items_ %}\n{% if loop.first %}first{% endif %}{{ a.n }}\n"
        "{% endfor %}\n\n\n\n"
        "{% if x %}{{ x | data('issue') }}{% endif %}{{ 'yes' if not empty else 'no' }}{{ n + 1 }}"
    )
    given = {"x": Hostile("{{ x }}\n\n\n\n```"), "empty": Hostile(""), "items_": [{"n": 1}, {"n": 2}], "n": 1}
    text = render(tmp_path, template, **given)
    assert text == "part\nfirst1\n2\n\n````text issue (data)\n{{ x }}\n\n\n\n```\n````yes2\n"


def test_a_version_is_of_everything_that_is_included(tmp_path: Path) -> None:
    render(tmp_path, "{% include 'part.md.j2' %}")
    before = Templates(tmp_path).render("bugfix", "coder", {})[1]
    assert before.name == "bugfix/coder"
    assert "part" in before.body
    (tmp_path / "part.md.j2").write_text("another")
    after = Templates(tmp_path).render("bugfix", "coder", {})[1]
    assert before.digest != after.digest


@pytest.mark.parametrize("name", [("bugfix", "poet"), ("..", "coder"), ("bugfix", "../coder"), ("", "")])
def test_a_role_without_a_template_is_refused(tmp_path: Path, name: tuple[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        Templates(tmp_path).render(*name, {})
    assert caught.value.code == "no_template"
