"""What goes wrong around a build, as typed: one message with the way out, nothing half-written."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from support.e2e import MLLOCK
from support.training import put_wheels
from support.world import World

from mllock.lock.format import dump_lock, read_lock, seal
from mllock.lock.types import LayerGroup
from mllock.store.layout_reader import open_layout

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(world: World) -> Typed:
    def call(*arguments: str, **environ: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [str(MLLOCK), "build", *arguments],
            cwd=world.project,
            env={**os.environ, **world.context().environ, "NO_COLOR": "1", **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes. Mounting needs root, as CI has it."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_noise(world: World) -> int:
    """Code that does not compress, larger than the small disks here; its size."""
    noise = random.Random(7).randbytes(400_000).hex().encode()
    (world.project / "noise.py").write_bytes(b"# " + noise + b"\n")
    return len(noise)


@pytest.mark.tools
def test_the_disk_of_the_cache_is_full(world: World, typed: Typed, tmp_path: Path) -> None:
    write_noise(world)
    before = files(world.oci)
    with small_disk(tmp_path / "small", "256k") as disk:
        shutil.copytree(world.root / "cache", disk / "cache")
        cached = files(disk / "cache")
        code, out, err = typed("train", MLLOCK_CACHE=str(disk / "cache"))
        assert (code, out) == (4, "")
        (message,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert message.startswith(f"error: {disk}/cache/")
        assert message.endswith(": cannot write: no space left on device")
        assert err.splitlines()[-1] == "hint: free some space, then run the same command again"
        # Nothing of what was begun is left, and what was there is as it was.
        blobs = {name: data for name, data in cached.items() if not name.startswith("unchanged/")}
        assert blobs
        assert files(disk / "cache").items() >= blobs.items()
        assert list((disk / "cache" / "tmp").iterdir()) == []
    assert files(world.oci) == before
    assert typed("train")[0] == 0


@pytest.mark.tools
def test_the_disk_of_the_output_is_full(world: World, typed: Typed, tmp_path: Path) -> None:
    """With images there already: they are still there, whole."""
    with small_disk(tmp_path / "small", "400k") as disk:
        out = f"oci:{disk / 'oci'}"
        assert typed("train", "--output", out)[0] == 0
        before = files(disk / "oci")
        write_noise(world)
        code, printed, err = typed("train", "--output", out)
        assert (code, printed) == (4, "")
        (message,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert message.startswith(f"error: {disk}/oci/blobs/sha256/")
        assert message.endswith(": cannot write: no space left on device")
        assert err.splitlines()[-1] == "hint: free some space, then run the same command again"
        assert files(disk / "oci") == before
        assert open_layout(disk / "oci").image("train").ref == "train"


def test_a_layer_of_the_cache_was_changed(world: World, typed: Typed) -> None:
    """By hand: found by its digest, said, and made again from the packages."""
    assert typed()[0] == 0
    expected = files(world.oci)
    layout = open_layout(world.oci)
    python = layout.image("train").layers[1].digest
    blob = world.context().cache.blob_path(python)
    # The layout has the same file by a hard link: both are bad, and both are good afterwards.
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    code, _, err = typed()
    assert code == 0
    assert err.splitlines()[:2] == [
        f"warning: removed a damaged entry of the cache: {python}",
        "making 1 Python layers from 1 wheels",
    ]
    assert files(world.oci) == expected


def test_an_entry_of_the_cache_was_changed(world: World, typed: Typed) -> None:
    """The note that says which layer was made of what: without a word it is as good as none."""
    assert typed()[0] == 0
    expected = files(world.oci)
    for number, path in enumerate(sorted((world.root / "cache" / "layers").iterdir())):
        if b'"base"' not in path.read_bytes():
            path.write_bytes((b"", b"{}", b"\xff", b'{"key":1,"value":{}}')[number % 4])
    for path in (world.root / "cache" / "licences").iterdir():
        path.write_bytes(b"{")
    code, _, err = typed()
    assert (code, err.splitlines()[0]) == (0, "making 2 Python layers from 2 wheels")
    assert files(world.oci) == expected


@pytest.mark.parametrize(
    ("layers", "found"), [("6", "6"), ("128", "128")], ids=["too few", "more than engines take"]
)
def test_a_layer_limit_that_cannot_be(world: World, typed: Typed, layers: str, found: str) -> None:
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text() + f"\n[builder]\nlayers = {layers}\n")
    line = spec.read_text().splitlines().index(f"layers = {layers}") + 1
    assert typed() == (
        2,
        "",
        f"error: mlproject.toml:{line}: builder.layers: number out of range\n"
        f"expected: 7 to 120\nfound: the integer {found}\n",
    )


def test_more_layers_than_the_limit(world: World, typed: Typed, monkeypatch) -> None:
    """A lock that was assigned for more: the limit is of the spec, and is kept."""
    from mllock.spec.meaning import meaning
    from mllock.spec.reader import load_spec
    from mllock.spec.requirements import declared

    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text() + "\n[builder]\nlayers = 7\n")
    loaded = load_spec(spec)
    means = meaning(loaded.spec, declared(world.project, loaded))
    lock = read_lock(world.project / "mlproject.lock")
    names = [f"lib-{number}" for number in range(7)]
    packages = put_wheels(world.context().cache, {(name, "1"): None for name in names})
    lock = msgspec.structs.replace(
        lock,
        inputs=msgspec.structs.replace(lock.inputs, digest=means.digest, builder=means.builder),
        python=msgspec.structs.replace(
            lock.python, packages=tuple(sorted((*lock.python.packages, *packages),
                                               key=lambda package: package.name)),
        ),
        layers=msgspec.structs.replace(
            lock.layers,
            python=tuple(
                LayerGroup(packages=(name,)) for name in sorted((*names, "other", "tiny-lib"))
            ),
        ),
    )  # fmt: skip
    (world.project / "mlproject.lock").write_bytes(dump_lock(seal(lock)))
    before = files(world.oci)
    code, out, err = typed("train")
    assert (code, out) == (2, "")
    line = spec.read_text().splitlines().index("layers = 7") + 1
    assert err.endswith(
        f"error: mlproject.toml:{line}: builder.layers: the train image would have 11 layers\n"
        "expected: at most 7\n"
        'hint: set [builder] layers = 11 or more, then "mllock lock"\n'
    )
    assert files(world.oci) == before


def test_two_packages_with_one_file(world: World, typed: Typed) -> None:
    lock = read_lock(world.project / "mlproject.lock")
    packages = put_wheels(
        world.context().cache,
        {
            ("other", "2.0"): {"tests/__init__.py": b"other\n", "other.py": b""},
            ("tiny-lib", "1.0"): {"tests/__init__.py": b"tiny\n", "tiny_lib.py": b""},
        },
    )
    lock = msgspec.structs.replace(
        lock, python=msgspec.structs.replace(lock.python, packages=packages)
    )
    (world.project / "mlproject.lock").write_bytes(dump_lock(seal(lock)))
    before = files(world.oci)
    code, out, err = typed("train")
    assert (code, out) == (2, "")
    assert err.splitlines()[-2:] == [
        "error: opt/venv/lib/python3.11/site-packages/tests/__init__.py: other and tiny-lib both "
        "install this path, with different bytes",
        "hint: say whose file stays, other's or tiny-lib's, in [environment] of mlproject.toml: "
        'overlaps = [{ path = "tests/__init__.py", keep = "other" }]',
    ]
    assert files(world.oci) == before
