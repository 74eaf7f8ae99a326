"""Reading test outputs, finding weakened tests, and what counts as red to green."""
# ruff: noqa: E501 - tables of small sources read best with one case on one line

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core import verification
from windlass.core.job import TestRun
from windlass.core.verification import FileChange, conclude, judge, parse_tests, weakened_tests

PYTEST_V = """\
tests/test_a.py::test_one PASSED                                         [ 33%]
tests/test_a.py::test_two[a b] FAILED                                    [ 66%]
tests/test_a.py::T::test_three SKIPPED (no)                              [100%]
=========================== short test summary info ============================
FAILED tests/test_a.py::test_two[a b] - assert 1 == 2
ERROR tests/test_b.py - ImportError
==================== 1 failed, 1 passed, 1 skipped in 0.12s ====================
"""
UNITTEST = """\
test_a (test_calc.T.test_a) ... ok
test_b (test_calc.T.test_b) ... FAIL
======================================================================
FAIL: test_b (test_calc.T.test_b)
----------------------------------------------------------------------
Ran 2 tests in 0.001s

FAILED (failures=1)
"""
GO = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- FAIL: TestB/sub_case (0.01s)\nFAIL\texample.com/x\t0.003s\n"
CARGO = "test tests::adds ... ok\ntest tests::subs ... FAILED\ntest slow ... ignored\ntest result: FAILED. 1 passed; 1 failed; 1 ignored\n"
TAP = "TAP version 13\nok 1 - adds\nnot ok 2 - subs\nok 3 - later # SKIP\n# pass 1\n# fail 1\n"
JEST = "FAIL ./a.test.js\n  ✓ adds (3 ms)\n  ✕ subs (1 ms)\nTests:       1 failed, 1 passed, 2 total\n"


@pytest.mark.parametrize(
    ("output", "passed", "failed", "summary"),
    [
        (PYTEST_V, ("tests/test_a.py::test_one",), ("tests/test_a.py::test_two[a b]", "tests/test_b.py"), "1 failed"),
        (
            "..F\nFAILED test_a.py::test_x - boom\n1 failed, 2 passed in 0.03s\n",
            (),
            ("test_a.py::test_x",),
            "1 failed, 2 passed",
        ),
        ("[gw0] [ 50%] PASSED tests/test_a.py::test_one \n", ("tests/test_a.py::test_one",), (), ""),
        (UNITTEST, ("test_a (test_calc.T.test_a)",), ("test_b (test_calc.T.test_b)",), "Ran 2 tests"),
        (GO, ("TestA",), ("TestB/sub_case",), "FAIL example.com/x"),
        (CARGO, ("tests::adds",), ("tests::subs",), "1 passed; 1 failed"),
        (TAP, ("adds",), ("subs",), "pass 1; fail 1"),
        (JEST, ("adds",), ("subs",), "1 failed, 1 passed, 2 total"),
        (
            "\x1b[32m✔ adds\x1b[0m (0.5ms)\n\x1b[31m✖ subs\x1b[39m (1.2ms)\nℹ pass 1\nℹ fail 1\n",
            ("adds",),
            ("subs",),
            "pass 1; fail 1",
        ),
        ("nothing to see\n", (), (), ""),
        ("", (), (), ""),
    ],
)
def test_outputs(output: str, passed: tuple[str, ...], failed: tuple[str, ...], summary: str) -> None:
    found = parse_tests(output)
    assert found[:2] == (passed, failed)
    assert summary in found[2]


def test_names_are_bounded_and_a_failure_outweighs_a_pass() -> None:
    many = "".join(f"t.py::test_{n} PASSED\n" for n in range(1000)) + "t.py::test_1 FAILED\n"
    passed, failed, _ = parse_tests(many)
    assert len(passed) == 200
    assert failed == ("t.py::test_1",)
    assert "t.py::test_1" not in passed


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_output_can_be_read(text: str) -> None:
    passed, failed, summary = parse_tests(text)
    assert not set(passed) & set(failed)
    assert "\n" not in summary


@pytest.mark.parametrize(
    ("ended", "exit_code", "output", "status"),
    [
        ("exited", 0, "1 passed in 0.1s", "passed"),
        ("exited", 0, "", "passed"),
        ("exited", 1, "1 failed in 0.1s", "failed"),
        ("exited", 2, "ERROR tests/test_a.py - ImportError\n1 error in 0.1s", "failed"),
        ("exited", 127, "sh: pytest: not found", "errored"),
        ("exited", 5, "no tests ran in 0.01s", "errored"),
        ("exited", 0, "Ran 0 tests in 0.000s\n\nOK\n", "errored"),
        ("timed_out", None, "", "timed_out"),
        ("stopped", None, "", "errored"),
        ("lost", None, "", "errored"),
    ],
)
def test_one_run_is_judged_by_how_it_ended(ended: str, exit_code: int | None, output: str, status: str) -> None:
    assert judge(ended=ended, exit_code=exit_code, output=output).status == status


def test_red_to_green_needs_a_red_base_and_a_green_head() -> None:
    statuses = ("passed", "failed", "timed_out", "errored", "absent")
    proven = [
        (base, head)
        for base, head in itertools.product(statuses, statuses)
        if conclude("t", TestRun(status=base), TestRun(status=head)).red_to_green
    ]
    assert proven == [("failed", "passed")]


@pytest.mark.parametrize(
    ("path", "is_test"),
    [
        ("tests/test_a.py", True),
        ("test_a.py", True),
        ("a_test.py", True),
        ("conftest.py", True),
        ("src/app.py", False),
        ("src/latest.py", False),
        ("contest.py", False),
        ("a.test.ts", True),
        ("src/__tests__/a.jsx", True),
        ("a.spec.mjs", True),
        ("pkg/a_test.go", True),
        ("pkg/a.go", False),
        ("tests/it.rs", True),
        ("src/lib.rs", False),
        ("src/test/java/CalcTest.java", True),
        ("CalcTest.java", True),
        ("Latest.java", False),
        ("spec/a_spec.rb", True),
        ("tests/README.md", False),
        ("tests/data/in.json", True),
    ],
)
def test_which_paths_are_tests(path: str, is_test: bool) -> None:
    assert verification.test_paths([path]) == ((path,) if is_test else ())


def found(before: str | None, after: str | None, path: str = "tests/test_a.py") -> list[tuple[str, str]]:
    return [(weak.name, weak.how) for weak in weakened_tests([FileChange(path=path, before=before, after=after)])]


BODY = "def test_a():\n    x = f(1)\n    assert x == 2\n    assert g(x) == 3\n"


@pytest.mark.parametrize(
    ("before", "after", "weak"),
    [
        (BODY, BODY, []),
        (BODY, BODY.replace("== 2", "== 5"), []),
        (BODY, BODY + "    assert h(x)\n", []),
        (None, BODY, []),
        (BODY, None, [("test_a", "deleted")]),
        (BODY, "x = 1\n", [("test_a", "deleted")]),
        (BODY, BODY.replace("test_a", "check_a"), [("test_a", "deleted")]),
        (BODY, BODY.replace("test_a", "test_renamed"), []),
        (BODY, "def broken(:\n", [("", "excluded")]),
        (BODY, "@pytest.mark.skip\n" + BODY, [("test_a", "skipped")]),
        (BODY, "@pytest.mark.xfail(reason='x')\n" + BODY, [("test_a", "skipped")]),
        (BODY, "pytestmark = pytest.mark.skipif(True, reason='')\n" + BODY, [("test_a", "skipped")]),
        (BODY, "import pytest\npytest.skip('x', allow_module_level=True)\n" + BODY, [("test_a", "skipped")]),
        (BODY, BODY.replace("    x = f", "    pytest.skip('later')\n    x = f"), [("test_a", "skipped")]),
        (BODY, BODY.replace("    assert g(x) == 3\n", ""), [("test_a", "loosened")]),
        (BODY, BODY.replace("    x = f(1)", "    x = f(1)\n    return"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "True"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "x"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "x in (1, 2)"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "x == x"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "x == 2 or True"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "x is not None"), [("test_a", "loosened")]),
        (BODY, BODY.replace("x == 2", "x == pytest.approx(2)"), [("test_a", "loosened")]),
        (BODY, BODY.replace("    assert x == 2", "    if False:\n        assert x == 2"), [("test_a", "loosened")]),
        (BODY, BODY.replace("    assert x == 2", "    try:\n        assert x == 2\n    except Exception:\n        pass"), [("test_a", "loosened")]),
        (BODY, BODY + "\n\ndef test_b():\n    pytest.skip('x')\n", [("test_b", "skipped")]),
        (
            "@pytest.mark.parametrize('x', [1, 2, 3])\n" + BODY,
            "@pytest.mark.parametrize('x', [1])\n" + BODY,
            [("test_a", "deleted")],
        ),
        (
            "@pytest.mark.parametrize('x', [1, 2])\n" + BODY,
            "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.xfail)])\n" + BODY,
            [("test_a", "skipped")],
        ),
        ("def test_a():\n    assert f() == approx(1, abs=0.01)\n", "def test_a():\n    assert f() == approx(1, abs=0.5)\n", [("test_a", "loosened")]),
        ("def test_a():\n    with pytest.raises(ValueError):\n        f()\n", "def test_a():\n    with pytest.raises(Exception):\n        f()\n", [("test_a", "loosened")]),
        ("def check(x):\n    assert x == 1\n", "def check(x):\n    pass\n", [("check", "loosened")]),
        ("class T(TestCase):\n    def test_a(self):\n        self.assertEqual(f(), 1)\n", "class T(TestCase):\n    def test_a(self):\n        self.assertTrue(f())\n", [("T.test_a", "loosened")]),
        ("class T(TestCase):\n    def test_a(self):\n        self.assertEqual(f(), 1)\n", "class T(TestCase):\n    def test_a(self):\n        self.assertIn(f(), (1, 2))\n", [("T.test_a", "loosened")]),
        ("class T(TestCase):\n    def test_a(self):\n        self.assertAlmostEqual(f(), 1, places=7)\n", "class T(TestCase):\n    def test_a(self):\n        self.assertAlmostEqual(f(), 1, places=1)\n", [("T.test_a", "loosened")]),
        ("class TestA:\n    def test_a(self):\n        assert f() == 1\n", "class A:\n    def test_a(self):\n        assert f() == 1\n", [("TestA.test_a", "deleted")]),
        ("class TestA:\n    pass\n", "class TestA:\n    __test__ = False\n", [("", "excluded")]),
    ],
)  # fmt: skip
def test_python(before: str | None, after: str | None, weak: list[tuple[str, str]]) -> None:
    assert found(before, after) == weak


def test_a_moved_test_is_not_deleted_but_still_compared() -> None:
    moved = [
        FileChange(path="tests/test_a.py", before=BODY, after=None),
        FileChange(path="tests/test_b.py", before=None, after=BODY),
    ]
    assert weakened_tests(moved) == ()
    moved[1] = FileChange(path="tests/test_b.py", before=None, after=BODY.replace("x == 2", "x"))
    assert [weak.how for weak in weakened_tests(moved)] == ["loosened"]
    moved[1] = FileChange(path="src/not_collected.py", before=None, after=BODY)
    assert [weak.how for weak in weakened_tests(moved)] == ["deleted"]


def test_product_code_is_no_test() -> None:
    assert found(BODY, "x = 1\n", path="src/app.py") == []


JS = "test('adds', () => {\n  expect(add(1, 2)).toBe(3);\n  expect(add(0, 0)).toBe(0);\n});\n"
GO_T = 'func TestAdd(t *testing.T) {\n\tif add(1, 2) != 3 {\n\t\tt.Errorf("x")\n\t}\n}\n'
RS = "fn add() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn adds() {\n        assert_eq!(add(1, 2), 3);\n    }\n}\n"
JAVA = "class CalcTest {\n  @Test\n  void adds() {\n    assertEquals(3, add(1, 2));\n  }\n}\n"
RB = "it 'adds' do\n  expect(add(1, 2)).to eq(3)\nend\n"


@pytest.mark.parametrize(
    ("path", "before", "after", "weak"),
    [
        ("a.test.js", JS, JS, []),
        ("a.test.js", JS, JS.replace("toBe(3)", "toBe(4)"), []),
        ("a.test.js", JS, "", [("adds", "deleted")]),
        ("a.test.js", JS, JS.replace("test(", "test.skip("), [("adds", "skipped")]),
        ("a.test.js", JS, JS.replace("test(", "test.only("), [("adds", "skipped")]),
        ("a.test.js", JS, JS.replace("  expect(add(0", "  // expect(add(0"), [("adds", "loosened")]),
        ("a.test.js", JS, JS.replace("toBe(3)", "toBeDefined()"), [("adds", "loosened")]),
        ("a.test.js", JS, JS.replace("expect(add(1, 2)).toBe(3)", "expect(true).toBe(true)"), [("adds", "loosened")]),
        ("a_test.go", GO_T, GO_T, []),
        ("a_test.go", GO_T, "", [("TestAdd", "deleted")]),
        ("a_test.go", GO_T, GO_T.replace("\tif", '\tt.Skip("x")\n\tif'), [("TestAdd", "skipped")]),
        ("a_test.go", GO_T, GO_T.replace('\t\tt.Errorf("x")\n', ""), [("TestAdd", "loosened")]),
        ("src/lib.rs", RS, RS, []),
        ("src/lib.rs", RS, RS.replace("    #[test]\n", "    #[test]\n    #[ignore]\n"), [("adds", "skipped")]),
        ("src/lib.rs", RS, RS.replace("assert_eq!(add(1, 2), 3)", "assert!(true)"), [("adds", "loosened")]),
        ("src/lib.rs", RS, "fn add() {}\n", [("adds", "deleted")]),
        ("CalcTest.java", JAVA, JAVA.replace("  @Test\n", "  @Disabled\n  @Test\n"), [("(file)", "skipped")]),
        (
            "CalcTest.java",
            JAVA,
            JAVA.replace("assertEquals(3, add(1, 2))", "assertNotNull(add(1, 2))"),
            [("adds", "loosened")],
        ),
        ("spec/a_spec.rb", RB, RB.replace("it '", "xit '"), [("adds", "skipped")]),
        ("spec/a_spec.rb", RB, RB.replace("eq(3)", "be_truthy"), [("adds", "loosened")]),
    ],
)
def test_other_languages(path: str, before: str, after: str, weak: list[tuple[str, str]]) -> None:
    assert found(before, after, path) == weak


@pytest.mark.parametrize(
    ("path", "before", "after", "how"),
    [
        ("pytest.ini", "[pytest]\naddopts = -q\n", "[pytest]\naddopts = -q --ignore=tests/test_a.py\n", ["excluded"]),
        ("pytest.ini", "[pytest]\n", "[pytest]\naddopts = --deselect tests/test_a.py::test_x\n", ["excluded"]),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-q"\n', '[tool.pytest.ini_options]\naddopts = "-q -k \'not slow\'"\n', ["excluded"]),
        ("pyproject.toml", 'testpaths = ["tests", "more"]\n', 'testpaths = ["tests"]\n', ["excluded"]),
        ("pyproject.toml", 'testpaths = ["tests"]\n', 'testpaths = ["tests", "more"]\n', []),
        ("pyproject.toml", "fail_under = 90\n", "fail_under = 50\n", ["loosened"]),
        ("pyproject.toml", "fail_under = 90\n", "", ["loosened"]),
        ("pyproject.toml", "fail_under = 50\n", "fail_under = 90\n", []),
        ("pyproject.toml", 'version = "1"\n', 'version = "2"\n', []),
        ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "jest || true"}}', ["excluded"]),
        ("jest.config.js", "x", "x testPathIgnorePatterns: ['a']", ["excluded"]),
        ("jest.config.js", "branches: 90", "branches: 10", ["loosened"]),
        ("tests/conftest.py", "", "collect_ignore = ['test_a.py']\n", ["excluded"]),
    ],
)  # fmt: skip
def test_configurations(path: str, before: str, after: str, how: list[str]) -> None:
    assert [name for _, name in found(before, after, path)] == how


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200),
    st.text(max_size=200),
    st.sampled_from(["test_a.py", "a.test.ts", "a_test.go", "pytest.ini", "tests/a.rs"]),
)
def test_no_text_breaks_it_and_no_change_is_no_weakening(before: str, after: str, path: str) -> None:
    found(before, after, path)
    assert found(before, before, path) == []
