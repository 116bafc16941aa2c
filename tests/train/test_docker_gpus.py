"""`[train] gpus` with an engine: the request, what the engine made of it, and one that has none.

The engine of the tests has no GPU and no toolkit: its refusal is the real one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from support.containers import Project, Proxy, go, said
from support.nvml import Card, driver
from support.reporter import Recorder
from support.training import SPEC, lock_of, locked, plan_of, put_wheels

from mllock.core.digest import Digest
from mllock.engine.docker import DockerEngine
from mllock.engine.docker_errors import translated
from mllock.engine.docker_values import container_of
from mllock.engine.types import ContainerPlan, EngineInfo, GpuRequest
from mllock.errors import EngineError
from mllock.train.container import Place, container_plan, refuse_other_gpus
from mllock.train.gpus import Gpu, Granted
from mllock.workflows.context import Context

IMAGE = Digest("sha256:" + "1" * 64)
REFUSED = (
    'the container engine cannot start a container: could not select device driver "" with '
    "capabilities: [[gpu]]\n"
    "hint: install the NVIDIA container toolkit on the engine's machine and restart the engine, or "
    "use --runtime host"
)


def lines(ctx: Context) -> list[str]:
    assert isinstance(ctx.reporter, Recorder)
    return [line for line in ctx.reporter.lines if line.startswith("note: gpus")]


def without_driver(ctx: Context, place: Path) -> Context:
    """Also on a machine that has one: what is found in the folder is no library."""
    place.mkdir()
    (place / "libnvidia-ml.so.1").write_text("no library\n" * 99)
    return replace(ctx, environ={**ctx.environ, "LD_LIBRARY_PATH": str(place)})


def test_an_engine_without_the_toolkit(project: Project, tmp_path: Path) -> None:
    ctx = without_driver(project(train="gpus = 2"), tmp_path / "driver")
    assert said(ctx, EngineError) == REFUSED
    assert lines(ctx) == ["note: gpus: 2 asked of the engine; which ones is not known here"]
    assert not ctx.runs.exists()


def test_an_engine_here_is_asked_for_what_the_caller_shows(
    project: Project, tmp_path: Path
) -> None:
    ctx = project(train="gpus = 1")
    cards = (Card(uuid="GPU-1111"), Card(uuid="GPU-2222"))
    variables = {**driver(tmp_path / "driver", *cards), "CUDA_VISIBLE_DEVICES": "1"}
    ctx = replace(ctx, environ={**ctx.environ, **variables})
    assert said(ctx, EngineError) == REFUSED
    assert lines(ctx) == ["note: gpus: 1 (NVIDIA H100 80GB HBM3; driver 580.95.05, CUDA 13.0)"]


def test_an_engine_elsewhere_is_asked_for_a_number(
    project: Project, engine_host: str, tmp_path: Path
) -> None:
    """What this machine has is of no meaning there."""
    with Proxy(engine_host) as host:
        ctx = project(train="gpus = 1", host=host)
        variables = {**driver(tmp_path / "driver"), "CUDA_VISIBLE_DEVICES": ""}
        ctx = replace(ctx, environ={**ctx.environ, **variables})
        assert said(ctx, EngineError) == REFUSED
    assert lines(ctx) == ["note: gpus: 1 asked of the engine; which ones is not known here"]


def test_what_the_engine_took(project: Project, engine: DockerEngine, unique: str) -> None:
    go(project())
    image = engine.image(f"{unique}:train")
    assert image is not None
    for asked in (None, GpuRequest(count=2), GpuRequest(count=2, ids=("GPU-1", "MIG-2"))):
        made = engine.create(ContainerPlan(image=image.id, gpus=asked))
        try:
            found = engine.container(made)
            assert found is not None
            assert found.gpus == asked
        finally:
            engine.remove(made)


def test_an_engine_that_leaves_the_request_out(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As engines do that speak the API and know no devices: the program would train without."""
    create = DockerEngine.create
    monkeypatch.setattr(
        DockerEngine, "create", lambda self, plan: create(self, replace(plan, gpus=None))
    )
    ctx = project(train="gpus = 1")
    ctx = replace(ctx, environ={**ctx.environ, **driver(tmp_path / "driver", Card(uuid="GPU-1"))})
    assert said(ctx, EngineError) == (
        "the container was made with other GPUs than were asked for\n"
        "expected: GPU-1\n"
        "found: none\n"
        "hint: use an engine that gives containers GPUs, or --runtime host"
    )


DEVICE = Gpu(uuid="GPU-1", model="X", memory=1, capability="9.0")


@pytest.mark.parametrize(
    ("granted", "requests", "differ"),
    [
        (Granted(count=0), None, None),
        (Granted(count=0), [], None),
        (Granted(count=2), [{"Count": 2, "Capabilities": [["gpu"]]}], None),
        (Granted(count=1, devices=(DEVICE,)), [{"Count": 0, "DeviceIDs": ["GPU-1"]}], None),
        (Granted(count=0), [{"Count": -1}], ("none", "-1")),
        (Granted(count=2), [{"Count": 1}], ("2", "1")),
        (Granted(count=2), [{"Count": 2}, {"Count": 1}], ("2", "3")),
        (Granted(count=1, devices=(DEVICE,)), [{"DeviceIDs": ["GPU-2"]}], ("GPU-1", "GPU-2")),
        (Granted(count=1, devices=(DEVICE,)), [{"Count": 1}], ("GPU-1", "1")),
        (Granted(count=1), ["x"], ("1", "none")),
    ],
)
def test_what_an_engine_says_it_gives(
    granted: Granted, requests: Any, differ: tuple[str, str] | None
) -> None:
    raw = {"Id": "a", "Image": IMAGE, "HostConfig": {"DeviceRequests": requests}}
    made = container_of(raw)
    if differ is None:
        refuse_other_gpus(made, granted)
        return
    with pytest.raises(EngineError) as caught:
        refuse_other_gpus(made, granted)
    assert (caught.value.expected, caught.value.found) == differ


def test_a_container_without_gpus_sees_none(tmp_path: Path) -> None:
    """Bases made for GPUs ask for all of them, and some engines give them to whoever asks."""
    ctx = locked(tmp_path, spec=SPEC)
    packages = put_wheels(ctx.cache, {("tiny-lib", "1.0"): None})
    plan = plan_of(ctx.project, lock_of(ctx.project, packages))
    info = EngineInfo(
        name="docker",
        version="28.2.2",
        endpoint="unix:///x",
        os="linux",
        architecture="amd64",
        remote=False,
        rootless=False,
        image_is_manifest=False,
    )
    place, user = Place(app="v", data=()), (1000, 1000)
    none = container_plan(plan, IMAGE, place, info, user, {})
    assert none.gpus is None
    assert none.variables["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert none.variables["CUDA_VISIBLE_DEVICES"] == ""
    two = container_plan(plan, IMAGE, place, info, user, {}, Granted(count=2))
    assert two.gpus == GpuRequest(count=2)
    assert "NVIDIA_VISIBLE_DEVICES" not in two.variables
    assert two.variables["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert two.variables["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    named = Granted(count=1, devices=(DEVICE,), folder="/of/the/host")
    one = container_plan(plan, IMAGE, place, info, user, {}, named)
    assert one.gpus == GpuRequest(count=1, ids=("GPU-1",))
    assert one.variables["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert "LD_LIBRARY_PATH" not in one.variables


@pytest.mark.parametrize(
    ("answer", "said_", "is_toolkit"),
    [
        (
            "failed to create task for container: error running hook #0: exit status 1, stderr: "
            "Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: GPU-1: unknown "
            "device: unknown",
            "nvidia-container-cli: device error: GPU-1: unknown device: unknown",
            False,
        ),
        (
            "x\nnvidia-container-cli: initialization error: load library failed: "
            "libnvidia-ml.so.1: cannot open shared object file",
            "nvidia-container-cli: initialization error: load library failed: "
            "libnvidia-ml.so.1: cannot open shared object file",
            True,
        ),
        (
            "failed to discover GPU vendor from CDI: no known GPU vendor found",
            "failed to discover GPU vendor from CDI: no known GPU vendor found",
            True,
        ),
        ("no space left on device\nmore", "no space left on device", False),
    ],
)
def test_what_engines_with_a_toolkit_say(answer: str, said_: str, is_toolkit: bool) -> None:
    """As reported of engines with GPUs, which there are none of here."""
    with pytest.raises(EngineError) as caught, translated("start a container"):
        raise docker.errors.APIError("500", explanation=answer)
    assert caught.value.message == f"the container engine cannot start a container: {said_}"
    assert ("toolkit" in (caught.value.hint or "")) is is_toolkit
