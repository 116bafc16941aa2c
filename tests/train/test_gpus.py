"""`[train] gpus` without a GPU: which ones a program gets, what it sees, and what is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.nvml import Card, driver, finds_a_driver
from support.reporter import Recorder
from support.training import PROGRAM, SPEC, Typed, locked, no_layers, relock

from mllock.errors import SurroundingsError
from mllock.train.gpus import (
    Driver,
    Gpu,
    GpuError,
    GpuMachine,
    Granted,
    choose,
    gpu_facts,
    shown_gpus,
)
from mllock.workflows.context import Context
from mllock.workflows.train import train

H100 = "NVIDIA H100 80GB HBM3"
ONE = Card(uuid="GPU-1111-a", model=H100)
TWO = Card(uuid="GPU-1122-b", model=H100)


def gpu(number: int, model: str = "X", whole: str | None = None) -> Gpu:
    kind = "GPU" if whole is None else "MIG"
    return Gpu(
        uuid=f"{kind}-{number:02}-abc", model=model, memory=2**30, capability="9.0", whole=whole
    )


ALIKE = GpuMachine(
    driver=Driver(version="580.1", cuda="13.0"), gpus=tuple((gpu(n),) for n in range(4))
)
MIXED = replace(ALIKE, gpus=((gpu(0),), (gpu(1, "Y"),)))
MIGS = replace(
    ALIKE,
    gpus=(
        (gpu(0),),
        (gpu(10, whole="GPU-01-abc"), gpu(11, whole="GPU-01-abc")),
        (gpu(2),),
    ),
)


@pytest.mark.parametrize(
    ("machine", "visible", "wanted", "numbers"),
    [
        (ALIKE, None, 2, [0, 1]),
        (ALIKE, "3,1", 2, [3, 1]),
        (ALIKE, " 3 , 1 ", 1, [3]),
        (ALIKE, "GPU-02", 1, [2]),
        (ALIKE, "GPU-02-abc,0", 2, [2, 0]),
        # CUDA's own example: what follows the first that is not there does not exist.
        (ALIKE, "0,2,-1,1", 2, [0, 2]),
        (MIXED, None, 2, [0, 1]),
        (MIXED, "GPU-01", 1, [1]),
        (MIGS, None, 1, [0]),
        (MIGS, None, 2, [0, 2]),
        (MIGS, "MIG-11", 1, [11]),
        # Of a GPU in MIG mode CUDA takes the first part.
        (MIGS, "1", 1, [10]),
        (MIGS, "GPU-01", 1, [10]),
    ],
)
def test_what_a_program_gets(
    machine: GpuMachine, visible: str | None, wanted: int, numbers: list[int]
) -> None:
    environ = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    if visible is not None:
        environ["CUDA_VISIBLE_DEVICES"] = visible
    granted = choose(machine, environ, wanted)
    assert [int(device.uuid[4:6]) for device in granted.devices] == numbers
    assert granted.variables() == {
        "CUDA_VISIBLE_DEVICES": ",".join(granted.uuids),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


@pytest.mark.parametrize(
    ("machine", "visible", "wanted", "found", "hint"),
    [
        (
            ALIKE,
            None,
            5,
            "4 (X, X, X, X)",
            "change gpus in [train] to 4, or train on a machine that has them",
        ),
        (
            replace(ALIKE, gpus=()),
            None,
            1,
            "none",
            "change gpus in [train] to 0, or train on a machine that has them",
        ),
        (
            MIGS,
            None,
            3,
            "4 (X, X, X, X)",
            "a program can use one MIG device only: set gpus = 1, or name whole GPUs",
        ),
        *(
            (
                ALIKE,
                visible,
                2,
                f'{found} with CUDA_VISIBLE_DEVICES="{visible}"',
                f"let it name more, unset it, or change gpus in [train] to {number}",
            )
            for visible, found, number in (
                ("", "none", 0),
                ("-1", "none", 0),
                ("4", "none", 0),
                ("NoDevFiles", "none", 0),
                ("GPU-0", "none", 0),  # of more than one
                ("GPU-", "none", 0),
                ("3", "1 (X)", 1),
                ("1,1", "1 (X)", 1),
                ("1,,2", "1 (X)", 1),
                ("1,GPU-9,2", "1 (X)", 1),
                ("1,99999999999999999999,2", "1 (X)", 1),
            )
        ),
    ],
)
def test_fewer_than_the_program_needs(
    machine: GpuMachine, visible: str | None, wanted: int, found: str, hint: str
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    with pytest.raises(GpuError) as caught:
        choose(machine, environ, wanted)
    shown = "this machine has" if visible is None else "CUDA_VISIBLE_DEVICES shows"
    assert str(caught.value) == (
        f"mlproject.toml: train.gpus: {shown} fewer GPUs than the program needs\n"
        f"expected: {wanted}\nfound: {found}\nhint: {hint}"
    )


def test_numbers_of_gpus_that_are_not_alike() -> None:
    """Without CUDA_DEVICE_ORDER, number 0 is what CUDA takes for the fastest."""
    with pytest.raises(GpuError) as caught:
        choose(MIXED, {"CUDA_VISIBLE_DEVICES": "0"}, 1)
    assert str(caught.value) == (
        "mlproject.toml: train.gpus: which GPU is number 0 depends on CUDA, because they are not "
        "all the same\n"
        "expected: CUDA_DEVICE_ORDER=PCI_BUS_ID, or UUIDs in CUDA_VISIBLE_DEVICES\n"
        'found: CUDA_VISIBLE_DEVICES="0"\n'
        'hint: see "nvidia-smi -L"'
    )
    ordered = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert choose(MIXED, ordered, 1).devices == (gpu(1, "Y"),)


def test_facts_of_a_record() -> None:
    two = choose(replace(MIXED, gpus=(*MIXED.gpus, (gpu(2),))), {}, 3)
    facts = gpu_facts(two)
    row = {"memory": 2**30, "compute-capability": "9.0"}
    assert facts == {
        "gpu": [{"count": 2, "model": "X", **row}, {"count": 1, "model": "Y", **row}],
        "gpu-driver": {"version": "580.1", "cuda": "13.0"},
    }
    assert "abc" not in json.dumps(facts)  # of no UUID
    assert shown_gpus(facts) == (
        "2 x X, 1024 MiB, driver 580.1, CUDA 13.0",
        "1 x Y, 1024 MiB, driver 580.1, CUDA 13.0",
    )
    shared = Gpu(uuid="GPU-1", model="NVIDIA GB10", memory=None, capability="12.1")
    assert gpu_facts(Granted(count=1, devices=(shared,))) == {
        "gpu": [{"count": 1, "model": "NVIDIA GB10", "compute-capability": "12.1"}]
    }
    assert gpu_facts(Granted(count=2)) == {"gpu": [{"count": 2}]}
    assert shown_gpus({"gpu": [{"count": 2}]}) == ("2 of the engine's machine",)
    assert gpu_facts(Granted(count=0)) == {}


@pytest.mark.parametrize("rows", [None, 1, "x", {"a": 1}, [1, None, "x"]])
def test_a_record_that_says_anything(rows: object) -> None:
    assert shown_gpus({"gpu": rows, "gpu-driver": rows}) == ()


SEES = PROGRAM + 'print("sees", sorted(i for i in os.environ.items() if "CUDA" in i[0]))\n'


def with_cards(ctx: Context, *cards: Card, **environ: str) -> Context:
    variables = driver(ctx.project.parent / "driver", *cards)
    return replace(ctx, environ={**ctx.environ, **variables, **environ})


def gpus(ctx: Context, number: int) -> None:
    (ctx.project / "mlproject.toml").write_text(SPEC + f"gpus = {number}\n")


def test_a_run_on_the_host(tmp_path: Path) -> None:
    ctx = locked(tmp_path, program=SEES, spec=SPEC + "gpus = 1\n")
    run = train(with_cards(ctx, ONE, TWO, CUDA_VISIBLE_DEVICES="1"), environment_of=no_layers).run
    assert run.log.read_text().splitlines()[1] == (
        "sees [('CUDA_DEVICE_ORDER', 'PCI_BUS_ID'), ('CUDA_VISIBLE_DEVICES', 'GPU-1122-b')]"
    )
    facts = run.record().facts
    row = {"count": 1, "model": H100, "memory": 80 * 2**30, "compute-capability": "9.0"}
    assert facts["gpu"] == [row]
    assert facts["gpu-driver"] == {"version": "580.95.05", "cuda": "13.0"}
    assert isinstance(ctx.reporter, Recorder)
    note = f"note: gpus: 1 ({H100}; driver 580.95.05, CUDA 13.0)"
    assert note in ctx.reporter.lines
    # No GPU is asked for where none is declared: no driver could answer this.
    gpus(ctx, 0)
    run = train(with_cards(ctx, ONE, CUDA_VISIBLE_DEVICES="7"), environment_of=no_layers).run
    assert run.log.read_text().splitlines()[1] == "sees [('CUDA_VISIBLE_DEVICES', '')]"
    assert not {"gpu", "gpu-driver"} & set(run.record().facts)


def test_the_programs_of_a_folder_that_only_the_caller_knows(tmp_path: Path) -> None:
    program = PROGRAM + 'print(os.environ.get("LD_LIBRARY_PATH"))\n'
    ctx = locked(tmp_path, program=program, spec=SPEC + "gpus = 1\n")
    run = train(with_cards(ctx, ONE), environment_of=no_layers).run
    folder = None if finds_a_driver() else str(tmp_path / "driver")
    assert run.log.read_text().splitlines()[1] == str(folder)


def test_refused_before_anything_is_made(tmp_path: Path) -> None:
    ctx = locked(tmp_path, spec=SPEC + "gpus = 2\n")
    with pytest.raises(SurroundingsError) as caught:
        train(with_cards(ctx, ONE), environment_of=no_layers)
    assert str(caught.value) == (
        "mlproject.toml: train.gpus: this machine has fewer GPUs than the program needs\n"
        f"expected: 2\nfound: 1 ({H100})\n"
        "hint: change gpus in [train] to 1, or train on a machine that has them"
    )
    assert isinstance(ctx.reporter, Recorder)
    assert ctx.reporter.lines == [
        "note: runtime: host (this machine's Python, locked packages; not the image)"
    ]
    assert not ctx.runs.exists()


EVALUATE = """\
[data.test]
source = "data/test.csv"
role = "test"
[evaluate]
command = ["python", "evaluate.py"]
metrics = "evaluation.json"
"""


def test_an_evaluation_gets_the_same(
    ctx: Context, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sees = 'import os, pathlib\nprint(os.environ["CUDA_VISIBLE_DEVICES"])\n'
    write = 'pathlib.Path("evaluation.json").write_text("{}")\n'
    (ctx.project / "evaluate.py").write_text(sees + write)
    (ctx.project / "data/test.csv").write_text("a\n1\n")
    (ctx.project / "mlproject.toml").write_text(SPEC + "gpus = 1\n" + EVALUATE)
    relock(ctx)
    for name, value in driver(ctx.project.parent / "driver", ONE, TWO).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert typed("train")[0] == 0
    shown = typed("show")[1].splitlines()
    words = f"1 x {H100}, 81920 MiB, driver 580.95.05, CUDA 13.0"
    assert f"gpu          {words}" in shown
    assert typed("evaluate")[0] == 0
    (log,) = ctx.runs.glob("*/evaluation/test/log.txt")
    assert log.read_text() == "GPU-1122-b\n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, out, err = typed("evaluate")
    assert (code, out) == (4, "")
    assert err.splitlines()[1:] == [
        "error: mlproject.toml:18: train.gpus: CUDA_VISIBLE_DEVICES shows fewer GPUs than the "
        "program needs",
        "expected: 1",
        'found: none with CUDA_VISIBLE_DEVICES=""',
        "hint: let it name more, unset it, or change gpus in [train] to 0",
    ]
