"""NumPy's files as tables: read as a stream, and never executed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mllock.errors import DataError
from tests.support.tables import opened, rows_of


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def test_arrays(tmp_path: Path) -> None:
    pairs = np.arange(6).reshape(3, 2)
    cases: list[tuple[bytes, tuple[str, ...], list[tuple[Any, ...]]]] = [
        (npy(np.array([1.5, np.nan], ">f4")), ("value",), [(1.5,), (None,)]),
        (npy(pairs), ("0", "1"), [(0, 1), (2, 3), (4, 5)]),
        (npy(np.asfortranarray(pairs)), ("0", "1"), [(0, 1), (2, 3), (4, 5)]),
        (
            npy(np.array([(1, "x")], [("i", "<u1"), ("s", "U3")])),
            ("i", "s"),
            [(1, "x")],
        ),
    ]
    for content, columns, rows in cases:
        table = opened(tmp_path, "t.npy", content)
        assert table.columns == columns
        assert rows_of(table, rows=2) == rows
    table = opened(tmp_path, "t.npz", npz(X=pairs, y=np.array(["a", "b", "c"])))
    assert table.columns == ("X.0", "X.1", "y")
    assert rows_of(table, rows=2) == [(0, 1, "a"), (2, 3, "b"), (4, 5, "c")]
    images = np.zeros((3, 4, 4), np.uint8)
    images[1] = 1
    found = rows_of(opened(tmp_path, "t.npy", npy(images)))
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy(np.array([{}])),
            "t.npy: an array of Python objects, which is a pickle\n"
            "hint: save it with a type of its own: numbers, text of fixed width, or fields",
        ),
        (npy(np.array(1)), "t.npy: a single value, not rows\nhint: save an array"),
        (npy(np.arange(9))[:-1], "t.npy: shorter than its header says\nhint: write it again"),
        (
            npy(np.array([1j])),
            "t.npy: a type that gates do not read: complex128\n"
            "expected: booleans, numbers, text or times",
        ),
    ],
    ids=["objects", "scalar", "cut off", "complex"],
)
def test_arrays_that_are_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(opened(tmp_path, "t.npy", content))
    assert str(caught.value) == message


def test_archives_of_arrays_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "t.npz", npz(X=np.zeros((2, 2)), y=np.zeros(3)))
    assert str(caught.value) == (
        "t.npz: arrays with different numbers of rows\nfound: X: 2, y: 3\n"
        "hint: save those that belong together in one file, others in another source"
    )
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "t.npz", npz(X=np.array([{}])))
    assert str(caught.value).startswith("t.npz: X: an array of Python objects, which is a pickle\n")
