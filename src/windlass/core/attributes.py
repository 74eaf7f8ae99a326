"""What an agent may not add to a `.gitattributes` file: programs at checkout, and curtains before a reviewer's eyes.

Rule: the text before and after is compared line by line; what stood there already is not the agent's. Refused are
filters, and attributes by which a forge folds a file's changes away, leaves the file out of archives, or shows other
bytes than the ones that are committed. Names of formats that nobody reads as text may be called binary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_FILTER = re.compile(r"filter(=.*)?")
_CURTAIN = re.compile(
    r"-diff|binary|linguist-generated(?:=(?!false$).*)?"
    r"|export-ignore|export-subst|ident|working-tree-encoding=.*"
)
_BYTES_ONLY = re.compile(
    r"(?i).*\.(?:png|jpe?g|gif|ico|webp|bmp|tiff?|avif|pdf|zip|gz|tgz|bz2|xz|7z|jar|war|whl|woff2?|ttf|otf|eot|mp[34]"
    r"|ogg|wav|mov|webm|avi|exe|dll|so|dylib|class|pyc|sqlite3?|db|parquet|onnx|bin|docx?|xlsx?|pptx?)"
)


def added_rule(before: str, after: str) -> tuple[str, str]:
    """(the first added rule that is refused, what it does); ('', '') when there is none.

    >>> added_rule("", "*.py -diff")
    ('*.py -diff', 'hides changes from a reviewer')
    """
    known = {rule for rule, _ in _refused(before)}
    return next(((" ".join(rule), why) for rule, why in _refused(after) if rule not in known), ("", ""))


def _refused(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    for line in text.splitlines():
        pattern, *tokens = line.split() or [""]
        if pattern.startswith("#"):
            continue
        for token in tokens:
            if _FILTER.fullmatch(token):
                yield (pattern, token), "runs programs at checkout"
            elif _CURTAIN.fullmatch(token) and not _BYTES_ONLY.fullmatch(pattern.strip('"')):
                yield (pattern, token), "hides changes from a reviewer"
