"""`mllock export dockerfile`, typed: a context that the engine builds, and that nothing breaks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.docker_builder import NASTY, name_of, project, remove, said_by, verdicts
from support.e2e import must

from mllock.engine.docker import DockerEngine

pytestmark = pytest.mark.e2e


def docker(*arguments: str, environ: Mapping[str, str]) -> str:
    tool = shutil.which("docker")
    if tool is None:
        pytest.skip("no docker command: scripts/test installs it")
    done = subprocess.run(
        [tool, *arguments],
        # The builder that every engine has: the other one is an addition to the command.
        env={**os.environ, **environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_context_stands_on_its_own(
    copy: Path,
    environ: dict[str, str],
    tmp_path: Path,
    unique: str,
    module_engine: DockerEngine,
) -> None:
    context = tmp_path / "my context"
    done = must(copy, "export", "dockerfile", "-o", str(context), environ=environ)
    assert done.stdout.splitlines() == [
        f"docker build --target {kind} '{context}'" for kind in ("train", "serve")
    ]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=context, check=True)
    try:
        for kind in ("train", "serve"):
            tag = f"{unique}:{kind}"
            docker(
                *("build", "--network=none", "--target", kind, "--tag", tag, str(context)),
                environ=environ,
            )
        ours = {kind: module_engine.image(f"{name_of(copy)}:{kind}") for kind in ("train", "serve")}
        theirs = {kind: module_engine.image(f"{unique}:{kind}") for kind in ("train", "serve")}
        for kind in ("train", "serve"):
            assert contract(theirs[kind]) == contract(ours[kind])
        # It trains as it is, as its own user, with all words and variables as they were meant.
        output = docker("run", "--rm", "--network=none", f"{unique}:train", environ=environ)
        said = said_by(output)
        cached = (
            "/opt/venv/lib/python3.11/site-packages/tiny_lib/__pycache__/__init__.cpython-311.pyc"
        )
        assert said == {
            "argv": ["train.py", "a b", "$PATH", "line\nend", "'q' \"r\" \\", "é\u2028"],
            "nasty": NASTY,
            "last": "x\\",
            "lib": cached,
            "user": 10001,
            "folder": "/app",
            "files": ["train.py", 'with space/"a" $b.txt'],
        }
        files = docker(
            "run",
            "--rm",
            f"{unique}:serve",
            "python",
            "-c",
            "import os;print([os.path.join(a,n) for t in('/app','/opt/mllock')"
            "for a,_,f in sorted(os.walk(t)) for n in sorted(f)],"
            "os.path.isdir(\"/app/out dir/model '$x'/empty\"))",
            environ=environ,
        )
        assert (
            files.strip()
            == str(
                [
                    "/app/serve.py",
                    "/app/out dir/model '$x'/weights $a.bin",
                    '/app/with space/"a" $b.txt',
                    "/opt/mllock/mlproject.lock",
                    "/opt/mllock/model.manifest",
                    "/opt/mllock/record.sigstore.json",
                ]
            )
            + " True"
        )
        # None of it is signed, and check says no.
        assert verdicts(copy, f"image:{unique}:serve", environ, 1)["environment"] == "refuted"
    finally:
        remove(module_engine, unique)


@pytest.mark.tools
def test_another_builder_reads_the_same(
    copy: Path, environ: dict[str, str], tmp_path: Path, module_engine: DockerEngine
) -> None:
    """Buildah has a parser of its own: the same words, variables and labels come out."""
    tool = shutil.which("buildah")
    if tool is None:
        pytest.skip("no buildah: scripts/test installs it")
    must(copy, "export", "dockerfile", "-o", str(tmp_path / "context"), environ=environ)
    store = ("--storage-driver=vfs", f"--root={tmp_path / 'root'}", f"--runroot={tmp_path / 'run'}")

    def buildah(*arguments: str) -> str:
        done = subprocess.run(
            [tool, *store, *arguments], capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    ours = module_engine.image(f"{name_of(copy)}:serve")
    assert ours is not None
    place = str(tmp_path / "context")
    buildah(
        *("build", "--quiet", "--isolation=chroot", "--format=docker"),
        *("--target=serve", "--tag=theirs", place),
    )
    try:
        config = json.loads(buildah("inspect", "--type=image", "theirs"))["Docker"]["config"]
        config["Labels"].pop("io.buildah.version")
        assert contract(Config(config)) == contract(ours)
    finally:
        # Files of its store belong to users of its own.
        buildah("rmi", "--all", "--force")


@dataclass(frozen=True)
class Config:
    config: dict[str, Any]


def contract(image: Any) -> dict[str, Any]:
    """What an image promises, less the labels that need digests and a line of the description."""
    config = image.config
    labels = {
        key: " ".join(value.split())
        for key, value in config["Labels"].items()
        if key not in ("mllock.builder-format", "mllock.environment", "mllock.base-layers")
    }
    keys = ("User", "WorkingDir", "Cmd", "ExposedPorts", "Entrypoint")
    health = config.get("Healthcheck") or {"Test": ["NONE"]}
    return {
        "labels": labels,
        "variables": sorted(config["Env"]),
        "health": health,
        **{key: config.get(key) or None for key in keys},
    }


def test_the_same_inputs_give_the_same_bytes(
    copy: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    for place, umask in (("one", 0o077), ("two", 0o000)):
        before = os.umask(umask)
        try:
            must(copy, "export", "dockerfile", "-o", str(tmp_path / place), environ=environ)
        finally:
            os.umask(before)
    one, two = (
        {
            str(path.relative_to(tmp_path / place)): (
                path.stat().st_mode,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted((tmp_path / place).rglob("*"))
        }
        for place in ("one", "two")
    )
    assert one == two
    # Again into the same folder is fine; over what somebody changed it is not.
    must(copy, "export", "dockerfile", "-o", str(tmp_path / "one"), environ=environ)
    with open(tmp_path / "one" / "Dockerfile", "a") as file:
        file.write("# mine\n")
    done = must(copy, "export", "dockerfile", "-o", str(tmp_path / "one"), environ=environ, code=2)
    assert done.stderr == (
        f"error: {tmp_path}/one/Dockerfile: was changed or added since the context was written\n"
        "hint: name another folder with -o, or remove this one\n"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine\n")
    done = must(copy, "export", "dockerfile", "-o", str(tmp_path / "mine"), environ=environ, code=2)
    assert done.stderr == (
        f"error: {tmp_path}/mine: the folder has files that this command did not write\n"
        "found: notes.txt\n"
        "hint: name an empty folder, or one that does not exist\n"
    )


def test_hashes_and_no_index(copy: Path, environ: dict[str, str], tmp_path: Path) -> None:
    must(copy, "export", "dockerfile", "--no-wheels", "-o", str(tmp_path / "c"), environ=environ)
    text = (tmp_path / "c" / "requirements.txt").read_text()
    lock = tomllib.loads((copy / "mlproject.lock").read_text())
    wheels = [wheel for package in lock["python"]["packages"] for wheel in package["wheels"]]
    assert text.count("--hash=sha256:") == len(wheels) == 1
    assert "://" not in text
    assert [p.name for p in (tmp_path / "c" / "packages").iterdir()] == [
        "pip-26.3-py3-none-any.whl"
    ]
    dockerfile = (tmp_path / "c" / "Dockerfile").read_text()
    assert ("--no-index" in dockerfile, "ARG PIP_INDEX_URL" in dockerfile) == (False, True)


def test_a_changed_model_is_not_handed_over(
    copy: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (run,) = (copy / ".mllock" / "runs").iterdir()
    weights = run / "model" / "weights $a.bin"
    weights.write_text("weightz")
    done = must(copy, "export", "dockerfile", "-o", str(tmp_path / "c"), environ=environ, code=2)
    assert "the model is not the one that the record names" in done.stderr
    assert not (tmp_path / "c").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p"]


def test_a_variable_with_a_line_end(
    tmp_path: Path, environ: dict[str, str], unique: str, module_engine: DockerEngine
) -> None:
    """A Dockerfile cannot hold it; the builder's own images can."""
    folder = project(tmp_path / "p", unique)
    spec = folder / "mlproject.toml"
    spec.write_text(spec.read_text().replace('LAST = "x\\\\"', 'LAST = "x\\nRUN false"'))
    try:
        must(folder, "lock", environ=environ)
        done = must(folder, "export", "dockerfile", environ=environ, code=2)
        assert done.stderr.splitlines()[-3:] == [
            "error: mlproject.toml:14: environment.variables.LAST: a Dockerfile cannot hold this "
            "value: it has a line end or another control character",
            'found: "x\\nRUN false"',
            "hint: let the program set it; images that mllock builds can have it",
        ]
        must(folder, "build", "train", environ=environ)
        image = module_engine.image(f"{unique}:train")
        assert image is not None
        assert "LAST=x\nRUN false" in image.config["Env"]
    finally:
        remove(module_engine, unique)
