"""The locked environment: only the locked wheels, verified on every use, made again if changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.training import put_wheels

from mllock.core.digest import from_hex
from mllock.data.scan import scan
from mllock.errors import ArchiveError, SurroundingsError
from mllock.lock.types import PythonPackage
from mllock.store.cache import Cache
from mllock.train.python import find_python
from mllock.train.venv import LockedVenv, locked_venv, verify_venv

PYTHON = find_python("3.11", os.environ)


class Made:
    """Makes environments in one cache and counts what was fetched."""

    def __init__(self, root: Path) -> None:
        self.reporter = Recorder()
        self.cache = Cache(root / "cache", self.reporter)
        self.fetched = 0

    def venv(self, packages: tuple[PythonPackage, ...]) -> LockedVenv:
        def fetch(wanted: object) -> dict[str, Path]:
            self.fetched += 1
            return {
                wheel.name: self.cache.blob_path(from_hex(wheel.hashes["sha256"]))
                for package in packages
                for wheel in package.wheels
            }

        folder = self.cache.folder("venvs")
        return locked_venv(folder, packages, PYTHON, fetch, self.reporter)


def run(venv: LockedVenv, code: str) -> str:
    return subprocess.run(
        [venv.bin / "python", "-c", code],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_holds_the_locked_wheels_and_nothing_else(made: Made) -> None:
    files = {
        "tool/__init__.py": b"def main():\n    print('hello')\n",
        "tool-1.0.data/scripts/old": b"#!python\nprint('old')\n",
        "tool-1.0.data/data/share/x.txt": b"x",
    }
    venv = made.venv(put_wheels(made.cache, {("tool", "1.0"): files, ("tiny-lib", "2.0"): None}))
    assert venv.wheels == 2
    assert run(venv, "import tiny_lib; print(tiny_lib.VERSION)") == "2.0"
    path = run(venv, "import sys; print(*sys.path, sep='\\n')").splitlines()
    assert [part for part in path if "site-packages" in part or "dist-packages" in part] == [
        str(venv.site)
    ]
    assert run(venv, "import sys; print(sys.prefix)") == str(venv.root)
    old = subprocess.run([venv.bin / "old"], capture_output=True, text=True, check=True)
    assert old.stdout == "old\n"
    assert (venv.root / "share" / "x.txt").read_text() == "x"
    installer = venv.site / "tool-1.0.dist-info" / "INSTALLER"
    assert installer.read_text() == "mllock\n"
    cached = list((venv.site / "tiny_lib" / "__pycache__").iterdir())
    # PEP 552: flags 1 is a hash that is not checked.
    assert [file.read_bytes()[4:8] for file in cached] == [b"\x01\0\0\0"]


def test_is_made_once(made: Made) -> None:
    packages = put_wheels(made.cache, {("tiny-lib", "1.0"): None})
    first = made.venv(packages)
    assert made.venv(packages).root == first.root
    assert made.fetched == 1
    other = made.venv(put_wheels(made.cache, {("tiny-lib", "1.1"): None}))
    assert other.root != first.root
    assert [path.name for path in first.root.parent.iterdir()] in (
        ["venv", "venv.manifest"],
        ["venv.manifest", "venv"],
    )


def change_module(venv: LockedVenv) -> None:
    path = venv.site / "tiny_lib" / "__init__.py"
    times = path.stat()
    path.write_bytes(path.read_bytes().replace(b"1.0", b"9.9"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def change_bytecode(venv: LockedVenv) -> None:
    path = next((venv.site / "tiny_lib" / "__pycache__").iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def add_hook(venv: LockedVenv) -> None:
    (venv.site / "sitecustomize.py").write_text("print('hook')")


def remove_module(venv: LockedVenv) -> None:
    (venv.site / "tiny_lib" / "__init__.py").unlink()


def other_python(venv: LockedVenv) -> None:
    (venv.bin / "python").unlink()
    (venv.bin / "python").symlink_to("/bin/true")


def remove_manifest(venv: LockedVenv) -> None:
    (venv.root.parent / "venv.manifest").unlink()


def break_manifest(venv: LockedVenv) -> None:
    (venv.root.parent / "venv.manifest").write_text("mllock-tree\t2\n")


def of_others(venv: LockedVenv) -> None:
    """A module and its manifest, by somebody who may write into the cache."""
    add_hook(venv)
    manifest = scan(venv.root, exclude=("bin/python*",), name="environment")
    (venv.root.parent / "venv.manifest").write_bytes(manifest.text())
    (venv.root.parent / "venv.manifest").chmod(0o664)


def add_link(venv: LockedVenv) -> None:
    (venv.site / "outside").symlink_to("/etc")


CHANGES = [
    change_module,
    change_bytecode,
    add_hook,
    remove_module,
    other_python,
    remove_manifest,
    break_manifest,
    add_link,
    of_others,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_environment_is_made_again(made: Made, change: object) -> None:
    packages = put_wheels(made.cache, {("tiny-lib", "1.0"): None})
    venv = made.venv(packages)
    change(venv)
    again = made.venv(packages)
    assert made.fetched == 2
    assert (
        "warn: the cached environment was changed; it is made again from the locked wheels"
        in made.reporter.lines
    )
    assert run(again, "import tiny_lib; print(tiny_lib.VERSION)") == "1.0"
    assert again.manifest == venv.manifest
    assert verify_venv(again)


def test_an_environment_under_the_name_of_another_is_made_again(made: Made) -> None:
    """All of it is this user's and as its manifest says, but it holds other wheels."""
    packages = put_wheels(made.cache, {("tiny-lib", "1.0"): None})
    venv = made.venv(packages)
    other = made.venv(put_wheels(made.cache, {("tiny-lib", "1.1"): None}))
    shutil.rmtree(venv.root.parent)
    other.root.parent.rename(venv.root.parent)
    assert run(made.venv(packages), "import tiny_lib; print(tiny_lib.VERSION)") == "1.0"


@pytest.mark.parametrize("change", CHANGES[:5], ids=lambda change: change.__name__)
def test_a_change_while_it_is_used_is_seen(made: Made, change: object) -> None:
    venv = made.venv(put_wheels(made.cache, {("tiny-lib", "1.0"): None}))
    assert verify_venv(venv)
    change(venv)
    assert not verify_venv(venv)


def test_a_change_that_was_put_back_is_seen(made: Made) -> None:
    venv = made.venv(put_wheels(made.cache, {("tiny-lib", "1.0"): None}))
    path = venv.site / "tiny_lib" / "__init__.py"
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(b"VERSION = '9'\n")
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not verify_venv(venv)
    # It is what the lock says, and so may be used again.
    assert verify_venv(made.venv(put_wheels(made.cache, {("tiny-lib", "1.0"): None})))
    assert made.fetched == 1


def test_two_wheels_may_share_a_file_with_the_same_bytes(made: Made) -> None:
    shared = {"space/__init__.py": b""}
    venv = made.venv(
        put_wheels(
            made.cache,
            {
                ("a", "1"): shared | {"space/a.py": b""},
                ("b", "1"): shared | {"space/b.py": b""},
            },
        )
    )
    assert run(venv, "import space.a, space.b; print('ok')") == "ok"


def test_two_wheels_with_different_bytes_are_refused(made: Made) -> None:
    packages = put_wheels(made.cache, {("a", "1"): {"x.py": b"1"}, ("b", "1"): {"x.py": b"2"}})
    with pytest.raises(ArchiveError) as caught:
        made.venv(packages)
    assert caught.value.message == "a and b both install this path, with different bytes"
    assert list(made.cache.folder("venvs").iterdir()) == []


def test_a_module_that_does_not_compile_is_left_as_it_is(made: Made) -> None:
    venv = made.venv(put_wheels(made.cache, {("bad", "1"): {"bad.py": b"def (:\n"}}))
    assert (venv.site / "bad.py").read_bytes() == b"def (:\n"


def test_many_at_once(made: Made) -> None:
    packages = put_wheels(made.cache, {("tiny-lib", "1.0"): None, ("other", "3.0"): None})
    roots: list[Path] = []
    threads = [
        threading.Thread(target=lambda: roots.append(made.venv(packages).root)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 4
    assert len(set(roots)) == 1
    assert [path.name for path in made.cache.folder("venvs").iterdir()] == [roots[0].parent.name]
    assert not [line for line in made.reporter.lines if line.startswith("warn")]


def test_no_such_python() -> None:
    with pytest.raises(SurroundingsError) as caught:
        find_python("3.99", {"PATH": "/usr/bin"})
    assert str(caught.value) == (
        "no Python 3.99 on this machine\n"
        "expected: python3.99 on PATH, for the runtime host\n"
        "hint: install python3.99"
    )


def test_another_python_is_found_on_path(tmp_path: Path) -> None:
    fake = tmp_path / "python3.98"
    fake.write_text("#!/bin/sh\necho /opt/python3.98\necho 3.98.1\n")
    fake.chmod(0o755)
    found = find_python("3.98", {"PATH": str(tmp_path)})
    assert (str(found.path), found.version, found.minor) == ("/opt/python3.98", "3.98.1", "3.98")
