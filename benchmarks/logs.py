"""The log pipeline: raw output of a run to JSONL chunks, with redaction and without, beside detect-secrets.

The log is made here, with fake secrets of many kinds planted in it, a sixth of them in colours; a planted secret counts
as found when it is not in what came out (for detect-secrets: when its line is named). The secrets exist only while this
runs, and nothing in this file looks like one. Times are of the processor, because others use it too.
"""

from __future__ import annotations

import random
import string
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings

from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.blobs import DirectoryBlobs
from windlass.adapters.logs import SecretRedactor
from windlass.engine.execution_log import ExecutionLog, Place, Tail
from windlass.ports import CleanLine, LogChunk

LETTERS = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + "234567"
HEX = "0123456789abcdef"
ROUNDS = 3
# detect-secrets takes minutes for what the others do in seconds, so its speed is measured on a part.
PEER_BYTES = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One fake secret, and the line that holds it."""

    kind: str
    value: str
    line: str


def kinds(chance: random.Random) -> Mapping[str, tuple[str, str]]:
    """Kind → (a fake secret, how a log shows it)."""

    def some(size: int, alphabet: str = LETTERS) -> str:
        return "".join(chance.choices(alphabet, k=size))

    jwt = ".".join(("ey" + "J" + some(20), "ey" + "J" + some(60), some(43)))
    return {
        "github": ("gh" + "p_" + some(36), "remote: using {} for push"),
        "github-app": ("gh" + "s_" + some(36), "export GITHUB_TOKEN={}"),
        "github-fine": ("github" + "_pat_" + some(82, LETTERS + "_"), "token {} accepted"),
        "gitlab": ("gl" + "pat-" + some(20), "Cloning with {} done"),
        "aws": ("AK" + "IA" + some(16, UPPER), "aws_access_key_id = {}"),
        "aws-secret": (some(40, LETTERS + "/+"), "aws_secret_access_key = {}"),
        "slack": ("xox" + "b-" + some(12, string.digits) + "-" + some(12, string.digits) + "-" + some(24), "bot {} up"),
        "stripe": ("sk" + "_live_" + some(24), "charging with {} now"),
        "google": ("AI" + "za" + some(35, LETTERS + "_-"), "GET /maps?key={}"),
        "anthropic": ("sk-" + "ant-api03-" + some(93, LETTERS + "_-") + "AA", "ANTHROPIC_API_KEY={}"),
        "openai": ("sk-" + some(20) + "T3Blb" + "kFJ" + some(20), "OPENAI_API_KEY={}"),
        "npm": ("np" + "m_" + some(36), "//registry/:_authToken={}"),
        "pypi": ("py" + "pi-AgEIcHlwaS5vcmc" + some(60, LETTERS + "_-"), "twine upload -p {} dist/*"),
        "vault": ("hv" + "s." + some(95, LETTERS + "_-"), "VAULT_TOKEN={}"),
        "sendgrid": ("SG" + "." + some(22, LETTERS) + "." + some(43, LETTERS), "mail by {} sent"),
        "jwt": (jwt, "Authorization: Bearer {}"),
        "generic": (some(32), '{{"client_secret": "{}"}}'),
        "password": (some(18), "postgres://app:{}@db.internal:5432/app"),
        "known": (some(40), "using the configured {} here"),
        "known-hex": (some(40), "dump: HEX"),
    }


def plant(count: int, chance: random.Random) -> list[Planted]:
    """Fake secrets of every kind in turn, every sixth in colours."""
    found: list[Planted] = []
    while len(found) < count:
        for kind, (value, shape) in kinds(chance).items():
            shown = f"\x1b[33m{value}\x1b[0m" if len(found) % 6 == 5 else value
            line = f"dump: {value.encode().hex()}" if shape == "dump: HEX" else shape.format(shown)
            found.append(Planted(kind=kind, value=value, line=line))
    return found[:count]


def noise(chance: random.Random) -> str:
    """One line as builds and agents print them."""

    def hexes(size: int) -> str:
        return "".join(chance.choices(HEX, k=size))

    number = chance.randrange(10_000)
    return chance.choice(
        (
            f"2026-03-04T05:06:07Z INFO worker-{number} compiled src/pkg/mod_{number}.py in {number % 97} ms",
            f"\x1b[32mPASSED\x1b[0m tests/test_mod_{number}.py::test_case_{number} [ {number % 100}%]",
            f"Downloading package-{number}.tar.gz sha256={hexes(64)}",
            f"commit {hexes(40)} Merge branch 'topic-{number}'",
            f'{{"type":"tool_use","name":"Bash","input":{{"command":"ls -la src/{number}\\ngit status"}}}}',
            f"    return self.cache.get(key, default={number})  # see issue {number}",
        )
    )


def make_log(size_bytes: int, planted: Sequence[Planted], chance: random.Random) -> bytes:
    """A log of about this size with the planted lines spread over it."""
    lines: list[str] = []
    every = max(1, size_bytes // 85 // max(len(planted), 1))
    for secret in planted:
        lines += [noise(chance) for _ in range(every)]
        lines.append(secret.line)
    return ("\n".join(lines) + "\n").encode()


class MemoryIndex:
    """Chunk rows in memory: the database is not what is measured."""

    def __init__(self) -> None:
        self.kept: list[LogChunk] = []

    def append(self, chunk: LogChunk) -> int:
        """Keep one."""
        self.kept.append(chunk)
        return len(self.kept)

    def last(self, _job_id: str, _stream: str) -> LogChunk | None:
        """The newest."""
        return self.kept[-1] if self.kept else None

    def chunks(self, _job_id: str, **_query: object) -> tuple[LogChunk, ...]:
        """All."""
        return tuple(self.kept)


class NoRedactor:
    """The floor: lines are divided and decoded, and nothing is looked for."""

    def redact(self, text: str) -> tuple[str, Mapping[str, int]]:
        """The text."""
        return text, {}

    def stream(self, _before: bytes = b"") -> NoRedactor:
        """Itself, for one stream."""
        self.rest = b""
        return self

    def plus(self, _values: Iterable[str]) -> NoRedactor:
        """Itself."""
        return self

    def add(self, data: bytes) -> list[CleanLine]:
        """The whole lines so far."""
        whole, newline, self.rest = (self.rest + data).rpartition(b"\n")
        lines = (whole + newline).splitlines(keepends=True)
        return [CleanLine(text=line.decode("utf-8", "replace"), raw_bytes=len(line)) for line in lines]

    def release(self) -> list[CleanLine]:
        """Nothing."""
        return []

    def close(self) -> list[CleanLine]:
        """What is left."""
        rest, self.rest = self.rest, b""
        return [CleanLine(text=rest.decode("utf-8", "replace"), raw_bytes=len(rest))] if rest else []


class Clock:
    """The machine's."""

    def now_ms(self) -> int:
        """Milliseconds."""
        return time.time_ns() // 1_000_000


def through(home: Path, log: Path, redactor: SecretRedactor | NoRedactor) -> tuple[float, bytes]:
    """(processor seconds, everything that was stored) of one pass through the pipeline."""
    index, blobs = MemoryIndex(), DirectoryBlobs(home)
    parts = ExecutionLog(None, index, blobs, redactor, Clock())  # type: ignore[arg-type]
    began = time.process_time()
    tail = Tail(parts, Place(job="bench", stream="run"), log)
    while tail.step(is_over=True):
        pass
    spent = time.process_time() - began
    return spent, b"".join(blobs.get(chunk.digest) for chunk in index.kept)


def peer(path: Path) -> tuple[float, set[int]]:
    """(processor seconds, numbers from 0 of the lines that detect-secrets names), as it scans a file."""
    found = SecretsCollection()
    began = time.process_time()
    with default_settings():
        found.scan_file(str(path))
    return time.process_time() - began, {secret.line_number - 1 for _, secret in found}


def named_by_peer(planted: Sequence[Planted], place: Path) -> set[int]:
    """Which planted lines detect-secrets names, by number; each is a file of its own.

    In one file it names secrets of one kind once where its rule captures nothing but their common beginning.
    """
    named = set()
    for number, secret in enumerate(planted):
        place.write_text(secret.line)
        if peer(place)[1]:
            named.add(number)
    return named


def recall(planted: Sequence[Planted], is_found: Callable[[Planted], bool], *, names: bool = True) -> str:
    """`found of planted (per cent)`, and with `names` the kinds that were missed."""
    missed: dict[str, int] = {}
    for secret in planted:
        if not is_found(secret):
            missed[secret.kind] = missed.get(secret.kind, 0) + 1
    found = len(planted) - sum(missed.values())
    told = f"{found} of {len(planted)} ({100 * found / len(planted):.1f} %)"
    kinds_missed = ", ".join(f"{kind} {count}" for kind, count in sorted(missed.items()))
    return f"{told}, missed: {kinds_missed}" if names and missed else told


def run(size: Size) -> list[Figure]:
    """MB/s through the pipeline, and what each finds."""
    chance = random.Random(20260304)
    planted = plant(size.of(600, 40), chance)
    data = make_log(size.of(8_000_000, 60_000), planted, chance)
    known = [secret.value for secret in planted if secret.kind.startswith("known")][:24]
    redactor = SecretRedactor(key=b"k" * 32, known=known)
    ours, floor = [], []
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "output"
        log.write_bytes(data)
        for number in range(size.of(ROUNDS, 1)):
            spent, stored = through(Path(home) / f"ours{number}", log, redactor)
            ours.append(len(data) / spent / 1e6)
            spent, unredacted = through(Path(home) / f"none{number}", log, NoRedactor())
            floor.append(len(data) / spent / 1e6)
        sample = Path(home) / "sample.log"
        sample.write_bytes(data[:PEER_BYTES])
        theirs = [min(len(data), PEER_BYTES) / peer(sample)[0] / 1e6 for _ in range(size.of(ROUNDS, 1))]
        named = named_by_peer(planted, sample)
        quiet = [noise(chance) for _ in range(size.of(1_000, 100))]
        sample.write_text("\n".join(quiet))
        _, alarms = peer(sample)
    touched = sum(1 for line in quiet if redactor.redact(line)[1])
    numbers = {id(secret): number for number, secret in enumerate(planted)}
    counted = [s for s in planted if not s.kind.startswith("known") or s.value in known]
    by_rule = [secret for secret in counted if not secret.kind.startswith("known")]
    others = {
        "detect-secrets": Spread.of(theirs),
        "no redaction": Spread.of(floor),
    }
    peer_alone = recall(by_rule, lambda s: numbers[id(s)] in named, names=False)
    notes = (
        f"{len(data) / 1e6:.1f} MB, {len(planted)} planted secrets of {len(kinds(chance))} kinds",
        f"recall: {recall(counted, lambda s: not _is_in(s, stored))}",
        f"recall of detect-secrets: {recall(counted, lambda s: numbers[id(s)] in named)}; "
        f"but for values that only Windlass was told: {peer_alone}",
        f"recall without redaction: {recall(counted, lambda s: not _is_in(s, unredacted), names=False)}",
        f"false alarms on {len(quiet)} ordinary lines: {touched}; detect-secrets: {len(alarms)}",
        f"known values in the redactor: {len(known)}; detect-secrets is timed on {PEER_BYTES / 1e6} MB; per second of "
        "processor time",
    )
    return [
        Figure(name="step log pipeline", unit="MB/s", ours=Spread.of(ours), others=others, is_rate=True, notes=notes)
    ]


def _is_in(secret: Planted, stored: bytes) -> bool:
    return secret.value.encode() in stored or secret.value.encode().hex().encode() in stored
