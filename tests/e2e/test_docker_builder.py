"""`[builder] kind = "docker"`, typed, on the real engine: built, proven, changed, lost, refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.docker_builder import (
    PROVEN,
    left,
    name_of,
    project,
    remove,
    verdicts,
    with_wheels_only,
)
from support.e2e import mllock, must
from support.wheels import make_wheel, wheel_name

from mllock.engine.docker import DockerEngine
from mllock.engine.types import ContainerPlan
from mllock.errors import EngineError

pytestmark = pytest.mark.e2e


def test_train_and_serve_share_what_the_engine_built(
    built: Path, environ: dict[str, str], module_engine: DockerEngine
) -> None:
    name = name_of(built)
    images = {kind: module_engine.image(f"{name}:{kind}") for kind in ("train", "serve")}
    environment = module_engine.image(f"{name}:environment")
    assert environment is not None
    shared = environment.diff_ids
    assert len(shared) == 3  # base, system packages, Python packages
    for image in images.values():
        assert image is not None
        assert image.diff_ids[:3] == shared
    assert left(module_engine, name) == [f"{name}:{k}" for k in ("environment", "serve", "train")]
    (run,) = json.loads(must(built, "runs", "--json", environ=environ).stdout)
    shown = json.loads(must(built, "show", run["run"], "--json", environ=environ).stdout)
    assert shown["environment"] == images["serve"].config["Labels"]["mllock.environment"]  # type: ignore[union-attr]
    record = json.loads((built / ".mllock" / "runs" / run["run"] / "record.json").read_bytes())
    parameters = record["predicate"]["buildDefinition"]["internalParameters"]
    assert parameters["facts"]["builder"] == "docker"
    assert parameters["environment"]["diff_ids"] == list(shared)


def test_what_is_not_reproducible_is_said(copy: Path, environ: dict[str, str]) -> None:
    note = (
        "pinned, not bit-identical: base, system packages and every wheel are those of the lock, "
        "by sha256; the layer of the Python packages is of one build, and no other build gives "
        "its digest"
    )
    assert note in must(copy, "build", environ=environ).stderr.splitlines()
    (copy / "mlproject.lock").unlink()
    said = must(copy, "lock", environ=environ).stderr.splitlines()
    assert '[builder] kind = "docker": images are pinned, not bit-identical' in said


def test_image_layout_and_container_are_proven(
    built: Path, environ: dict[str, str], module_engine: DockerEngine
) -> None:
    name = name_of(built)
    assert verdicts(built, f"image:{name}:serve", environ, 0) == PROVEN
    assert verdicts(built, "oci:.mllock/oci", environ, 0) == PROVEN
    container = module_engine.create(ContainerPlan(image=f"{name}:serve"))
    try:
        assert verdicts(built, f"container:{container}", environ, 0) == PROVEN
        path = "/opt/venv/lib/python3.11/site-packages/tiny_lib/__init__.py"
        put(module_engine, container, path, b"X = 2\n")
        found = verdicts(built, f"container:{container}", environ, 1)
        # What is executed and imported was written over: that is configuration, too.
        assert found == PROVEN | {"environment": "refuted", "configuration": "refuted"}
    finally:
        module_engine.remove(container)


def put(engine: DockerEngine, container: str, path: str, data: bytes) -> None:
    import io

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(path.rpartition("/")[2])
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, io.BytesIO(data))
    engine.put_archive(container, path.rpartition("/")[0], [buffer.getvalue()])


def test_a_changed_byte_of_the_layer_is_found(copy: Path, environ: dict[str, str]) -> None:
    layout = copy / ".mllock" / "oci"
    explained = json.loads(must(copy, "build", "serve", "--json", environ=environ).stdout)
    (layer,) = [x for x in explained["images"][0]["layers"] if x["kind"] == "python"]
    blob = layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    found = verdicts(copy, "oci:.mllock/oci", environ, 1)
    assert found["environment"] == found["configuration"] == "refuted"


def test_it_builds_again_from_the_cache_without_an_engine(
    copy: Path, environ: dict[str, str]
) -> None:
    """Same digests, because the layer is kept, and code and model are mllock's own layers."""
    before = json.loads(must(copy, "build", "--json", environ=environ).stdout)["images"]
    alone = environ | {"MLLOCK_ENGINE": "none"}
    again = json.loads(must(copy, "build", "--json", environ=alone).stdout)["images"]
    assert again == before


@pytest.mark.parametrize("source", ["layout", "engine"])
def test_with_the_cache_lost_the_trained_layer_is_found_again(
    copy: Path, environ: dict[str, str], tmp_path: Path, source: str
) -> None:
    """Where it was trained in: the serving image is that of before, and is proven."""
    before = json.loads(must(copy, "build", "--json", environ=environ).stdout)["images"]
    if source == "engine":
        shutil.rmtree(copy / ".mllock" / "oci")
    cold = with_wheels_only(environ, tmp_path)
    if source == "layout":
        cold["MLLOCK_ENGINE"] = "none"
    done = must(copy, "build", "--json", environ=cold)
    assert json.loads(done.stdout)["images"] == before
    said = "the layer of the Python packages is the one that was trained in"
    assert said in done.stderr.splitlines()
    assert verdicts(copy, "oci:.mllock/oci", cold, 0) == PROVEN


def test_an_environment_that_was_built_anew_is_another(
    copy: Path, environ: dict[str, str], tmp_path: Path, module_engine: DockerEngine
) -> None:
    """It does not take the place of the one that a run was trained in, nor of one that is lost."""
    before = json.loads(must(copy, "build", "serve", "--json", environ=environ).stdout)["images"]
    name, own = f"t-{os.urandom(6).hex()}", name_of(copy)
    spec = copy / "mlproject.toml"
    spec.write_text(spec.read_text().replace(own, name))
    (run,) = (copy / ".mllock" / "runs").iterdir()
    record = json.loads((run / "record.json").read_bytes())
    trained = record["predicate"]["buildDefinition"]["internalParameters"]["environment"]
    shutil.rmtree(copy / ".mllock" / "oci")
    cold = with_wheels_only(environ, tmp_path)
    # Another key: the record is nobody's that this user trusts.
    stranger = cold | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    try:
        done = must(copy, "build", "train", "--json", environ=stranger)
        anew = json.loads(done.stdout)["images"][0]
        layers = anew["layers"]
        made = [layer["diffId"] for layer in layers[:3]]
        assert made[:2] == trained["diff_ids"][:2]  # mllock's own: the same bytes
        assert made[2] != trained["diff_ids"][2]
    finally:
        remove(module_engine, name)
    spec.write_text(spec.read_text().replace(name, own))
    alone = cold | {"MLLOCK_ENGINE": "none"}
    done = must(copy, "build", "serve", environ=alone, code=2)
    assert done.stderr.splitlines()[-4:] == [
        f"error: {run.name}: the run was trained in another environment",
        f"expected: {anew['environment']}",
        f"found: {before[0]['environment']}",
        "hint: bring the train image that it ran in back into the engine (docker load or pull), "
        'then build again; or train again with "mllock train"',
    ]
    again = json.loads(must(copy, "build", "serve", "--json", environ=cold).stdout)["images"]
    assert again == before


def test_no_engine(tmp_path: Path, environ: dict[str, str], unique: str) -> None:
    folder = project(tmp_path / "p", unique)
    must(folder, "lock", environ=environ)
    spec = folder / "mlproject.toml"
    spec.write_text(spec.read_text().replace("libgomp1", "libgomp1"))
    cold = with_wheels_only(environ, tmp_path) | {"MLLOCK_ENGINE": "none"}
    done = mllock(folder, "build", environ=cold)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-2:] == [
        'error: mlproject.toml:30: builder.kind: [builder] kind = "docker" needs a container '
        "engine, and none answers",
        'hint: start one, or name it with DOCKER_HOST; or write kind = "native", which needs none',
    ]
    assert not (folder / ".mllock" / "oci").exists()


def test_an_engine_for_another_platform(
    tmp_path: Path, environ: dict[str, str], unique: str, engine_host: str
) -> None:
    folder = project(tmp_path / "p", unique)
    spec = folder / "mlproject.toml"
    text = spec.read_text().replace('["tiny-lib"]', '[]\nplatforms = ["linux/arm64"]')
    spec.write_text(text.replace('system-packages = ["libgomp1"]', 'resolver = "uv"'))
    must(folder, "lock", environ=environ)
    done = must(folder, "build", environ=environ, code=4)
    assert done.stderr.splitlines()[-4:] == [
        f"error: the engine at {engine_host} cannot install packages for another platform",
        "expected: linux/arm64",
        "found: linux/amd64",
        'hint: name one with DOCKER_HOST that can; or write kind = "native" in [builder], which '
        "builds for any platform",
    ]


def test_a_step_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path, environ: dict[str, str], unique: str, module_engine: DockerEngine
) -> None:
    """A wheel whose own RECORD lies: pip takes it by hash, and refuses it when it installs."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    broken = make_wheel("tiny-lib", "1.0", {"tiny_lib/__init__.py": b"", "../evil.py": b""})
    (wheels / wheel_name("tiny-lib", "1.0")).write_bytes(broken)
    links = f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    mine = with_wheels_only(environ, tmp_path) | {"PIP_FIND_LINKS": links}
    folder = project(tmp_path / "p", unique)
    must(folder, "lock", environ=mine)
    done = mllock(folder, "build", environ=mine)
    assert (done.returncode, done.stdout) == (4, "")
    errors = done.stderr.splitlines()
    step = next(line for line in errors if line.startswith("error: "))
    assert step.startswith(
        "error: the container engine cannot build the image: Step 7/10 : "
        'RUN ["/opt/venv/bin/python"'
    )
    assert "evil.py" in done.stderr
    assert errors[-1] == 'hint: "mllock -v build" shows all that the engine says'
    assert left(module_engine, unique) == []
    assert not (folder / ".mllock" / "oci").exists()


INTERRUPTED = """
import signal, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
for line in process.stderr:
    if "Step 7/" in line:
        process.send_signal(signal.SIGINT)
        break
sys.stderr.write(process.stderr.read())
raise SystemExit(process.wait())
"""


def test_interrupted(
    tmp_path: Path,
    environ: dict[str, str],
    unique: str,
    engine_host: str,
    module_engine: DockerEngine,
) -> None:
    folder = project(tmp_path / "p", unique)
    must(folder, "lock", environ=environ)
    cold = with_wheels_only(environ, tmp_path)
    mine = Path(sys.executable).with_name("mllock")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(mine), "-v", "build"],
        cwd=folder,
        env={**os.environ, **cold},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "interrupted: nothing was half-written"
    assert left(module_engine, unique) == []
    assert not (folder / ".mllock" / "oci").exists()


def test_a_removed_image_is_no_error(module_engine: DockerEngine, unique: str) -> None:
    module_engine.remove_built(f"mllock.build={unique}")
    with pytest.raises(EngineError):
        next(iter(module_engine.build(iter([b"no tar"]), f"{unique}:x", "base")))
