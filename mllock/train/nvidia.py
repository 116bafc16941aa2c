"""The GPUs of this machine by NVIDIA's driver: asked in a process of its own, and read strictly.

Order: the library in the caller's LD_LIBRARY_PATH, as the caller's programs find it, else where
every program does. That folder is the trained program's, too, if nothing else leads to the driver,
as on clusters. A process that crashes, hangs or says nonsense is one message. `nvidia-smi` is not
asked: it is not everywhere that the library is, and its text says less. Raises GpuError.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mllock import processes
from mllock.train import nvml
from mllock.train.gpus import Driver, Gpu, GpuError, GpuMachine, NoDriverError

__all__ = ["NvidiaGpus"]

# Starting a driver that nothing keeps loaded takes seconds for each GPU.
PATIENCE = 60
_RESTART = "restart the machine, or install the driver anew"
# nvmlReturn_t, and what a person does about it.
_CURES = {
    4: "look who may use /dev/nvidia* (ls -l), or ask for the right to",
    9: "load the kernel module (modprobe nvidia), or install the driver for this kernel",
    12: "install all of the driver, not its library alone",
    15: _RESTART,
    18: "restart the machine: the driver was updated while its older module is in the kernel",
}

_Model = Annotated[str, Meta(pattern=r"^[ -~]{1,96}\Z")]


class _Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # MIG-GPU-UUID/GI/CI is how drivers before 470 call a MIG device.
    uuid: Annotated[str, Meta(pattern=r"^(GPU|MIG)-[0-9A-Za-z/-]{1,91}\Z")]
    model: _Model
    memory: Annotated[int, Meta(ge=0, lt=2**53)] | None
    capability: Annotated[str, Meta(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}\Z")]


class _Whole(_Device, frozen=True, kw_only=True, forbid_unknown_fields=True):
    parts: tuple[_Device, ...] | None


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    driver: Annotated[str, Meta(pattern=r"^[0-9]{1,5}(\.[0-9]{1,5}){1,3}\Z")]
    # 1000 times the major version, and ten times the minor one.
    cuda: Annotated[int, Meta(ge=1000, le=999_990)]
    gpus: tuple[_Whole, ...]


class NvidiaGpus:
    """`environ` is the caller's; `patience` in seconds."""

    def __init__(self, environ: Mapping[str, str], patience: float = PATIENCE) -> None:
        self._environ = environ
        self._patience = patience

    def ask(self) -> GpuMachine:
        """Raises NoDriverError, and GpuError for a driver that cannot be used."""
        folder = self._folder()
        answer = self._run(folder)
        if "missing" in answer:
            raise NoDriverError(
                "no NVIDIA driver on this machine",
                expected=f"{nvml.LIBRARY}, which comes with the driver",
                found=str(answer["missing"]),
                hint="install the driver, train where there is one, or change gpus in [train] to 0",
            )
        if "lacks" in answer:
            raise GpuError(
                "the NVIDIA driver of this machine is too old",
                expected="450 or newer",
                found=str(answer["lacks"]).rpartition("/")[2],
                hint="install a newer driver",
            )
        if "code" in answer:
            raise _refused(answer)
        try:
            read = msgspec.convert(answer, _Answer)
        except msgspec.ValidationError as error:
            raise _unusable(str(error)) from None
        uuids = [device.uuid for gpu in read.gpus for device in (gpu, *(gpu.parts or ()))]
        if len(set(uuids)) != len(uuids):
            raise _unusable("two GPUs with one UUID")
        if folder is not None and "missing" not in self._run(None):
            # It would come before the libraries of the locked packages, too.
            folder = None
        return GpuMachine(
            driver=Driver(
                version=read.driver, cuda=f"{read.cuda // 1000}.{read.cuda % 1000 // 10}"
            ),
            gpus=tuple(_devices(gpu) for gpu in read.gpus),
            folder=folder,
        )

    def _folder(self) -> str | None:
        for name in self._environ.get("LD_LIBRARY_PATH", "").split(":"):
            if os.path.isabs(name) and (Path(name) / nvml.LIBRARY).exists():
                return name
        return None

    def _run(self, folder: str | None) -> dict[str, Any]:
        # Nothing of the caller's but what the loader needs; no site, which could be slow.
        variables = {} if folder is None else {"LD_LIBRARY_PATH": folder}
        command = [sys.executable, "-I", "-S", nvml.__file__]
        try:
            done = processes.run(command, variables=variables, timeout=self._patience)
        except subprocess.TimeoutExpired:
            raise GpuError(
                "the NVIDIA driver does not answer",
                expected=f"an answer within {self._patience:g} seconds",
                found="none",
                hint=f'see "nvidia-smi" and "dmesg"; {_RESTART}',
            ) from None
        if done.code < 0:
            raise _unusable(f"its library ended with {signal.Signals(-done.code).name}")
        try:
            answer = msgspec.json.decode(done.output, type=dict[str, Any])
        except msgspec.DecodeError:
            raise _unusable("no answer") from None
        return answer


def _refused(answer: Mapping[str, Any]) -> GpuError:
    code = answer["code"]
    return GpuError(
        "the NVIDIA driver of this machine cannot be used",
        expected=None,
        found=f"{answer['said'] or 'no reason given'} ({answer['call']}: {code})",
        hint=_CURES.get(code, f'see "nvidia-smi"; {_RESTART}'),
    )


def _unusable(found: str) -> GpuError:
    return GpuError(
        "the NVIDIA driver of this machine says nothing of use",
        expected=None,
        found=found,
        hint=f'see "nvidia-smi"; {_RESTART}',
    )


def _devices(gpu: _Whole) -> tuple[Gpu, ...]:
    if gpu.parts is None:
        return (_device(gpu, None),)
    return tuple(_device(part, gpu.uuid) for part in gpu.parts)


def _device(found: _Device, whole: str | None) -> Gpu:
    return Gpu(
        uuid=found.uuid,
        model=found.model,
        memory=found.memory,
        capability=found.capability,
        whole=whole,
    )
