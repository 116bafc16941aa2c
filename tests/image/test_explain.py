"""`mllock build --explain`: why each layer is, or is not, the one of the last build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping

import msgspec
import pytest
from support.nodes import file
from support.training import put_wheels
from support.world import BASE, OTHER, RUN, World, seed_base

import mllock.workflows.sbom
from mllock.cli.main import run
from mllock.lock.format import dump_lock, read_lock, seal
from mllock.lock.layers import assign, python_budget
from mllock.lock.types import DebianPackage, LayerGroup, Lock
from mllock.workflows.build import BuildResult, build_images
from mllock.workflows.explain import Explanation

TINY = {("tiny-lib", "1.0"): {"tiny_lib/__init__.py": b"VERSION = '1.0'\n"}}
FILES = {"other.py": b"OTHER = True\n", "other_data/x.txt": b"x" * 50}


def build(world: World, *kinds: str, **options) -> BuildResult:
    return build_images(world.context(), kinds, explained=True, **options)


def explained(result: BuildResult, kind: str = "train") -> Explanation:
    return next(item for item in result.explanations if item.kind == kind)


def changes(explanation: Explanation) -> dict[str, tuple[str, ...]]:
    """By title, of layers that have changes."""
    return {x.layer.title: x.changes for x in explanation.layers if x.changes}


def states(explanation: Explanation) -> dict[str, str]:
    return {x.layer.title: x.state for x in explanation.layers}


def write_lock(world: World, lock: Lock) -> Lock:
    sealed = seal(lock)
    (world.project / "mlproject.lock").write_bytes(dump_lock(sealed))
    return sealed


def relock(
    world: World, wheels: Mapping[tuple[str, str], dict[str, bytes] | None], layers: int = 60
) -> Lock:
    """The lock with other wheels, its layers assigned as `mllock lock` does it."""
    lock = read_lock(world.project / "mlproject.lock")
    packages = put_wheels(world.context().cache, wheels)
    groups = assign(packages, python_budget(layers), lock.layers.python)
    return write_lock(
        world,
        msgspec.structs.replace(
            lock,
            python=msgspec.structs.replace(lock.python, packages=packages),
            layers=msgspec.structs.replace(lock.layers, python=groups),
        ),
    )


def digests(result: BuildResult, kind: str = "train") -> dict[str, str]:
    image = next(b.image for b in result.images if b.image.kind == kind)
    return {layer.title: layer.digest for layer in image.layers}


def test_the_first_build(world: World) -> None:
    shutil.rmtree(world.oci)
    result = build(world)
    for kind in ("train", "serve"):
        found = explained(result, kind)
        assert (found.first, found.same, found.changes, changes(found)) == (True, False, (), {})
        # The cache of the world has them all; it is the image that is new.
        assert set(states(found).values()) == {"cached"}


def test_a_first_build_with_an_empty_cache(world: World) -> None:
    shutil.rmtree(world.oci)
    for path in (world.root / "cache" / "layers").iterdir():
        if json.loads(path.read_bytes())["key"]["kind"] == "python":
            path.unlink()
    result = build(world, "train")
    for layer in result.images[0].image.layers:
        if layer.kind == "python":
            world.context().cache.blob_path(layer.digest).unlink()
            (world.oci / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")).unlink()
    shutil.rmtree(world.oci)
    found = states(explained(build(world, "train")))
    assert found == {
        "debian:bookworm": "cached",
        "other": "new",
        "tiny-lib": "new",
        "training code": "cached",
    }


def test_nothing_changed(world: World) -> None:
    result = build(world)
    for kind in ("train", "serve"):
        found = explained(result, kind)
        assert (found.first, found.same, found.changes, changes(found)) == (False, True, (), {})


def test_code(world: World) -> None:
    (world.project / "train.py").write_text("print('changed')\n")
    (world.project / "more.py").write_text("MORE = 1\n")
    result = build(world)
    assert changes(explained(result)) == {
        "training code": ("1 file changed: train.py", "1 file added: more.py")
    }
    assert states(explained(result))["training code"] == "new"
    assert explained(result, "serve").same
    (world.project / "more.py").unlink()
    (world.project / "lib" / "helper.py").chmod(0o755)
    result = build(world)
    assert changes(explained(result)) == {"training code": ("1 file removed: more.py",)}
    assert changes(explained(result, "serve")) == {
        "serving code": ("1 file changed: lib/helper.py",)
    }


def test_many_files(world: World) -> None:
    for number in range(12):
        (world.project / f"m{number:02}.py").write_text("")
    assert changes(explained(build(world)))["training code"] == (
        "12 files added: m00.py, m01.py, m02.py, m03.py, m04.py, m05.py, m06.py, m07.py and 4 more",
    )


def test_one_updated_package_changes_its_layer_only(world: World) -> None:
    before = digests(build(world, "train"))
    relock(world, TINY | {("other", "2.1"): FILES})
    result = build(world)
    after = digests(result)
    assert {title for title in after if after[title] != before[title]} == {"other"}
    found = explained(result)
    assert changes(found) == {"other": ("other 2.0 -> 2.1 (lock)",)}
    assert found.changes == ()
    assert states(found) == {
        "debian:bookworm": "cached",
        "other": "new",
        "tiny-lib": "cached",
        "training code": "cached",
    }
    # Back again: nothing has to be made, and it is a change all the same.
    relock(world, TINY | {("other", "2.0"): FILES})
    found = explained(build(world, "train"))
    assert changes(found) == {"other": ("other 2.1 -> 2.0 (lock)",)}
    assert states(found)["other"] == "cached"


def test_another_wheel_of_the_same_version(world: World) -> None:
    relock(world, TINY | {("other", "2.0"): FILES | {"new.py": b""}})
    assert changes(explained(build(world))) == {"other": ("other 2.0: another file (lock)",)}


def test_packages_come_and_go(world: World) -> None:
    relock(world, TINY | {("other", "2.0"): FILES, ("zlate", "0.1"): None})
    # It is small, and goes where the small ones are.
    assert changes(explained(build(world))) == {"tiny-lib, zlate": ("added: zlate 0.1 (lock)",)}
    relock(world, TINY | {("other", "2.0"): FILES})
    assert changes(explained(build(world))) == {"tiny-lib": ("removed: zlate 0.1 (lock)",)}
    relock(world, TINY)
    found = explained(build(world))
    assert found.changes == ("removed: other 2.0 (lock)",)
    assert changes(found) == {"tiny-lib": ("now holds the frame of the virtual environment",)}
    relock(world, {("a-lib", "1"): {"a" * 9: b"x"}, **TINY})
    assert changes(explained(build(world))) == {"a-lib, tiny-lib": ("added: a-lib 1 (lock)",)}


def test_packages_that_move(world: World) -> None:
    """A smaller budget puts two layers together: nothing is new but the place."""
    relock(world, TINY | {("other", "2.0"): FILES}, layers=7)
    assert changes(explained(build(world))) == {
        "other, tiny-lib": (
            "moved here from another layer: other (lock)",
            "now holds the frame of the virtual environment",
        )
    }
    lock = read_lock(world.project / "mlproject.lock")
    groups = (LayerGroup(packages=("other",)), LayerGroup(packages=("tiny-lib",)))
    write_lock(
        world,
        msgspec.structs.replace(lock, layers=msgspec.structs.replace(lock.layers, python=groups)),
    )
    assert changes(explained(build(world))) == {
        "other": ("moved to another layer: tiny-lib (lock)",),
        "tiny-lib": (
            "moved to another layer: other (lock)",
            "no longer holds the frame of the virtual environment",
        ),
    }


def test_base(world: World) -> None:
    lock = read_lock(world.project / "mlproject.lock")
    libc = lock.system[0]
    more = DebianPackage(
        name="zlib1g",
        version="1.3",
        architecture="amd64",
        filename="z.deb",
        size=1,
        sha256="7" * 64,
        layer="base",
    )
    updated = msgspec.structs.replace(libc, version="2.37", sha256="8" * 64)
    lock = write_lock(world, msgspec.structs.replace(lock, system=(updated, more)))
    seed_base(world.context(), lock, (*BASE, file("usr/lib/libz.so", b"z")))
    found = explained(build(world))
    assert changes(found) == {
        "debian:bookworm": (
            f"1 deb updated: libc6 {libc.version} -> 2.37 (lock)",
            "1 deb added: zlib1g 1.3 (lock)",
        )
    }


def test_run(world: World) -> None:
    result = build(world, "serve", run_id=OTHER)
    assert changes(explained(result, "serve")) == {
        "model": (f"run {RUN} -> {OTHER}",),
        "record": (f"run {RUN} -> {OTHER}",),
    }
    assert explained(result, "serve").changes == ()


def test_settings(world: World) -> None:
    spec = world.project / "mlproject.toml"
    text = spec.read_text().replace('version = "1.2.3"', 'version = "1.3.0"')
    spec.write_text(text.replace("port = 8080", 'port = 8081\nhealth = "/healthz"'))
    found = explained(build(world), "serve")
    assert changes(found) == {}
    assert found.changes == (
        "config: ExposedPorts.8080/tcp",
        "config: ExposedPorts.8081/tcp",
        "config: Healthcheck.Interval",
        "config: Healthcheck.Retries",
        "config: Healthcheck.StartPeriod",
        "config: Healthcheck.Test",
        "config: Healthcheck.Timeout",
        "config: Labels.mllock.health",
        "config: Labels.org.opencontainers.image.version",
    )
    spec.write_text(spec.read_text().replace("alpha = 0.5", "alpha = 0.7, seed = 1"))
    found = explained(build(world))
    assert changes(found) == {"training code": ("params: alpha 0.5 -> 0.7, seed unset -> 1",)}
    assert found.changes == ("config: Cmd",)


def test_another_mllock(world: World, monkeypatch) -> None:
    """Another version with the same bytes is no change. One with others, against the promise of the
    builder format, is named, once the layer is made anew."""
    import mllock.attest.sbom as bill

    monkeypatch.setattr(bill, "__version__", "9.9.9")
    lock = read_lock(world.project / "mlproject.lock")
    seed_base(world.context(), lock, BASE)
    found = explained(build(world))
    assert found.changes == ("mllock 0.1.0 -> 9.9.9",)
    assert changes(found) == {}
    assert not found.same
    monkeypatch.setattr(bill, "__version__", "9.9.10")
    shutil.rmtree(world.context().cache.root / "layers")
    seed_base(world.context(), lock, (*BASE, file("usr/lib/new", b"x")))
    found = explained(build(world, "train"))
    assert changes(found) == {"debian:bookworm": ("mllock 9.9.9 -> 9.9.10",)}


def test_another_builder_format(world: World, monkeypatch) -> None:
    monkeypatch.setattr(mllock.workflows.sbom, "BUILDER_FORMAT", 2)
    found = explained(build(world))
    assert (found.changes, changes(found)) == (("builder format 1 -> 2",), {})


@pytest.mark.parametrize("what", ["index.json", "statement", "sbom", "no sbom"])
def test_what_cannot_be_read_explains_nothing(world: World, what: str) -> None:
    build(world)
    index = json.loads((world.oci / "index.json").read_bytes())
    blobs = world.oci / "blobs" / "sha256"

    def damage(entry: dict) -> None:
        path = blobs / entry["digest"].removeprefix("sha256:")
        path.chmod(0o644)
        path.write_bytes(b"{" + path.read_bytes()[1:-1] + b" ")

    bills = [e for e in index["manifests"] if "cyclonedx" in e.get("artifactType", "")]
    if what == "no sbom":
        index["manifests"] = [e for e in index["manifests"] if e not in bills]
        (world.oci / "index.json").write_text(json.dumps(index))
    elif what == "index.json":
        shutil.rmtree(world.oci)
        (world.oci).mkdir()
    else:
        for entry in index["manifests"]:
            if entry.get("artifactType") and (entry in bills) == (what == "sbom"):
                manifest = json.loads((blobs / entry["digest"].partition(":")[2]).read_bytes())
                damage(manifest["layers"][0])
    found = explained(build(world), "serve")
    assert (found.first, changes(found)) == (True, {})
    assert explained(build(world), "serve").same


def test_shared_layers(world: World) -> None:
    """Both manifests, as they are in the layout: every layer below the code is the same blob."""
    build(world)
    from mllock.store.layout_reader import open_layout

    layout = open_layout(world.oci)
    train, serve = (json.loads(layout.image(kind).manifest) for kind in ("train", "serve"))
    shared = len(train["layers"]) - 1
    assert shared == 3
    assert train["layers"][:shared] == serve["layers"][:shared]
    assert not {x["digest"] for x in train["layers"][shared:]} & {
        x["digest"] for x in serve["layers"]
    }


# ----- as typed -----


@pytest.fixture
def typed(world: World, monkeypatch, capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        for name, value in world.context().environ.items():
            monkeypatch.setenv(name, value)
        code = run(["-q", "--project", str(world.project), "build", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_command(world: World, typed) -> None:
    (world.project / "train.py").write_text("print('changed')\n")
    code, out, err = typed("--explain")
    assert (code, err) == (0, "")
    plain = typed()[1]
    blocks = {block.splitlines()[0]: block.splitlines()[1:] for block in out.split("\n\n")}
    train = blocks["train"]
    assert train[0] == "  since the last build: 1 of 4 layers changed"
    layers = json.loads(typed("--json")[1])["images"][0]["layers"]
    code_layer = layers[3]
    short = code_layer["digest"].removeprefix("sha256:")[:12]
    assert train[4:6] == [
        f"     {code_layer['size'] / 1e3:.1f} kB    {code_layer['unpacked'] / 1e3:.1f} kB"
        f"  {short}  new     code    training code",
        "                        1 file changed: train.py",
    ]
    assert [line.split()[5] for line in train[1:5]] == ["cached", "cached", "cached", "new"]
    assert blocks[f"serve, run {RUN}"][0] == "  since the last build: nothing changed"
    size = sum(layer["size"] for layer in layers)
    unpacked = sum(layer["unpacked"] for layer in layers)
    line = f"  {size / 1e3:.1f} kB compressed, {unpacked / 1e3:.1f} kB unpacked"
    assert train[-2] == line
    assert line in plain.splitlines()


def test_the_command_in_json(world: World, typed) -> None:
    relock(world, TINY | {("other", "2.1"): FILES})
    code, out, _ = typed("train", "--explain", "--json")
    assert code == 0
    document = json.loads(out)
    (found,) = document["explain"]
    assert (found["kind"], found["first"], found["changes"]) == ("train", False, [])
    assert {x["title"]: (x["state"], x["changes"]) for x in found["layers"]} == {
        "debian:bookworm": ("cached", []),
        "other": ("new", ["other 2.0 -> 2.1 (lock)"]),
        "tiny-lib": ("cached", []),
        "training code": ("cached", []),
    }
    image = document["images"][0]
    assert image["size"] == sum(x["size"] for x in image["layers"])
    assert "explain" not in json.loads(typed("--json")[1])
