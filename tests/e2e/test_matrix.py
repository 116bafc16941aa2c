"""The rebuild matrix: the same digests of both images wherever, whenever and by whom they are made.

One project, trained once, with a base of real packages and real wheels. Each case changes one thing
that a machine can vary and types `mllock build` again; all of index.json must be as it was, which
names images, signed statements and bills of materials by digest. A case that is not in effect
fails: the build's own process says what it sees.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.matrix import (
    USER,
    Axis,
    Built,
    Reference,
    a_year_ahead,
    as_user,
    find_python,
    locale,
    make_reference,
    mllock_of,
    needs,
    needs_root,
    rebuilt,
    without,
)

pytestmark = pytest.mark.e2e

LONG = "/".join(f"Çok uzun, ğüşıöç ({number:02d}) " + "x" * 60 for number in range(9))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, e2e_environ: dict[str, str]) -> Reference:
    return make_reference(tmp_path_factory.mktemp("reference"), e2e_environ, bytecode=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, e2e_environ: dict[str, str]) -> Reference:
    return make_reference(tmp_path_factory.mktemp("plain"), e2e_environ, bytecode=False)


def long_path() -> Axis:
    return Axis(folder=LONG, facts={})


def umask_000() -> Axis:
    return Axis(umask=0, facts={"umask": "000"})


def umask_077() -> Axis:
    return Axis(umask=0o077, facts={"umask": "077"})


def another_user() -> Axis:
    prefix, program = as_user()
    return Axis(prefix=prefix, program=program, user=USER, facts={"user": USER})


def time_zone() -> Axis:
    return Axis(environ={"TZ": "Asia/Kathmandu"}, facts={"zone": "+0545"})


def turkish() -> Axis:
    return Axis(environ=locale("tr_TR.UTF-8"), facts={"locale": "tr_TR.UTF-8"})


def not_utf8() -> Axis:
    facts = {"locale": "tr_TR.ISO-8859-9", "encoding": "iso8859-9"}
    return Axis(environ=locale("tr_TR.ISO-8859-9"), facts=facts)


def ascii_only() -> Axis:
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return Axis(environ=environ, facts={"locale": "C", "encoding": "ascii"})


def hash_seed() -> Axis:
    return Axis(environ={"PYTHONHASHSEED": "1"}, facts={"seed": "1"})


def random_seed() -> Axis:
    return Axis(environ={"PYTHONHASHSEED": "random"}, facts={"seed": "random"})


def order_of_files() -> Axis:
    backwards = ["d", "c", "b", "a"]
    return Axis(environ={"AXES_REVERSED": "1"}, facts={"order": backwards, "scanned": backwards})


def host_name() -> Axis:
    needs_root()
    needs("unshare")
    rename = 'echo elsewhere > /proc/sys/kernel/hostname && exec "$@"'
    return Axis(prefix=("unshare", "--uts", "sh", "-c", rename, "-"), facts={"host": "elsewhere"})


def one_processor() -> Axis:
    needs("taskset")
    first = str(min(os.sched_getaffinity(0)))
    return Axis(
        prefix=("taskset", "-c", first),
        environ={"AXES_CPUS": "1"},
        facts={"affinity": 1, "cpus": 1},
    )


def many_processors() -> Axis:
    return Axis(environ={"AXES_CPUS": "61"}, facts={"cpus": 61})


def python_312() -> Axis:
    return Axis(program=mllock_of(find_python("3.12")), facts={"python": "3.12"})


def python_313() -> Axis:
    return Axis(program=mllock_of(find_python("3.13")), facts={"python": "3.13"})


def warm_cache() -> Axis:
    return Axis(warm=True, facts={})


def empty_cache() -> Axis:
    return Axis(empty=True, facts={})


def next_year() -> Axis:
    needs("faketime")
    return Axis(prefix=("faketime", "-f", "+1y"), facts={"year": a_year_ahead()})


def no_pigz() -> Axis:
    return Axis(environ=without("pigz"), facts={"pigz": False})


# With bytecode, which is most at the mercy of its surroundings; the rest without, for the time.
WITH_BYTECODE: tuple[Callable[[], Axis], ...] = (
    long_path,
    another_user,
    turkish,
    not_utf8,
    ascii_only,
    hash_seed,
    random_seed,
    order_of_files,
    one_processor,
    python_312,
    python_313,
    warm_cache,
    empty_cache,
)
WITHOUT: tuple[Callable[[], Axis], ...] = (
    umask_000,
    umask_077,
    time_zone,
    host_name,
    many_processors,
    next_year,
    no_pigz,
)


def in_effect(axis: Axis, built: Built, reference: Reference) -> None:
    there = reference.built.facts
    assert {key: built.facts[key] for key in axis.facts} == dict(axis.facts)
    # The machine may have one processor, and its tests may be run by anyone.
    alike = [key for key in axis.facts if built.facts[key] == there[key] and key != "affinity"]
    assert alike == [], "the reference was built like this"
    if "seed" in axis.facts:
        assert built.facts["hash"] != there["hash"]
    assert built.facts["folder"] != there["folder"]


def same(axis: Axis, reference: Reference) -> None:
    with rebuilt(reference, axis) as built:
        in_effect(axis, built, reference)
        assert built.images == reference.built.images
        assert sorted(built.images) == ["serve", "train"]
        assert built.index == reference.built.index


@pytest.mark.parametrize("axis_of", WITH_BYTECODE, ids=lambda axis_of: axis_of.__name__)
def test_with_bytecode(axis_of: Callable[[], Axis], reference: Reference) -> None:
    same(axis_of(), reference)


@pytest.mark.parametrize("axis_of", WITHOUT, ids=lambda axis_of: axis_of.__name__)
def test_without_bytecode(axis_of: Callable[[], Axis], plain: Reference) -> None:
    same(axis_of(), plain)


@pytest.fixture(scope="module")
def elsewhere(plain: Reference) -> Iterator[Built]:
    """The other project, with nothing as it was."""
    prefix, program = as_user()
    needs("taskset", "faketime")
    rename = 'echo elsewhere > /proc/sys/kernel/hostname && exec "$@"'
    axis = Axis(
        prefix=(
            *("unshare", "--uts", "sh", "-c", rename, "-", "taskset", "-c", "0"),
            *(*prefix, "faketime", "-f", "+1y"),
        ),
        program=program,
        user=USER,
        umask=0o077,
        folder=LONG,
        environ={
            **locale("tr_TR.ISO-8859-9"),
            **without("pigz"),
            "TZ": "Asia/Kathmandu",
            "PYTHONHASHSEED": "random",
            "AXES_REVERSED": "1",
            "AXES_CPUS": "1",
        },
        facts={
            "affinity": 1,
            "cpus": 1,
            "encoding": "iso8859-9",
            "host": "elsewhere",
            "pigz": False,
            "seed": "random",
            "umask": "077",
            "user": USER,
            "year": a_year_ahead(),
            "zone": "+0545",
        },
    )
    with rebuilt(plain, axis) as built:
        in_effect(axis, built, plain)
        yield built


def test_everything_at_once(plain: Reference, elsewhere: Built) -> None:
    assert elsewhere.images == plain.built.images
    assert elsewhere.index == plain.built.index


def test_bytecode_is_decided_by_the_spec(reference: Reference, plain: Reference) -> None:
    """The two projects have nothing else between them, and no image in common."""
    assert reference.built.images.keys() == plain.built.images.keys()
    assert not set(reference.built.images.values()) & set(plain.built.images.values())


# ----- diffoscope, whose reading of layouts and trees is not ours -----


def diffoscope(one: Path, two: Path) -> tuple[int, str]:
    needs("diffoscope")
    done = subprocess.run(
        ["diffoscope", "--exclude-directory-metadata=no", "--no-progress", str(one), str(two)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout


def unpacked(layout: Path, ref: str, place: Path) -> Path:
    """The files of an image as umoci leaves them."""
    needs("umoci")
    subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:{ref}", str(place)],
        capture_output=True,
        check=True,
    )
    return place / "rootfs"


def test_diffoscope_agrees(plain: Reference, elsewhere: Built, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for source, target in ((plain.built.layout, ours), (elsewhere.layout, theirs)):
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        # Whose they are, and since when, is of the folder and not of the layout.
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (0, 0))
    assert diffoscope(ours, theirs) == (0, "")

    trees = [unpacked(ours, "serve", tmp_path / "one"), unpacked(theirs, "serve", tmp_path / "two")]
    assert (trees[0] / "app/model/ığüşöç/weights.bin").is_file()
    assert diffoscope(*trees) == (0, "")

    # What agrees with everything says nothing: one bit of one file.
    changed = trees[1] / "app/model/ığüşöç/weights.bin"
    data = bytearray(changed.read_bytes())
    data[5000] ^= 1
    status = changed.stat()
    changed.write_bytes(data)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    code, text = diffoscope(*(tree / "app" for tree in trees))
    assert code == 1
    assert "model/ığüşöç/weights.bin" in text
    name = json.loads((theirs / "index.json").read_bytes())["manifests"][0]["digest"]
    blob = theirs / "blobs/sha256" / name.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes().replace(b'"schemaVersion":2', b'"schemaVersion":3'))
    os.utime(blob, (0, 0))
    code, text = diffoscope(ours, theirs)
    assert code == 1
    assert "schemaVersion" in text
