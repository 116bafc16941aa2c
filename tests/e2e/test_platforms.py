"""Two platforms from one machine, from the real index and archive: the arm64 root is arm64."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.e2e import must

pytestmark = [pytest.mark.e2e, pytest.mark.tools]

# ELF: e_machine, at offset 18 of the header.
MACHINES = {"linux/amd64": 62, "linux/arm64": 183}
PROGRAM = """\
import ctypes, platform, ssl, sys, warnings
warnings.simplefilter("ignore")
import sklearn
assert len(ssl.create_default_context().get_ca_certs()) > 100
ctypes.CDLL("libgomp.so.1")
print(platform.machine(), sys.prefix, sklearn.__version__)
"""


# Every tenth module of the standard library, compiled as mllock compiles.
COMPILE = """\
import hashlib, marshal, os, sys
root = "/usr/lib/python3.11"
names = sorted(n for n in os.listdir(root) if n.endswith(".py"))[::10]
for name in names:
    with open(f"{root}/{name}", "rb") as file:
        source = file.read()
    code = compile(source, f"{root}/{name}", "exec", dont_inherit=True, optimize=0)
    print(name, hashlib.sha256(marshal.dumps(code, 2)).hexdigest())
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, e2e_environ: dict[str, str]) -> Path:
    """The starter, locked for two platforms by uv and trained on the host; both images built."""
    folder = tmp_path_factory.mktemp("both") / "wine"
    must(folder.parent, "init", "wine", environ=e2e_environ)
    spec = folder / "mlproject.toml"
    lines = [
        'platforms = ["linux/amd64", "linux/arm64"]\nresolver = "uv"'
        if line.startswith("platforms")
        else line
        for line in spec.read_text().splitlines()
        if not line.startswith("resolver")
    ]
    spec.write_text("\n".join(lines) + "\n")
    must(folder, "lock", environ=e2e_environ)
    must(folder, "train", "--runtime", "host", environ=e2e_environ)
    must(folder, "build", environ=e2e_environ)
    return folder


def rootfs(folder: Path, platform: str, environ: dict[str, str]) -> Iterator[Path]:
    place = folder.parent / platform.partition("/")[2]
    must(
        folder,
        *("build", "serve", "--platform", platform, "--output", f"oci:{place}"),
        environ=environ,
    )
    bundle = place.with_name(f"{place.name}-bundle")
    subprocess.run(
        ["umoci", "unpack", "--image", f"{place}:serve", str(bundle)],
        check=True,
        capture_output=True,
    )
    yield bundle / "rootfs"
    shutil.rmtree(bundle)


@pytest.fixture(scope="module")
def arm(both: Path, e2e_environ: dict[str, str]) -> Iterator[Path]:
    yield from rootfs(both, "linux/arm64", e2e_environ)


@pytest.fixture(scope="module")
def amd(both: Path, e2e_environ: dict[str, str]) -> Iterator[Path]:
    yield from rootfs(both, "linux/amd64", e2e_environ)


def elves(root: Path) -> dict[str, int]:
    """The machine of every ELF file below `root`, by path."""
    found = {}
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(20)
        if head[:4] == b"\x7fELF":
            found[str(path.relative_to(root))] = struct.unpack_from("<H", head, 18)[0]
    return found


def test_the_lock_is_current_and_for_both(both: Path, e2e_environ: dict[str, str]) -> None:
    done = must(both, "lock", "--check", environ=e2e_environ)
    assert done.stderr.splitlines()[-1] == "mlproject.lock is current"
    before = (both / "mlproject.lock").read_bytes()
    must(both, "lock", environ=e2e_environ)
    assert (both / "mlproject.lock").read_bytes() == before
    for architecture in (b'architecture = "amd64"', b'architecture = "arm64"'):
        assert before.count(architecture) > 40
    for machine in (b"x86_64", b"aarch64"):
        assert before.count(b"_" + machine + b'.whl", path') >= 4


def test_every_elf_file_of_the_arm64_root_is_arm64(arm: Path) -> None:
    found = elves(arm)
    assert len(found) > 300
    assert {path: machine for path, machine in found.items() if machine != 183} == {}
    for path in ("usr/bin/python3.11", "usr/lib/aarch64-linux-gnu/libc.so.6"):
        assert path in found
    assert any("sklearn" in path for path in found)
    assert (arm / "usr/lib/ld-linux-aarch64.so.1").exists()


def test_the_arm64_root_runs(arm: Path) -> None:
    """By emulation, of the test only: nothing of it ran while the image was made."""
    shutil.copyfile(str(shutil.which("qemu-aarch64-static")), arm / "qemu")
    (arm / "qemu").chmod(0o755)
    try:
        command = ["chroot", str(arm), "/qemu", "/opt/venv/bin/python", "-c", PROGRAM]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
        machine, prefix, _ = done.stdout.split()
        assert (machine, prefix) == ("aarch64", "/opt/venv")
        # The linker's cache is the one that ldconfig makes there.
        listing = [["-p"], ["-p", "-C", "/tmp/ld.so.cache"]]
        ldconfig = ["chroot", str(arm), "/qemu", "/sbin/ldconfig"]
        subprocess.run([*ldconfig, "-C", "/tmp/ld.so.cache"], check=True)
        ours, theirs = (
            subprocess.run([*ldconfig, *words], capture_output=True, text=True, check=True).stdout
            for words in listing
        )
        assert ours.splitlines()[1:] == [
            line for line in theirs.splitlines()[1:] if line.startswith("\t")
        ]
    finally:
        (arm / "qemu").unlink()
        (arm / "tmp" / "ld.so.cache").unlink(missing_ok=True)


def test_checked_for_each_platform(both: Path, e2e_environ: dict[str, str]) -> None:
    environments = set()
    for platform in MACHINES:
        done = must(
            both,
            *("check", "oci:.mllock/oci", "--platform", platform, "--json"),
            environ=e2e_environ,
            code=3,
        )
        findings = {f["claim"]: f for f in json.loads(done.stdout)["findings"]}
        assert {
            claim: findings[claim]["verdict"]
            for claim in ("signature", "lineage", "model", "code", "configuration")
        } == dict.fromkeys(("signature", "lineage", "model", "code", "configuration"), "proven")
        assert findings["environment"]["verdict"] == "unproven"
        environments.add(findings["environment"]["reason"])
    assert len(environments) == 2


def test_both_compile_to_the_same_bytecode(arm: Path, amd: Path) -> None:
    """So that one of them may compile for the other: ADR 0076."""
    shutil.copyfile(str(shutil.which("qemu-aarch64-static")), arm / "qemu")
    (arm / "qemu").chmod(0o755)
    try:
        here, there = (
            subprocess.run(
                ["chroot", str(root), *words, "/usr/bin/python3.11", "-I", "-S", "-c", COMPILE],
                env=os.environ | {"PYTHONHASHSEED": "0"},
                capture_output=True,
                text=True,
                timeout=500,
                check=True,
            ).stdout.splitlines()
            for root, words in ((amd, ()), (arm, ("/qemu",)))
        )
    finally:
        (arm / "qemu").unlink()
    assert len(here) > 15
    assert here == there
