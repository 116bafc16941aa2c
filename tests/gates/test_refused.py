"""What readers refuse: JSON that is nested too deep, before a parser sees it; and of several
problems in one CSV file the first, however the file is cut into blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.errors import DataError
from mllock.gates import lines
from tests.support.tables import opened, rows_of


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("count", [64, 400, 1000, 100_000])
def test_json_that_is_nested_too_deep(tmp_path: Path, opening: bytes, count: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    deep = b'{"a":' + opening * count + b"1" + closing * count + b"}\n"
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "t.jsonl", b'{"a": 1}\n\n{"a": "\\"[["}\n' + deep)
    assert str(caught.value) == (
        "t.jsonl:4: row 3 is nested too deep\n"
        "expected: objects and arrays within one another at most 64 times\n"
        f"found: {count + 1} times\n"
        "hint: write as text what is no value of a column"
    )


def test_json_that_is_not_nested_too_deep(tmp_path: Path) -> None:
    rows = [
        '{"a":' + "[" * 63 + "]" * 63 + "}",
        # Beside one another, and in strings.
        '{"a":[' + ",".join(["[1]"] * 500) + "]}",
        '{"a":"' + '\\"[{' * 500 + '"}',
        '{"a":"' + "[" * 500 + '\\\\"}',
        '{"' + "{" * 500 + '":1,"a":""}',
    ]
    table = opened(tmp_path, "t.jsonl", "\n".join(rows).encode())
    assert len(rows_of(table)) == 5
    # Blank lines hide nothing, nor does a string that is not closed.
    for start in (b"\n" * 500, b'{"a":"' + b"\\\\" * 100 + b'","b":'):
        with pytest.raises(DataError, match="nested too deep"):
            opened(tmp_path, "t.jsonl", start + b"[" * 100 + b"]" * 100)


def test_of_two_problems_of_a_csv_file_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = "t.csv:3: row 2 has 1 value\nexpected: 2, as the header has\n"
    quote = "t.csv:3: row 2 has a quote within a value\n"
    utf8 = "t.csv:3: row 2 is not UTF-8\nfound: byte 0xff\n"
    for content, expected in (
        (b"a,b\n1,2\n3\n5,6\n7,\xff\n", length),
        (b'a,b\n1,2\n3\n5,6\n7,8"\n', length),
        (b'a,b\n1,2\n3,4"\n5\n6,\xff\n', quote),
        (b'a,b\n1,2\n3,\xff\n5\n6,"\n', utf8),
        # As many separators as all of them should have.
        (b"a,b\n1,2\n3\n5,6,7\n", length),
        (b"a,b\n1,2\n3\n5,6,7\n8,\xff\n", length),
        # More than the csv module reads.
        (b"a,b\n1,2\n" + b"x" * 200_000 + b"\n5,6\n", length),
    ):
        for block in (1, 5, 8, 1 << 24):
            monkeypatch.setattr(lines, "BLOCK", block if len(content) < 100 else 1 << 24)
            table = opened(tmp_path, "t.csv", content)
            with pytest.raises(DataError) as caught:
                rows_of(table)
            assert str(caught.value).startswith(expected), (content[:40], block)


@given(
    parts=st.lists(
        st.sampled_from([b"a", b'"', b'""', b",", b"\n", b"\r\n", b"\xff", b"1", b'"x"', b"1,2\n"]),
        max_size=14,
    ),
    block=st.integers(min_value=1, max_value=12),
)
def test_how_a_file_is_cut_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], block: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    found = []
    for size in (block, 1 << 24):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines, "BLOCK", size)
            try:
                found.append(str(rows_of(opened(folder, "t.csv", b"a,b\n" + b"".join(parts)))))
            except DataError as error:
                found.append(str(error))
    assert found[0] == found[1]
