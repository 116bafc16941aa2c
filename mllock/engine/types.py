"""The values of the engine room: what an engine is, what it holds, what it is asked to run.

Frozen, without IO. What an engine says of a container stays available as it came (`raw`), because
check lists everything in it that it does not know; nothing in it is believed before it is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mllock.core.digest import Digest

__all__ = [
    "LABEL",
    "Change",
    "Container",
    "ContainerPlan",
    "EngineImage",
    "EngineInfo",
    "GpuRequest",
    "Look",
    "Mount",
    "State",
]

# On every container and volume that mllock makes: what to look for after a crash.
LABEL = "mllock.run"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInfo:
    """Which engine answers. `endpoint` holds no credentials.

    `remote`: its disk is not this machine's, so that folders cannot be bound. `rootless`: its root
    is not this machine's. `image_is_manifest`: it names images by manifest digest (containerd
    store) and not by config digest (classic store). `relabels`: it maps users or labels files, so
    that a program cannot read what is bound from this machine. `kernel` and `cpus` are of its
    machine; `limits_memory` says whether it can.
    """

    name: str
    version: str
    endpoint: str
    os: str
    architecture: str
    remote: bool
    rootless: bool
    image_is_manifest: bool
    relabels: bool = False
    limits_memory: bool = True
    kernel: str = ""
    cpus: int = 0

    @property
    def platform(self) -> str:
        """Of the images that it runs, e.g. "linux/amd64"."""
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineImage:
    """An image as the engine describes it. `id` is of the config, or of the manifest: see above.

    `config` is what the OCI image config calls `config`, in Docker's spelling.
    """

    id: Digest
    tags: tuple[str, ...]
    diff_ids: tuple[Digest, ...]
    os: str
    architecture: str
    variant: str
    config: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """`source` is a folder or file of the engine's machine, or the name of a volume."""

    kind: Literal["bind", "volume"]
    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuRequest:
    """`count` GPUs of the engine's machine: those with the UUIDs `ids`, or whichever it takes."""

    count: int
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerPlan:
    """A container to create. What is None is the image's own.

    `memory` is in bytes, swap included. `network` False means none at all. `ports` are container
    port -> (address, port) of the engine's machine; port 0 lets the engine choose. `tmpfs` are
    target -> mount options. `capabilities` are all that it has, and it cannot get others; None is
    what engines give. Without `keeps_output` the engine has no log of it, and what it prints is for
    `attached` only.
    """

    image: str
    command: tuple[str, ...] | None = None
    name: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    mounts: tuple[Mount, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    read_only_root: bool = False
    network: bool = False
    memory: int | None = None
    ports: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    init: bool = False
    capabilities: tuple[str, ...] | None = None
    keeps_output: bool = True
    gpus: GpuRequest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """`status` is the engine's word: created, running, paused, restarting, exited, dead.

    `exit_code` is 128 + N for a program that signal N ended; it means something once exited.
    """

    status: str
    exit_code: int
    out_of_memory: bool
    error: str
    pid: int
    started: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A container as the engine describes it: `image` is the id of the image it was made of, `gpus`
    what is to be given to it, all requests together."""

    id: str
    name: str
    image: Digest
    state: State
    ports: Mapping[int, tuple[str, int]]
    labels: Mapping[str, str]
    gpus: GpuRequest | None = None
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What stat says of a path in a container, as the engine tells: `changed` in microseconds."""

    size: int
    changed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A path that the engine says was changed since the image: its own list, not evidence."""

    path: str
    kind: Literal["modified", "added", "deleted"]
