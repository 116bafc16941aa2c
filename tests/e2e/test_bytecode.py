"""The starter with bytecode, on the real Debian base: proven, made twice, used by imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.e2e import MLLOCK, must
from support.reporter import Recorder
from support.vectors import VECTOR, VECTOR_PYC

from mllock.core.digest import sha256_of
from mllock.image.bytecode_layers import layer_tree
from mllock.image.compiling import Source, compiled
from mllock.image.interpreter import read_interpreter
from mllock.image.types import Layer
from mllock.store.cache import Cache
from mllock.store.layout_reader import open_layout

pytestmark = [pytest.mark.e2e, pytest.mark.tools]

IMPORTS = "import asyncio, fastapi, pandas, sklearn.linear_model, uvicorn"


@pytest.fixture(scope="module")
def project(finished: Path, e2e_environ: dict[str, str], tmp_path_factory) -> Path:
    """A copy of the starter with bytecode, locked and trained. Not to be changed."""
    folder = tmp_path_factory.mktemp("bytecode") / "wine"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.rmtree(folder / ".mllock")
    spec = folder / "mlproject.toml"
    text = spec.read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("probes")]
    spec.write_text("".join(lines).replace("[environment] ", "[environment]\nbytecode = true ", 1))
    must(folder, "lock", environ=e2e_environ)
    must(folder, "build", "train", environ=e2e_environ)
    return folder


def root_of(project: Path, place: Path) -> Path:
    """The image as umoci unpacks it."""
    subprocess.run(
        ["umoci", "unpack", "--image", f"{project}/.mllock/oci:train", place],
        check=True,
        capture_output=True,
    )
    return place / "rootfs"


def python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["chroot", "--userspec=10001:10001", root, "/opt/venv/bin/python", *arguments],
        env={"PATH": "/opt/venv/bin:/usr/bin:/usr/sbin"},
        capture_output=True,
        text=True,
        check=True,
    )


def test_two_builds_are_one(project: Path, e2e_environ: dict[str, str], tmp_path: Path) -> None:
    """The second one in a cache without a layer, by another number of processes, on another day."""
    cache = tmp_path / "cache"
    shutil.copytree(e2e_environ["MLLOCK_CACHE"], cache)
    shutil.rmtree(cache / "layers")
    environ = {**e2e_environ, "MLLOCK_CACHE": str(cache), "TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8"}
    before = json.loads(must(project, "build", "train", "--json", environ=e2e_environ).stdout)
    done = must(project, "-v", "build", "train", "--json", environ=environ)
    assert json.loads(done.stdout) == before
    assert "files with the base's Python 3.11.2\n" in done.stderr
    again = must(project, "-v", "build", "train", environ=environ)
    assert "compiling" not in again.stderr


def test_imports_compile_nothing(project: Path, tmp_path: Path) -> None:
    root = root_of(project, tmp_path / "bundle")
    said = python(root, "-v", "-c", IMPORTS).stderr
    objects = [line for line in said.splitlines() if "code object from" in line]
    assert len(objects) > 1000
    assert [line for line in objects if "/__pycache__/" not in line] == []
    assert (
        sum(line.startswith("# code object from '/usr/lib/python3.11/") for line in objects) > 100
    )
    # What is shipped is what this very interpreter finds right: header, hash of the source, code.
    program = """
import importlib.util, marshal, pathlib, sys
count = 0
for folder in ("/usr/lib/python3.11", "/opt/venv/lib/python3.11/site-packages"):
    for pyc in pathlib.Path(folder).rglob("*.pyc"):
        source = pathlib.Path(importlib.util.source_from_cache(str(pyc)))
        data = pyc.read_bytes()
        assert data[:8] == importlib.util.MAGIC_NUMBER + b"\\1\\0\\0\\0", pyc
        assert data[8:16] == importlib.util.source_hash(source.read_bytes()), pyc
        assert marshal.loads(data[16:]).co_filename == str(source), pyc
        count += 1
print(count)
"""
    count = int(python(root, "-c", program).stdout)
    sources = [p for p in root.rglob("*.py") if "/opt/venv/lib/" in str(p)]
    assert count > len(sources) > 2000


def test_an_image_with_bytecode_is_proven(
    project: Path, e2e_environ: dict[str, str], engine_host: str, tmp_path: Path
) -> None:
    folder = tmp_path / "wine"
    shutil.copytree(project, folder, symlinks=True)
    environ = {**e2e_environ, "DOCKER_HOST": engine_host}
    must(folder, "train", "--runtime", "docker", environ=environ)
    must(folder, "build", "--output", "oci:.mllock/oci", environ=environ)
    done = must(folder, "check", "oci:.mllock/oci", "--json", environ=environ)
    found = {item["claim"]: item["verdict"] for item in json.loads(done.stdout)["findings"]}
    assert {claim for claim, verdict in found.items() if verdict == "proven"} == {
        "signature",
        "lineage",
        "model",
        "environment",
        "code",
        "configuration",
    }


def test_it_needs_no_privilege(project: Path, e2e_environ: dict[str, str], tmp_path: Path) -> None:
    """A process without any capability, which is what root has more than others."""
    cache = tmp_path / "cache"
    shutil.copytree(e2e_environ["MLLOCK_CACHE"], cache)
    shutil.rmtree(cache / "layers")
    before = json.loads(must(project, "build", "train", "--json", environ=e2e_environ).stdout)
    done = subprocess.run(
        [
            *("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
            *(str(MLLOCK), "-v", "build", "train", "--json"),
        ],
        cwd=project,
        env={**os.environ, **e2e_environ, "MLLOCK_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == before
    assert "files with the base's Python 3.11.2\n" in done.stderr


def test_the_vector_by_debians_own_python(project: Path, e2e_environ, tmp_path: Path) -> None:
    cache = Cache(Path(e2e_environ["MLLOCK_CACHE"]), Recorder())
    image = open_layout(project / ".mllock" / "oci").image("train")
    diff_ids = image.config_value["rootfs"]["diff_ids"]
    layers = [
        Layer(kind="base", title="", digest=there.digest, diff_id=diff, size=there.size, unpacked=0)
        for there, diff in zip(image.layers[:2], diff_ids[:2], strict=True)
    ]
    interpreter = read_interpreter(layer_tree(cache, layers), "/usr/bin/python3.11", "3.11")
    path = "/opt/venv/lib/python3.11/site-packages/vector.py"
    source = Source(path=path, data=VECTOR)
    with compiled(interpreter, "3.11.2", [source], tmp_path, lambda _: None) as results:
        (found,) = results
    assert found.data is not None
    assert sha256_of(found.data) == VECTOR_PYC
