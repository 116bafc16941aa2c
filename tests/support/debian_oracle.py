"""What mmdebstrap makes of the packages of a lock, beside what mllock makes of them.

mmdebstrap installs the same versions, with apt and dpkg, and runs their maintainer scripts in a
chroot; for that it needs some packages more (`MORE`), whose files are known from dpkg's lists.
Paths, types, modes, owners, targets and bytes are compared. What differs on purpose is named in
`EXPECTED`, by rule and reason, and in docs/reference/differences.md.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mllock.image.debian import is_left_out
from mllock.image.tree import Node, Stored
from mllock.lock.debian.mirror import find_archives
from mllock.lock.types import DebianPackage

MORE = ("dpkg", "perl-base", "usr-is-merged")
HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"

# Rule -> why mllock does not do as mmdebstrap does.
EXPECTED = {
    "of dpkg and debconf": "packages that only run maintainer scripts are not in a base",
    "left out": "manuals, translations and documents, as in Debian's own slim images",
    "bytecode": "a layer of its own, in canonical form",
    "devices": "the engine mounts /dev",
    "written by the engine": "names of hosts and networks, and mounts, are the container's",
    "state of dpkg and apt": "no package manager runs in an image; scanners read status.d",
    "accounts": "the user that images run as comes last",
    "certificates by name and hash": "the bundle has all of them, and is what libraries open",
    "comments": "the same certificates, without the words about debconf",
    "login shells": "nobody logs in; /bin/sh is there",
    "linker cache": "the same libraries, without glibc-hwcaps: a test holds it against ldconfig",
    "caches and state": "made by programs when they need them, or for scripts only",
    "alternatives of manuals": "what they lead to is left out",
}

_ENGINE = {"etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/networks", "etc/fstab"}
_STATE = ("etc/apt/", "var/lib/apt/", "var/lib/dpkg/", "var/cache/apt/", "var/log/")
_OURS = ("var/lib/dpkg/status.d/", "var/lib/dpkg/statoverride/")
_CACHES = ("var/cache/", "var/lib/shells.state/", "var/lib/python/", "usr/local/lib/python3")
_ACCOUNTS = {
    "etc/passwd": "mllock:*:10001:10001:mllock:/tmp:/usr/sbin/nologin",
    "etc/group": "mllock:*:10001:",
}


@dataclass(frozen=True)
class Member:
    kind: str
    mode: int
    uid: int
    gid: int
    target: str | None = None
    digest: str | None = None
    data: bytes | None = field(default=None, compare=False, repr=False)


Tree = dict[str, Member]


@dataclass(frozen=True)
class Bootstrapped:
    """What mmdebstrap made; `owners` are packages by path, from dpkg's lists."""

    tree: Tree
    owners: Mapping[str, set[str]]


@dataclass
class Comparison:
    equal: int = 0
    expected: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def bootstrap(packages: Sequence[DebianPackage], folder: Path, suite: str) -> Bootstrapped:
    """Needs root, mmdebstrap, and the mirror of this machine's apt sources."""
    out = folder / "root.tar"
    include = ",".join([*(f"{item.name}={item.version}" for item in packages), *MORE])
    sources = [
        f"deb {archive.url} {archive.suite} main"
        for archive in find_archives(suite, None, os.environ)
    ]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=custom", "--format=tar"]
    command += [f"--hook-dir={HOOKS}", f"--include={include}"]
    command += ['--aptopt=APT::Install-Recommends "false"', suite, str(out), *sources]
    environ = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-4000:]
    tree = _read(out)
    out.unlink()
    owners: dict[str, set[str]] = defaultdict(set)
    for path, member in tree.items():
        if path.startswith("var/lib/dpkg/info/") and path.endswith(".list"):
            name = path.rpartition("/")[2].removesuffix(".list").partition(":")[0]
            for line in (member.data or b"").decode().splitlines():
                owners[_merged(line.lstrip("/"))].add(name)
    return Bootstrapped(tree, owners)


def _merged(path: str) -> str:
    top = path.partition("/")[0]
    return f"usr/{path}" if top in ("bin", "lib", "lib64", "sbin") and top != path else path


def _read(path: Path) -> Tree:
    tree: Tree = {}
    with tarfile.open(path) as archive:
        for item in archive:
            name = _plain(item.name)
            if not name:
                continue
            owner = {"mode": item.mode, "uid": item.uid, "gid": item.gid}
            if item.islnk():
                tree[name] = tree[_plain(item.linkname)]
            elif item.issym():
                owner["mode"] = 0o777
                tree[name] = Member(kind="symlink", target=item.linkname, **owner)
            elif item.isdir():
                tree[name] = Member(kind="folder", **owner)
            elif item.isreg():
                stream = archive.extractfile(item)
                assert stream is not None
                data = stream.read()
                tree[name] = _file(data, name, **owner)
            else:
                tree[name] = Member(kind="device", **owner)
    return tree


def _plain(name: str) -> str:
    return name.removeprefix("./").rstrip("/").removeprefix(".")


def _file(data: bytes, name: str, *, mode: int, uid: int, gid: int) -> Member:
    kept = data if name.startswith(("etc/", "var/lib/dpkg/info/")) else None
    digest = hashlib.sha256(data).hexdigest()
    return Member(kind="file", mode=mode, uid=uid, gid=gid, digest=digest, data=kept)


def tree_of(layers: Iterable[Iterable[Node]]) -> Tree:
    """Layers, bottom up, as one tree; a hard link is the file that it is."""
    nodes = {node.path: node for layer in layers for node in layer}
    tree: Tree = {}
    for path, node in nodes.items():
        owner = {"mode": node.mode, "uid": node.uid, "gid": node.gid}
        content = nodes[str(node.target)].content if node.kind == "hardlink" else node.content
        if isinstance(content, Stored):
            tree[path] = _file(bytes(content.data), path, **owner)
        else:
            tree[path] = Member(kind=node.kind, target=node.target, **owner)
    return tree


def compare(ours: Tree, theirs: Bootstrapped, packages: Sequence[DebianPackage]) -> Comparison:
    found = Comparison()
    names = {package.name for package in packages}
    for path in sorted(ours.keys() | theirs.tree.keys()):
        mine, other = ours.get(path), theirs.tree.get(path)
        if mine == other:
            found.equal += 1
            continue
        owners = theirs.owners.get(path, set())
        rule = _rule(path, mine, other, foreign=bool(owners) and not owners & names)
        if rule is None:
            found.problems.append(f"{path}: {mine or 'nothing'}, mmdebstrap has {other}")
        else:
            found.expected[rule] += 1
    return found


def _lines(member: Member) -> list[str]:
    text = (member.data or b"").decode("utf-8", "replace")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _rule(path: str, mine: Member | None, other: Member | None, *, foreign: bool) -> str | None:
    """The key of EXPECTED that says why both differ, or None. `foreign`: of `MORE` only."""
    if mine is not None and other is not None:
        return _changed(path, mine, other)
    if mine is not None:
        return "state of dpkg and apt" if f"{path}/".startswith(_OURS) else None
    assert other is not None
    target = other.target or ""
    man = path.startswith("etc/alternatives/") and target.startswith("/usr/share/man/")
    if man or (path.startswith("var/lib/dpkg/alternatives/") and path.endswith(".gz")):
        return "alternatives of manuals"
    for rule, holds in (
        ("of dpkg and debconf", foreign),
        ("left out", is_left_out(path, other.kind)),
        ("bytecode", "__pycache__" in path.split("/")),
        ("devices", path.startswith("dev/")),
        ("written by the engine", path in _ENGINE),
        ("certificates by name and hash", path.startswith("etc/ssl/certs/") and bool(target)),
        ("state of dpkg and apt", f"{path}/".startswith(_STATE)),
        ("caches and state", f"{path}/".startswith(_CACHES)),
    ):
        if holds:
            return rule
    return None


def _changed(path: str, mine: Member, other: Member) -> str | None:
    if replace(mine, digest=other.digest) != other:
        return None
    ours, theirs = _lines(mine), _lines(other)
    for rule, holds in (
        ("accounts", path in _ACCOUNTS and ours == [*theirs, _ACCOUNTS.get(path)]),
        ("comments", path == "etc/ca-certificates.conf" and ours == theirs),
        ("login shells", path == "etc/shells" and {"/bin/sh"} <= set(ours) <= set(theirs)),
        ("linker cache", path == "etc/ld.so.cache"),
    ):
        if holds:
            return rule
    return None
