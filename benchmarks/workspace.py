"""A workspace from the mirror, against `git clone`, on a repository with a long history that is made here."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.git import GitRepositories
from windlass.ports import GitCredential

NAME = "bench/large"


def run(size: Size) -> list[Figure]:
    """The figure."""
    rounds, commits, files = size.of(7, 1), size.of(10_000, 30), size.of(2_000, 20)
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        source = _repository(Path(home, "large.git"), commits, files)
        return [_measured(Path(home), source, rounds, f"{commits:,} commits, {files:,} files, warm mirror")]


def _measured(home: Path, source: Path, rounds: int, note: str) -> Figure:
    repositories = GitRepositories(home / "mirrors", allow_file=True)
    credential = GitCredential(url=source.as_uri())
    tip = asyncio.run(repositories.fetch(NAME, credential, ["main"]))["main"]
    clones = {
        "git clone (hard links)": ["git", "clone", "--quiet", str(source)],
        "git clone by its protocol": ["git", "clone", "--quiet", source.as_uri()],
        "git clone --depth 1": ["git", "clone", "--quiet", "--depth", "1", source.as_uri()],
    }
    acts: dict[str, Callable[[Path], object]] = {
        "ours": lambda at: asyncio.run(repositories.materialise(NAME, tip, at)),
        **{
            name: lambda at, argv=argv: subprocess.run([*argv, str(at)], check=True, capture_output=True)
            for name, argv in clones.items()
        },
    }
    times: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(rounds):
        for name in acts if turn % 2 == 0 else reversed(acts):
            times[name].append(1000 * _timed(acts[name], home / "place"))
    spreads = {name: Spread.of(of) for name, of in times.items()}
    return Figure(name="workspace", unit="ms", ours=spreads.pop("ours"), others=spreads, notes=(note,))


def _timed(act: Callable[[Path], object], place: Path) -> float:
    began = time.perf_counter()
    act(place)
    took = time.perf_counter() - began
    shutil.rmtree(place)
    return took


def _repository(path: Path, commits: int, files: int) -> Path:
    """A bare repository: all files in the first commit, then one file changed by each."""
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(path)], check=True)
    stream = b"".join(_history(commits, files))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=stream, check=True, capture_output=True)
    return path


def _history(commits: int, files: int) -> Iterator[bytes]:
    for number in range(1, commits + 1):
        changed = range(files) if number == 1 else (number % files,)
        message = f"Change {number}".encode()
        head = f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1_700_000_000 + number} +0000\n"
        yield head.encode() + b"data %d\n%s\n" % (len(message), message)
        for file in changed:
            text = "".join(
                f"line {line} of {file}, as of {number if line == 7 else 1}\n" for line in range(60)
            ).encode()
            yield f"M 100644 inline src/part{file % 40:02d}/file{file:05d}.py\n".encode()
            yield b"data %d\n%s\n" % (len(text), text)
        yield b"\n"
