"""Images in a real engine: the same layers, the same tree, and only what was missing is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.exported import ENGINE, exported, ours
from support.world import World

from mllock.cli.main import run
from mllock.core.digest import sha256_of
from mllock.engine.docker import DockerEngine
from mllock.engine.types import EngineImage
from mllock.errors import EngineError
from mllock.store.layout_reader import open_layout
from mllock.workflows import load
from mllock.workflows.build import BuildResult, build_images
from mllock.workflows.load import load_image


@pytest.fixture
def built(world: World, engine: DockerEngine, unique: str) -> Iterator[BuildResult]:
    """The world's images under names of the test's own; gone from the engine afterwards."""
    result = build_images(world.context())
    yield result
    for image in engine.images():
        if any(tag.startswith(f"{unique}:") for tag in image.tags):
            for container in engine.containers(f"test={unique}"):
                engine.remove(container.id)
            for tag in image.tags:
                engine.untag(tag)


@pytest.mark.parametrize("kind", ["train", "serve"])
def test_the_engine_has_what_was_built(
    built: BuildResult, world: World, engine: DockerEngine, unique: str, kind: str
) -> None:
    image = next(item.image for item in built.images if item.image.kind == kind)
    tag = f"{unique}:{kind}"
    there = load_image(world.context(), engine, image, (tag,))
    assert there.id == image.config_digest
    assert there.tags == (tag,)
    assert there.diff_ids == tuple(layer.diff_id for layer in image.layers)
    found = exported(engine, tag, unique)
    expected = ours(world.oci, kind)
    assert {path: found.get(path) for path in expected} == expected
    assert set(found) - set(expected) - ENGINE == set()


def test_only_new_layers_are_sent(
    built: BuildResult, world: World, engine: DockerEngine, unique: str
) -> None:
    ctx = world.context()
    for item in built.images:
        load_image(ctx, engine, item.image, (f"{unique}:{item.image.kind}",))
    (world.project / "serve.py").write_text(f"print('{unique}')\n")
    changed = build_images(world.context(), ("serve",)).images[0].image
    ctx = world.context()
    load_image(ctx, engine, changed, (f"{unique}:serve",))
    total = len(changed.layers)
    # Code, model and record lie on the code, and a chain begins anew with its first new layer.
    assert ctx.reporter.lines == [  # type: ignore[attr-defined]
        f"step: loading {unique}:serve into docker: 3 of {total} layers are new"
    ]
    assert exported(engine, f"{unique}:serve", unique)["app/serve.py"].digest == sha256_of(
        f"print('{unique}')\n".encode()
    )
    ctx = world.context()
    load_image(ctx, engine, changed, (f"{unique}:serve",))
    assert ctx.reporter.lines == []  # type: ignore[attr-defined]


def test_other_images_are_not_asked_for_a_line_of_code(
    built: BuildResult, world: World, engine: DockerEngine, unique: str
) -> None:
    """What the tag named before lacks little: an engine with many images answers once."""

    class Busy(DockerEngine):
        asked: list[str]

        def image(self, reference: str) -> EngineImage | None:
            self.asked.append(reference)
            return super().image(reference)

    busy = Busy(engine._client, engine.info)
    busy.asked = []
    tag = f"{unique}:train"
    load_image(world.context(), busy, built.images[0].image, (tag,))
    (world.project / "train.py").write_text(f"print('{unique}')\n")
    changed = build_images(world.context(), ("train",)).images[0].image
    busy.asked.clear()
    there = load_image(world.context(), busy, changed, (tag,))
    assert busy.asked == [changed.config_digest, tag, changed.config_digest]
    assert there.tags == (tag,)


class Forgetful:
    """An engine that lost an image after it was asked what it has."""

    def __init__(self, engine: DockerEngine, claims: EngineImage) -> None:
        self._engine = engine
        self._claims = claims
        self.loads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def images(self) -> Iterator[EngineImage]:
        yield self._claims

    def load(self, archive: Iterable[bytes]) -> None:
        self.loads += 1
        self._engine.load(archive)


def test_a_layer_that_went_away_in_between(
    built: BuildResult, world: World, engine: DockerEngine, unique: str
) -> None:
    # Layers of this test's own, so that the engine cannot have them from elsewhere.
    (world.project / "serve.py").write_text(f"print('{unique}')\n")
    image = build_images(world.context(), ("serve",)).images[0].image
    claims = EngineImage(
        id=image.config_digest,
        tags=(),
        diff_ids=tuple(layer.diff_id for layer in image.layers),
        os="linux",
        architecture="amd64",
        variant="",
        config={},
        raw={},
    )
    forgetful = Forgetful(engine, claims)
    load_image(world.context(), forgetful, image, (f"{unique}:serve",))  # type: ignore[arg-type]
    assert forgetful.loads == 2
    assert engine.image(f"{unique}:serve") is not None


def test_other_layers_under_the_same_id(
    built: BuildResult, world: World, engine: DockerEngine, unique: str
) -> None:
    class Lying(Forgetful):
        def image(self, reference: str) -> EngineImage | None:
            found = self._engine.image(reference)
            return found and replace(found, diff_ids=found.diff_ids[:-1])

    image = built.images[0].image
    load_image(world.context(), engine, image, (f"{unique}:train",))
    found = engine.image(f"{unique}:train")
    assert found is not None
    with pytest.raises(Exception, match="other layers under the image's id"):
        load_image(world.context(), Lying(engine, found), image, ())  # type: ignore[arg-type]


@contextmanager
def typed(world: World, monkeypatch: pytest.MonkeyPatch, **environ: str) -> Iterator[None]:
    monkeypatch.chdir(world.project)
    for name, value in {**world.context().environ, "MLLOCK_ENGINE": "", **environ}.items():
        monkeypatch.setenv(name, value)
    yield


def rename(world: World, name: str) -> None:
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('name = "', f'name = "{name}-', 1))


def test_the_command(
    world: World, engine: DockerEngine, engine_host: str, unique: str, monkeypatch, capsys
) -> None:
    rename(world, unique)
    with typed(world, monkeypatch, DOCKER_HOST=engine_host):
        assert run(["build", "train"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("loaded into docker: ")]
    tag = line.removeprefix("loaded into docker: ")
    assert tag.startswith(unique)
    assert tag.endswith(":train")
    found = engine.image(tag)
    assert found is not None
    assert found.id == open_layout(world.oci).image("train").config_digest
    engine.untag(tag)


def test_no_engine(world: World, tmp_path: Path, monkeypatch, capsys) -> None:
    host = f"unix://{tmp_path}/none"
    message = (
        f"error: no container engine answers at {host}\n"
        "hint: start it, or name another one with DOCKER_HOST\n"
    )
    with typed(world, monkeypatch, DOCKER_HOST=host):
        assert run(["build", "train"]) == 4
        assert capsys.readouterr().err.endswith(message)
        # The layout does not need one.
        assert run(["build", "train", "--output", f"oci:{tmp_path / 'oci'}"]) == 0
        capsys.readouterr()
        monkeypatch.setenv("MLLOCK_ENGINE", "none")
        assert run(["build", "train"]) == 0
        assert "loaded" not in capsys.readouterr().out
        assert run(["build", "train", "--output", "docker"]) == 4
        assert capsys.readouterr().err.endswith(message)


def test_an_engine_that_refuses(world: World, built: BuildResult, engine: DockerEngine) -> None:
    class Full(Forgetful):
        def load(self, archive: Iterable[bytes]) -> None:
            raise EngineError("docker refuses the image: no space left on device")

        def image(self, reference: str) -> EngineImage | None:
            return None

        def images(self) -> tuple[EngineImage, ...]:
            return ()

    full = Full(engine, None)  # type: ignore[arg-type]
    with pytest.raises(EngineError) as caught:
        load.load_image(world.context(), full, built.images[0].image, ("x:train",))  # type: ignore[arg-type]
    assert caught.value.message == "docker refuses the image: no space left on device"
