"""What `mllock build` finds that does not go together: layers, runs, layouts of other days."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.tamper import Layout as Tampered
from support.training import put_wheels
from support.world import MODEL, RUN, World

from mllock.core.digest import Digest, from_hex, sha256_of
from mllock.errors import ArchiveError, InputError, MllockError, RunError, SurroundingsError
from mllock.image.build import Packages, build_environment
from mllock.image.types import Layer
from mllock.lock.format import read_lock
from mllock.lock.types import LayerGroup
from mllock.store.layout_reader import open_layout
from mllock.workflows.build import build_images


def digests(world: World, *kinds: str) -> dict[str, Digest]:
    result = build_images(world.context(), kinds)
    return {built.image.kind: built.image.manifest_digest for built in result.images}


def refused(world: World) -> MllockError:
    before = (world.oci / "index.json").read_bytes()
    with pytest.raises(MllockError) as caught:
        build_images(world.context(), ["serve"])
    assert (world.oci / "index.json").read_bytes() == before
    return caught.value


def test_layers_of_other_locks_are_not_put_together_unseen(world: World) -> None:
    """Each layer is in the cache, made for a lock of its own; together they conflict."""
    ctx = world.context()
    lock = read_lock(world.project / "mlproject.lock")
    packages = put_wheels(
        ctx.cache,
        {
            ("aa", "1.0"): {"aa.py": b""},
            ("one", "1.0"): {"same.py": b"1"},
            ("two", "1.0"): {"same.py": b"2"},
        },
    )
    wheels = {
        package.wheels[0].name: ctx.cache.blob_path(from_hex(package.wheels[0].hashes["sha256"]))
        for package in packages
    }

    def environment(*names: str) -> tuple[Layer, ...]:
        chosen = tuple(package for package in packages if package.name in names)
        groups = tuple(LayerGroup(packages=(name,)) for name in names)
        changed = replace(
            lock,
            python=replace(lock.python, packages=chosen),
            layers=replace(lock.layers, python=groups),
        )
        ports = Packages(wheels=lambda _: wheels, debs=lambda _: {})
        return build_environment(changed, ports, ctx.cache, ctx.reporter)

    one, two = environment("aa", "one"), environment("aa", "two")
    assert one[:-1] == two[:-1]
    for _ in range(2):
        with pytest.raises(ArchiveError) as caught:
            environment("aa", "one", "two")
        assert caught.value.message == "one and two both install this path, with different bytes"
    assert environment("aa", "one") == one


def test_the_copy_of_the_lock_was_edited(world: World) -> None:
    copy = world.run / "mlproject.lock"
    copy.write_bytes(copy.read_bytes() + b"\n")
    error = refused(world)
    assert isinstance(error, RunError)
    assert error.message == (
        "the run is damaged, and no older one stands in for it: not the lock that the record names"
    )
    assert error.file == f"{RUN}/mlproject.lock"


def test_a_project_with_a_new_name(world: World) -> None:
    """Its runs are of the old one: check would refute the image."""
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('name = "tiny"', 'name = "small"'))
    assert str(refused(world)) == (
        f"{RUN}: the run was trained for another project\nexpected: small\nfound: tiny\n"
        'hint: train again with "mllock train"'
    )


@pytest.mark.parametrize(
    ("file", "code"),
    [("out/model/extra.py", "out/**"), ("out/model", "out/**"), ("out", "out")],
)
def test_code_where_the_model_of_an_older_spec_goes(world: World, file: str, code: str) -> None:
    """The spec names another model now, so nothing keeps the old place free of code."""
    spec = world.project / "mlproject.toml"
    text = spec.read_text().replace('model = "out/model"', 'model = "new/model"')
    spec.write_text(text.replace('"lib/**"', f'"{code}"'))
    shutil.rmtree(world.project / "out", ignore_errors=True)
    (world.project / file).parent.mkdir(parents=True, exist_ok=True)
    (world.project / file).write_text("EXTRA = 1\n")
    assert str(refused(world)) == (
        f"{RUN}: {file}: the run's model and the serving code have this path in common\n"
        'hint: train again with "mllock train", or name the path in .mllockignore'
    )


@pytest.mark.parametrize(
    "config",
    [None, [], [1], "x", {"Labels": "x"}, {"Labels": ["x"]}, {"Labels": {"mllock.environment": 1}}],
)
def test_an_image_of_somebody_else_in_the_layout(world: World, config: object) -> None:
    """What its config looks like is not known before: it stays, as one that is not ours."""
    layout = Tampered(world.oci)
    layout.config["config"] = config
    layout.save(repoint=True)
    assert list(digests(world, "train")) == ["train"]
    assert open_layout(world.oci).refs == ("serve", "train")
    with pytest.raises(InputError) as caught:
        digests(world)
    assert caught.value.message == 'an image "serve" that mllock did not make is in this layout'
    assert open_layout(world.oci).image("serve").manifest_digest == layout.entry["digest"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after minutes of fetching and packing."""

    def never(*_: object) -> None:
        raise AssertionError("refused too late")

    monkeypatch.setattr("mllock.workflows.build.environment_of", never)
    other = world.root / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    for output, message in (
        (other, "this folder holds something that is not an OCI layout"),
        (other / "thesis.tex", "not a folder"),
    ):
        with pytest.raises(InputError) as caught:
            build_images(world.context(), output=output)
        assert (caught.value.file, caught.value.message) == (str(output), message)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_a_model_that_was_changed(world: World) -> None:
    (world.run / "model" / "weights.bin").chmod(0o644)
    (world.run / "model" / "weights.bin").write_bytes(b"\x00\x02" * 100)
    error = refused(world)
    assert str(error) == (
        f"{RUN}/model/weights.bin: the model is not the one that the record names\n"
        f"expected: {sha256_of(MODEL['weights.bin'])}\n"
        f"found: {sha256_of(bytes([0, 2]) * 100)}\n"
        "hint: bring the file back, name another run with --run, or train again with "
        '"mllock train"'
    )
    assert error.exit_code == 2


def test_a_model_of_which_a_file_is_gone(world: World) -> None:
    (world.run / "model" / "weights.bin").unlink()
    error = refused(world)
    assert (error.exit_code, error.found) == (2, "no such file or directory")
    shutil.rmtree(world.run / "model")
    error = refused(world)
    assert (error.exit_code, error.found) == (2, "no such file or directory")


def test_a_run_that_cannot_be_written_to(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who tests as root can write anywhere: the question is answered for them."""
    asked = []

    def access(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr("mllock.workflows.build.os.access", access)
    with pytest.raises(SurroundingsError) as caught:
        build_images(world.context(), output=tmp_path / "out")
    assert asked == [(world.run, os.W_OK | os.X_OK)]
    assert str(caught.value) == (
        f"{world.run}: cannot write: the statement about the serve image is kept in the run\n"
        "hint: check the owner and the permissions of the folder"
    )
    assert not (tmp_path / "out").exists()


def led_out(place: Path, outside: Path) -> dict[str, bytes]:
    """A link is where `place` was, and leads to where it is now: what is there."""
    place.rename(outside)
    place.symlink_to(outside)
    return {str(p): p.read_bytes() for p in outside.rglob("*") if p.is_file()}


@pytest.mark.parametrize("part", [".", "oci"])
def test_a_link_leads_the_layout_out_of_the_project(
    world: World, tmp_path: Path, part: str
) -> None:
    """A repository brings it, and what it leads to are another project's images."""
    ctx, outside = world.context(), tmp_path / "outside"
    build_images(ctx)
    before = led_out(ctx.state / part, outside)
    message = (
        "{}: a link leads it out of the project, and what lies there would be replaced\n"
        "found: {}\nhint: remove the link"
    )
    with pytest.raises(InputError) as caught:
        build_images(ctx)
    assert str(caught.value) == (
        f"{message.format(world.oci, world.oci.resolve())}, or name a folder with --output oci:DIR"
    )
    assert {str(p): p.read_bytes() for p in outside.rglob("*") if p.is_file()} == before
    if part == "oci":
        # What is named is the user's own wish.
        build_images(ctx, output=world.oci)
        return
    with pytest.raises(InputError) as caught:
        build_images(ctx, output=tmp_path / "named")
    assert str(caught.value) == message.format(world.run, world.run.resolve())


def test_a_link_inside_of_the_project_is_one_s_own(world: World) -> None:
    ctx = world.context()
    ctx.state.rename(ctx.project / ".state")
    ctx.state.symlink_to(".state")
    build_images(ctx)
    assert open_layout(ctx.project / ".state/oci").refs == ("serve", "train")
