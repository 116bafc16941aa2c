"""Images for several platforms and an engine, which is for one: only its own are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.containers import clean
from support.reporter import Recorder
from support.world import World
from support.world_platforms import AMD, ARM, make_two

from mllock.engine.docker import DockerEngine
from mllock.errors import EngineError
from mllock.workflows.build import build_images
from mllock.workflows.outputs import Outputs, send


@pytest.fixture
def two(tmp_path: Path) -> World:
    return make_two(tmp_path / "two")


def test_only_the_engines_own_platform_is_loaded_and_that_is_said(
    two: World, engine: DockerEngine, engine_host: str, unique: str
) -> None:
    images = [built.image for built in build_images(two.context()).images]
    ctx = two.context(environ={"DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""})
    try:
        (sent,) = send(ctx, Outputs(docker=True), unique, images)
        platform = engine.info.platform
        assert sent.names == (f"{unique}:train", f"{unique}:serve")
        assert sent.lines == (
            f"loaded into docker: {unique}:train, {unique}:serve, for {platform} only",
        )
        for image in images:
            found = engine.image(f"{unique}:{image.kind}")
            assert found is not None
            assert (found.id == image.config_digest) == (image.platform == platform)
        other = ARM if platform == AMD else AMD
        foreign = [image for image in images if image.platform == other]
        with pytest.raises(EngineError) as caught:
            send(ctx, Outputs(docker=True), unique, foreign)
        assert str(caught.value) == (
            f"the engine at {engine.info.endpoint} is for other images; the layout is written\n"
            f"expected: {other}\nfound: {platform}\n"
            "hint: name another engine with DOCKER_HOST, or leave out --output docker"
        )
        assert send(ctx, Outputs(), unique, foreign) == ()
        reporter = ctx.reporter
        assert isinstance(reporter, Recorder)
        assert reporter.lines[-1] == (
            f"note: not loaded into docker: it is for {platform}, not {other}"
        )
    finally:
        clean(engine, unique)
