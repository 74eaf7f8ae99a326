"""A prompt for one issue on a large repository, against the git calls and searches that any such prompt begins with.

The repository is made here: many files that share most of their words, and in each one function that only it has. Every
turn asks about another function, so nothing is answered from memory, and a turn whose prompt does not quote the file
that the function is in counts for nothing: it ends the benchmark.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.git import GitRepositories
from windlass.adapters.prompts import JinjaPrompts
from windlass.core.job import IssueSnapshot, TaskType
from windlass.core.prompt import Prompt, PromptRequest
from windlass.ports import GitCredential
from windlass.wiring.parts import TEMPLATES

NAME = "bench/wide"
LINES = 40
WORDS = ("order", "invoice", "basket", "price", "customer", "address", "payment", "refund", "stock", "label")


def run(size: Size) -> list[Figure]:
    """The figure."""
    files, commits, rounds = size.of(10_000, 60), size.of(300, 5), size.of(15, 1)
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        return [_measured(Path(home), files, commits, rounds)]


def _measured(home: Path, files: int, commits: int, rounds: int) -> Figure:
    bare, checkout = _repository(home, files, commits)
    repositories = GitRepositories(home / "mirrors", allow_file=True)
    tip = asyncio.run(repositories.fetch(NAME, GitCredential(url=bare.as_uri()), ["main"]))["main"]
    prompts = JinjaPrompts(repositories, TEMPLATES)
    said: list[Prompt] = []
    acts: Mapping[str, Callable[[int], object]] = {
        "ours": lambda number: said.append(asyncio.run(prompts.render(_request(tip, number)))),
        "git ls-tree, grep and log, bare": lambda number: _by_git(bare, tip, number),
        "grep through a checkout that is there": lambda number: _by_grep(checkout, number),
    }
    times: dict[str, list[float]] = {name: [] for name in acts}
    chance = random.Random(7)
    for turn in range(rounds):
        number = chance.randrange(files)
        for name in acts if turn % 2 == 0 else reversed(acts):
            began = time.perf_counter()
            acts[name](number)
            times[name].append(1000 * (time.perf_counter() - began))
        _insist(said[-1], number)
    spreads = {name: Spread.of(of) for name, of in times.items()}
    return Figure(
        name="prompt build",
        unit="ms",
        ours=spreads.pop("ours"),
        others=spreads,
        notes=(
            f"{files:,} files, {commits:,} commits, warm mirror; each turn another issue; the file that it is about is "
            "quoted in every prompt",
            f"about {sum(p.tokens_estimate for p in said) // len(said):,} tokens, "
            f"{sum(len(p.files) for p in said) / len(said):.1f} files quoted; the others build no prompt",
        ),
    )


def _request(tip: str, number: int) -> PromptRequest:
    body = (
        f"When a {WORDS[number % 10]} is changed, `settle_{number:05d}` gives the wrong total.\n\n"
        f"It should round at the end only. Seen with two {WORDS[(number + 3) % 10]}s in one basket:\n\n"
        f"    ValueError: settle_{number:05d}: total does not match\n"
    )
    issue = IssueSnapshot(number=1, title="Wrong total after a change", body=body, author="rita")
    return PromptRequest(
        repository=NAME,
        issue=issue,
        task_type=TaskType.BUGFIX,
        start_sha=tip,
        base_sha=tip,
        test_command="python3 -m pytest",
    )


def _insist(prompt: Prompt, number: int) -> None:
    quoted = [file.path for file in prompt.files]
    if _path(number) not in quoted:
        raise AssertionError(f"the prompt about {_path(number)} quotes only {quoted}")


def _by_git(bare: Path, tip: str, number: int) -> None:
    name = f"settle_{number:05d}"
    for words in (
        ["ls-tree", "-r", "-z", "-l", tip],
        ["grep", "-z", "-c", "-w", "-I", "-F", "-e", name, "-e", "basket", "-e", "total", tip],
        ["log", "-10", "--format=%H %ct %s", tip, "--", _path(number)],
    ):
        subprocess.run(["git", "--git-dir", str(bare), *words], check=True, capture_output=True)


def _by_grep(checkout: Path, number: int) -> None:
    words = ["-e", f"settle_{number:05d}", "-e", "basket", "-e", "total"]
    subprocess.run(["grep", "-rcwIF", *words, str(checkout)], check=True, capture_output=True)


def _repository(home: Path, files: int, commits: int) -> tuple[Path, Path]:
    """(bare repository, checkout of it)."""
    bare, checkout = home / "wide.git", home / "checkout"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(bare)], check=True)
    stream = b"".join(_history(files, commits))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=bare, input=stream, check=True, capture_output=True)
    subprocess.run(["git", "clone", "--quiet", str(bare), str(checkout)], check=True, capture_output=True)
    return bare, checkout


def _history(files: int, commits: int) -> Iterator[bytes]:
    for number in range(1, commits + 1):
        message = f"Change {WORDS[number % 10]} {number}".encode()
        head = f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1_700_000_000 + number} +0000\n"
        yield head.encode() + b"data %d\n%s\n" % (len(message), message)
        if number == 1:
            yield _blob("AGENTS.md", "# How we work\n\nRound with `Decimal`. Every change comes with a test.\n")
        for file in range(files) if number == 1 else (number % files,):
            yield _blob(_path(file), _text(file, number))
        yield b"\n"


def _blob(path: str, text: str) -> bytes:
    data = text.encode()
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


def _path(number: int) -> str:
    return f"src/{WORDS[number % 10]}/part{number // 10 % 50:02d}/{WORDS[number % 7]}_{number:05d}.py"


def _text(number: int, version: int) -> str:
    """A module: one function of its own, and lines that many others have too."""
    chance = random.Random(number)
    lines = [
        f"    {chance.choice(WORDS)}_{chance.randrange(50)} = {chance.choice(WORDS)}.get({chance.randrange(900)}, 0)"
        for _ in range(LINES)
    ]
    body = "\n".join(lines)
    return f'"""Part {number}, as of {version}."""\n\n\ndef settle_{number:05d}(basket):\n{body}\n    return total\n'
