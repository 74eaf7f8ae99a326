"""Make docs/pictures from the real thing: `python scripts/picture.py`.

`demo.svg` is what `windlass demo` printed; `pull-request.png` is the embedded forge's page of a pull request that
waits for its review, taken with headless Chromium (left as it is where there is none).
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from windlass.faces.cli.options import RunOptions
from windlass.wiring import example, local

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
COLUMNS = 108
SIZE = "1000,1412"


def record_demo(directory: Path) -> str:
    """What the demonstration prints, with its colours."""
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TMPDIR": str(directory)}
    done = subprocess.run(
        [sys.executable, "-m", "windlass", "demo"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.replace(str(directory), "~")


def svg(printed: str) -> str:
    """The terminal as a picture that loads nothing from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("$ windlass demo\n" + printed.rstrip()))
    made = console.export_svg(title="windlass demo", unique_id="windlass-demo")
    made = re.sub(r"@font-face \{.*?\}\s*", "", made, flags=re.DOTALL)
    return made.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace")


async def photograph(directory: Path, picture: Path, chromium: str) -> None:
    """The page of a pull request that waits for its review."""
    source = example.make(directory / "bill")
    options = RunOptions(repo=source, issue_text=example.issue_body(), title=example.TITLE, approve_as="ada")
    async with local.session(options, directory, lambda _job, _why: None) as here:
        job = await here.rest(await here.ask(example.TITLE, options.issue_text), 120)
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}"]
        process = await asyncio.create_subprocess_exec(
            *(chromium, *arguments, f"--screenshot={picture}", job.pull_url),
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        await process.wait()


def main() -> None:
    """Write both pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        (Path(name) / "demo").mkdir()
        (PICTURES / "demo.svg").write_text(svg(record_demo(Path(name) / "demo")), encoding="utf-8")
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        if chromium is None:
            sys.stderr.write("no Chromium: pull-request.png stays as it is\n")
            return
        (Path(name) / "session").mkdir()
        asyncio.run(photograph(Path(name) / "session", PICTURES / "pull-request.png", chromium))


if __name__ == "__main__":
    main()
