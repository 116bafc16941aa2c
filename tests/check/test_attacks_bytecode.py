"""Bytecode is what runs: images that ship it are proven by it, and a changed .pyc is refuted.

The image holds a real Python of this machine, whose imports are traced in the real engine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support.attacked import RUNS, SERVED, SITE, Attacked, load
from support.pythons import LIBRARY, PythonBase, base_of
from support.tamper import Layout
from support.world import RUN, World, make_world, paths, verdicts

from mllock.check.types import Report

SPEC = SERVED.replace('python = "3.11"', 'python = "3.11"\nbytecode = true')
OURS = f"{SITE}/tiny_lib/__pycache__/__init__.cpython-311.pyc"
LIBRARYS = f"/{LIBRARY.format(minor='3.11')}/json/__pycache__/__init__.cpython-311.pyc"

PROVEN = {
    "signature": "proven",
    "lineage": "proven",
    "model": "proven",
    "environment": "proven",
    "code": "proven",
    "configuration": "proven",
    "behaviour": "not asked",
    "release": "not asked",
}


@pytest.fixture(scope="module")
def python() -> PythonBase:
    return base_of("3.11")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, python: PythonBase) -> World:
    """The world with bytecode: not to be changed."""
    nodes = {node.path: node for node in (*RUNS, *python.nodes)}
    return make_world(
        tmp_path_factory.mktemp("compiled"),
        spec=SPEC,
        base=tuple(nodes.values()),
        runtime="docker",
        python=(python.version, python.interpreter),
    )


@pytest.fixture(scope="module")
def whole(compiled: World, engine_host: str) -> Iterator[Attacked]:
    attacked = Attacked(world=compiled, host=engine_host, tag="", older="")
    attacked.tag = attacked.new_tag()
    load(attacked, attacked.tag, RUN)
    yield attacked
    attacked.clean()


@pytest.fixture
def mine(whole: Attacked) -> Iterator[Attacked]:
    attacked = Attacked(world=whole.world, host=whole.host, tag=whole.tag, older="")
    yield attacked
    attacked.clean()


def another(python: PythonBase, program: str, path: str) -> bytes:
    """A .pyc that the interpreter takes: right header, another program."""
    maker = """
import importlib.util, marshal, sys
code = compile(sys.argv[1], sys.argv[2], "exec")
flags = (1).to_bytes(4, "little")
sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER + flags + bytes(8) + marshal.dumps(code))
"""
    command = [python.executable, "-I", "-c", maker, program, path]
    return subprocess.run(command, capture_output=True, check=True).stdout


def refuted(report: Report, *expected: str) -> None:
    """By the environment, and by the claim that nothing was written over what is imported."""
    seen = {"environment": "refuted", "configuration": "refuted"}
    assert verdicts(report) == {**PROVEN, **seen}, report
    assert paths(report, "environment") == list(expected)
    assert paths(report, "configuration") == list(expected)
    assert report.exit_code() == 1


def test_the_layout_is_proven(compiled: World) -> None:
    report = compiled.check(f"oci:{compiled.oci}")
    assert verdicts(report) == PROVEN
    kinds = [layer.kind for layer in layers_of(compiled)]
    assert kinds == ["base", *["python"] * 2, *["bytecode"] * 3, "code", "model", "record"]


def layers_of(world: World):
    from mllock.workflows.build import build_images

    return build_images(world.context(), kinds=("serve",)).images[0].image.layers


@pytest.mark.parametrize("path", [OURS, LIBRARYS])
def test_a_changed_byte_in_the_layout(compiled: World, tmp_path, path: str) -> None:
    world = compiled.copy(tmp_path / "w")
    layout = Layout(world.oci)
    layout.edit(path[1:], lambda _, data: data[:-1] + bytes([data[-1] ^ 1]))
    number = layout.layer_with(path[1:])
    layout.save(repoint=True)
    report = world.check(f"oci:{world.oci}")
    assert verdicts(report)["environment"] == "refuted"
    assert paths(report, "environment") == [f"layer {number + 1}"]
    assert report.exit_code() == 1


@pytest.mark.tools
def test_image_and_container_are_proven(mine: Attacked) -> None:
    assert verdicts(mine.check(f"image:{mine.tag}")) == PROVEN
    assert verdicts(mine.check(f"container:{mine.create()}")) == PROVEN


@pytest.mark.tools
@pytest.mark.parametrize("path", [OURS, LIBRARYS])
def test_a_shipped_pyc_that_holds_another_program(
    mine: Attacked, python: PythonBase, path: str
) -> None:
    """Sources are untouched, and nobody would read them: the interpreter runs what is compiled."""
    made = mine.create(
        command=("python", "-c", "import json, tiny_lib; print('as it was')"),
    )
    mine.put(made, path, another(python, "print('another program')", path))
    mine.docker("start", "--attach", made)
    assert "another program\n" in mine.docker("logs", made)
    made = mine.create()
    mine.put(made, path, another(python, "print('another program')", path))
    refuted(mine.check(f"container:{made}"), path)


@pytest.mark.tools
def test_a_pyc_beside_a_source_that_has_one(mine: Attacked, python: PythonBase) -> None:
    """Of another optimisation, or without `__pycache__`: other ways to be imported."""
    data = another(python, "print('another program')", "/x.py")
    for name in ("__pycache__/__init__.cpython-311.opt-1.pyc", "__pycache__/more.cpython-311.pyc"):
        made = mine.create()
        mine.put(made, f"{SITE}/tiny_lib/{name}", data)
        refuted(mine.check(f"container:{made}"), f"{SITE}/tiny_lib/{name}")


@pytest.mark.tools
def test_imports_use_it_and_compile_nothing(mine: Attacked) -> None:
    """As the interpreter itself tells it (-v), with a root that nobody can write to."""
    made = mine.create(
        *("--read-only", "--user", "12345:12345"),
        command=("python", "-v", "-c", "import json.decoder, tiny_lib, other"),
    )
    mine.docker("start", "--attach", made)
    done = subprocess.run(
        ["docker", "--host", mine.host, "logs", made], capture_output=True, text=True, check=True
    )
    said = done.stderr
    for source in (f"{SITE}/tiny_lib/__init__.py", f"{SITE}/other.py"):
        folder, _, name = source.rpartition("/")
        assert f"matches {source}" in said
        assert f"code object from '{folder}/__pycache__/{name[:-3]}.cpython-311.pyc'" in said
    objects = [line for line in said.splitlines() if "code object from" in line]
    assert len(objects) > 5
    assert [line for line in objects if "/__pycache__/" not in line] == []
    assert "wrote" not in said
