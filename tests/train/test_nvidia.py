"""Asking the driver, without one: a real library says what a driver would, and is loaded as one is.

What only a real GPU shows is looked at by scripts/gpu-check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.nvml import Card, driver, finds_a_driver

from mllock.train.gpus import (
    Driver,
    Gpu,
    GpuError,
    GpuMachine,
    NoDriverError,
)
from mllock.train.nvidia import NvidiaGpus

H100 = "NVIDIA H100 80GB HBM3"
A100 = "NVIDIA A100-SXM4-40GB"
SLICE = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
ONE = Card(uuid="GPU-1111-a", model=H100)
TWO = Card(uuid="GPU-1122-b", model=H100)
OTHER = Card(uuid="GPU-3333-c", model=A100, memory=40 * 2**30, capability=(8, 0))
PARTS = (
    Card(uuid="MIG-aaaa", model=SLICE, memory=5 * 2**30, capability=(8, 0)),
    Card(uuid="MIG-aabb", model=SLICE, memory=5 * 2**30, capability=(8, 0)),
)
CUT = replace(OTHER, parts=PARTS)
RESTART = 'see "nvidia-smi"; restart the machine, or install the driver anew'


def asked(place: Path, *cards: Card, **options: object) -> GpuMachine:
    return NvidiaGpus(driver(place, *cards, **options)).ask()  # type: ignore[arg-type]


def refused(place: Path, *cards: Card, patience: float = 60, **options: object) -> str:
    variables = driver(place, *cards, **options)  # type: ignore[arg-type]
    with pytest.raises(GpuError) as caught:
        NvidiaGpus(variables, patience).ask()
    assert caught.value.exit_code == 4
    assert not isinstance(caught.value, NoDriverError)
    return str(caught.value)


def test_what_a_driver_says(tmp_path: Path) -> None:
    machine = asked(tmp_path, ONE, CUT)
    assert machine == GpuMachine(
        driver=Driver(version="580.95.05", cuda="13.0"),
        gpus=(
            (Gpu(uuid="GPU-1111-a", model=H100, memory=80 * 2**30, capability="9.0"),),
            tuple(
                Gpu(
                    uuid=part.uuid,
                    model=SLICE,
                    memory=5 * 2**30,
                    capability="8.0",
                    whole="GPU-3333-c",
                )
                for part in PARTS
            ),
        ),
        folder=None if finds_a_driver() else str(tmp_path),
    )


def test_drivers_of_other_kinds(tmp_path: Path) -> None:
    old = asked(tmp_path / "old", ONE, mig=False, version="440.33", cuda=10020)
    assert (old.driver, len(old.gpus)) == (Driver(version="440.33", cuda="10.2"), 1)
    assert asked(tmp_path / "none").gpus == ()
    assert asked(tmp_path / "bare", replace(CUT, parts=())).gpus == ((),)
    shared = asked(tmp_path / "shared", replace(ONE, model="NVIDIA GB10", memory=None)).gpus
    assert shared == ((Gpu(uuid=ONE.uuid, model="NVIDIA GB10", memory=None, capability="9.0"),),)
    # CUDA does not see what this process may not use.
    gone = asked(tmp_path / "gone", replace(ONE, code=4), TWO)
    assert [[gpu.uuid for gpu in gpus] for gpus in gone.gpus] == [["GPU-1122-b"]]


def test_what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    """write(1, ...) by system call: there is no C library in it."""
    call = 'long r; __asm__ volatile("syscall" : "=a"(r) : "a"(1L), "D"(1L), "S"("{}\\n"), "d"(3L))'
    machine = asked(tmp_path, ONE, start=f"{call};")
    assert len(machine.gpus) == 1


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        (
            18,
            "Driver/library version mismatch",
            "restart the machine: the driver was updated while its older module is in the kernel",
        ),
        (
            9,
            "Driver Not Loaded",
            "load the kernel module (modprobe nvidia), or install the driver for this kernel",
        ),
        (
            4,
            "Insufficient Permissions",
            "look who may use /dev/nvidia* (ls -l), or ask for the right to",
        ),
        (999, "", RESTART),
    ],
)
def test_a_driver_that_refuses(tmp_path: Path, code: int, said: str, hint: str) -> None:
    assert refused(tmp_path, ONE, init=code, said=said) == (
        "mlproject.toml: train.gpus: the NVIDIA driver of this machine cannot be used\n"
        f"found: {said or 'no reason given'} (nvmlInit_v2: {code})\n"
        f"hint: {hint}"
    )


def test_a_gpu_that_is_lost(tmp_path: Path) -> None:
    assert refused(tmp_path, ONE, replace(TWO, code=15), said="GPU is lost") == (
        "mlproject.toml: train.gpus: the NVIDIA driver of this machine cannot be used\n"
        "found: GPU is lost (nvmlDeviceGetHandleByIndex_v2: 15)\n"
        "hint: restart the machine, or install the driver anew"
    )


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"start": "__builtin_trap();"}, "its library ended with SIGILL"),
        ({"version": "nonsense"}, "Expected `str` matching regex "),
        ({"version": "580.95\\n"}, "Expected `str` matching regex "),
        ({"cuda": 7}, "Expected `int` >= 1000 - at `$.cuda`"),
        ({"count": 5000}, "Expected `array`, got `int` - at `$.gpus`"),
    ],
    ids=["crash", "version", "line-end", "cuda", "count"],
)
def test_a_driver_that_says_nonsense(
    tmp_path: Path, options: Mapping[str, object], found: str
) -> None:
    said = refused(tmp_path, ONE, **options)
    first, second, third = said.splitlines()
    assert first == (
        "mlproject.toml: train.gpus: the NVIDIA driver of this machine says nothing of use"
    )
    assert second.startswith(f"found: {found}")
    assert third == f"hint: {RESTART}"


@pytest.mark.parametrize(
    "card",
    [
        replace(ONE, uuid="GPU-1,GPU-2"),
        replace(ONE, uuid=""),
        replace(ONE, uuid="0"),
        replace(ONE, model="x\\033[2J"),
        replace(ONE, model=""),
        replace(ONE, memory=2**60),
        replace(ONE, capability=(-1, 0)),
    ],
    ids=["list", "no-uuid", "number", "escape", "no-model", "memory", "capability"],
)
def test_a_gpu_that_is_nonsense(tmp_path: Path, card: Card) -> None:
    """What it says goes into a variable, a request and a record."""
    assert "says nothing of use\nfound: Expected `" in refused(tmp_path, card)


def test_two_gpus_with_one_uuid(tmp_path: Path) -> None:
    assert "\nfound: two GPUs with one UUID\n" in refused(tmp_path, ONE, ONE)


def test_a_driver_that_does_not_answer(tmp_path: Path) -> None:
    assert refused(tmp_path, ONE, start="for (;;);", patience=0.2) == (
        "mlproject.toml: train.gpus: the NVIDIA driver does not answer\n"
        "expected: an answer within 0.2 seconds\n"
        "found: none\n"
        'hint: see "nvidia-smi" and "dmesg"; restart the machine, or install the driver anew'
    )


def test_a_driver_that_is_too_old(tmp_path: Path) -> None:
    assert refused(tmp_path, ONE, lacks="nvmlSystemGetCudaDriverVersion_v2") == (
        "mlproject.toml: train.gpus: the NVIDIA driver of this machine is too old\n"
        "expected: 450 or newer\n"
        "found: libnvidia-ml.so.1: undefined symbol: nvmlSystemGetCudaDriverVersion_v2\n"
        "hint: install a newer driver"
    )


def test_a_library_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library, although it is called so\n" * 99)
    with pytest.raises(NoDriverError) as caught:
        NvidiaGpus({"LD_LIBRARY_PATH": f"relative:{tmp_path}"}).ask()
    assert str(caught.value) == (
        "mlproject.toml: train.gpus: no NVIDIA driver on this machine\n"
        "expected: libnvidia-ml.so.1, which comes with the driver\n"
        f"found: {tmp_path}/libnvidia-ml.so.1: invalid ELF header\n"
        "hint: install the driver, train where there is one, or change gpus in [train] to 0"
    )
