"""Other people's tools accept what was built; on the real starter its root runs under chroot."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from support.e2e import must
from support.world import World

from mllock.store.layout_reader import open_layout
from mllock.workflows.build import build_images


def tool(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def unpack(layout: Path, ref: str, bundle: Path) -> Path:
    """The root file system of an image, as umoci unpacks it."""
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    tool("umoci", "unpack", *rootless, "--image", f"{layout}:{ref}", bundle)
    return bundle / "rootfs"


@pytest.mark.tools
@pytest.mark.parametrize("ref", ["train", "serve"])
def test_skopeo(whole: World, tmp_path: Path, ref: str) -> None:
    found = json.loads(tool("skopeo", "inspect", f"oci:{whole.oci}:{ref}"))
    image = open_layout(whole.oci).image(ref)
    assert found["Digest"] == image.manifest_digest
    assert found["Layers"] == [layer.digest for layer in image.layers]
    # A copy decompresses and recompresses nothing, and verifies every digest.
    tool("skopeo", "copy", f"oci:{whole.oci}:{ref}", f"oci:{tmp_path / 'copy'}:{ref}")
    copied = json.loads((tmp_path / "copy" / "index.json").read_text())
    assert copied["manifests"][0]["digest"] == image.manifest_digest
    # docker-archive stores layers uncompressed: skopeo checks every diff_id.
    tool("skopeo", "copy", f"oci:{whole.oci}:{ref}", f"docker-archive:{tmp_path / 'archive.tar'}")


@pytest.mark.tools
def test_an_image_that_skopeo_put_there_stays(world: World) -> None:
    there = f"oci:{world.oci}:important"
    tool("skopeo", "copy", f"oci:{world.oci}:train", there)
    before = json.loads(tool("skopeo", "inspect", there))
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace("[serve]", "[serve]\nhealth = '/h'"))
    build_images(world.context())
    assert json.loads(tool("skopeo", "inspect", there)) == before
    tool("skopeo", "copy", there, f"oci:{world.root / 'copy'}:important")
    assert open_layout(world.oci).refs == ("important", "serve", "train")


@pytest.mark.tools
@pytest.mark.parametrize("ref", ["train", "serve"])
def test_umoci_unpacks_what_was_meant(whole: World, tmp_path: Path, ref: str) -> None:
    root = unpack(whole.oci, ref, tmp_path / "bundle")
    python = root / "opt/venv/bin/python"
    assert os.readlink(python) == "/usr/bin/python3.11"
    assert os.readlink(root / "lib") == "usr/lib"
    tiny = root / "opt/venv/lib/python3.11/site-packages/tiny_lib/__init__.py"
    assert tiny.read_bytes() == b"VERSION = '1.0'\n"
    mode = stat.S_IMODE((root / "app").stat().st_mode)
    assert mode == (0o1777 if ref == "train" else 0o755)
    if ref == "serve":
        assert (root / "app/out/model/weights.bin").read_bytes() == b"\x00\x01" * 100
        assert (root / "app/out/model/run.sh").stat().st_mode & 0o111
        assert sorted(os.listdir(root / "opt/mllock")) == [
            "mlproject.lock",
            "model.manifest",
            "record.sigstore.json",
        ]
    else:
        assert sorted(os.listdir(root / "opt/mllock")) == ["params.json"]
    assert sum(1 for _ in root.rglob("*")) > 20


@pytest.mark.e2e
@pytest.mark.tools
def test_the_root_of_the_starter_trains(finished: Path, tmp_path: Path) -> None:
    """The image's own Python, under chroot: the imports, then the starter's training."""
    root = unpack(finished / ".mllock" / "oci", "train", tmp_path / "bundle")
    chroot = ["chroot", "--userspec=10001:10001", root]
    python = "/opt/venv/bin/python"
    code = "import sklearn, pandas, fastapi, sys; print(sys.prefix, sys.version_info[:2])"
    assert tool(*chroot, python, "-c", code) == "/opt/venv (3, 11)\n"
    shutil.copytree(finished / "data", root / "app" / "data")
    config = open_layout(finished / ".mllock" / "oci").image("train").config_value["config"]
    variables = [*config["Env"], "MLLOCK_PARAMS=/opt/mllock/params.json", "HOME=/tmp"]
    command = " ".join(config["Cmd"])
    tool(*chroot, "/usr/bin/env", "-i", *variables, "/bin/sh", "-c", f"cd /app && {command}")
    metrics = json.loads((root / "app" / "metrics.json").read_text())
    (run,) = (finished / ".mllock" / "runs").iterdir()
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert any((root / "app" / "model").iterdir())


@pytest.mark.e2e
@pytest.mark.tools
def test_the_starter_serves(finished: Path, tmp_path: Path) -> None:
    root = unpack(finished / ".mllock" / "oci", "serve", tmp_path / "bundle")
    code = (
        "import serve; from fastapi.routing import APIRoute;"
        "print(sorted(r.path for r in serve.app.routes if isinstance(r, APIRoute)))"
    )
    out = tool(
        "chroot",
        "--userspec=10001:10001",
        root,
        "/bin/sh",
        "-c",
        f"cd /app && exec /opt/venv/bin/python -c '{code}'",
    )
    assert "/healthz" in out


@pytest.mark.e2e
def test_the_starter_in_two_folders(
    starter: Path, e2e_environ: dict[str, str], tmp_path: Path
) -> None:
    """A cold layer cache, another umask, time zone and hash seed: the same manifests."""
    cache = tmp_path / "cache"
    shutil.copytree(
        Path(e2e_environ["MLLOCK_CACHE"]), cache, ignore=shutil.ignore_patterns("layers", "venvs")
    )
    before = {r: open_layout(starter / ".mllock/oci").image(r) for r in ("train", "serve")}
    elsewhere = tmp_path / "elsewhere" / "deep"
    shutil.copytree(starter, elsewhere, symlinks=True)
    shutil.rmtree(elsewhere / ".mllock" / "oci")
    environ = e2e_environ | {
        "MLLOCK_CACHE": str(cache),
        "TZ": "Asia/Tokyo",
        "PYTHONHASHSEED": "77",
        "LANG": "tr_TR.UTF-8",
    }
    old = os.umask(0o077)
    try:
        must(elsewhere, "build", environ=environ)
    finally:
        os.umask(old)
    layout = open_layout(elsewhere / ".mllock" / "oci")
    for ref, image in before.items():
        assert layout.image(ref).manifest_digest == image.manifest_digest


@pytest.mark.e2e
@pytest.mark.tools
def test_the_starter_documents_are_valid(finished: Path, validate_oci) -> None:
    layout = finished / ".mllock" / "oci"
    validate_oci((layout / "index.json").read_bytes(), "image-index-schema.json")
    for ref in ("train", "serve"):
        image = open_layout(layout).image(ref)
        validate_oci(image.manifest, "image-manifest-schema.json")
        validate_oci(image.config, "config-schema.json")
        tool("skopeo", "inspect", f"oci:{layout}:{ref}")
