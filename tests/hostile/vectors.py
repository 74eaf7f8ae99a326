"""The ways in which a Git directory makes git run a program, as things that an agent leaves in its directory.

Each vector plants its trap into a repository and says by which plain git commands a person would spring it: a trap that
does not snap proves nothing. `evil` is a program that leaves a marker.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.adapters.git.conftest import sh_git, write

HOOKS = (
    *("applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "prepare-commit-msg"),
    *("commit-msg", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-push", "pre-receive", "update"),
    *("proc-receive", "post-receive", "post-update", "reference-transaction", "push-to-checkout", "pre-auto-gc"),
    *("post-rewrite", "sendemail-validate", "fsmonitor-watchman", "post-index-change"),
)
COMMIT = ("commit", "-q", "--allow-empty", "-m", "x")
Plant = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Vector:
    """`springs`: the commands of which one snaps the trap; `stdin` is theirs."""

    case: int
    name: str
    plant: Plant
    springs: Sequence[tuple[str, ...]]
    stdin: bytes = b""

    def __str__(self) -> str:
        return f"{self.case}-{self.name}"


def config(*lines: str) -> Plant:
    """Lines of the repository's own settings; `@` is the program."""

    def plant(root: Path, evil: Path) -> None:
        with (root / ".git/config").open("a") as file:
            file.write("".join(f"{line}\n" for line in lines).replace("@", str(evil)))

    return plant


def both(*plants: Plant) -> Plant:
    def plant(root: Path, evil: Path) -> None:
        for one in plants:
            one(root, evil)

    return plant


def files(**contents: str) -> Plant:
    """Files of the work tree, `__` in a name stands for a slash; `@` in a text is the program."""

    def plant(root: Path, evil: Path) -> None:
        write(root, {name.replace("__", "/"): text.replace("@", str(evil)) for name, text in contents.items()})

    return plant


def attributes(text: str, where: str = ".gitattributes") -> Plant:
    def plant(root: Path, evil: Path) -> None:
        write(root, {where: text})

    return plant


def hooks(folder: str) -> Plant:
    def plant(root: Path, evil: Path) -> None:
        (root / folder).mkdir(exist_ok=True)
        for name in HOOKS:
            shutil.copy(evil, root / folder / name)

    return plant


def moved(is_link: bool) -> Plant:
    """The Git directory under another name, `.git` leading to it."""

    def plant(root: Path, evil: Path) -> None:
        config("[core]", "fsmonitor=@")(root, evil)
        (root / ".git").rename(root / "odd")
        if is_link:
            (root / ".git").symlink_to("odd")
        else:
            (root / ".git").write_text("gitdir: odd\n")

    return plant


def embedded(root: Path, evil: Path) -> None:
    """A bare repository as ordinary files, whose work tree is the directory above."""
    sh_git(root, "init", "-q", "--bare", "store")
    (root / "store/config").write_text(
        f"[core]\nrepositoryformatversion=0\nbare=false\nworktree=..\nfsmonitor={evil}\n"
    )
    write(root, {"store/refs/heads/keep": "", "store/objects/keep": ""})


def alternates(root: Path, evil: Path) -> None:
    """Objects borrowed from another repository of the machine, and a program that names its branches."""
    config("[core]", "alternateRefsCommand=@")(root, evil)
    lent = evil.parent / "lent"
    if not lent.exists():
        sh_git(evil.parent, "init", "-q", str(lent))
    (root / ".git/objects/info/alternates").write_text(f"{lent}/.git/objects\n")


def submodule(root: Path, evil: Path) -> None:
    """Another repository inside, which git looks into by itself."""
    write(root, {".gitmodules": '[submodule "m"]\npath=m\nurl=file:///\n', "m/a": "1\n"})
    sh_git(root / "m", "init", "-q")
    sh_git(root / "m", "add", "a")
    sh_git(root / "m", *("-c", "user.name=x", "-c", "user.email=x@y"), "commit", "-q", "-m", "one")
    sh_git(root, "update-index", "--add", "--cacheinfo", f"160000,{sh_git(root / 'm', 'rev-parse', 'HEAD')},m")
    config("[core]", "fsmonitor=@")(root / "m", evil)


def merge_driver(root: Path, evil: Path) -> None:
    for name, text in (("third", "third\n"), ("other", "changed\n")):
        sh_git(root, "checkout", "-q", "-f", *(["-b"] if name == "third" else []), name)
        write(root, {"README.md": text})
        if name == "third":
            sh_git(root, "commit", "-q", "-a", "-m", "theirs")
    attributes("* merge=evil\n")(root, evil)
    config('[merge "evil"]', "driver=@")(root, evil)


DIFF = attributes("* diff=evil\n")
FILTER = attributes("* filter=evil\n")
EXT = ("[protocol]", "allow=always", '[protocol "ext"]', "allow=always")
FETCH, ASK = ("fetch", "-q", "origin"), ("ls-remote", "origin")

VECTORS = (
    Vector(41, "fsmonitor", config("[core]", "fsmonitor=@"), [("status",)]),
    Vector(41, "fsmonitor, version 2", config("[core]", "fsmonitor=@", "fsmonitorHookVersion=2"), [("status",)]),
    Vector(42, "hooks", hooks(".git/hooks"), [COMMIT]),
    Vector(43, "hooksPath", both(hooks(".githooks"), config("[core]", "hooksPath=.githooks")), [COMMIT]),
    Vector(43, "hooksPath, away", both(hooks("odd"), config("[core]", "hooksPath=nested/odd")), [COMMIT]),
    Vector(44, "clean", both(FILTER, config('[filter "evil"]', "clean=@")), [("add", "-A")]),
    Vector(44, "smudge", both(FILTER, config('[filter "evil"]', "smudge=@")), [("checkout-index", "-f", "-a")]),
    Vector(44, "process", both(FILTER, config('[filter "evil"]', "process=@", "required=true")), [("add", "-A")]),
    Vector(
        44,
        "clean, info/attributes",
        both(attributes("* filter=evil\n", ".git/info/attributes"), config('[filter "evil"]', "clean=@")),
        [("add", "-A")],
    ),
    Vector(
        44,
        "clean, attributesFile",
        both(
            attributes("* filter=evil\n", "odd"), config("[core]", "attributesFile=odd", '[filter "evil"]', "clean=@")
        ),
        [("add", "-A")],
    ),
    Vector(45, "textconv", both(DIFF, config('[diff "evil"]', "textconv=@")), [("log", "-p"), ("diff",)]),
    Vector(
        45,
        "textconv, info/attributes",
        both(attributes("* diff=evil\n", ".git/info/attributes"), config('[diff "evil"]', "textconv=@")),
        [("log", "-p"), ("diff",)],
    ),
    Vector(45, "diff.external", config("[diff]", "external=@"), [("diff",)]),
    Vector(45, "diff command", both(DIFF, config('[diff "evil"]', "command=@")), [("diff",)]),
    Vector(45, "merge driver", merge_driver, [("commit", "-q", "-a", "-m", "mine"), ("merge", "-q", "third")]),
    Vector(46, "sshCommand", config("[core]", "sshCommand=@"), [("ls-remote", "ssh://nowhere.invalid/x")]),
    Vector(46, "gitProxy", config("[core]", "gitProxy=@"), [("ls-remote", "git://nowhere.invalid/x")]),
    Vector(46, "ext", config(*EXT, '[remote "origin"]', "url=ext::@"), [ASK]),
    Vector(46, "uploadpack", config('[remote "origin"]', "url=.", "uploadpack=@"), [FETCH]),
    Vector(46, "receivepack", config('[remote "origin"]', "url=.", "receivepack=@"), [("push", "origin", "HEAD:x")]),
    Vector(
        46,
        "insteadOf",
        config(*EXT, '[url "ext::@ "]', "insteadOf=https://", "insteadOf=file://", "insteadOf=/"),
        [("ls-remote", "https://nowhere.invalid/x")],
    ),
    Vector(
        46,
        "credential.helper",
        config("[credential]", "helper=!@"),
        [("credential", "fill")],
        b"protocol=https\nhost=x.invalid\n\n",
    ),
    Vector(
        46, "askPass", config("[core]", "askPass=@"), [("credential", "fill")], b"protocol=https\nhost=x.invalid\n\n"
    ),
    Vector(
        46,
        "partial clone",
        config(
            *("[core]", "repositoryFormatVersion=1", "[extensions]", "partialClone=origin"),
            *('[remote "origin"]', "url=.", "promisor=true", "uploadpack=@"),
        ),
        [("cat-file", "-p", "1" * 40)],
    ),
    Vector(47, "include", both(files(odd="[core]\nfsmonitor=@\n"), config("[include]", "path=../odd")), [("status",)]),
    Vector(
        47,
        "includeIf",
        both(files(odd="[core]\nfsmonitor=@\n"), config('[includeIf "gitdir:/"]', "path=../odd")),
        [("status",)],
    ),
    Vector(
        47,
        "config.worktree",
        both(
            config("[core]", "repositoryFormatVersion=1", "[extensions]", "worktreeConfig=true"),
            lambda root, evil: (root / ".git/config.worktree").write_text(f"[core]\nfsmonitor={evil}\n") and None,
        ),
        [("status",)],
    ),
    Vector(48, "a file", moved(is_link=False), [("status",)]),
    Vector(48, "a link", moved(is_link=True), [("status",)]),
    Vector(49, "embedded", embedded, [("-C", "store", "status")]),
    Vector(50, "submodule", submodule, [("status",)]),
    Vector(51, "alternates", alternates, [("rev-list", "--alternate-refs"), ("fetch", "-q", ".")]),
    Vector(51, "worktree", config("[core]", "worktree=/", "fsmonitor=@"), [("status", "-uno")]),
    Vector(51, "editor", config("[core]", "editor=@"), [("commit", "--amend", "--allow-empty")]),
    Vector(51, "signing", config("[commit]", "gpgSign=true", "[gpg]", "program=@"), [COMMIT]),
    Vector(51, "alias", config("[alias]", "st=!@"), [("st",)]),
    Vector(
        51,
        "trailers",
        config('[trailer "x"]', "key=X", "ifmissing=add", "command=@"),
        [("interpret-trailers",)],
        b"subject\n\nbody\n",
    ),
)
