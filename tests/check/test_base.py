"""Images on a base that others made: its layers as they are, and held to the lock."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.base_image import BaseImage, layer, link, python_layer
from support.layers import sha
from support.tamper import Layout, make_tar
from support.world import RUN, World, finding, make_world, paths, verdicts

from mllock.lock.format import dump_lock, read_lock, seal
from mllock.workflows.build import build_images

HISTORY = (
    {"created": "2024-02-01T00:00:00Z", "created_by": "ADD rootfs é", "author": "somebody"},
    {"created_by": "CMD", "empty_layer": True},
    {"created": "2024-02-02T00:00:00.123456789Z", "created_by": "RUN rm"},
)
PROVEN = dict.fromkeys(
    ("signature", "lineage", "model", "environment", "code", "configuration"), "proven"
)


def base(packing: str = "gzip", *, docker: bool = False) -> BaseImage:
    """Names of owners, times, a hard link, a whiteout and a folder that is opaque."""
    return BaseImage(
        layers=[
            python_layer() | {"etc/gone": b"x", "srv/old/file": b"x", "usr/bin/sh": b"#!"},
            {
                "etc/.wh.gone": b"",
                "srv/old/.wh..wh..opq": b"",
                "srv/old/new": b"y",
                "srv/again": link("./srv/old/new", tarfile.LNKTYPE),
            },
        ],
        packing=packing,
        docker=docker,
        history=HISTORY,
    )


@pytest.fixture(scope="session")
def whole_base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("base-world"), image=base(), runtime="docker")


@pytest.fixture
def world(whole_base: World, tmp_path: Path) -> World:
    return whole_base.copy(tmp_path / "w")


def asked(world: World, **options: Any) -> dict[str, str]:
    found = verdicts(world.check(f"oci:{world.oci}", run=RUN, **options))
    return {claim: verdict for claim, verdict in found.items() if verdict != "not asked"}


def test_all_is_proven(world: World) -> None:
    assert asked(world) == PROVEN
    # What only the image itself says, on another machine.
    (world.root / "elsewhere").mkdir()
    report = world.check(f"oci:{world.oci}", folder="elsewhere")
    assert verdicts(report)["environment"] == "proven"


@pytest.mark.parametrize("packing", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_the_layers_of_the_base_are_in_the_image_as_they_came(
    tmp_path: Path, packing: str, docker: bool
) -> None:
    image = base(packing, docker=docker)
    world = make_world(tmp_path / "world", image=image, runtime="docker")
    for ref in ("train", "serve"):
        layout = Layout(world.oci, ref)
        lowest = layout.manifest["layers"][:2]
        assert [(entry["digest"], entry["size"]) for entry in lowest] == [
            (entry["digest"], entry["size"]) for entry in image.manifest["layers"]
        ]
        suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[packing]
        assert {entry["mediaType"] for entry in lowest} == {
            f"application/vnd.oci.image.layer.v1.tar{suffix}"
        }
        for entry in lowest:
            assert layout.read(entry) == image.blobs[entry["digest"]]
        theirs = json.loads(image.blobs[image.manifest["config"]["digest"]])
        config = layout.config
        assert config["rootfs"]["diff_ids"][:2] == theirs["rootfs"]["diff_ids"]
        assert config["history"][:3] == theirs["history"]
        assert all(entry["created_by"].startswith("mllock ") for entry in config["history"][3:])
        assert len(config["history"]) == len(layout.manifest["layers"]) + 1
        runtime = config["config"]
        assert runtime["Env"] == [
            "HOME=/tmp",
            "LANG=C.UTF-8",
            "OMP_NUM_THREADS=1",
            "PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
        ]
        assert (runtime["User"], runtime["WorkingDir"]) == ("10001:10001", "/app")
        assert runtime.keys() & {"Entrypoint", "Volumes"} == set()
        assert runtime["Labels"]["org.opencontainers.image.base.name"] == "oci:base"
        assert runtime["Labels"]["org.opencontainers.image.base.digest"] == image.digest
    assert asked(world) == PROVEN


def test_the_frame_is_of_the_bases_python(world: World) -> None:
    layout = Layout(world.oci)
    members = layout.members(layout.layer_with("opt/venv/pyvenv.cfg"))
    assert members["opt/venv/pyvenv.cfg"][1].decode() == (
        "home = /usr/local/bin\ninclude-system-site-packages = false\nversion = 3.11.9\n"
        "executable = /usr/local/bin/python3.11\n"
    )
    assert members["opt/venv/bin/python"][0].linkname == "/usr/local/bin/python3.11"


def test_train_and_serve_share_the_base(world: World) -> None:
    train, serve = (Layout(world.oci, ref).manifest["layers"] for ref in ("train", "serve"))
    assert train[:4] == serve[:4]


def test_a_second_build_looks_into_nothing(whole_base: World, tmp_path: Path) -> None:
    """Not even the folder of the base has to be there any more."""
    world = whole_base.copy(tmp_path / "w")
    shutil.copytree(whole_base.root / "cache", world.root / "cache", symlinks=True)
    before = Layout(world.oci).entry["digest"]
    shutil.rmtree(world.project / "base")
    shutil.rmtree(world.oci)
    build_images(world.context())
    assert Layout(world.oci).entry["digest"] == before


def _base_file(layout: Layout, change: bytes) -> None:
    tar = gzip.decompress(layout.read(layout.manifest["layers"][0]))
    assert b"#!" in tar
    layout.set_tar(0, tar.replace(b"#!", change, 1))


def test_a_layer_of_the_base_that_was_changed(world: World) -> None:
    layout = Layout(world.oci)
    expected = layout.config["rootfs"]["diff_ids"][0]
    _base_file(layout, b"#?")
    layout.save(repoint=True)
    found = asked(world)
    assert (found["environment"], found["configuration"]) == ("refuted", "refuted")
    report = world.check(f"oci:{world.oci}", run=RUN)
    assert report.exit_code() == 1
    assert expected in {d.expected for d in finding(report, "configuration").differences}


def test_a_layer_of_the_base_that_was_compressed_again(world: World) -> None:
    """The same files, other bytes: the environment is, and the image is not, what was signed."""
    layout = Layout(world.oci)
    entry = layout.manifest["layers"][0]
    layout.put(entry, gzip.compress(gzip.decompress(layout.read(entry)), 1))
    layout.save(repoint=True)
    found = asked(world)
    assert (found["environment"], found["configuration"]) == ("proven", "refuted")


def test_the_base_of_another_image(world: World) -> None:
    other = BaseImage(layers=[python_layer("3.11.8"), {"etc/x": b""}])
    layout = Layout(world.oci)
    for number, entry in enumerate(other.manifest["layers"]):
        layout.put(layout.manifest["layers"][number], other.blobs[entry["digest"]])
        tar = gzip.decompress(other.blobs[entry["digest"]])
        layout.config["rootfs"]["diff_ids"][number] = sha(tar)
    layout.save(repoint=True)
    assert asked(world)["environment"] == "refuted"


def test_a_loose_layer_on_top_is_no_base_whatever_the_image_says(world: World) -> None:
    """GNU headers above the lock's own base are read as strictly as ever."""
    for label in (None, "99"):
        copy = world.copy(world.root / f"copy-{label}")
        layout = Layout(copy.oci)
        if label is not None:
            layout.config["config"]["Labels"]["mllock.base-layers"] = label
        layout.append(layer({"app/sitecustomize.py": b"import os\n"}))
        layout.save(repoint=True)
        report = copy.check(f"oci:{copy.oci}", run=RUN)
        found = verdicts(report)
        assert found["configuration"] == "refuted"
        assert "proven" not in {found["model"], found["environment"], found["code"]}
        name = layout.manifest["layers"][-1]["digest"].replace("sha256:", "blobs/sha256/")
        assert name in paths(report, "configuration")


def test_a_python_layer_that_was_written_loosely(world: World) -> None:
    """Counted to the base by the label, it is none by the lock: strictly read, and refuted."""
    layout = Layout(world.oci)
    number = layout.layer_with("opt/venv/pyvenv.cfg")
    layout.replace(number, layout.members(number))
    tar = gzip.decompress(layout.read(layout.manifest["layers"][number]))
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as old:
        members = {
            info.name: (info, old.extractfile(info) if info.isreg() else None) for info in old
        }
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as new:
            for info, stream in members.values():
                new.addfile(info, stream)
    layout.set_tar(number, out.getvalue())
    layout.config["config"]["Labels"]["mllock.base-layers"] = "9"
    layout.save(repoint=True)
    report = world.check(f"oci:{world.oci}", run=RUN)
    assert verdicts(report)["environment"] == "refuted"
    name = layout.manifest["layers"][number]["digest"].replace("sha256:", "blobs/sha256/")
    assert name in paths(report, "environment")


def test_without_the_label_the_base_is_not_read(world: World) -> None:
    layout = Layout(world.oci)
    del layout.config["config"]["Labels"]["mllock.base-layers"]
    layout.save(repoint=True)
    found = asked(world)
    assert (found["environment"], found["configuration"]) == ("refuted", "refuted")


def test_a_lock_of_another_base(world: World) -> None:
    """The lock in hand says another manifest than the signed record: it is another lock."""
    path = world.project / "mlproject.lock"
    lock = read_lock(path)
    (pin,) = lock.base.platforms
    other = msgspec.structs.replace(pin, manifest="sha256:" + "7" * 64)
    changed = msgspec.structs.replace(
        lock, base=msgspec.structs.replace(lock.base, platforms=(other,))
    )
    path.write_bytes(dump_lock(seal(changed)))
    (world.run / "mlproject.lock").write_bytes(dump_lock(seal(changed)))
    report = world.check(f"oci:{world.oci}", run=RUN)
    assert verdicts(report)["lineage"] == "refuted"


def test_tars_are_written_as_the_test_says() -> None:
    """The base's layers are such that only the loose reader reads them."""
    from mllock.errors import ArchiveError
    from mllock.image.read import read_layer

    data = layer(python_layer())
    assert read_layer(iter([data]), "x", packing="none", other=True).loose is not None
    with pytest.raises(ArchiveError):
        read_layer(iter([data]), "x", packing="none")
    assert make_tar({})
