"""Files that others obey: what may not be put into `.gitattributes` and lock files, and what a reviewer is told."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core import lock_files
from windlass.core.attributes import added_rule
from windlass.core.elsewhere import run_elsewhere
from windlass.core.patch_guard import Change, guard, is_read_closely
from windlass.core.policy import Policy

# ------------------------------------------------------------------ .gitattributes

CURTAINS = ["*.py -diff", "src/** binary", "* linguist-generated", "*.ts linguist-generated=true", "a export-ignore"]
CURTAINS += ["*.c ident", "*.txt working-tree-encoding=UTF-16", "[attr]odd -diff", "a text -diff"]


@pytest.mark.parametrize("line", CURTAINS)
def test_a_curtain_before_a_reviewers_eyes_is_refused(line: str) -> None:
    change = Change(path="src/.GitAttributes", new_mode="100644", new_text=f"*.md text\n{line}\n")
    (said,) = guard([change], policy=Policy())
    assert "hides changes from a reviewer" in said
    assert guard([change], policy=Policy(allow_paths=("src/.GitAttributes",))) == ()


@pytest.mark.parametrize(
    "line",
    ["*.png binary", "*.PDF -diff", "*.py diff", "* text=auto", "*.py linguist-generated=false", "# * -diff", "", "x"],
)
def test_what_hides_no_text_is_allowed(line: str) -> None:
    assert added_rule("", line) == ("", "")


def test_what_stood_there_is_not_the_agents() -> None:
    assert added_rule("gen/* linguist-generated\n", "gen/*  linguist-generated\n*.md text\n") == ("", "")
    assert added_rule("gen/* linguist-generated\n", "* linguist-generated\n")[0] == "* linguist-generated"


# ------------------------------------------------------------------ lock files

A, B = "sha512-" + "A" * 86 + "==", "sha512-" + "B" * 86 + "=="
HEX_A, HEX_B = "a" * 64, "b" * 64


def npm(host: str = "npm.example", pin: str = A, version: str = "1.0.0") -> str:
    entry = {"version": version, "resolved": f"https://{host}/x/-/x-{version}.tgz", "integrity": pin}
    return json.dumps({"packages": {"": {"name": "shop"}, "node_modules/x": entry}})


def old_npm(pin: str) -> str:
    return json.dumps(
        {"dependencies": {"y": {"version": "2", "dependencies": {"x": {"version": "1", "integrity": pin}}}}}
    )


def yarn(pin: str, wanted: str = "^1.0.0") -> str:
    url = "https://yarn.example/x/-/x-1.0.0.tgz"
    return f'# yarn\n\n"@s/x@{wanted}", "@s/x@1":\n  version "1.0.0"\n  resolved "{url}"\n  integrity {pin}\n'


def pnpm(pin: str) -> str:
    return (
        f"packages:\n\n  '@s/x@1.0.0(y@2.0.0)':\n    resolution: {{integrity: {pin}}}\n    engines: {{node: '>=6'}}\n"
    )


def berry(pin: str) -> str:
    return f'"x@npm:^1.0.0":\n  version: 1.0.0\n  resolution: "x@npm:1.0.0"\n  checksum: 10/{pin}\n'


def cargo(pin: str) -> str:
    return f'[[package]]\nname = "x"\nversion = "1.0.0"\nchecksum = "{pin}"\n'


def poetry(pin: str) -> str:
    return f'[[package]]\nname = "x"\nversion = "1"\nfiles = [{{file = "x-1.whl", hash = "sha256:{pin}"}}]\n'


def uv(pin: str) -> str:
    url = "https://files.example/x-1.whl"
    return f'[[package]]\nname = "x"\nversion = "1"\nwheels = [{{ url = "{url}", hash = "sha256:{pin}" }}]\n'


def pipfile(pin: str) -> str:
    return json.dumps({"_meta": {"hash": {}}, "default": {"x": {"hashes": [f"sha256:{pin}"], "version": "==1"}}})


def composer(pin: str) -> str:
    return json.dumps({"packages": [{"name": "a/x", "version": "1", "dist": {"shasum": pin, "reference": "r"}}]})


def requirements(pin: str) -> str:
    pins = f"    --hash=sha256:{HEX_A[:60]} \\\n    --hash=sha256:{pin}\n"
    return f"# pinned\nX[more]==1.0 ; python_version > '3' \\\n{pins}"


def gosum(pin: str) -> str:
    return f"example.org/x v1.0.0 h1:{pin}=\nexample.org/x v1.0.0/go.mod h1:fixed=\n"


FORMATS = [
    ("package-lock.json", npm(pin=A), npm(pin=B)),
    ("npm-shrinkwrap.json", old_npm(A), old_npm(B)),
    ("yarn.lock", yarn(A), yarn(B)),
    ("yarn.lock", yarn(A), yarn(B, wanted="~1.0.0")),
    ("yarn.lock", berry(HEX_A), berry(HEX_B)),
    ("pnpm-lock.yaml", pnpm(A), pnpm(B)),
    ("Cargo.lock", cargo(HEX_A), cargo(HEX_B)),
    ("poetry.lock", poetry(HEX_A), poetry(HEX_B)),
    ("uv.lock", uv(HEX_A), uv(HEX_B)),
    ("Pipfile.lock", pipfile(HEX_A), pipfile(HEX_B)),
    ("composer.lock", composer(HEX_A), composer(HEX_B)),
    ("dev-requirements.txt", requirements(HEX_A), requirements(HEX_B)),
    ("go.sum", gosum(HEX_A), gosum(HEX_B)),
]


@pytest.mark.parametrize(("name", "before", "after"), FORMATS, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(FORMATS)])
def test_another_checksum_for_the_same_version_is_refused(name: str, before: str, after: str) -> None:
    path = f"web/{name}"
    assert is_read_closely(path)
    assert "changes the checksum of " in lock_files.refusal(path, before, after)
    assert lock_files.refusal(path, before, before) == ""
    assert lock_files.refusal(path, "", after) == ""
    assert lock_files.refusal(path, before, "") == ""
    change = Change(path=path, old_mode="100644", new_mode="100644", old_text=before, new_text=after)
    assert len(guard([change], policy=Policy())) == 1
    assert guard([change], policy=Policy(allow_paths=(name,))) == ()


def test_another_version_has_another_checksum() -> None:
    assert lock_files.refusal("package-lock.json", npm(), npm(version="1.0.1", pin=B)) == ""
    assert lock_files.refusal("go.sum", gosum(HEX_A), gosum(HEX_A) + "example.org/x v1.1.0 h1:other=\n") == ""


@pytest.mark.parametrize(
    ("path", "before", "after", "host"),
    [
        ("package-lock.json", npm(), npm(host="npm.example.evil.example"), "npm.example.evil.example"),
        ("yarn.lock", yarn(A), yarn(A) + 'z@1:\n  resolved "https://u:p@evil.example:8/z.tgz"\n', "evil.example"),
        ("requirements.txt", "x==1\n", "--extra-index-url https://evil.example/simple\nx==1\n", "evil.example"),
        ("requirements.txt", "x==1\n", "x @ git+ssh://git@evil.example/x.git\n", "evil.example"),
        ("Gemfile.lock", "  remote: https://gems.example/\n", "  remote: https://evil.example/\n", "evil.example"),
        ("bun.lock", "{}", '{"x": "git@evil.example:x/y.git"}', "evil.example"),
    ],
)
def test_a_package_source_that_was_not_there_is_refused(path: str, before: str, after: str, host: str) -> None:
    said = lock_files.refusal(path, before, after)
    assert said == f"names a package source that was not there before, {host}"
    assert lock_files.refusal(path, after, after) == ""


def test_comments_name_no_source() -> None:
    assert lock_files.refusal("requirements.txt", "x==1\n", "# see https://example.org/why\nx==1\n") == ""


@given(st.sampled_from([name for name, _, _ in FORMATS]), st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_a_reader(name: str, before: str, after: str) -> None:
    lock_files.refusal(name, before, after)
    added_rule(before, after)


@pytest.mark.parametrize("text", ["[]", '"x"', '{"packages": [1]}', "[" * 5000, '{"default": {"x": 1}}', "<<<<<<<"])
def test_a_lock_file_that_cannot_be_read_any_more_is_refused(text: str) -> None:
    for name, before, _ in FORMATS:
        assert lock_files.refusal(name, before, text) == "cannot be read as a lock file any more", name
        assert lock_files.refusal(name, text, before) == "" or "source" in lock_files.refusal(name, text, before)


def test_what_is_too_large_to_be_compared_is_refused() -> None:
    change = Change(path="yarn.lock", old_mode="100644", new_mode="100644", size=lock_files.MOST_BYTES + 1)
    assert "too large to be compared" in guard([change], policy=Policy())[0]


@pytest.mark.parametrize("text", ["a" * 600_000, "://" * 200_000, "sha1" * 150_000, "a@" * 300_000, " 'a@" * 150_000])
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    for name, before, _ in FORMATS:
        lock_files.refusal(name, before, text)
    assert time.process_time() - began < 30, "what grows with the square of its size would take hours"


# ------------------------------------------------------------------ told to the reviewer


def test_what_runs_elsewhere_is_named() -> None:
    runs = ["Dockerfile", "a/Dockerfile.dev", "package.json", "web/yarn.lock", ".npmrc", ".pre-commit-config.yaml"]
    runs += ["Makefile", "tests/conftest.py", ".husky/pre-commit", ".vscode/tasks.json", ".gitlab-ci.yml", "setup.py"]
    plain = ["src/app.py", "docs/docker.md", "makefile.md", "package.json.md", "lock.py", "tests/test_setup.py"]
    assert run_elsewhere([*plain, *runs]) == tuple(runs)
