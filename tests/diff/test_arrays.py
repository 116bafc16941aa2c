"""Arrays in files: what differs is what numpy says; what is not as it says is refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.arrays import npy, npz, safetensors, with_header

from mllock.diff.arrays import ArrayChange, compare_arrays, in_words
from mllock.diff.stored import PIECE
from mllock.errors import ArchiveError

A = np.arange(12, dtype="f4").reshape(3, 4)


def compare(a: bytes, b: bytes, name: str, folder: Path) -> tuple[ArrayChange, ...]:
    (folder / "a").write_bytes(a)
    (folder / "b").write_bytes(b)
    with open(folder / "a", "rb") as left, open(folder / "b", "rb") as right:
        return compare_arrays(left, right, name)


def said(a: Any, b: Any, folder: Path) -> list[str]:
    return [in_words(change) for change in compare(npy(a), npy(b), "x.npy", folder)]


@pytest.mark.parametrize("kind", ["safetensors", "npz", "stored npz"])
def test_by_name(kind: str, tmp_path: Path) -> None:
    write = {
        "safetensors": safetensors,
        "npz": npz,
        "stored npz": lambda **arrays: npz(compressed=False, **arrays),
    }[kind]
    changed = A.copy()
    changed[1, 2] += 0.25
    changed[0, 0] = np.nan
    old = write(same=A, moved=A, shape=A, gone=A)
    new = write(same=A, moved=changed, shape=A.reshape(4, 3), new=A.astype("f8"))
    found = compare(old, new, f"x.{kind.rsplit(maxsplit=1)[-1]}", tmp_path)
    assert [in_words(change) for change in found] == [
        "gone  removed  float32 [3, 4]",
        "moved  float32 [3, 4]  2 of 12 values differ, largest difference 0.25, "
        "1 NaN on one side only",
        "new  added  float64 [3, 4]",
        "shape  float32 [3, 4] -> float32 [4, 3]",
    ]


def test_kinds_of_values(tmp_path: Path) -> None:
    one = np.array([1, 2, 3])
    assert said(one, one + 1, tmp_path) == [
        "the array  int64 [3]  3 of 3 values differ, largest difference 1"
    ]
    far = np.array([-(2**63), 2**63 - 1])
    assert said(far, far[::-1].copy(), tmp_path) == [
        "the array  int64 [2]  2 of 2 values differ, largest difference 1.84467e+19"
    ]
    assert said(np.array([True, False]), np.array([True, True]), tmp_path) == [
        "the array  bool [2]  1 of 2 values differ, largest difference 1"
    ]
    assert said(np.array([1j]), np.array([2j]), tmp_path) == [
        "the array  complex128 [1]  1 of 1 values differ, largest difference 1"
    ]
    assert said(np.array(["a", "b"]), np.array(["a", "c"]), tmp_path) == [
        "the array  str32 [2]  1 of 2 values differ"
    ]
    assert said(A, A.astype("f8"), tmp_path) == [
        "the array  float32 [3, 4] -> float64 [3, 4]  0 of 12 values differ  "
        "the same values, written otherwise"
    ]
    assert said(A, A.astype(">f4"), tmp_path) == [
        "the array  float32 [3, 4]  0 of 12 values differ  the same values, written otherwise"
    ]
    assert said(A, np.asfortranarray(A), tmp_path) == [
        "the array  float32 [3, 4]  stored in C order, now Fortran"
    ]
    assert said(np.array([np.inf]), np.array([1.0]), tmp_path) == [
        "the array  float64 [1]  1 of 1 values differ, largest difference inf"
    ]
    assert said(np.array([np.inf, np.nan]), np.array([np.inf, np.nan]), tmp_path) == []


def test_bfloat16_and_eight_bits(tmp_path: Path) -> None:
    def tensor(dtype: str, data: bytes) -> bytes:
        shape = [len(data) // (2 if dtype == "BF16" else 1)]
        entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}
        return with_header({"x": entry}, data)

    one, two = struct.pack("<f", 1.0)[2:], struct.pack("<f", 2.5)[2:]
    found = compare(tensor("BF16", one), tensor("BF16", two), "m.safetensors", tmp_path)
    assert [in_words(c) for c in found] == [
        "x  bfloat16 [1]  1 of 1 values differ, largest difference 1.5"
    ]
    found = compare(
        tensor("F8_E4M3", b"\1\2"), tensor("F8_E4M3", b"\1\3"), "m.safetensors", tmp_path
    )
    assert [in_words(c) for c in found] == ["x  F8_E4M3 [2]  1 of 2 values differ"]


def test_a_difference_in_a_later_piece(tmp_path: Path) -> None:
    old = np.zeros(PIECE // 2, dtype="f8")
    new = old.copy()
    new[-1] = 3
    assert said(old, new, tmp_path) == [
        f"the array  float64 [{PIECE // 2}]  1 of {PIECE // 2} values differ, largest difference 3"
    ]


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_a_pickle_is_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.empty(1, dtype=object)
    array[0] = Bomb()
    other = np.empty(1, dtype=object)
    other[0] = "x"
    assert said(array, other, tmp_path) == [
        "the array  objects (a pickle, which is not read) [1]  the bytes differ"
    ]
    assert said(array, array, tmp_path) == []
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(array))
    assert (tmp_path / "executed").exists()  # a reader that unpickles would have been seen


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a safetensors file: the size of its header\nfound: 0"),
        (
            struct.pack("<Q", 2**63) + b"{}",
            "not a safetensors file: the size of its header\nfound: 9223372036854775808",
        ),
        (with_header(b"[]"), "not a safetensors file: its header is no table of arrays"),
        (with_header(b'{"a":1,"a":2}'), "not a safetensors file: a name is there twice"),
        (with_header({"a": 1}), "a: not an array of a known type"),
        (with_header({"a": ENTRY | {"dtype": "O"}}, b"1234"), "a: not an array of a known type"),
        (with_header({"a": ENTRY | {"shape": [-1]}}), "a: not an array of a known type"),
        (
            with_header({"a": ENTRY | {"shape": [2**62, 2**62]}}, b"1234"),
            f"a: not as large as its shape says\nexpected: {2**124 * 4} bytes\nfound: 4 bytes",
        ),
        (with_header({"a": ENTRY, "b": ENTRY}, b"1234"), "arrays overlap, or leave a gap"),
        (
            with_header({"a": ENTRY}, b"123"),
            "not as long as its header says\nexpected: 73 bytes\nfound: 72 bytes",
        ),
        (
            with_header({"a": ENTRY}, b"12345"),
            "not as long as its header says\nexpected: 73 bytes\nfound: 74 bytes",
        ),
    ],
)
def test_hostile_safetensors(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        compare(data, data, "m.safetensors", tmp_path)
    assert str(caught.value) == f"m.safetensors: {message}"


def entry(name: str, data: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.npz", b"PK", "not an npz file: no directory at its end"),
        ("x.npz", entry("run.py", b"1"), "run.py: not an array, stored or deflated"),
        (
            "x.npz",
            entry("x.npy", npy(A), zipfile.ZIP_BZIP2),
            "x.npy: not an array, stored or deflated",
        ),
        ("x.npz", entry("x.npy", b"junk"), "x: not an npy array: "),
        (
            "x.npz",
            b"PK\5\6" + b"\0" * 8 + struct.pack("<II", 2**31, 0) + b"\0\0",
            "an archive of too many arrays\nfound: a directory of 2147483648 bytes",
        ),
        ("x.npy", b"\x93NUMPY\x03\x00", "a version of npy that is not known"),
        ("x.npy", header("{" * 9_000), "not an npy array: "),
        ("x.npy", header("(" * 60_000), "not an npy array: "),
        (
            "x.npy",
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
            "not as large as its header says\nexpected: ",
        ),
        (
            "x.npy",
            npy(A)[:-1],
            "not as large as its header says\nexpected: 176 bytes\nfound: 175 bytes",
        ),
    ],
)
def test_hostile_numpy(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        compare(data, data, name, tmp_path)
    assert str(caught.value).startswith(f"{name}: {message}")


WHOLE = {
    "x.safetensors": safetensors(a=A, b=np.arange(3)),
    "x.npz": npz(a=A, b=np.arange(3)),
    "x.npy": npy(A),
}


@given(
    name=st.sampled_from(sorted(WHOLE)),
    place=st.integers(0, 2000),
    byte=st.integers(0, 255),
    cut=st.booleans(),
)
def test_any_damage_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: int, byte: int, cut: bool
) -> None:
    """A difference, or one error of ours; nothing else gets out."""
    folder = tmp_path_factory.getbasetemp()
    whole = WHOLE[name]
    place %= len(whole)
    damaged = whole[:place] if cut else whole[:place] + bytes([byte]) + whole[place + 1 :]
    try:
        compare(whole, damaged, name, folder)
    except ArchiveError as error:
        assert error.file == name
