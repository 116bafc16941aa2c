"""Bytecode layers of small wheels on a base that holds a real Python of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from support.bytecode import GROUPS, INSIDE, SITE, WHEELS, Bench
from support.elf import elf
from support.nodes import file
from support.pythons import base_of, without
from support.reporter import Recorder
from support.vectors import VECTOR, VECTOR_DIFF_ID, VECTOR_DIGEST, VECTOR_PYC

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError, SurroundingsError
from mllock.image.build import Packages, build_environment
from mllock.image.bytecode import MAX_SOURCE
from mllock.image.resolve import with_parents
from mllock.image.tree import Node
from mllock.image.types import Layer


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    base = base_of("3.11")
    return Bench(root=tmp_path / "bench", base=base, nodes=base.nodes)


def compiling(bench: Bench, count: int) -> list[str]:
    return [f"step: compiling {count} files with the base's Python {bench.base.version}"]


def standard(bench: Bench) -> int:
    return sum(n.path.startswith(INSIDE) and n.path.endswith(".py") for n in bench.nodes)


def test_one_layer_above_each_python_layer(bench: Bench) -> None:
    layers = bench.build()
    assert [(layer.kind, layer.title) for layer in layers] == [
        ("python", "one"),
        ("python", "three, two"),
        ("bytecode", "standard library"),
        ("bytecode", "one"),
        ("bytecode", "three, two"),
    ]
    assert bench.said == compiling(bench, standard(bench) + 4)
    library, one, rest = layers[2:]
    assert sorted(bench.files(one)) == [f"{SITE}/one/__pycache__/__init__.cpython-311.pyc"]
    assert sorted(bench.files(rest)) == [
        f"{SITE}/__pycache__/two.cpython-311.pyc",
        f"{SITE}/three/__pycache__/__init__.cpython-311.pyc",
        f"{SITE}/three/deep/__pycache__/er.cpython-311.pyc",
    ]
    names = bench.files(library)
    assert f"{INSIDE}/json/__pycache__/decoder.cpython-311.pyc" in names
    assert len(names) == standard(bench)
    assert all(name.startswith(INSIDE) and "__pycache__" in name for name in names)


def test_nothing_without_the_key(bench: Bench) -> None:
    with_bytecode = bench.build()
    lock = bench.lock(WHEELS, GROUPS)
    environment = {**lock.inputs.environment, "bytecode": False}
    plain = msgspec.structs.replace(
        lock, inputs=msgspec.structs.replace(lock.inputs, environment=environment)
    )
    layers = build_environment(plain, Packages(wheels=dict, debs=dict), bench.cache(), Recorder())
    assert layers[1:] == with_bytecode[:2]


def test_a_second_build_compiles_nothing(bench: Bench) -> None:
    first = bench.build()
    assert bench.build() == first
    assert bench.said == []


def test_another_machine_makes_the_same(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.build()
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setenv("PYTHONHASHSEED", "99")
    other = Bench(root=tmp_path / "another place: x", base=bench.base, nodes=bench.nodes)
    old = os.umask(0o077)
    try:
        assert other.build() == first
    finally:
        os.umask(old)


def test_a_changed_package_changes_its_layers_only(bench: Bench) -> None:
    first = bench.build()
    changed = {**WHEELS, ("one", "1.0"): {"one/__init__.py": b"ONE = 2\n"}}
    second = bench.build(changed)
    assert bench.said == compiling(bench, 1)
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, True, False, True]


def test_a_changed_package_of_several_is_compiled_alone(bench: Bench, tmp_path: Path) -> None:
    first = bench.build()
    changed = {**WHEELS, ("two", "1.0"): {"two.py": b"TWO = 2\n"}}
    second = bench.build(changed)
    assert bench.said == compiling(bench, 1)
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True, True, False]
    cold = Bench(root=tmp_path / "cold", base=bench.base, nodes=bench.nodes)
    assert cold.build(changed) == second


def test_a_package_that_moves_is_not_compiled_again(bench: Bench, tmp_path: Path) -> None:
    bench.build()
    moved = (("one", "three"), ("two",))
    layers = bench.build(groups=moved)
    assert bench.said == []
    cold = Bench(root=tmp_path / "cold", base=bench.base, nodes=bench.nodes)
    assert cold.build(groups=moved) == layers


def test_what_does_not_compile_ships_without(bench: Bench) -> None:
    wheels = {
        ("one", "1.0"): {
            "one/__init__.py": b"ONE = 1\n",
            "one/old.py": b"print 'a template'\n",
            "one/large.py": b"#" * (MAX_SOURCE + 1),
            f"one/{'n' * 240}.py": b"",
            "one/data.PY": b"ONE = 1\n",
        },
        ("two", "1.0"): {"two.so": b"no source at all"},
    }
    groups = (("one",), ("two",))
    layers = bench.build(wheels, groups)
    assert [layer.title for layer in layers] == ["one", "two", "standard library", "one"]
    assert sorted(bench.files(layers[-1])) == [f"{SITE}/one/__pycache__/__init__.cpython-311.pyc"]
    named = [
        f"detail: no bytecode for /{SITE}/one/large.py: more than {MAX_SOURCE} bytes",
        f"detail: no bytecode for /{SITE}/one/{'n' * 240}.py: the name of its bytecode would have "
        "more than 255 bytes",
        f"detail: no bytecode for /{SITE}/one/old.py: SyntaxError: Missing parentheses in call to "
        "'print'. Did you mean print(...)? (old.py, line 1)",
    ]
    total = standard(bench) + 4
    assert bench.said == [
        *compiling(bench, total - 2),
        f"note: 3 of {total} Python files ship without bytecode; -v names them",
        *named,
    ]
    assert bench.build(wheels, groups) == layers
    assert bench.said == named


def test_a_file_of_two_wheels(bench: Bench) -> None:
    shared = {"shared/x.py": b"X = 1\n"}
    wheels = {("one", "1.0"): dict(shared), ("two", "1.0"): {**shared, "two.py": b""}}
    layers = bench.build(wheels, (("one", "two"),))
    assert sorted(bench.files(layers[-1])) == [
        f"{SITE}/__pycache__/two.cpython-311.pyc",
        f"{SITE}/shared/__pycache__/x.cpython-311.pyc",
    ]
    # From what was kept of each, the same.
    other = bench.build(wheels, (("one",), ("two",)))
    assert bench.said == []
    assert list(bench.files(other[-1])) == list(bench.files(layers[-1]))


def test_a_file_that_another_wheel_keeps(bench: Bench) -> None:
    """Its bytecode stays out as well: it would be imported in the place of the one that is kept."""
    wheels = {
        ("one", "1.0"): {"shared/x.py": b"X = 'kept'\n"},
        ("two", "1.0"): {"shared/x.py": b"X = 'lost'\n", "two.py": b""},
    }
    groups = (("one",), ("two",))
    alone = bench.build({("two", "1.0"): wheels["two", "1.0"]}, (("two",),))
    bench.overlaps = ({"path": "shared/*", "keep": "one"},)
    _, _, _, one, two = bench.build(wheels, groups)
    ((path, data),) = bench.files(one).items()
    assert path == f"{SITE}/shared/__pycache__/x.cpython-311.pyc"
    assert b"kept" in data
    assert list(bench.files(two)) == [f"{SITE}/__pycache__/two.cpython-311.pyc"]
    assert sorted(bench.files(alone[-1])) == [f"{SITE}/__pycache__/two.cpython-311.pyc", path]
    bench.overlaps = ({"path": "shared/*", "keep": "two"},)
    *_, last = bench.build(wheels, groups)
    assert bench.files(last) == bench.files(alone[-1])


def test_bytecode_that_a_wheel_brings_is_not_used(bench: Bench) -> None:
    brought = {"one/__pycache__/__init__.cpython-311.pyc": b"another program"}
    wheels = {("one", "1.0"): {"one/__init__.py": b"ONE = 1\n", **brought}}
    layers = bench.build(wheels, (("one",),))
    (data,) = bench.files(layers[-1]).values()
    assert b"another program" not in data
    assert not any("__pycache__" in name for name in bench.files(layers[0]))


def test_a_file_where_the_folder_belongs(bench: Bench) -> None:
    wheels = {("one", "1.0"): {"one/__init__.py": b"", "one/__pycache__": b"a file"}}
    with pytest.raises(ArchiveError) as caught:
        bench.build(wheels, (("one",),))
    assert str(caught.value) == (
        f"one-1.0-py3-none-any.whl: {SITE}/one/__pycache__: a file where the folder of the "
        "bytecode belongs\nhint: leave the package out, or write bytecode = false"
    )


def test_a_damaged_layer_is_made_again(bench: Bench) -> None:
    first = bench.build()
    blob = bench.cache().blob_path(first[-1].digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    assert bench.build() == first
    # What was kept of each wheel is still there.
    assert bench.said == []
    blob = bench.cache().blob_path(first[-2].digest)
    blob.unlink()
    assert bench.build() == first
    assert bench.said == compiling(bench, 1)


def test_another_interpreter_compiles_again(bench: Bench) -> None:
    """Its identity is of what a compile can depend on; what else is in the base does not matter."""
    first = bench.build()
    more = Bench(
        root=bench.root, base=bench.base, nodes=(*bench.nodes, file("usr/other", b"unrelated"))
    )
    remove_base(bench)
    assert more.build() == first
    assert more.said == []
    changed = file(f"{INSIDE}/json/tool.py", b"changed = 1\n")
    other = Bench(
        root=bench.root, base=bench.base, nodes=(*without(bench.nodes, changed.path), changed)
    )
    remove_base(bench)
    layers = other.build()
    assert other.said == compiling(bench, standard(bench) + 4)
    assert [a == b for a, b in zip(first, layers, strict=True)] == [True, True, False, True, True]


def test_bytecode_that_the_base_has_is_kept(bench: Bench) -> None:
    there = file(f"{INSIDE}/json/__pycache__/tool.cpython-311.pyc", b"the base's own")
    other = Bench(
        root=bench.root,
        base=bench.base,
        nodes=(
            *bench.nodes,
            Node(path=f"{INSIDE}/json/__pycache__", kind="folder", mode=0o755),
            there,
        ),
    )
    layers = other.build()
    assert there.path not in other.files(layers[2])
    assert len(other.files(layers[2])) == standard(bench) - 1


def of_another_machine(bench: Bench, twin: tuple[Layer, ...] = ()) -> Bench:
    """The same, with an interpreter that is for arm64."""
    foreign = elf(183, interpreter="/lib/ld-linux-aarch64.so.1")
    nodes = (
        *without(bench.nodes, bench.base.interpreter[1:]),
        file(bench.base.interpreter[1:], foreign, 0o755),
        file("lib/ld-linux-aarch64.so.1", elf(183), 0o755),
    )
    other = Bench(root=bench.root / "other", base=bench.base, nodes=with_parents(nodes), twin=twin)
    for layer in twin:
        path = bench.cache().get(layer.digest)
        assert path is not None
        other.cache().put_file(path)
    return other


def test_the_interpreter_of_another_platform_compiles(bench: Bench) -> None:
    """Of the same lock, for this machine: the bytecode is the same, to the byte."""
    layers = bench.build()
    assert [layer.kind for layer in layers].count("bytecode") == 3
    other = of_another_machine(bench, bench.below)
    assert [layer.digest for layer in other.build()] == [layer.digest for layer in layers]
    assert other.below != bench.below
    assert [line for line in other.said if "compiling" in line]
    # All that is kept is found again: nobody asks for a twin.
    again = of_another_machine(bench)
    assert [layer.digest for layer in again.build()] == [layer.digest for layer in layers]


def test_a_twin_that_cannot_run_here_either(bench: Bench) -> None:
    bench.build()
    other = of_another_machine(bench)
    with pytest.raises(SurroundingsError):
        other.build()
    other.twin = other.below
    with pytest.raises(SurroundingsError, match="cannot run on this machine"):
        other.build()


def test_an_interpreter_that_cannot_run_here_leaves_nothing(bench: Bench) -> None:
    other = of_another_machine(bench)
    with pytest.raises(SurroundingsError) as caught:
        other.build()
    assert str(caught.value) == (
        "mlproject.toml: environment.bytecode: the Python of the base cannot run on this machine, "
        "and bytecode is made with it\n"
        f"expected: a program for {os.uname().machine}\n"
        "found: /usr/local/bin/python3.11 is for aarch64\n"
        "hint: write bytecode = false, add this machine's platform to [environment] platforms, or "
        "build on a machine of the platform of the base"
    )
    assert caught.value.exit_code == 4
    assert list((other.root / "cache" / "tmp").iterdir()) == []


def test_interrupted_it_leaves_nothing(bench: Bench) -> None:
    """Ctrl-C while it compiles: no process, no folder, and the next build is whole."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from support.pythons import base_of
from support.bytecode import Bench
base = base_of("3.11")
wheels = {{("one", "1.0"): {{f"one/m{{n}}.py": b"x = 1\\n" * 20_000 for n in range(400)}}}}
Bench(root=Path(sys.argv[1]), base=base, nodes=base.nodes).build(wheels, (("one",),))
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(bench.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not workers(bench.root) and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.01)
        assert len(workers(bench.root)) >= 1
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert b"KeyboardInterrupt" in errors
    assert workers(bench.root) == []
    assert list((bench.root / "cache" / "tmp").iterdir()) == []


def workers(root: Path) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(place / "cwd").startswith(f"{root}/cache/tmp/"):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def remove_base(bench: Bench) -> None:
    """The cache forgets which layer the base's packages made: another archive, the same names."""
    for entry in (bench.root / "cache" / "layers").iterdir():
        if b'"kind":"base"' in entry.read_bytes():
            entry.unlink()


def test_the_vector_of_the_format(bench: Bench) -> None:
    """docs/reference/builder-format.md; tests/e2e has the same of Debian's own 3.11."""
    layers = bench.build({("vector", "1.0"): {"vector.py": VECTOR}}, (("vector",),))
    ((path, data),) = bench.files(layers[-1]).items()
    assert path == f"{SITE}/__pycache__/vector.cpython-311.pyc"
    assert sha256_of(data) == VECTOR_PYC
    assert (layers[-1].diff_id, layers[-1].digest) == (VECTOR_DIFF_ID, VECTOR_DIGEST)
