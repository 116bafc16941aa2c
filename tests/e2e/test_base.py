"""A base of one's own, from its registry to a container that is proven.

The base is made by others' tools: the tree that mllock assembles, taken apart by umoci, its Python
moved to /usr/local, its dpkg given the database that dpkg itself keeps, and pushed by skopeo.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import docker_builder
from support.containers import clean
from support.e2e import must
from support.registry import RealRegistry, registry
from support.tamper import Layout

from mllock.engine.docker import DockerEngine

__all__ = ["registry"]

pytestmark = [pytest.mark.e2e, pytest.mark.tools]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def lowest_layer(source: Path, target: Path) -> None:
    """An OCI layout with the image "tree": the base layer of a layout of mllock's, and no more."""
    built = Layout(source, "train")
    place = target / "blobs" / "sha256"
    place.mkdir(parents=True)
    entry = built.manifest["layers"][0]
    shutil.copy(built.path(entry), place)
    built.folder = target
    built.config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": [f"PATH={PATH}", "LANG=C.UTF-8"], "Entrypoint": ["/bin/false"]},
        "rootfs": {"type": "layers", "diff_ids": built.config["rootfs"]["diff_ids"][:1]},
        "history": [{"created_by": "the tree"}],
    }
    built.manifest["layers"] = [entry]
    built.entry["annotations"] = {"org.opencontainers.image.ref.name": "tree"}
    built.index = {"schemaVersion": 2, "manifests": [built.entry]}
    built.save()
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def change(root: Path) -> None:
    """Python under /usr/local, and dpkg's own database instead of one file for each package."""
    for name in ("bin/python3.11", "lib/python3.11"):
        (root / "usr/local" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root / "usr" / name, root / "usr/local" / name)
    (root / "usr/local/bin/python3").symlink_to("python3.11")
    dpkg = root / "var/lib/dpkg"
    stanzas = []
    (dpkg / "info").mkdir()
    for path in sorted((dpkg / "status.d").iterdir()):
        if path.suffix == ".md5sums":
            continue
        first, rest = path.read_text().strip().split("\n", 1)
        stanzas.append(f"{first}\nStatus: install ok installed\n{rest}\n")
        fields = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
        same = fields.get("Multi-Arch") == "same"
        name = f"{path.name}:{fields['Architecture']}" if same else path.name
        (dpkg / "info" / f"{name}.list").write_text("/.\n")
        sums = path.with_name(f"{path.name}.md5sums")
        shutil.copy(sums, dpkg / "info" / f"{name}.md5sums")
    (dpkg / "info" / "format").write_text("1\n")
    (dpkg / "status").write_text("\n".join(stanzas))
    shutil.rmtree(dpkg / "status.d")
    run("ldconfig", "-r", str(root))


@pytest.fixture
def base(registry: RealRegistry, finished: Path, tmp_path: Path) -> str:
    layout, bundle = tmp_path / "base", tmp_path / "bundle"
    lowest_layer(finished / ".mllock" / "oci", layout)
    run("umoci", "unpack", "--image", f"{layout}:tree", str(bundle))
    change(bundle / "rootfs")
    run("umoci", "repack", "--image", f"{layout}:py", str(bundle))
    reference = f"{registry.host}/team/py:3.11"
    push = ("skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--format", "v2s2")
    run(*push, f"oci:{layout}:py", f"docker://{reference}")
    return reference


@pytest.fixture
def project(
    starter: Path, base: str, engine: DockerEngine, unique: str, e2e_environ: dict[str, str]
) -> Iterator[Path]:
    shutil.rmtree(starter / ".mllock")
    spec = starter / "mlproject.toml"
    text = spec.read_text()
    assert 'base = "debian:bookworm"' in text
    text = text.replace('name = "wine"', f'name = "{unique}"')
    spec.write_text(text.replace('base = "debian:bookworm"', f'base = "{base}"'))
    yield starter
    clean(engine, unique)


def inspected(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
    )
    return found


def claims(folder: Path, target: str, environ: dict[str, str]) -> set[str]:
    report = json.loads(must(folder, "check", target, "--json", environ=environ).stdout)
    return {
        finding["verdict"] for finding in report["findings"] if finding["verdict"] != "not asked"
    }


def test_from_a_registry_to_a_proven_container(
    project: Path,
    base: str,
    unique: str,
    registry: RealRegistry,
    engine_host: str,
    e2e_environ: dict[str, str],
    tmp_path: Path,
) -> None:
    environ = {**e2e_environ, "DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""}
    locked = must(project, "lock", environ=environ)
    assert "Removed debian:bookworm with Python 3.11.2" in locked.stdout
    assert f"Added {base} with Python 3.11.2 (sha256:" in locked.stdout
    must(project, "lock", "--check", environ=environ)
    must(project, "train", "--runtime", "docker", environ=environ)
    target = f"{registry.host}/team/wine:1"
    must(project, "build", "serve", environ=environ)
    must(project, "build", "serve", "--output", f"registry:{target}", environ=environ)

    # Blobs of the base are those of its registry, in ours and in the layout.
    theirs = inspected(base)["layers"]
    ours = inspected(target)["layers"]
    assert [(e["digest"], e["size"]) for e in ours[:2]] == [
        (e["digest"], e["size"]) for e in theirs
    ]

    docker = ("docker", "--host", engine_host)
    image = f"{unique}:serve"
    code = "import sklearn, sys; print(sys.prefix, sys.base_prefix, sklearn.__version__)"
    said = run(*docker, "run", "--rm", image, "python", "-c", code).split()
    assert said[:2] == ["/opt/venv", "/usr/local"]
    history = run(*docker, "history", "--no-trunc", "--format", "{{.CreatedBy}}", image).split("\n")
    assert "the tree" in history

    name = f"{unique}-live"
    run(*docker, "run", "--detach", "--name", name, image)
    try:
        for what in ("oci:.mllock/oci", f"image:{image}", f"container:{name}"):
            assert claims(project, what, environ) == {"proven"}, what
    finally:
        run(*docker, "rm", "--force", name)
    assert claims(project, f"registry:{target}", environ) == {"proven"}

    # dpkg and ldconfig find what they would have made.
    run("umoci", "unpack", "--image", f"{project / '.mllock/oci'}:serve", str(tmp_path / "bundle2"))
    root = tmp_path / "bundle2" / "rootfs"
    dpkg = ("--admindir", str(root / "var/lib/dpkg"))
    query = ("--show", "--showformat", "${db:Status-Status} ${Version}\n", "libgomp1:amd64")
    lock = (project / "mlproject.lock").read_text()
    status, version = run("dpkg-query", *dpkg, *query).split()
    assert status == "installed"
    assert f'version = "{version}"' in lock
    assert "usr/lib/x86_64-linux-gnu/libgomp.so.1" in run(
        "dpkg-query", *dpkg, "-L", "libgomp1:amd64"
    )
    # Nothing is said of the new package; some of the base's have never had sums.
    assert "libgomp1" not in run("dpkg", *dpkg, "--audit")
    before = _libraries(root)
    assert any("libgomp.so.1 " in line for line in before)
    run("ldconfig", "-r", str(root))
    assert _libraries(root) == before


def _named(entry: dict[str, Any]) -> tuple[str, int]:
    return entry["digest"], entry["size"]


def _libraries(root: Path) -> list[str]:
    """The cache as ldconfig prints it, without the line that counts and the one that names it."""
    lines = run("ldconfig", "-p", "-C", str(root / "etc/ld.so.cache")).splitlines()[1:]
    return [line for line in lines if not line.startswith("Cache generated by")]


def test_a_layer_of_the_base_that_somebody_replaced_in_the_registry(
    project: Path, base: str, registry: RealRegistry, e2e_environ: dict[str, str]
) -> None:
    """The lock has digests: what has other bytes is not used, and what is cached is not needed."""
    must(project, "lock", environ=e2e_environ)
    digest = inspected(base)["layers"][1]["digest"].removeprefix("sha256:")
    (blob,) = registry.folder.glob(f"data/**/blobs/sha256/*/{digest}/data")
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    environ = {**e2e_environ, "MLLOCK_CACHE": str(project / "cache")}
    done = must(project, "build", "train", environ=environ, code=4)
    assert "sent other bytes than the digest names" in done.stderr
    assert f"expected: sha256:{digest}" in done.stderr
    blob.write_bytes(good)
    must(project, "build", "train", environ=e2e_environ)


def test_the_docker_builder_and_its_context_stand_on_a_base_from_a_registry(
    base: str,
    tmp_path: Path,
    environ: dict[str, str],
    unique: str,
    engine_host: str,
    module_engine: DockerEngine,
) -> None:
    """The base's layers stay its own; what it would start, and its user, do not reach ours."""
    folder = docker_builder.project(tmp_path / "p", unique)
    spec = folder / "mlproject.toml"
    spec.write_text(
        spec.read_text().replace('python = "3.11"', f'python = "3.11"\nbase = "{base}"')
    )
    docker = ("docker", "--host", engine_host)
    theirs = f"{unique}-theirs"
    try:
        must(folder, "lock", environ=environ)
        must(folder, "train", environ=environ)
        must(folder, "build", environ=environ)
        for target in (f"image:{unique}:serve", "oci:.mllock/oci"):
            assert docker_builder.verdicts(folder, target, environ, 0) == docker_builder.PROVEN
        must(folder, "export", "dockerfile", "-o", "context", environ=environ)
        text = (folder / "context" / "Dockerfile").read_text()
        assert f"FROM {base.rpartition(':')[0]}@sha256:" in text
        assert not (folder / "context" / "base.tar.gz").exists()
        run(
            *("env", "DOCKER_BUILDKIT=0", *docker, "build", "--target", "train"),
            *("--tag", f"{theirs}:train", str(folder / "context")),
        )
        for name in (unique, theirs):
            said = docker_builder.said_by(run(*docker, "run", "--rm", f"{name}:train"))
            assert (said["nasty"], said["user"]) == (docker_builder.NASTY, 10001)
        ours, mine = (module_engine.image(f"{name}:train") for name in (unique, theirs))
        assert ours is not None
        assert mine is not None
        assert ours.diff_ids[:2] == mine.diff_ids[:2]
        assert sorted(ours.config["Env"]) == sorted(mine.config["Env"])
    finally:
        for name in (unique, theirs):
            docker_builder.remove(module_engine, name)
