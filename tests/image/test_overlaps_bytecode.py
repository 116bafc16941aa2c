"""Bytecode of wheels that overlap, made by a real interpreter: of the winner's file only."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.bytecode import SITE, Bench
from support.pythons import base_of

from mllock.lock.types import Lock

WHEELS = {
    ("one", "1.0"): {"one.py": b"", "tests/__init__.py": b"", "tests/a.py": b"A = 1\n"},
    ("two", "1.0"): {"two.py": b"", "tests/__init__.py": b"", "tests/a.py": b"A = 2\n"},
}


@pytest.mark.parametrize("keep", ["one", "two"])
def test_only_the_file_that_stays_has_bytecode(
    keep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of("3.11")
    plain = Bench.lock

    def lock(self: Bench, *rest: object) -> Lock:
        made = plain(self, *rest)
        rule = {"path": "tests/**", "keep": keep}
        environment = {**made.inputs.environment, "overlaps": [rule]}
        inputs = msgspec.structs.replace(made.inputs, environment=environment)
        return msgspec.structs.replace(made, inputs=inputs)

    monkeypatch.setattr(Bench, "lock", lock)
    bench = Bench(root=tmp_path / "bench", base=base, nodes=base.nodes)
    layers = bench.build(WHEELS, (("one",), ("two",)))
    found = {
        (layer.kind, layer.title): {
            path.removeprefix(f"{SITE}/") for path in bench.files(layer) if "/tests/" in path
        }
        for layer in layers
        if layer.title in ("one", "two")
    }
    both = {"tests/__init__.py", "tests/a.py"}
    pyc = "tests/__pycache__/{}.cpython-311.pyc"
    other = "two" if keep == "one" else "one"
    assert found == {
        ("python", keep): both,
        ("python", other): {"tests/__init__.py"},
        ("bytecode", keep): {pyc.format("__init__"), pyc.format("a")},
        ("bytecode", other): {pyc.format("__init__")},
    }
