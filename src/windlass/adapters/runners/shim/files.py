"""Small files, read without fuss and written whole."""
# ruff: noqa: PTH105, PTH123 - pathlib doubles the time this takes to start

from __future__ import annotations

import json
import os
from typing import Any

Spec = dict[str, Any]


def get(path: str) -> str:
    """A small file's text, '' when it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def put(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def number(path: str) -> int:
    text = get(path).strip()
    return int(text) if text.isdigit() else 0


def write_json(path: str, value: Spec) -> None:
    """All or nothing, also when the power goes."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
