"""Files that an issue is about: named ones are found, words rank the rest, and it is quick."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.ranking import named_files, rank_contents, rank_paths, terms_of, words_of

PATHS = (
    "src/shop/orders.py",
    "src/shop/__init__.py",
    "src/shop/cart/totals.py",
    "web/src/app.ts",
    "java/src/main/OrderService.java",
    "README.md",
    "package.json",
    "tests/test_orders.py",
    "a/util.py",
    "b/util.py",
    "vendor/shop/orders_total.py",
    "logo.png",
)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("see src/shop/orders.py, please", ["src/shop/orders.py"]),
        ("see `orders.py`.", ["src/shop/orders.py"]),
        ("in shop/cart/totals.py:12", ["src/shop/cart/totals.py"]),
        ('  File "/home/me/work/src/shop/orders.py", line 7, in f', ["src/shop/orders.py"]),
        ("    at run (/srv/web/src/app.ts:10:5)", ["web/src/app.ts"]),
        ("at com.acme.OrderService.pay(OrderService.java:42)", ["java/src/main/OrderService.java"]),
        ("calling shop.orders.total_price fails", ["src/shop/orders.py"]),
        ("C:\\work\\src\\shop\\orders.py broke", ["src/shop/orders.py"]),
        ("util.py is wrong", ["a/util.py", "b/util.py"]),
        ("a/util.py is wrong", ["a/util.py"]),
        ("c/util.py is not here", []),
        ("edit \u0440ackage.json", []),
        ("/etc/passwd and ../../secret.py and https://x.y/z", []),
        ("", []),
    ],
)
def test_named_files(text: str, paths: list[str]) -> None:
    assert [one.path for one in named_files(text, PATHS)] == paths


def test_a_stack_trace_names_the_line() -> None:
    (found,) = named_files('orders.py is bad: File "/x/src/shop/orders.py", line 7', PATHS)
    assert (found.line, found.why) == (7, "named in a stack trace")


def test_search_ranks_what_fits_best() -> None:
    terms = terms_of("Total price of orders is wrong", "`total_price` adds the tax twice.")
    first = rank_paths(terms, PATHS)
    assert {one.path for one in first[:2]} == {"src/shop/orders.py", "src/shop/cart/totals.py"}
    assert "logo.png" not in [one.path for one in first]
    assert [one.path for one in first].index("vendor/shop/orders_total.py") > 0
    hits = rank_paths(terms, PATHS, {"a/util.py": 9})
    assert "a/util.py" not in [one.path for one in first]
    assert [one.why for one in hits if one.path == "a/util.py"] == ["search: contents"]
    contents = {"src/shop/orders.py": "x = 1", "src/shop/cart/totals.py": "def total_price(orders): tax = price " * 5}
    assert rank_contents(terms, first, contents)[0].path == "src/shop/cart/totals.py"


def test_words_and_identifiers() -> None:
    assert words_of("parseXMLHeader of net_utils and the snake_case") == [
        "parse",
        "xml",
        "header",
        "net",
        "util",
        "snake",
        "case",
    ]
    terms = terms_of("Fix parse_header", "and `HttpServer` too, some plain words")
    assert set(terms.identifiers[:2]) == {"parse_header", "HttpServer"}
    assert set(terms.names) == {"parse_header", "HttpServer"}


def test_a_name_that_few_files_hold_outweighs_words_that_many_do() -> None:
    paths = [f"src/stock/order_{n}.py" for n in range(500)] + ["lib/rounding.py"]
    terms = terms_of("Wrong stock of an order", "`settle_order_total` is wrong, in stock and order")
    assert terms.names == ("settle_order_total",)
    hits = dict.fromkeys(paths, 40) | {"lib/rounding.py": 1}
    assert rank_paths(terms, paths, hits)[0].path != "lib/rounding.py"
    assert rank_paths(terms, paths, hits, [["lib/rounding.py"]])[0].path == "lib/rounding.py"
    assert rank_paths(terms, paths, hits, [paths])[0].path != "lib/rounding.py", "what all hold tells nothing"


@given(text=st.text(max_size=300), paths=st.lists(st.text(min_size=1, max_size=20), max_size=8, unique=True))
def test_any_text_ranks_only_what_is_there(text: str, paths: list[str]) -> None:
    terms = terms_of(text, text)
    assert {one.path for one in rank_paths(terms, paths)} <= set(paths)
    assert {one.path for one in named_files(text, paths)} <= set(paths)


def test_ten_thousand_files_and_nasty_texts_are_quick(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [f"src/pkg{n % 97}/module_{n}/handler{n % 13}.py" for n in range(10_000)] + list(PATHS)
    nasty = ["a" * 100_000, "a." * 50_000, "a/" * 50_000, "`" * 100_000, 'File "' * 16_000, ".a:1" * 25_000]
    nasty += ["shop.orders.total " * 5_000]
    began = time.process_time()
    for text in nasty:
        terms = terms_of("Total price of orders", text)
        named_files(text, paths)
        rank_paths(terms, paths, {"a/util.py": 1})
    spent_s = (time.process_time() - began) / len(nasty)
    with capsys.disabled():
        print(f"\nranking 10,000 files: {spent_s * 1000:.0f} ms CPU per issue")
    floor = time.process_time()
    for _ in nasty:
        sorted(paths, key=lambda path: [part.lower() for part in path.split("/")])
    floor_s = (time.process_time() - floor) / len(nasty)
    # Held against sorting the same paths on the same machine, not against a clock: nothing grows with the square.
    assert spent_s < 100 * floor_s + 0.5
