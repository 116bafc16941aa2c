"""What a training container may do, as a plan for the engine. Pure.

No network unless declared; root read-only, but for `/app` (a volume that begins as the image's own
`/app`) and `/tmp` and `/dev/shm` (memory); no capability but the one that lets root read files of
others, as it can on the host; the caller's user, so that data of mode 0600 is readable and nothing
else is. Data is mounted read-only below `DATA` and shown at its declared path by links, which is
what the runtime "host" does too. Raises SpecError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mllock.core.digest import Digest
from mllock.engine.types import LABEL, Container, ContainerPlan, EngineInfo, GpuRequest, Mount
from mllock.errors import EngineError, SpecError
from mllock.image.environment import PATH
from mllock.train.given import given_variables
from mllock.train.gpus import NO_GPUS, Granted
from mllock.train.types import RunPlan

__all__ = [
    "APP",
    "DATA",
    "KIND_LABEL",
    "OWNER_LABEL",
    "Place",
    "container_plan",
    "labels_of",
    "memory_bytes",
    "refuse_other_gpus",
    "user_of",
    "variables_of",
]

APP = "/app"
DATA = "/opt/mllock/data"
TMP = "/tmp"  # noqa: S108 - the container's own, and empty
KIND_LABEL = "mllock.kind"
OWNER_LABEL = "mllock.owner"

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# Docker refuses less; nothing that is Python fits into it.
_LEAST = 6 * 2**20
# Bases made for GPUs ask for all of them, where an engine gives GPUs to whoever asks.
# NVIDIA container toolkit: "void" is none.
_NONE_GIVEN = {"NVIDIA_VISIBLE_DEVICES": "void"}
_TMPFS = {
    # Programs compile into it (numba, torch), as into the host's /tmp.
    TMP: "rw,exec,nosuid,nodev,mode=1777",
    # Engines give 64 MB, too little for the workers of a data loader.
    "/dev/shm": "rw,nosuid,nodev,mode=1777",  # noqa: S108
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a container's files come from: the volume of `/app`, and the mounts of the data."""

    app: str
    data: tuple[Mount, ...]


def labels_of(run_id: str, owner: str) -> dict[str, str]:
    """On every container and volume of a run, so that what a killed mllock left can be found."""
    return {LABEL: run_id, KIND_LABEL: "train", OWNER_LABEL: owner}


def user_of(info: EngineInfo, user: tuple[int, int]) -> tuple[int, int]:
    """The caller's user and group in the container: a rootless engine's root is its caller."""
    return (0, 0) if info.rootless else user


def memory_bytes(plan: RunPlan, info: EngineInfo) -> int | None:
    """`[train] memory` in bytes."""
    assert plan.spec.train is not None
    declared = plan.spec.train.memory
    if declared is None:
        return None
    value = int(declared[:-3]) * _UNITS[declared[-3:]]
    if value < _LEAST:
        raise SpecError(
            "too little memory for any program",
            file="mlproject.toml",
            key="train.memory",
            expected="at least 6MiB",
            found=f'"{declared}"',
        )
    if not info.limits_memory:
        raise EngineError(
            f"{info.name} at {info.endpoint} cannot limit memory",
            key="train.memory",
            found=f'"{declared}"',
            hint="give it the memory controller of the kernel (cgroups), or leave the key out",
        )
    return value


def variables_of(plan: RunPlan) -> dict[str, str]:
    """All that the program sees, in the order of precedence of the runtime "host"."""
    return {
        "HOME": TMP,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # The caller's number has no name in the image, and libraries ask for one.
        "USER": "mllock",
        **plan.spec.environment.variables,
        "PATH": PATH,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        **given_variables(plan, APP),
    }


def container_plan(
    plan: RunPlan,
    image: Digest,
    place: Place,
    info: EngineInfo,
    user: tuple[int, int],
    labels: Mapping[str, str],
    gpus: Granted = NO_GPUS,
) -> ContainerPlan:
    assert plan.spec.train is not None
    return ContainerPlan(
        image=image,
        command=plan.command,
        name=f"mllock-{plan.run_id}",
        variables=variables_of(plan) | gpus.variables() | ({} if gpus.count else _NONE_GIVEN),
        user="{}:{}".format(*user_of(info, user)),
        mounts=(
            Mount(kind="volume", source=place.app, target=APP, read_only=False),
            *place.data,
        ),
        tmpfs=_TMPFS,
        read_only_root=True,
        network=plan.spec.train.network,
        memory=memory_bytes(plan, info),
        labels=labels,
        # Passes signals on and reaps what the program leaves, as a shell or systemd would.
        init=True,
        capabilities=("DAC_OVERRIDE",),
        # All of it is in log.txt; what is printed without end does not fill the engine's disk.
        keeps_output=False,
        gpus=_request(gpus),
    )


def refuse_other_gpus(made: Container, gpus: Granted) -> None:
    """An engine that knows no GPUs leaves the request out, and the program would not notice."""
    wanted, found = _request(gpus), made.gpus
    if found != wanted:
        raise EngineError(
            "the container was made with other GPUs than were asked for",
            expected=_said(wanted),
            found=_said(found),
            hint="use an engine that gives containers GPUs, or --runtime host",
        )


def _request(gpus: Granted) -> GpuRequest | None:
    return GpuRequest(count=gpus.count, ids=gpus.uuids) if gpus.count else None


def _said(request: GpuRequest | None) -> str:
    return "none" if request is None else ", ".join(request.ids) or str(request.count)
