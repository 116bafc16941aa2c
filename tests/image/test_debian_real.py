"""The real archive: what is resolved, unpacked and run is Debian's own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from support.debian_oracle import EXPECTED, Bootstrapped, bootstrap, compare, tree_of
from support.reporter import Recorder

from mllock.core.digest import from_hex
from mllock.image.debian import base_nodes, system_nodes
from mllock.image.debian_effects import EFFECTS
from mllock.image.tree import Node, Stored
from mllock.lock.debian import DebianResolver
from mllock.lock.debian.script_table import TABLE
from mllock.lock.ports import SystemRequest, SystemResolution, Upgrade
from mllock.lock.target import glibc_of
from mllock.lock.types import DebianPackage
from mllock.store.cache import Cache
from mllock.store.fetch import HttpFetcher

pytestmark = [pytest.mark.e2e, pytest.mark.tools]

PROGRAM = """
import bz2, ctypes, lzma, readline, sqlite3, ssl, zoneinfo
assert len(ssl.create_default_context().get_ca_certs()) > 100
assert zoneinfo.ZoneInfo("Europe/Berlin")
ctypes.CDLL("libstdc++.so.6")
print(1)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("debian"), Recorder())


@pytest.fixture(scope="module")
def resolution(cache: Cache) -> SystemResolution:
    reporter = Recorder()
    resolver = DebianResolver(HttpFetcher(cache, reporter), cache, os.environ, reporter)
    request = SystemRequest(
        base="debian:bookworm",
        python="3.11",
        packages=("libgomp1", "libgl1", "libglib2.0-0", "libopenblas0-pthread"),
        platform="linux/amd64",
        mirror=None,
        pins={},
        upgrade=Upgrade(),
    )
    return resolver.resolve(request)


@pytest.fixture(scope="module")
def layers(cache: Cache, resolution: SystemResolution) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    def debs(layer: str) -> list[tuple[DebianPackage, Path]]:
        found = []
        for package in resolution.packages:
            path = cache.get(from_hex(package.sha256))
            assert path is not None
            if package.layer == layer:
                found.append((package, path))
        return found

    started = time.monotonic()
    base = base_nodes(debs("base"))
    assert time.monotonic() - started < 10
    return base, system_nodes(debs("system"), {node.path: node for node in base})


@pytest.fixture(scope="module")
def root(
    tmp_path_factory: pytest.TempPathFactory, layers: tuple[tuple[Node, ...], tuple[Node, ...]]
) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for layer in layers:
        write(folder, layer)
    return folder


def write(folder: Path, nodes: Iterable[Node]) -> None:
    for node in nodes:
        path = folder / node.path
        if node.kind == "folder":
            path.mkdir(exist_ok=True)
        elif node.kind == "symlink":
            path.unlink(missing_ok=True)
            path.symlink_to(str(node.target))
        elif node.kind == "hardlink":
            os.link(folder / str(node.target), path)
        else:
            assert isinstance(node.content, Stored)
            path.write_bytes(node.content.data)
        os.chown(path, node.uid, node.gid, follow_symlinks=False)
        if node.kind != "symlink":
            path.chmod(node.mode)


def inside(root: Path, *command: str) -> str:
    done = subprocess.run(
        ["chroot", str(root), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_resolved(resolution: SystemResolution) -> None:
    base = [package for package in resolution.packages if package.layer == "base"]
    assert resolution.base.python.startswith("3.11.")
    assert resolution.base.interpreter == "/usr/bin/python3.11"
    assert glibc_of(base) == (2, 36)
    assert 40 < len(base) < 70
    assert sum(package.size for package in base) < 40 << 20
    suites = {index.suite for index in resolution.base.indexes}
    assert {"bookworm"} <= suites <= {"bookworm", "bookworm-updates", "bookworm-security"}


def test_the_base_runs_python(root: Path) -> None:
    assert inside(root, "/usr/bin/python3.11", "-c", PROGRAM) == "1\n"
    assert inside(root, "/bin/sh", "-c", "ls / | grep -c usr; awk 'BEGIN { print 2 }'") == "1\n2\n"


def test_system_packages_run(root: Path) -> None:
    names = ("libGL.so.1", "libblas.so.3", "libgomp.so.1", "libglib-2.0.so.0")
    program = f"import ctypes; [ctypes.CDLL(name) for name in {names}]; print(1)"
    assert inside(root, "/usr/bin/python3.11", "-c", program) == "1\n"
    blas = os.readlink(root / "etc/alternatives/libblas.so.3-x86_64-linux-gnu")
    assert "openblas" in blas


def test_the_linker_cache_is_the_one_that_ldconfig_makes(root: Path) -> None:
    ours = inside(root, "/sbin/ldconfig", "-p").splitlines()
    inside(root, "/sbin/ldconfig", "-C", "/tmp/ld.so.cache")
    theirs = inside(root, "/sbin/ldconfig", "-p", "-C", "/tmp/ld.so.cache").splitlines()
    assert ours[1:] == [line for line in theirs[1:] if line.startswith("\t")]


def test_files_are_what_the_packages_say(root: Path) -> None:
    """Every file that dpkg's own md5sums name, and that is not left out, is there and equal."""
    folder = root / "var/lib/dpkg/status.d"
    checked = 0
    for sums in sorted(folder.glob("*.md5sums")):
        lines = [
            line
            for line in sums.read_text().splitlines()
            if os.path.lexists(root / line.partition("  ")[2])
        ]
        if lines:
            text = "\n".join(lines) + "\n"
            subprocess.run(["md5sum", "-c", "--quiet"], input=text, text=True, cwd=root, check=True)
            checked += len(lines)
    assert checked > 1500


@pytest.fixture(scope="module")
def bootstrapped(
    tmp_path_factory: pytest.TempPathFactory, resolution: SystemResolution
) -> Bootstrapped:
    return bootstrap(resolution.packages, tmp_path_factory.mktemp("oracle"), "bookworm")


def test_the_tree_is_the_one_that_mmdebstrap_makes(
    layers: tuple[tuple[Node, ...], tuple[Node, ...]],
    resolution: SystemResolution,
    bootstrapped: Bootstrapped,
) -> None:
    ours = tree_of(layers)
    found = compare(ours, bootstrapped, resolution.packages)
    assert found.problems == []
    assert found.equal > 3000
    assert set(found.expected) == set(EXPECTED)
    # What is equal is not so because nothing is looked at.
    path = "usr/bin/python3.11"
    for changed in (
        {"digest": "0" * 64},
        {"mode": 0o744},
        {"uid": 1},
        {"gid": 1},
        {"kind": "symlink"},
        {"target": "x"},
    ):
        other = compare(ours | {path: replace(ours[path], **changed)}, bootstrapped, ())
        assert [line.partition(": ")[0] for line in other.problems if path in line][:1] == [path]
    without = {name: member for name, member in ours.items() if name != path}
    assert len(compare(without, bootstrapped, resolution.packages).problems) == 1
    more = ours | {"usr/bin/more-than-debian": ours[path]}
    assert len(compare(more, bootstrapped, resolution.packages).problems) == 1


def test_every_effect_that_the_table_relies_on_is_made() -> None:
    done = {name for (name, _), accepted in TABLE.items() if accepted.kind == "done"}
    assert done == set(EFFECTS)


# Suite -> its Python, its C library, what has another name in it.
OTHERS = {
    "bullseye": ("3.9", "3.9.2", (2, 31), ("libglib2.0-0",)),
    "trixie": ("3.13", "3.13.5", (2, 41), ("libglib2.0-0t64", "openssh-client")),
}


@pytest.mark.parametrize("suite", OTHERS)
def test_other_suites_run(cache: Cache, suite: str, tmp_path: Path) -> None:
    python, version, glibc, more = OTHERS[suite]
    reporter = Recorder()
    resolver = DebianResolver(HttpFetcher(cache, reporter), cache, os.environ, reporter)
    names = ("libgomp1", "libgl1", "libopenblas0-pthread", *more)
    request = SystemRequest(
        base=f"debian:{suite}",
        python=python,
        packages=names,
        platform="linux/amd64",
        mirror=None,
        pins={},
        upgrade=Upgrade(),
    )
    resolution = resolver.resolve(request)
    assert resolution.base.python == version
    assert glibc_of([item for item in resolution.packages if item.layer == "base"]) == glibc
    debs: dict[str, list[tuple[DebianPackage, Path]]] = {"base": [], "system": []}
    for package in resolution.packages:
        debs[package.layer].append((package, cache.blob_path(from_hex(package.sha256))))
    base = base_nodes(debs["base"])
    system = system_nodes(debs["system"], {node.path: node for node in base})
    # /usr is merged, also where the packages of the suite still have /bin and /lib.
    merged = {node.path: node.target for node in base}
    assert {name: merged[name] for name in ("bin", "lib", "sbin", "lib64")} == {
        name: f"usr/{name}" for name in ("bin", "lib", "sbin", "lib64")
    }
    for layer in (base, system):
        write(tmp_path, layer)
    assert inside(tmp_path, f"/usr/bin/python{python}", "-c", PROGRAM) == "1\n"
    libraries = ("libGL.so.1", "libblas.so.3", "libgomp.so.1", "libglib-2.0.so.0")
    load = f"import ctypes; [ctypes.CDLL(name) for name in {libraries}]; print(1)"
    assert inside(tmp_path, f"/usr/bin/python{python}", "-c", load) == "1\n"
    assert "openblas" in os.readlink(tmp_path / "etc/alternatives/libblas.so.3-x86_64-linux-gnu")
    if "openssh-client" in more:
        # The account that its script makes has the first number that is free.
        lines = (tmp_path / "etc/group").read_text().splitlines()
        assert lines[-2:] == ["mllock:*:10001:", "_ssh:*:101:"]
