"""The tests of a file in JavaScript, TypeScript, Go, Rust, Java, Kotlin, Ruby and their like, by careful line rules.

There is no parser for these here, so a test reaches from its declaration to the next one. Comments are taken out
first: an assertion that was commented out is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from windlass.core.weakening_facts import FileFacts, TestFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How a language shows tests (their name is the group that matched), skips and checks, strong and weak ones."""

    test: re.Pattern[str]
    skip: re.Pattern[str]
    check: re.Pattern[str]
    exact: re.Pattern[str]
    truthy: re.Pattern[str]
    comment: re.Pattern[str]


_SLASHES = re.compile(r"/\*.*?\*/|(?<![:\"'`\w])//[^\n]*", re.S)
_HASHES = re.compile(r"^=begin.*?^=end|(?<![\"'\w&])#(?!\{)[^\n]*", re.S | re.M)

_JAVASCRIPT = Language(
    test=re.compile(
        r"""(?<![\w.])(?:x|f)?(?:it|test|specify)(?:\.\w+)*(?:\([^()'"`]*\)|`[^`]*`)?\s*\(\s*['"`]([^'"`\n]+)"""
    ),
    skip=re.compile(
        r"(?<![\w.])(?:(?:x|f)(?:it|test|describe|context)\s*\(|(?:it|test|describe|suite|context)(?:\.\w+)*"
        r"\.(?:skip|todo|only|fixme|failing|skipIf)\b|(?:this|t|ctx)\.skip\()|\b(?:skip|todo|only): *true"
    ),
    check=re.compile(r"\b(?:expect|assert|should|t\.(?:is|not|deepEqual|true|false|throws\w*))\b[^\n;]*"),
    exact=re.compile(r"\.(?:to(?:Be|Equal|StrictEqual|HaveBeenCalledWith)|equal|strictEqual|deep\w*|is|eql|throws)\("),
    truthy=re.compile(
        r"toBe(?:Truthy|Defined)|not\.toBeNull|\bassert(?:\.ok)?\(|\.ok\b|\.exist\b|anything\(\)|expect\.any"
    ),
    comment=_SLASHES,
)
_GO = Language(
    test=re.compile(r"^func ((?:Test|Fuzz|Example)\w*)\(|\bt\.Run\(\s*[\"`]([^\"`\n]+)", re.M),
    skip=re.compile(r"\b[tb]\.Skip(?:f|Now)?\(|^//go:build ignore", re.M),
    check=re.compile(r"\b(?:t|b|tb)\.(?:Error|Fatal|Fail)\w*\([^\n]*|\b(?:assert|require|is|qt)\.\w+\([^\n]*"),
    exact=re.compile(r"\.(?:Error|Fatal|Fail|Equal|EqualValues|ElementsMatch|JSONEq|ErrorIs|Exactly|DeepEqual)\w*\("),
    truthy=re.compile(r"\.(?:True|False|NotNil|NotEmpty|NoError|NotEqual|Error)\("),
    comment=re.compile(r"/\*.*?\*/|(?<![:\"'`\w])//(?!go:build)[^\n]*", re.S),
)
_RUST = Language(
    test=re.compile(r"#\[(?:\w+::)*(?:test|rstest)\b[^\]]*\](?:\s*#\[[^\]]*\])*\s*(?:pub\s+)?(?:async\s+)?fn\s+(\w+)"),
    skip=re.compile(r"#\[(?:ignore|should_panic|cfg\(any\(\)\))[^\]]*\]"),
    check=re.compile(r"\b(?:debug_)?assert\w*!\([^\n]*|\bpanic!\([^\n]*|\.expect_err\([^\n]*"),
    exact=re.compile(r"\bassert_(?:eq|matches)!|panic!"),
    truthy=re.compile(r"\bassert!\([^=<>]*\)|assert_ne!"),
    comment=_SLASHES,
)
_JAVA = Language(
    test=re.compile(
        r"@(?:Test|ParameterizedTest|RepeatedTest|Property)\b(?:\([^)]*\))?[^;{}]*?(?:void|fun|def)\s+(\w+|`[^`]+`)"
        r"|^\s*public\s+void\s+(test\w+)\s*\(",
        re.M,
    ),
    skip=re.compile(r"@(?:Disabled\w*|Ignore\w*)\b|\bassume\w*\(|enabled *= *false"),
    check=re.compile(r"\b(?:assert\w*|verify\w*|expect\w*|fail)\([^\n]*"),
    exact=re.compile(r"\bassert(?:Equals|ArrayEquals|Same|Throws|IterableEquals)\(|isEqualTo|verify"),
    truthy=re.compile(r"\bassert(?:True|False|NotNull|NotEquals|DoesNotThrow)\(|isNotNull|isTrue"),
    comment=_SLASHES,
)
_RUBY = Language(
    test=re.compile(r"""^\s*(?:x|f)?(?:it|test|specify|example)\s*\(?\s*['"]([^'"\n]+)|^\s*def\s+(test_\w+)""", re.M),
    skip=re.compile(
        r"^\s*(?:xit|xdescribe|xcontext|xspecify|fit|fdescribe|pending|skip)\b|\bskip: *(?:true|['\"])", re.M
    ),
    check=re.compile(r"\b(?:assert\w*|refute\w*|expect|flunk)\b[^\n]*|\.(?:should|must_\w+)\b[^\n]*"),
    exact=re.compile(r"assert_(?:equal|raises|same)|\b(?:eq|eql|equal|raise_error|match_array)\b|must_equal"),
    truthy=re.compile(r"\bassert\b|be_truthy|be_present|assert_not_nil|refute_nil|not_to be_nil"),
    comment=_HASHES,
)
_BY_SUFFIX = {
    **dict.fromkeys(("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts"), _JAVASCRIPT),
    **dict.fromkeys(("java", "kt", "kts", "scala", "groovy"), _JAVA),
    "go": _GO,
    "rs": _RUST,
    "rb": _RUBY,
}
EXACT, LOOSE, TRUTHY = 4, 2, 1
_TRIVIAL = re.compile(
    r"expect\((true|1)\)\.toBe(Truthy)?\(\1?\)|\bassert\w*!?\(\s*true\s*[,)]|assert true\b|"
    r"assert_?[eE]q\w*!?\((\w+), *\3\)"
)


def read_lines(path: str, source: str) -> FileFacts | None:
    """The tests of a file; None for a language that is not known here."""
    language = _BY_SUFFIX.get(path.rpartition(".")[2])
    if language is None:
        return None
    text = language.comment.sub("", source)
    starts = list(language.test.finditer(text))
    tests: dict[str, TestFacts] = {}
    head = text[: starts[0].start()] if starts else text
    tests["(file)"] = _facts("(file)", head, language, is_test=False)
    for number, match in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        name = _free(next(group for group in match.groups() if group), tests)
        tests[name] = _facts(name, text[match.start() : end], language, is_test=True)
    return FileFacts(tests=tests)


def _free(name: str, taken: dict[str, TestFacts]) -> str:
    count = sum(1 for known in taken if known == name or known.startswith(f"{name} #"))
    return f"{name} #{count + 1}" if count else name


def _facts(name: str, block: str, language: Language, *, is_test: bool) -> TestFacts:
    checks = [(match[0].strip(), _demand(match[0], language)) for match in language.check.finditer(block)]
    return TestFacts(
        name=name,
        body=re.sub(r"\s+", " ", block.partition("\n")[2]),
        is_test=is_test,
        checks=tuple(checks),
        skips=tuple(match[0].strip() for match in language.skip.finditer(block)),
    )


def _demand(check: str, language: Language) -> int:
    if _TRIVIAL.search(check):
        return 0
    if language.exact.search(check) and not re.search(r"expect\.(any|anything)", check):
        return EXACT
    return TRUTHY if language.truthy.search(check) else LOOSE
