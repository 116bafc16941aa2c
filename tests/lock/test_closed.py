"""The look into a wheel: whatever is in it, one answer that names the wheel and the requirement."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from support.bench import TARGET
from support.wheels import make_wheel, wheel_name

from mllock.core.digest import hex_of, sha256_of
from mllock.errors import ArchiveError, IntegrityError
from mllock.lock.closed import check_closed
from mllock.lock.closure import WheelMetadata, closure
from mllock.lock.types import PythonPackage, Wheel

ALPHA = wheel_name("alpha", "1.0")
METADATA = "alpha-1.0.dist-info/METADATA"


def look(folder: Path, data: bytes) -> None:
    path = folder / ALPHA
    path.write_bytes(data)
    hashes = {"sha256": hex_of(sha256_of(data))}
    wheel = Wheel(name=ALPHA, path=f"wheels/{ALPHA}", size=len(data), hashes=hashes)
    package = PythonPackage(name="alpha", version="1.0", wheels=(wheel,))
    check_closed(["alpha"], [package], {ALPHA: path}, TARGET)


def asking(requirement: str) -> bytes:
    return make_wheel("alpha", "1.0", requires=[requirement])


def packed(*, flags: int = 0, method: int | None = None, data: bytes = b"") -> bytes:
    """A wheel whose METADATA has other flags, another way of packing, or other bytes in front."""
    wheel = bytearray(make_wheel("alpha", "1.0"))
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        local, central = archive.getinfo(METADATA).header_offset, archive.start_dir
    entry = wheel.find(METADATA.encode(), central) - 46
    for flag_at, method_at in ((local + 6, local + 8), (entry + 8, entry + 10)):
        wheel[flag_at] |= flags
        if method is not None:
            struct.pack_into("<H", wheel, method_at, method)
    start = local + 30 + len(METADATA)
    wheel[start : start + len(data)] = data
    return bytes(wheel)


DEEP = "beta; " + "(" * 3000 + 'os_name == "x"' + ")" * 3000


@pytest.mark.parametrize(
    ("requirement", "reason", "shown"),
    [
        ('beta; os_name ~= "x"', "its marker compares what cannot be compared", None),
        ('beta; python_version ~= "x"', "its marker compares what cannot be compared", None),
        ('beta; extra ~= "x"', "its marker compares what cannot be compared", None),
        ('beta; "x" in extras', "no wheel may ask for extras", None),
        ('beta; "x" in dependency_groups', "no wheel may ask for dependency_groups", None),
        (DEEP, "it is nested too deeply", f"beta; {'(' * 151}..."),
        (
            'beta @ https://u:p@example.org/x.whl ; os_name ~= "x"',
            "its marker compares what cannot be compared",
            'beta @ https://example.org/x.whl ; os_name ~= "x"',
        ),
        (
            "beta @ https://u:p@example.org/x.whl; what",
            "Expected semicolon (after URL and whitespace) or end",
            "beta @ https://example.org/x.whl; what",
        ),
    ],
)
def test_requirements_that_cannot_be_read(
    tmp_path: Path, requirement: str, reason: str, shown: str | None
) -> None:
    with pytest.raises(ArchiveError) as caught:
        look(tmp_path, asking(requirement))
    message = f"a requirement of alpha cannot be read: {reason}\nfound: {shown or requirement}"
    assert str(caught.value) == f"{ALPHA}: {message}"
    wheels = {"alpha": WheelMetadata(name="alpha", version="1.0", requires=(requirement,))}
    with pytest.raises(ArchiveError) as caught:
        closure(["alpha"], wheels, TARGET)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (packed(method=99), "its METADATA is not to be read: that compression method is not "
         "supported"),
        (packed(flags=0x40), "its METADATA is not to be read: strong encryption (flag bit 6)"),
        (packed(flags=0x20), "its METADATA is not to be read: compressed patched data "
         "(flag bit 5)"),
        (packed(flags=1), "its METADATA is encrypted"),
        (packed(data=b"\xff" * 6), "its METADATA is damaged"),
        (packed(method=12), "its METADATA is damaged"),
        (packed(method=14), f"bad crc-32 for file '{METADATA.lower()}'"),
        (packed(method=14, data=b"\x09\x04\x05\x00" + b"\xff" * 20), "its METADATA is damaged"),
        (packed(method=0), f"bad crc-32 for file '{METADATA.lower()}'"),
        (make_wheel("alpha", "1.0")[:200], "file is not a zip file"),
    ],
)  # fmt: skip
def test_wheels_that_cannot_be_read(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        look(tmp_path, data)
    assert str(caught.value) == f"{ALPHA}: not a wheel: {reason}"


def test_a_wheel_that_ends_early(tmp_path: Path) -> None:
    """The directory says more than the file has of METADATA, which stands last in it."""
    whole = make_wheel("alpha", "1.0")
    wheel = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        central = archive.start_dir
    entry = wheel.find(METADATA.encode(), central) - 46
    struct.pack_into("<II", wheel, entry + 20, len(whole) * 2, 5000)
    (local,) = struct.unpack_from("<I", wheel, entry + 42)
    struct.pack_into("<H", wheel, entry + 10, 0)
    struct.pack_into("<H", wheel, local + 8, 0)
    with pytest.raises(ArchiveError) as caught:
        look(tmp_path, bytes(wheel))
    assert str(caught.value) == f"{ALPHA}: not a wheel: its METADATA is damaged"


def test_a_wheel_that_is_gone_is_the_system_s_word(tmp_path: Path) -> None:
    package = PythonPackage(
        name="alpha",
        version="1.0",
        wheels=(Wheel(name=ALPHA, path=ALPHA, size=1, hashes={"sha256": "0" * 64}),),
    )
    with pytest.raises(FileNotFoundError):
        check_closed(["alpha"], [package], {ALPHA: tmp_path / ALPHA}, TARGET)


def test_no_password_of_a_requirement_is_shown(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        look(tmp_path, asking("beta @ https://user:password@example.org/beta.whl?token=1"))
    assert str(caught.value) == (
        f"{ALPHA}: asks for beta @ https://example.org/beta.whl, which the index did not say when "
        f"it was locked\nexpected: a requirement that the lock meets on {TARGET.platform}\n"
        "found: no beta in the lock\n"
        "hint: tell those who run the index that it says other things of the wheel than are in it; "
        'resolver = "pip-tools" reads the wheels themselves'
    )
