"""A hostile agent in a sandbox, case by case: the catalogue's part C, on both runners. What it tries: `inside.py`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.runners.runs import alive_with
from tests.hostile.sandboxes import CANARY, INSIDE, Cell, cell, gains, worlds
from tests.support.podman import AIRLOCK_IMAGE

from windlass.adapters.git import Caps, GitRepositories
from windlass.adapters.logs import SecretRedactor
from windlass.adapters.runners.egress.guarded import GuardedRunner
from windlass.core.policy import Policy
from windlass.core.redaction import encodings
from windlass.ports import Deadlines, GitCredential, SandboxLimits

__all__ = ["cell"]
REMOTE = (
    *(["169.254.169.254", 80], ["169.254.170.2", 80], ["fd00:ec2::254", 80], ["100.100.100.200", 80]),
    *(["168.63.129.16", 80], ["192.0.0.192", 80], ["10.0.0.1", 80], ["192.168.0.1", 80], ["172.17.0.1", 80]),
    *(["10.88.0.1", 53], ["1.1.1.1", 53], ["2606:4700:4700::1111", 53], ["127.0.0.53", 53], ["224.0.0.251", 5353]),
)
NAMES = ["metadata.google.internal", "instance-data", "example.com", "c2VjcmV0.evil.example", "postgres", "vault"]
BRIEF = Deadlines(start_s=3, idle_s=3, total_s=3)
CACHES = ["~/.cache/pip", "~/.npm", "~/.cargo", "~/.m2", "~/go/pkg", "$TMPDIR/cache", "/var/tmp", "/dev/shm", "/tmp"]


def test_without_a_wall_the_attacks_get_something(tmp_path: Path) -> None:
    """What looks harmlessly, tried without a sandbox: an attack that finds nothing anywhere would prove nothing."""
    env = {**os.environ, "A_KEY": CANARY, "PYTHONPATH": str(INSIDE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = list(server.getsockname())
        program = (
            f"import inside; inside.network({[target]!r}, 'none', ['localhost']); inside._processes({CANARY!r}, [])"
        )
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    found = gains(done.stdout)
    assert f"a connection to {target[0]} port {target[1]}" in found
    assert {"the canary in A_KEY", "an address of localhost"} <= {line.partition(":")[0] for line in found}
    assert [line for line in found if line.startswith("the canary in /proc/") and line.endswith("environ")]


# ------------------------------------------------------------------ 27, 28: what may be read


async def test_c27_c28_nothing_secret_is_to_be_read(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY_OF_WINDLASS", CANARY)
    home = Path.home()
    places = [str(cell.outside), str(cell.outside / "control.sock"), str(cell.bench.root), str(home)]
    if cell.bench.podman is not None:
        places += [str(cell.bench.podman.home), str(cell.bench.podman.home / "api.sock")]
    # The attack's own command line must not hold what it looks for.
    half = len(CANARY) // 2
    looker = cell.bench.workdir / "look.py"
    canary = f"{CANARY[:half]!r} + {CANARY[half:]!r}"
    looker.write_text(f"import inside\ninside.secrets({canary}, {places!r}, {cell.pids!r})\nprint('DONE')\n")
    _, image = cell.begin("secrets")
    result = await cell.bench.run("", argv=("python3", "-B", "look.py"), image=image)
    said = result.output.read_text()
    assert said.rstrip().endswith("DONE"), said[-2000:]
    assert gains(said) == []


# ------------------------------------------------------------------ 29, 30, 39: the network


async def test_c29_c30_c39_nothing_is_reached_and_no_name_is_resolved(cell: Cell) -> None:
    targets = [*cell.ports, *REMOTE]
    assert await cell.got("network", targets=targets, abstract=cell.bench.instance, names=NAMES) == []


@pytest.mark.needs("squid")
@pytest.mark.parametrize("hosts", [("*",), ("api.example",)], ids=["all", "one"])
async def test_c29_c30_c39_an_allow_list_opens_nothing_but_its_proxy(
    cell: Cell, tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    if cell.bench.podman is not None:
        cell.bench.podman.need(AIRLOCK_IMAGE)
    guarded = GuardedRunner(cell.bench.runner, tmp_path / "egress", instance=cell.bench.instance)
    argv, image = cell.begin("network", targets=[*cell.ports, *REMOTE], abstract=cell.bench.instance, names=NAMES)
    spec = cell.bench.spec("", argv=argv, image=image, egress=hosts)
    await guarded.start(spec)
    said = (await guarded.wait(spec.id)).output.read_text()
    await guarded.discard(spec.id)
    assert said.rstrip().endswith("DONE"), said[-2000:]
    assert gains(said) == []


# ------------------------------------------------------------------ 33, 34: keys that are printed


def disguises(secret: str) -> list[str]:
    """Every form that is looked for, and those that are no encoding: coloured in the middle, cut, wrapped, spaced."""
    cut = len(secret) // 2
    coloured = f"{secret[:cut]}\x1b[31m{secret[cut:]}\x1b[0m"
    return [*sorted(encodings(secret)), coloured, secret[7:], "\n".join((secret[:cut], secret[cut:])), " ".join(secret)]


async def test_c33_a_key_is_found_in_every_disguise_it_is_printed_in(cell: Cell) -> None:
    secret = "qT7vXw2LmZ90bRk4" + "HsYd81NcPf3G"
    forms = disguises(secret)
    (cell.bench.workdir / "forms").write_text("\n".join(f"<{form}>" for form in forms))
    said = await cell.bench.says("cat forms", env={"KEY": secret})
    stream = SecretRedactor(key=b"k" * 32, known=[secret]).stream()
    lines = [*stream.add(said.encode()), *stream.close()]
    clean = "".join(line.text for line in lines)
    assert said.count("<") >= len(forms), "it was printed"
    assert sum(sum(line.found.values()) for line in lines) >= len(forms) - 4
    assert [form for form in forms if form in clean] == []
    for form in (secret, secret[::-1], secret.encode().hex()):
        assert not [at for at in range(len(form) - 12) if form[at : at + 12] in clean]


async def test_c34_a_key_in_pieces_on_both_channels_is_found(cell: Cell) -> None:
    secret = "qT7vXw2LmZ90bRk4" + "HsYd81NcPf3G" + "aB5eU6jK"
    for pieces in ([secret[:20], secret[20:]], [secret[:12], secret[12:24], secret[24:]]):
        told = {"pieces": [*pieces, "\n"]}
        said = (await cell.attack("say", **told)).output.read_bytes()
        stream = SecretRedactor(key=b"k" * 32, known=[secret]).stream()
        lines = [line for at in range(0, len(said), 7) for line in stream.add(said[at : at + 7])]
        clean = "".join(line.text for line in [*lines, *stream.close()])
        assert not [at for at in range(len(secret) - 12) if secret[at : at + 12] in clean], clean


# ------------------------------------------------------------------ 35, 36: packages and caches

PAYLOAD = """\
import os, sys
sys.path.insert(0, os.getcwd())
import inside
inside.package({canary}, {targets!r}, {outside!r})
print("PAYLOAD RAN", flush=True)
"""
SCRIPTS: dict[str, tuple[dict[str, str], str]] = {
    "setup.py": ({"setup.py": "{payload}"}, "python3 setup.py"),
    "a test module": (
        {"tests/__init__.py": "{payload}", "tests/test_a.py": ""},
        "python3 -m unittest discover -t . tests",
    ),
    "a module in the way": ({"json/__init__.py": "{payload}", "run.py": "import json"}, "python3 run.py"),
}
WITH_TOOLS: dict[str, tuple[dict[str, str], str]] = {
    "conftest.py": (
        {"conftest.py": "{payload}", "test_a.py": "def test(): pass"},
        "python3 -m pytest -s -p no:cacheprovider",
    ),
    "Makefile": ({"p.py": "{payload}", "Makefile": "test:\n\tpython3 p.py\n"}, "make test"),
    "postinstall": (
        {
            "p.py": "{payload}",
            "package.json": '{"name":"x","version":"1.0.0","scripts":{"postinstall":"python3 p.py"}}',
        },
        "npm install --offline --foreground-scripts --no-audit --no-fund",
    ),
}
NEEDS = {"postinstall": pytest.mark.needs("node")}


async def run_package(cell: Cell, files: dict[str, str], command: str) -> str:
    half = len(CANARY) // 2
    outside = [str(cell.outside), str(cell.bench.root), str(Path.home())]
    canary = f"{CANARY[:half]!r} + {CANARY[half:]!r}"
    payload = PAYLOAD.format(canary=canary, targets=[*cell.ports, *REMOTE[:2]], outside=outside)
    for name, text in files.items():
        (cell.bench.workdir / name).parent.mkdir(exist_ok=True)
        (cell.bench.workdir / name).write_text(payload if text == "{payload}" else text)
    _, image = cell.begin("package")
    before = tracks(cell)
    said = await cell.bench.says(command, image=image)
    assert "PAYLOAD RAN" in said, said[-2000:]
    assert tracks(cell) == before, "a run writes in its own directory only"
    return said


def tracks(cell: Cell) -> set[str]:
    return {str(path) for path in cell.outside.rglob("*")} | {str(path) for path in Path.home().glob("*")}


@pytest.mark.parametrize("how", SCRIPTS)
async def test_c35_what_a_package_runs_is_held_like_the_agent(cell: Cell, how: str) -> None:
    assert gains(await run_package(cell, *SCRIPTS[how])) == []


@pytest.mark.parametrize("how", [pytest.param(how, marks=NEEDS.get(how, ())) for how in WITH_TOOLS])
@pytest.mark.parametrize("cell", [pytest.param("process", marks=pytest.mark.needs("bubblewrap"))], indirect=True)
async def test_c35_what_the_machines_own_tools_run_is_held_too(cell: Cell, how: str) -> None:
    assert gains(await run_package(cell, *WITH_TOOLS[how])) == []


async def test_c36_no_cache_outlives_the_run(cell: Cell) -> None:
    left = (await cell.attack("leave", places=CACHES)).output.read_text()
    assert left.count("LEFT") >= 3, "there are places to write to"
    assert await cell.got("find", places=CACHES) == []
    for place in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home() / ".cache/pip", Path.home() / ".npm"):
        assert not (place / "poison").exists(), place


# ------------------------------------------------------------------ 37: too much of everything


async def alive_after(cell: Cell) -> None:
    """The runner still works, and nothing of the attack is left."""
    assert (await cell.bench.run("exit 7")).exit_code == 7
    await cell.bench.until(lambda: alive_with(str(cell.bench.workdir)) == [])


async def test_c37_a_fork_bomb_meets_its_limit_and_its_end(cell: Cell) -> None:
    limits = SandboxLimits(processes=40)
    result = await cell.attack("bomb", changes={"limits": limits, "deadlines": BRIEF})
    assert result.exit_code != 0
    await cell.bench.until(lambda: alive_with("inside.py") == [] or not mine(cell))
    await alive_after(cell)


def mine(cell: Cell) -> list[str]:
    """Processes that stand in the work directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += [os.readlink(path)] if os.readlink(path) == str(cell.bench.workdir) else []
        except OSError:
            continue
    return found


async def test_c37_a_file_of_a_hundred_gigabytes_is_not_made(cell: Cell) -> None:
    assert await cell.got("sparse", size=100 << 30) == []
    assert sum(path.stat().st_size for path in cell.bench.workdir.iterdir()) < 1 << 20


async def test_c37_endless_output_is_cut_and_ended(cell: Cell) -> None:
    limits = SandboxLimits(output_bytes=200_000)
    result = await cell.attack("chatter", changes={"limits": limits, "deadlines": BRIEF})
    assert (result.ended, result.deadline) == ("timed_out", "total")
    assert result.output.stat().st_size < 201_000
    await alive_after(cell)


async def test_c37_silence_without_end_is_ended(cell: Cell) -> None:
    result = await cell.bench.run("trap '' TERM; while :; do sleep 100; done", deadlines=BRIEF)
    assert (result.ended, result.exit_code) == ("timed_out", None)
    await alive_after(cell)


async def test_c37_shared_memory_counts(cell: Cell) -> None:
    limits = SandboxLimits(memory_bytes=150 << 20)
    result = await cell.attack("memory", changes={"limits": limits})
    assert result.exit_code not in {0, None}
    await alive_after(cell)


async def test_c37_a_flood_of_files_is_refused_and_removed(cell: Cell, tmp_path: Path, git_binary: str) -> None:
    await cell.attack("inodes", count=20_000)
    repos = GitRepositories(tmp_path / "mirrors", allow_file=True, caps=Caps(entries=5000))
    bare = tmp_path / "bare.git"
    process = await asyncio.create_subprocess_exec(git_binary, "init", "-q", "--bare", "-b", "main", str(bare))
    assert await process.wait() == 0
    start = await first_commit(git_binary, bare)
    await repos.fetch("a/b", GitCredential(url=f"file://{bare}"), ["main"])
    found = await repos.collect("a/b", start, cell.bench.workdir, policy=Policy())
    assert found.patch is None
    assert found.refusals == ("more than 5000 files and directories; remove what is not needed",)
    await alive_after(cell)


async def first_commit(git: str, bare: Path) -> str:
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_DIR": str(bare)}
    env |= {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    for command in (["hash-object", "-w", "-t", "tree", os.devnull], ["commit-tree", tree, "-m", "m"]):
        process = await asyncio.create_subprocess_exec(git, *command, env=env, stdout=asyncio.subprocess.PIPE)
        said = (await process.communicate())[0].decode().strip()
    process = await asyncio.create_subprocess_exec(git, "update-ref", "refs/heads/main", said, env=env)
    assert await process.wait() == 0
    return said


# ------------------------------------------------------------------ 38: ways out


async def test_c38_no_way_out_is_open(cell: Cell) -> None:
    assert await cell.got("escape", pids=cell.pids, host_ns=worlds(cell)) == []


async def test_c38_no_terminal_is_at_hand(cell: Cell) -> None:
    assert await cell.got("terminal") == []


# ------------------------------------------------------------------ 40: outliving the run


@pytest.mark.parametrize("end", ["exits", "stopped", "deadline"])
async def test_c40_a_daemon_is_dead_before_the_change_is_taken(cell: Cell, end: str) -> None:
    late = cell.bench.workdir / "late"
    mark = f"beat-{cell.bench.number}"
    told = {"file": str(late), "mark": mark}
    argv, image = cell.begin("daemon", **told)
    quiet = Deadlines(start_s=20, idle_s=1.5 if end == "deadline" else 20, total_s=40)
    if end != "exits":
        argv = ("sh", "-c", 'python3 "$@"; sleep 100', "sh", *argv[1:])
    spec = cell.bench.spec("", argv=argv, image=image, deadlines=quiet)
    await cell.bench.runner.start(spec)
    await cell.bench.until(lambda: late.exists() and late.stat().st_size > 200)
    if end == "stopped":
        await cell.bench.runner.stop(spec.id)
    await cell.bench.runner.wait(spec.id)
    size = late.stat().st_size  # from here on Windlass reads the directory
    await asyncio.sleep(0.4)
    assert late.stat().st_size == size
    assert alive_with(mark) == []


async def test_c40_nothing_starts_it_again(cell: Cell) -> None:
    assert await cell.got("later") == []
