"""Which GPUs a program gets: values, and the choice among those that a machine has. Pure.

A spec says how many (`[train] gpus`), the caller's CUDA_VISIBLE_DEVICES which ones, as CUDA itself
reads it: numbers and UUIDs, the list ends at the first that names nothing, and empty is none. The
program gets the first of them, by UUID, and none more; one that declares none gets none. A GPU in
MIG mode is its MIG devices, of which a program can use one. What a machine has is asked by
`nvidia.py`. Source: CUDA C++ programming guide, "CUDA environment variables"; MIG user guide, "CUDA
device enumeration". Raises GpuError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mllock.errors import SurroundingsError

__all__ = [
    "NO_GPUS",
    "VISIBLE",
    "Driver",
    "Gpu",
    "GpuError",
    "GpuMachine",
    "Granted",
    "NoDriverError",
    "choose",
    "gpu_facts",
    "shown_gpus",
]

VISIBLE = "CUDA_VISIBLE_DEVICES"
_ORDER = "CUDA_DEVICE_ORDER"
_BY_BUS = "PCI_BUS_ID"
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


class GpuError(SurroundingsError):
    """This machine cannot give a program the GPUs that the spec asks for."""

    def __init__(self, message: str, *, expected: str | None, found: str, hint: str) -> None:
        super().__init__(
            message,
            file="mlproject.toml",
            key="train.gpus",
            expected=expected,
            found=found,
            hint=hint,
        )


class NoDriverError(GpuError):
    """There is no NVIDIA driver here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """What CUDA calls a device: a whole GPU, or a MIG device of one. `memory` is in bytes, None if
    it is the processor's; `capability` the compute capability ("9.0"), `whole` the UUID of the GPU
    that a part is of."""

    uuid: str
    model: str
    memory: int | None
    capability: str
    whole: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """`version` of the driver ("580.95.05"), and `cuda`, the newest CUDA that it runs ("13.0")."""

    version: str
    cuda: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuMachine:
    """The GPUs of a machine in the order of their numbers: each one whole, or as its MIG devices.
    `folder` is where the driver's libraries are, if only LD_LIBRARY_PATH says so."""

    driver: Driver
    gpus: tuple[tuple[Gpu, ...], ...]
    folder: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """What a program gets. Of an engine elsewhere only `count` is known; else there are as many
    `devices`."""

    count: int
    devices: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    folder: str | None = None

    @property
    def uuids(self) -> tuple[str, ...]:
        return tuple(device.uuid for device in self.devices)

    def variables(self) -> dict[str, str]:
        """For the program: exactly these, numbered as they are named. What an engine elsewhere
        chose are the first ones that the program finds."""
        if self.count == 0:
            return {VISIBLE: ""}
        names = self.uuids or [str(number) for number in range(self.count)]
        return {VISIBLE: ",".join(names), _ORDER: _BY_BUS}

    def host_variables(self) -> dict[str, str]:
        """The same for a program on this machine, which may need to be led to the driver."""
        found = self.variables()
        return found if self.folder is None else {**found, "LD_LIBRARY_PATH": self.folder}


# The value is empty and there: CUDA shows a program without it every GPU.
NO_GPUS = Granted(count=0)


def choose(machine: GpuMachine, environ: Mapping[str, str], wanted: int) -> Granted:
    """The first `wanted` GPUs that the caller lets programs see."""
    visible = _visible(machine, environ)
    # MIG user guide: CUDA uses one MIG device, and no whole GPU beside it.
    usable = visible if wanted == 1 else [gpu for gpu in visible if gpu.whole is None]
    if len(usable) < wanted:
        raise GpuError(
            "this machine has fewer GPUs than the program needs"
            if VISIBLE not in environ
            else f"{VISIBLE} shows fewer GPUs than the program needs",
            expected=str(wanted),
            found=_named(visible, environ),
            hint=_way_out(visible, usable, environ),
        )
    return Granted(
        count=wanted,
        devices=tuple(usable[:wanted]),
        driver=machine.driver,
        folder=machine.folder,
    )


def _named(visible: list[Gpu], environ: Mapping[str, str]) -> str:
    models = ", ".join(gpu.model for gpu in visible)
    said = f"{len(visible)} ({models})" if visible else "none"
    return f'{said} with {VISIBLE}="{environ[VISIBLE]}"' if VISIBLE in environ else said


def _way_out(visible: list[Gpu], usable: list[Gpu], environ: Mapping[str, str]) -> str:
    if len(usable) < len(visible):
        return "a program can use one MIG device only: set gpus = 1, or name whole GPUs"
    if VISIBLE in environ:
        return f"let it name more, unset it, or change gpus in [train] to {len(usable)}"
    return f"change gpus in [train] to {len(usable)}, or train on a machine that has them"


def _visible(machine: GpuMachine, environ: Mapping[str, str]) -> list[Gpu]:
    every = [gpu for parts in machine.gpus for gpu in parts]
    if VISIBLE not in environ:
        return every
    found: list[Gpu] = []
    for text in environ[VISIBLE].split(","):
        word = text.strip()
        if _NUMBER.fullmatch(word):
            _refuse_other_order(every, environ, word)
            gpu = _by_number(machine, int(word))
        else:
            gpu = _by_uuid(machine, word)
        # CUDA: devices after one that is not there, or is there already, do not exist.
        if gpu is None or gpu in found:
            break
        found.append(gpu)
    return found


def _refuse_other_order(every: list[Gpu], environ: Mapping[str, str], word: str) -> None:
    """Without CUDA_DEVICE_ORDER, CUDA numbers by speed, and only it knows what is faster."""
    if environ.get(_ORDER) == _BY_BUS or len({(gpu.model, gpu.memory) for gpu in every}) < 2:
        return
    raise GpuError(
        f"which GPU is number {word} depends on CUDA, because they are not all the same",
        expected=f"{_ORDER}={_BY_BUS}, or UUIDs in {VISIBLE}",
        found=f'{VISIBLE}="{environ[VISIBLE]}"',
        hint='see "nvidia-smi -L"',
    )


def _by_number(machine: GpuMachine, number: int) -> Gpu | None:
    if not 0 <= number < len(machine.gpus):
        return None
    # Of a GPU in MIG mode, CUDA takes the first MIG device.
    return next(iter(machine.gpus[number]), None)


def _by_uuid(machine: GpuMachine, word: str) -> Gpu | None:
    """By a UUID or the start of one, as long as only one has it."""
    if not re.match(r"(GPU|MIG)-.", word):
        return None
    found = [
        gpu
        for parts in machine.gpus
        for gpu in (parts if word.startswith("MIG-") else parts[:1])
        if (gpu.uuid if word.startswith("MIG-") else gpu.whole or gpu.uuid).startswith(word)
    ]
    return found[0] if len(found) == 1 else None


def gpu_facts(granted: Granted) -> dict[str, Any]:
    """For the record: models, not the serial-like UUIDs, which change no number. A row for each
    kind, in the order of the devices; nothing for a program without."""
    if granted.count == 0:
        return {}
    kinds: dict[tuple[str, int | None, str], int] = {}
    for device in granted.devices:
        kind = (device.model, device.memory, device.capability)
        kinds[kind] = kinds.get(kind, 0) + 1
    rows: list[dict[str, Any]] = [
        {"count": count, "model": model, "compute-capability": capability}
        | ({} if memory is None else {"memory": memory})
        for (model, memory, capability), count in kinds.items()
    ]
    facts: dict[str, Any] = {"gpu": rows or [{"count": granted.count}]}
    if granted.driver is not None:
        facts["gpu-driver"] = {"version": granted.driver.version, "cuda": granted.driver.cuda}
    return facts


def shown_gpus(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The rows of a record for people: whoever signed it may have written anything there."""
    rows, driver = facts.get("gpu"), facts.get("gpu-driver")
    told = []
    if isinstance(driver, Mapping):
        told = [f"driver {driver.get('version')}", f"CUDA {driver.get('cuda')}"]
    found = []
    for row in rows if isinstance(rows, list | tuple) else ():
        if not isinstance(row, Mapping):
            continue
        words = [f"{row.get('count')} of the engine's machine"]
        if "model" in row:
            words = [f"{row.get('count')} x {row['model']}"]
        memory = row.get("memory")
        if isinstance(memory, int):
            words.append(f"{memory // 2**20} MiB")
        found.append(", ".join([*words, *told]))
    return tuple(found)
