"""What wheels say of their licence, and that they are asked once."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.training import put_wheels

from mllock.errors import ArchiveError
from mllock.image.licences import Declared, declared_licences, licences_in, read_metadata
from mllock.lock.types import PythonPackage
from mllock.store.cache import Cache

HEAD = "Metadata-Version: 2.4\nName: x\nVersion: 1\n"


def of(text: str) -> Declared:
    return licences_in((HEAD + text).encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("License-Expression: mit and bsd-3-clause\n", (("expression", "MIT AND BSD-3-Clause"),)),
        ("License-Expression: MIT\nLicense: other words\n", (("expression", "MIT"),)),
        ("License: MIT\n", (("expression", "MIT"),)),
        ("License: BSD\n", (("name", "BSD"),)),
        ("License: UNKNOWN\n", ()),
        ("License: " + "x" * 121 + "\n", ()),
        (
            "License: The whole text of a licence\n  with lines\n"
            + "  and more\n" * 30
            + "Classifier: License :: OSI Approved :: MIT License\n",
            (("name", "MIT License"),),
        ),
        (
            "Classifier: License :: OSI Approved\n"
            "Classifier: License :: OSI Approved :: B\nClassifier: License :: A\n"
            "Classifier: Topic :: Software\n",
            (("name", "A"), ("name", "B")),
        ),
        ("", ()),
        ("License: \x1b[31mred\n", ()),
        ("License-Expression: not a licence (\n", ()),
    ],
)
def test_licences(text: str, expected: Declared) -> None:
    assert of(text) == expected


def test_bytes_that_are_no_text() -> None:
    assert licences_in(b"\xff\xfe\x00") == ()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Recorder())


def test_each_wheel_is_read_once(cache: Cache) -> None:
    packages = put_wheels(cache, {("one", "1"): None, ("two", "2"): None})
    asked: list[str] = []

    def wheels(wanted: Sequence[PythonPackage]) -> dict[str, Path]:
        asked.extend(package.name for package in wanted)
        return {
            p.wheels[0].name: cache.blob_path(f"sha256:{p.wheels[0].hashes['sha256']}")  # type: ignore[arg-type]
            for p in wanted
        }

    first = declared_licences(packages[:1], wheels, cache)
    both = declared_licences(packages, wheels, cache)
    assert asked == ["one", "two"]
    assert both == declared_licences(packages, wheels, cache)
    assert first.items() <= both.items()
    assert asked == ["one", "two"]
    # What somebody else could have written is not believed, what is damaged is made again.
    entries = sorted((cache.root / "licences").iterdir())
    entries[0].chmod(0o666)
    entries[1].write_text('{"licences":[["name","x"],["word","y"]],"v":1}')
    assert declared_licences(packages, wheels, cache) == both
    assert sorted(asked[2:]) == ["one", "two"]


def make(path: Path, name: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return path


def test_wheels_that_say_nothing_right(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(ArchiveError) as caught:
            read_metadata(path, "x.whl")
        return str(caught.value)

    none = make(tmp_path / "none", "x-1.dist-info/OTHER", b"")
    assert refused(none) == "x.whl: a wheel without METADATA"
    large = make(tmp_path / "large", "x-1.dist-info/METADATA", b"a" * (16 * 1024 * 1024 + 1))
    assert refused(large) == ("x.whl: x-1.dist-info/METADATA: a METADATA of more than 16 MiB")
    right = make(tmp_path / "right", "x-1.dist-info/METADATA", b"Name: x\n" * 100)
    assert read_metadata(right, "x.whl") == b"Name: x\n" * 100
    data = bytearray(right.read_bytes())
    start = data.index(b"METADATA") + len(b"METADATA")
    for offset in range(start, start + 12):
        changed = bytearray(data)
        changed[offset] ^= 0x55
        (tmp_path / "changed").write_bytes(changed)
        assert refused(tmp_path / "changed").startswith("x.whl: x-1.dist-info/METADATA: ")
