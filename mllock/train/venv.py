"""The locked environment on the host: exactly the locked wheels, nothing of the system's.

An entry of the cache is `venvs/KEY/`: the environment in `venv`, and `venv.manifest` beside it.
KEY stands for the wheels, the interpreter, the place and the user. It holds the files that the
images hold (`mllock.image.wheel`), from wheels whose sha256 was verified, is compiled once,
published by one rename, and verified by content on every use: an entry that is not what its
manifest says is made again, and that is reported. The manifest counts only if this user wrote it,
and for this KEY. Any number of processes may share the cache. Raises ArchiveError, InputError,
SpecError, SurroundingsError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mllock import processes
from mllock.core import canonical, tree
from mllock.core.digest import hex_of, sha256_of
from mllock.core.ports import Reporter
from mllock.core.tree import TreeManifest
from mllock.data.scan import scan
from mllock.errors import DataError, InputError, SurroundingsError
from mllock.image.content import Sources
from mllock.image.overlaps import FRAME, check_conflicts
from mllock.image.tree import Deflated, Node
from mllock.image.wheel import Prefix, wheel_nodes
from mllock.lock.types import PythonPackage
from mllock.spec.types import Overlap
from mllock.store import atomic
from mllock.store.own import read_own
from mllock.train.python import HostPython

__all__ = ["FetchWheels", "LockedVenv", "locked_venv", "verify_venv", "write_nodes"]

# Wheel file name -> a file with the locked bytes.
FetchWheels = Callable[[Sequence[PythonPackage]], Mapping[str, Path]]

Looks = Mapping[str, tuple[int, int, int, int, int]]

MANIFEST = "venv.manifest"
MAX_MANIFEST = 256 * 1024 * 1024
CONFIG = "pyvenv.cfg"
# Tests of packages are a third of all modules and are not imported by training.
_NOT_COMPILED = r"/tests?/"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedVenv:
    """A verified environment; `manifest` is what it was when it was verified, `looks` how it
    looked just before."""

    root: Path
    python: HostPython
    manifest: TreeManifest
    looks: Looks
    wheels: int

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def site(self) -> Path:
        return self.root / "lib" / f"python{self.python.minor}" / "site-packages"


def locked_venv(
    entries: Path,
    packages: Sequence[PythonPackage],
    python: HostPython,
    fetch: FetchWheels,
    reporter: Reporter,
    *,
    overlaps: Sequence[Overlap] = (),
) -> LockedVenv:
    """The environment of `packages`, made in `entries` (a folder of the cache) if needed."""
    if os.pathsep in str(entries):
        raise InputError(
            "a cache whose path holds a colon cannot be on a program's PATH",
            file=str(entries),
            hint="name another folder with MLLOCK_CACHE",
        )
    entry = entries / _key(entries, packages, python, overlaps)
    found = _verified(entry, python, packages, reporter)
    if found is not None:
        return found
    reporter.step(f"installing {len(packages)} locked packages for Python {python.version}")
    wheels = fetch(packages)
    with atomic.staging(entries) as staged:
        _make(staged, entry, packages, overlaps, wheels, python)
        if entry.exists():
            # Another process was faster, or a damaged entry is in the way: it is moved, so that
            # readers see one or the other.
            found = _verified(entry, python, packages, reporter)
            if found is not None:
                return found
            os.rename(entry, staged / "damaged")
            atomic.remove_tree(staged / "damaged")
        # Not fsynced: what a power cut tears is found, as every use verifies by content.
        # If another process was faster, its entry is verified and used like any other.
        atomic.move_folder(staged, entry)
    made = _verified(entry, python, packages, reporter)
    if made is None:
        raise SurroundingsError(
            "the environment changed while it was made",
            file=str(entry),
            hint="is another program writing into the cache?",
        )
    return made


def verify_venv(venv: LockedVenv) -> bool:
    """Whether nobody wrote to it since: by change times, which programs cannot set. Content would
    not show what was changed and put back."""
    return _looks(venv.root) == venv.looks


def _key(
    entries: Path,
    packages: Sequence[PythonPackage],
    python: HostPython,
    overlaps: Sequence[Overlap],
) -> str:
    wheels = [
        [wheel.name, wheel.hashes["sha256"]] for package in packages for wheel in package.wheels
    ]
    return hex_of(
        canonical.digest_of(
            {
                "v": 3,
                "wheels": sorted(wheels),
                "overlaps": sorted([rule.path, rule.keep] for rule in overlaps),
                "python": [str(python.path), python.version],
                # Scripts and tracebacks hold the place: a cache that moved is made again.
                "place": str(entries),
                "user": os.geteuid(),
            }
        )
    )[:32]


def _verified(
    entry: Path, python: HostPython, packages: Sequence[PythonPackage], reporter: Reporter
) -> LockedVenv | None:
    root = entry / "venv"
    if not entry.exists():
        return None
    expected = _manifest(entry, python)
    looks = _looks(root)
    if expected is None or not _links_are(root, python) or _scan(root, python) != expected:
        reporter.warn("the cached environment was changed; it is made again from the locked wheels")
        return None
    wheels = sum(len(package.wheels) for package in packages)
    return LockedVenv(root=root, python=python, manifest=expected, looks=looks, wheels=wheels)


def _manifest(entry: Path, python: HostPython) -> TreeManifest | None:
    """What this user wrote down when the environment was made; None if there is no such thing."""
    data = read_own(entry / MANIFEST, MAX_MANIFEST, depth=3)
    try:
        manifest = None if data is None else tree.parse(data)
    except ValueError:
        return None
    # An entry that was moved here from another KEY has the config of that one.
    config = sha256_of(_config(entry, python))
    there = () if manifest is None else manifest.entries
    return manifest if any((e.path, e.digest) == (CONFIG, config) for e in there) else None


def _config(entry: Path, python: HostPython) -> bytes:
    return (
        f"home = {python.path.parent}\n"
        "include-system-site-packages = false\n"
        f"version = {python.version}\n"
        f"mllock-key = {entry.name}\n"
    ).encode()


def _scan(root: Path, python: HostPython) -> TreeManifest | None:
    try:
        return scan(root, exclude=tuple(_links(python)), name="environment")
    except DataError:
        return None


def _looks(root: Path) -> Looks:
    """Mode, size, inode, times of modification and change of everything below `root`."""
    looks = {}
    todo = [str(root)]
    while todo:
        try:
            with os.scandir(todo.pop()) as found:
                for entry in found:
                    status = entry.stat(follow_symlinks=False)
                    looks[entry.path] = (
                        status.st_mode,
                        status.st_size,
                        status.st_ino,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                    )
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(entry.path)
        except OSError:
            continue
    return looks


def _links(python: HostPython) -> dict[str, str]:
    """Every name of the interpreter that the image's environment has, so that no spelling finds
    the system's. The first is absolute, so no tree manifest can hold them."""
    return {
        "bin/python": str(python.path),
        "bin/python3": "python",
        f"bin/python{python.minor}": "python",
    }


def _links_are(root: Path, python: HostPython) -> bool:
    try:
        return all(os.readlink(root / link) == target for link, target in _links(python).items())
    except OSError:
        return False


def _make(
    staged: Path,
    entry: Path,
    packages: Sequence[PythonPackage],
    overlaps: Sequence[Overlap],
    wheels: Mapping[str, Path],
    python: HostPython,
) -> None:
    root, final = staged / "venv", entry / "venv"
    prefix = Prefix(root=str(final).lstrip("/"), python=python.minor)
    trees = _trees(packages, overlaps, wheels, python, prefix)
    try:
        (root / "bin").mkdir(parents=True)
        site = Path("lib", f"python{python.minor}", "site-packages")
        (root / site).mkdir(parents=True)
        for link, target in _links(python).items():
            os.symlink(target, root / link)
        (root / CONFIG).write_bytes(_config(entry, python))
        largest_first = sorted(trees, key=lambda nodes: -sum(map(_size, nodes)))
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="mllock-install") as pool:
            for _ in pool.map(lambda nodes: write_nodes(nodes, prefix, root), largest_first):
                pass
        _compile(root, final, site, python)
        manifest = scan(root, exclude=tuple(_links(python)), name="environment")
        atomic.write_bytes(staged / MANIFEST, manifest.text())
    except OSError as error:
        raise atomic.cannot_write(entry, error) from error


def _trees(
    packages: Sequence[PythonPackage],
    overlaps: Sequence[Overlap],
    wheels: Mapping[str, Path],
    python: HostPython,
    prefix: Prefix,
) -> list[tuple[Node, ...]]:
    """The files of each wheel, as the images have them: each path is in one of them."""
    of_package = {
        wheel.name: package.name
        for package in packages
        for wheel in package.wheels
        if wheel.name in wheels
    }
    # As links, which no wheel has: no file of a wheel is the same.
    frame = tuple(
        Node(path=f"{prefix.root}/{name}", kind="symlink", mode=0o777, target=name)
        for name in (CONFIG, *_links(python))
    )
    every = [(owner, wheel_nodes(wheels[name], name, prefix)) for name, owner in of_package.items()]
    # Rules that decide nothing were refused when the layers of this environment were made.
    left_out = check_conflicts([(FRAME, frame), *every], overlaps, prefix, idle=True)
    trees, taken = [], set[str]()
    for (name, owner), (_, whole) in zip(of_package.items(), every, strict=True):
        gone = frozenset(left_out.get(owner, ()))
        nodes = wheel_nodes(wheels[name], name, prefix, left_out=gone) if gone else whole
        trees.append(tuple(node for node in nodes if node.path not in taken))
        taken.update(node.path for node in nodes)
    return trees


def _size(node: Node) -> int:
    return node.content.size if node.content is not None else 0


def write_nodes(nodes: Sequence[Node], prefix: Prefix, root: Path) -> None:
    """Files only: a wheel has nothing else. Content is verified while it is written."""
    made = set[Path]()
    with Sources() as sources:
        for node in nodes:
            path = root / node.path.removeprefix(f"{prefix.root}/")
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with open(descriptor, "wb", buffering=0) as file:
                file.writelines(sources.read(node))
                os.fchmod(descriptor, node.mode)


def _pieces(sources: Sources, node: Node) -> Iterable[bytes | bytearray | memoryview]:
    """Verified content; at once where that is quicker."""
    if isinstance(node.content, Deflated):
        made = sources.member(node.content)
        if made is not None:
            return (made[1],)
    return sources.read(node)


def _compile(root: Path, final: Path, site: Path, python: HostPython) -> None:
    """Bytecode that is never checked against times: the content of both is verified instead.

    A module that does not compile stays without, as it would on import.
    """
    command = [str(python.path), "-I", "-m", "compileall", "-q", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash", "-x", _NOT_COMPILED]
    command += ["-s", str(root), "-p", str(final), str(root / site)]
    processes.run(command)
