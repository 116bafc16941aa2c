"""Trees of wheels are those that pip installs, but for what `EXPECTED` names; see also
scripts/oracle-wheels, which does this for all of tests/data/wheels.txt."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest
from support.wheel_oracle import EXPECTED, Comparison, Oracle, download
from support.wheels import make_wheel

LISTED = Path(__file__).parents[1] / "data" / "wheels.txt"
# Scripts and entry points, every .data scheme, namespaces, versioned names, thousands of files.
SOME = [
    "attrs",
    "awscli",
    "azure-core",
    "azure-storage-blob",
    "cryptography",
    "django",
    "fonttools",
    "google-api-core",
    "google-cloud-bigquery",
    "greenlet",
    "idna",
    "ipython",
    "jmespath",
    "ninja",
    "notebook",
    "numba",
    "numpy",
    "nvidia-cuda-runtime-cu12",
    "nvidia-nvtx-cu12",
    "pip",
    "ruff",
    "setuptools",
    "sympy",
    "zope-component",
    "zope-interface",
]
MANY = 30_000
LARGE = 800 * 1024 * 1024


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return Oracle(tmp_path_factory.mktemp("oracle"))


def compared(oracle: Oracle, tmp_path: Path, data: bytes, name: str = "pkg") -> Comparison:
    path = tmp_path / f"{name}-1.0-py3-none-any.whl"
    path.write_bytes(data)
    return oracle.compare([path])


@pytest.mark.e2e
@pytest.mark.tools
def test_real_wheels(oracle: Oracle, tmp_path: Path) -> None:
    lines = {line.partition("==")[0]: line for line in LISTED.read_text().splitlines()}
    assert sum(not line.startswith("#") for line in lines) >= 150
    listed = tmp_path / "wheels.txt"
    listed.write_text("\n".join(lines[name] for name in SOME) + "\n")
    found = oracle.compare(download(listed, tmp_path / "wheels"))
    assert found.problems == []
    assert found.wheels == len(SOME)
    assert found.files > 15_000
    always = {rule: found.expected[rule] for rule in ("INSTALLER", "REQUESTED", "direct_url.json")}
    assert set(always.values()) == {len(SOME)}
    assert found.expected["pip itself"] == 1
    assert found.expected["entry point"] > 10


SCRIPTS = """\
[DEFAULT]
nothing = pkg:x
[console_scripts]
hello = pkg.cli:main
deep = pkg.cli:App.run [extra]
with.dots-and_more = pkg:x
[gui_scripts]
window = pkg:show
"""
FILES = {
    "pkg/__init__.py": b"",
    "pkg/tool.sh*": b"#!/bin/sh\n",
    "pkg/__pycache__/cli.cpython-311.pyc": b"bytecode",
    "pkg/py.typed": b"",
    "pkg-1.0.data/scripts/run": b"#!python -E\nprint('run')\n",
    "pkg-1.0.data/scripts/windowed": b"#!pythonw\nprint('run')\n",
    "pkg-1.0.data/scripts/shell": b"#!/bin/sh\necho\n",
    "pkg-1.0.data/scripts/native*": b"\x7fELF",
    "pkg-1.0.data/scripts/no-line-end": b"#!python",
    "pkg-1.0.data/scripts/old.py": b"#!python\r\nprint('run')\r\n",
    "pkg-1.0.data/data/share/pkg/x.txt": b"data",
    "pkg-1.0.data/data/share/pkg/x.sh*": b"data",
    "pkg-1.0.data/data/etc/deep/er/conf": b"data",
    "pkg-1.0.data/headers/pkg.h": b"#define X\n",
    "pkg-1.0.data/headers/sub/pkg.h": b"#define X\n",
    "pkg-1.0.data/platlib/pkg_native.so*": b"\x7fELF",
    "pkg-1.0.data/purelib/pkg_pure.py": b"x = 1\n",
    "pkg-1.0.dist-info/licenses/LICENSE": b"free\n",
    "pkg-1.0.dist-info/top_level.txt": b"pkg\n",
    "pkg-1.0.dist-info/RECORD.jws": b"{}",
}


def test_everything_that_a_wheel_may_hold(oracle: Oracle, tmp_path: Path) -> None:
    found = compared(oracle, tmp_path, make_wheel("pkg", "1.0", FILES, entry_points=SCRIPTS))
    assert found.problems == []
    assert found.expected == {
        "INSTALLER": 1,
        "REQUESTED": 1,
        "direct_url.json": 1,
        "__pycache__": 1,
        "entry point": 4,
        "RECORD": 1,
        "signature": 1,
        "script's bit": 5,
    }
    assert found.expected.keys() < EXPECTED.keys()


SHAPES = {
    "platlib": make_wheel("pkg", "1.0", root_is_purelib=False),
    "stored": make_wheel("pkg", "1.0", {"pkg.py": b"x = 1\n" * 9}, compression=zipfile.ZIP_STORED),
    "names": make_wheel(
        "pkg",
        "1.0",
        {
            "pkg/été/naïve.txt": b"1",
            "pkg/数据.json": b"{}",
            "pkg/with space/a 'quoted' \"name\", and a comma.txt": b"2",
            "pkg/" + "/".join(["n" * 50] * 8) + "/" + "f" * 200 + ".py": b"3",
        },
    ),
    "namespace": make_wheel("pkg", "1.0", {"google/cloud/x.py": b"", "zope/y/__init__.py": b""}),
    "uppercase": make_wheel("Pkg", "1.0", {"Pkg/Module.py": b"", "pkg2/__init__.py": b""}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_wheels(oracle: Oracle, tmp_path: Path, shape: str) -> None:
    found = compared(oracle, tmp_path, SHAPES[shape], "Pkg" if shape == "uppercase" else "pkg")
    assert found.problems == []
    assert found.files > 5


class Unseekable(io.RawIOBase):
    """`zipfile` writes data descriptors where it cannot go back to a header."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += memoryview(data).tobytes()  # type: ignore[arg-type]  # any buffer
        return len(memoryview(data))  # type: ignore[arg-type]


@pytest.mark.parametrize("zip64", [False, True], ids=["descriptors", "zip64"])
def test_streamed_archives(oracle: Oracle, tmp_path: Path, zip64: bool) -> None:
    plain = zipfile.ZipFile(io.BytesIO(make_wheel("pkg", "1.0", FILES, entry_points=SCRIPTS)))
    out = Unseekable()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in plain.infolist():
            entry = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.compress_type = info.external_attr, zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=zip64) as stream:
                stream.write(plain.read(info))
    found = compared(oracle, tmp_path, bytes(out.data))
    assert found.problems == []
    assert found.files > 20


def _record(rows: Mapping[str, tuple[str, int]], name: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for path, (digest, size) in rows.items():
        raw = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
        writer.writerow([path, f"sha256={raw}", size])
    writer.writerow([name, "", ""])
    return out.getvalue().encode()


def _pieces() -> Iterator[bytes]:
    block = bytes(range(256)) * 4096
    for _ in range(LARGE // len(block)):
        yield block


@pytest.mark.e2e
def test_a_file_of_800_mb(oracle: Oracle, tmp_path: Path) -> None:
    small = zipfile.ZipFile(io.BytesIO(make_wheel("pkg", "1.0")))
    path = tmp_path / "pkg-1.0-py3-none-any.whl"
    hasher = hashlib.sha256()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        stream: IO[bytes]
        with archive.open(zipfile.ZipInfo("pkg/large.bin"), "w", force_zip64=True) as stream:
            for piece in _pieces():
                hasher.update(piece)
                stream.write(piece)
        rows = {"pkg/large.bin": (hasher.hexdigest(), LARGE)}
        for info in small.infolist():
            data = small.read(info)
            if info.filename.endswith("/RECORD"):
                data = _record(rows, info.filename)
            else:
                rows[info.filename] = (hashlib.sha256(data).hexdigest(), len(data))
            archive.writestr(info, data)
    found = oracle.compare([path])
    assert found.problems == []


@pytest.mark.e2e
def test_thirty_thousand_files(oracle: Oracle, tmp_path: Path) -> None:
    files = {f"pkg/{n % 300}/m{n}.py": b"x = %d\n" % n for n in range(MANY)}
    found = compared(oracle, tmp_path, make_wheel("pkg", "1.0", files))
    assert found.problems == []
    assert found.files > MANY


def test_a_difference_is_found(oracle: Oracle, tmp_path: Path) -> None:
    """The comparison itself: other bytes, another mode, a file more, a row of RECORD."""
    path = tmp_path / "pkg-1.0-py3-none-any.whl"
    files = {"pkg.py": b"1", "run.sh*": b"", "pkg-1.0.data/scripts/x": b"#!python\n"}
    path.write_bytes(make_wheel("pkg", "1.0", files))
    theirs = oracle.theirs([path])
    path.write_bytes(make_wheel("pkg", "1.0", {"pkg.py": b"2", "run.sh": b"", "more.py": b""}))
    oracle.theirs = lambda _: theirs  # type: ignore[method-assign]
    try:
        problems = oracle.compare([path]).problems
    finally:
        del oracle.theirs
    record = f"{oracle.prefix.site}/pkg-1.0.dist-info/RECORD: a row that differs: "
    assert [line for line in problems if not line.startswith(record)] == [
        f"{oracle.prefix.root}/bin/x: only pip has it",
        f"{oracle.prefix.site}/more.py: only mllock has it",
        f"{oracle.prefix.site}/pkg.py: other bytes than pip's",
        f"{oracle.prefix.site}/run.sh: mode 644, pip's is 755",
    ]
    assert len(problems) == 5
