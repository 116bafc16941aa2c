"""Bytecode by real interpreters, of several versions: canonical, and honest about what is not."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from support.pythons import PythonBase, base_of, tree_of

from mllock.errors import SurroundingsError
from mllock.image import compiling
from mllock.image.compiling import Compiled, Source, compiled
from mllock.image.interpreter import Interpreter, read_interpreter

VERSIONS = ("3.11", "3.12", "3.13")

HARD = b'''\
"""Constants whose order or identity a compiler does not promise."""
import typing as t
FOUND = {"a", "b", "c", "d", "e", "f", "g", "h"}
def f(x: "int", *names, key=frozenset({1, 2}), **more) -> {"x", "y"}:
    if x in {"one", "two", "three", "four", None, 1.5, b"six", (7, "8"), -0.0, 3j, ...}:
        return [lambda y=(1, ("2", b"3")): y + x for x in (1, 2, 3)]
    return x in {"eleven", "twelve"} or "%s %r" % (x, key)
class C:
    a: int = 1
    def __init__(self, one, two, three):
        self.one, self.two, self.three = one, two, three
        self.four = self.five = self.six = f"{one!r:>{two}} {three}"
    def g(self):
        def inner():
            nonlocal_name = __class__
            return self, nonlocal_name, type_name
        type_name = 10 ** 20
        return inner
'''


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> PythonBase:
    return base_of(request.param)


def interpreter_of(base: PythonBase) -> Interpreter:
    return read_interpreter(tree_of(base.nodes), base.interpreter, base.minor)


def run(
    base: PythonBase,
    sources: Iterable[Source],
    folder: Path,
    *,
    workers: int | None = None,
    interpreter: Interpreter | None = None,
    version: str | None = None,
) -> list[Compiled]:
    folder.mkdir()
    moved: list[int] = []
    with compiled(
        interpreter or interpreter_of(base),
        version or base.version,
        sources,
        folder,
        moved.append,
        workers,
    ) as results:
        return list(results)


def library(base: PythonBase) -> list[Source]:
    """Real sources: the standard library of this machine's copy, its modules and a few folders."""
    paths = sorted([*base.library.glob("*.py"), *base.library.glob("[a-d]*/*.py")])
    sources = [Source(path=f"/x/{path.name}", data=path.read_bytes()) for path in paths]
    return [Source(path="/x/hard.py", data=HARD), *sources]


def test_a_pyc_that_this_python_would_take(python: PythonBase, tmp_path: Path) -> None:
    """PEP 552: its own Python says what header, hash and code are."""
    source = Source(path="/opt/x/a b\u00e9.py", data=HARD)
    (found,) = run(python, [source], tmp_path / "w")
    assert found.data is not None
    (tmp_path / "x.pyc").write_bytes(found.data)
    (tmp_path / "x.py").write_bytes(HARD)
    program = """
import importlib.util, marshal, sys
data, source = open("x.pyc", "rb").read(), open("x.py", "rb").read()
assert data[:4] == importlib.util.MAGIC_NUMBER
assert data[4:8] == b"\\1\\0\\0\\0"
assert data[8:16] == importlib.util.source_hash(source)
code = marshal.loads(data[16:])
assert code == compile(source, sys.argv[1], "exec", dont_inherit=True, optimize=0)
names, waiting = set(), [code]
while waiting:
    one = waiting.pop()
    names.add(one.co_filename)
    waiting += [item for item in one.co_consts if hasattr(item, "co_code")]
assert names == {sys.argv[1]}
assert marshal.dumps(code, 2) == data[16:]
"""
    subprocess.run(
        [python.executable, "-I", "-c", program, source.path],
        cwd=tmp_path,
        check=True,
        env={"PYTHONHASHSEED": "5", "PYTHONUTF8": "1"},
    )


def test_the_same_in_every_order_and_number_of_processes(
    python: PythonBase, tmp_path: Path
) -> None:
    sources = library(python)
    assert len(sources) > 200
    first = run(python, sources, tmp_path / "1", workers=2)
    other = run(python, reversed(sources), tmp_path / "2", workers=3)
    assert [item.path for item in first] == [source.path for source in sources]
    assert not any(item.varies for item in first)
    assert first == other[::-1]
    assert sum(item.data is not None for item in first) > 200


def test_the_environment_of_the_caller_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of("3.11")
    plain = run(base, [Source(path="/a.py", data=HARD)], tmp_path / "1")
    poison = tmp_path / "poison"
    (poison / "encodings").mkdir(parents=True)
    (poison / "encodings" / "__init__.py").write_text("raise SystemExit('of this machine')\n")
    for name, value in {
        "PYTHONPATH": str(poison),
        "PYTHONHOME": str(poison),
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "7",
        "PYTHONWARNINGS": "error",
        "LD_LIBRARY_PATH": str(poison),
        "PYTHONPYCACHEPREFIX": str(poison),
    }.items():
        monkeypatch.setenv(name, value)
    assert run(base, [Source(path="/a.py", data=HARD)], tmp_path / "2") == plain
    assert list(poison.rglob("*.pyc")) == []


def test_what_does_not_compile_has_its_reason(python: PythonBase, tmp_path: Path) -> None:
    sources = [
        Source(path="/good.py", data=b"x = 1\n"),
        Source(path="/old.py", data=b"print 'hello'\n"),
        Source(path="/nul.py", data=b"x = 1\0\n"),
        Source(path="/latin.py", data=b"x = '\xe9'\n"),
        Source(path="/coding.py", data=b"# coding: nonsense-1\nx = 1\n"),
        Source(path="/deep.py", data=b"x = " + b"(" * 5000 + b")" * 5000),
        Source(path="/deeper.py", data=b"x = " + b"-" * 100_000 + b"1"),
        Source(path="/empty.py", data=b""),
        Source(path="/declared.py", data=b"# coding: latin-1\nx = '\xe9'\n"),
        Source(path="/escape.py", data=b"x = '\\d'\nassert (1, 'always true')\n"),
    ]
    found = {item.path: item for item in run(python, sources, tmp_path / "w")}
    assert [path for path, item in found.items() if item.data is None] == [
        "/old.py",
        "/nul.py",
        "/latin.py",
        "/coding.py",
        "/deep.py",
        "/deeper.py",
    ]
    assert not any(item.varies for item in found.values())
    assert found["/old.py"].problem == (
        "SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)? "
        "(old.py, line 1)"
    )
    assert (
        found["/coding.py"].problem
        == "SyntaxError: unknown encoding: nonsense-1 (coding.py, line 0)"
    )


def test_a_large_source_and_a_batch_of_many(tmp_path: Path) -> None:
    """More than a pipe holds, in both directions: neither side waits for the other."""
    base = base_of("3.11")
    large = b"x = [" + b"'abcdefghi'," * 200_000 + b"]\n"
    sources = [Source(path="/large.py", data=large)]
    sources += [Source(path=f"/{n}.py", data=b"y = %d\n" % n) for n in range(5000)]
    found = run(base, sources, tmp_path / "w")
    assert [item.path for item in found] == [source.path for source in sources]
    assert all(item.data for item in found)


def test_two_compiles_that_differ_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With references, the bytes depend on what the process did before: the comparison finds it."""
    base = base_of("3.11")
    worker = Path(compiling.__file__).with_name("bytecode_worker.py").read_text()
    assert worker.count("MARSHAL = 2\n") == 1
    package = tmp_path / "package"
    package.mkdir()
    (package / "bytecode_worker.py").write_text(worker.replace("MARSHAL = 2\n", "MARSHAL = 4\n"))
    monkeypatch.setattr(compiling, "files", lambda _: package)
    found = run(base, library(base), tmp_path / "w")
    varying = [item for item in found if item.varies]
    assert varying
    assert {item.problem for item in varying} == {"two compiles of it were not the same"}
    assert all(item.data is None for item in varying)


def cannot_run(base: PythonBase, tmp_path: Path, **options) -> SurroundingsError:
    with pytest.raises(SurroundingsError) as caught:
        run(base, [Source(path="/a.py", data=b"")], tmp_path / "w", **options)
    return caught.value


def test_an_interpreter_for_another_machine(tmp_path: Path) -> None:
    base = base_of("3.11")
    arm = replace(interpreter_of(base), machine="aarch64")
    assert str(cannot_run(base, tmp_path, interpreter=arm)) == (
        "mlproject.toml: environment.bytecode: the Python of the base cannot run on this machine, "
        "and bytecode is made with it\n"
        f"expected: a program for {os.uname().machine}\n"
        "found: /usr/local/bin/python3.11 is for aarch64\n"
        "hint: write bytecode = false, add this machine's platform to [environment] platforms, or "
        "build on a machine of the platform of the base"
    )


def test_a_loader_that_is_none(tmp_path: Path) -> None:
    base = base_of("3.11")
    broken = replace(interpreter_of(base), loader=b"\x7fELF\x02\x01 and no more")
    assert str(cannot_run(base, tmp_path, interpreter=broken)) == (
        "mlproject.toml: environment.bytecode: the Python of the base cannot run on this machine, "
        "and bytecode is made with it\n"
        f"found: exec format error: {tmp_path}/w/loader\n"
        "hint: keep the cache (MLLOCK_CACHE) where programs may be run, write bytecode = false, or "
        "build on a machine of the platform of the base"
    )


def test_a_library_that_is_damaged(tmp_path: Path) -> None:
    base = base_of("3.11")
    whole = interpreter_of(base)
    libraries = {**whole.libraries, "libc.so.6": b"not a library of anything"}
    error = cannot_run(base, tmp_path, interpreter=replace(whole, libraries=libraries))
    assert error.message == (
        "the Python of the base cannot run on this machine, and bytecode is made with it"
    )
    assert error.found is not None
    assert error.found.endswith("libraries/libc.so.6: file too short")


def test_another_version_than_the_lock_names(tmp_path: Path) -> None:
    base = base_of("3.11")
    error = cannot_run(base, tmp_path, version="3.11.99")
    assert error.message == "the Python of the base is not the one that the lock names"
    assert error.expected == "3.11.99 cpython-311"
    assert error.found is not None
    assert error.found.startswith(f"{base.version} cpython-311 ")


def test_a_library_of_this_machine_is_seen(tmp_path: Path) -> None:
    """What is missing would be taken from the machine: the loader looks there last."""
    base = base_of("3.11")
    whole = interpreter_of(base)
    less = {name: data for name, data in whole.libraries.items() if not name.startswith("libm.")}
    assert len(less) == len(whole.libraries) - 1
    error = cannot_run(base, tmp_path, interpreter=replace(whole, libraries=less))
    assert error.message == "the Python of the base was given a library of this machine"
    assert error.found is not None
    assert "/libm" in error.found


def test_an_interpreter_that_is_killed(tmp_path: Path) -> None:
    base = base_of("3.11")
    folder = tmp_path / "w"
    folder.mkdir()

    def sources() -> Iterable[Source]:
        yield Source(path="/a.py", data=b"x = 1\n" * 100_000)
        for pid in children(folder):
            os.kill(pid, 9)
        for number in range(100):
            yield Source(path=f"/{number}.py", data=b"y = 1\n" * 20_000)

    with (
        pytest.raises(SurroundingsError) as caught,
        compiled(interpreter_of(base), base.version, sources(), folder, lambda _: None) as results,
    ):
        list(results)
    assert caught.value.message.startswith("the Python of the base ended while it compiled /")
    assert caught.value.found == "signal 9"
    assert children(folder) == []


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    base = base_of("3.11")
    folder = tmp_path / "w"
    folder.mkdir()
    started: list[int] = []

    def sources() -> Iterable[Source]:
        for number in range(20):
            yield Source(path=f"/{number}.py", data=b"y = 1\n" * 5_000)
        started.extend(children(folder))
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        compiled(interpreter_of(base), base.version, sources(), folder, lambda _: None) as results,
    ):
        list(results)
    assert len(started) >= 2
    assert children(folder) == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("mllock-bytecode")] == []


def children(folder: Path) -> list[int]:
    """Processes that run in `folder`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(place / "cwd") == str(folder):
                found.append(int(place.name))
        except OSError:
            continue
    return found
