"""Data sources as tables: the same rows whatever is read at once, and one message for what is
no table."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mllock.data.scan import scan
from mllock.errors import DataError, SpecError
from mllock.gates import csv, lines
from mllock.gates.columns import column
from mllock.gates.open import open_file, open_table
from mllock.spec.types import DataSource
from tests.support.tables import opened, rows_of, written

ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet", ".jsonl", ".ndjson", ".arrow", ".feather")
FRAME = pl.DataFrame(
    {
        "id": range(1, 41),
        "x": [n / 4 if n % 5 else None for n in range(40)],
        "text": [f'Zeile {n},\n"ü"' if n % 3 else None for n in range(40)],
    }
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_all_formats_have_the_same_rows(tmp_path: Path, ending: str) -> None:
    table = opened(tmp_path, f"t{ending}", written(FRAME, ending))
    text = ending.startswith((".csv", ".tsv"))
    expected = FRAME.with_columns(pl.all().cast(pl.String)) if text else FRAME
    assert table.columns == ("id", "x", "text")
    assert table.is_text == text
    assert table.kind == ("text" if text else "typed")
    assert dict(table.schema) == dict(expected.schema)
    assert rows_of(table) == expected.rows()
    assert rows_of(table) == rows_of(table, rows=1) == rows_of(table, rows=1000)


@pytest.mark.parametrize("ending", ENDINGS)
def test_some_columns_or_none(tmp_path: Path, ending: str) -> None:
    table = opened(tmp_path, f"t{ending}", written(FRAME, ending))
    pieces = [batch.frame for batch in table.batches(("text", "id"), rows=9)]
    assert pl.concat(pieces)["text"].to_list() == FRAME["text"].to_list()
    assert pieces[0].columns == ["text", "id"]
    assert [b.frame.height for b in table.batches((), rows=100)] and (
        sum(batch.frame.height for batch in table.batches((), rows=9)) == 40
    )


def test_a_folder_of_tables_is_one_table(tmp_path: Path) -> None:
    for number, start in (("2", 20), ("10", 10), ("1", 0)):
        opened(tmp_path, f"d/part-{number}.csv", written(FRAME.slice(start, 10), ".csv"))
    (tmp_path / "d/_SUCCESS").write_bytes(b"")
    (tmp_path / "d/.part-1.csv.crc").write_bytes(b"\0")
    opened(tmp_path, "d/part-3.csv", b"text,x,id\n")
    table = open_table("train", DataSource(source="d"), tmp_path)
    # In the order of their paths, by bytes.
    assert [row[0] for row in rows_of(table)] == [str(n) for n in range(1, 31)]
    assert [(b.file, b.first, b.offset) for b in table.batches(rows=10)] == [
        ("part-1.csv", 1, 0),
        ("part-10.csv", 1, 10),
        ("part-2.csv", 1, 20),
    ]
    some = open_table("train", DataSource(source="d", include=("*-1*",)), tmp_path)
    assert len(rows_of(some)) == 20


def test_files_of_other_types_meet(tmp_path: Path) -> None:
    opened(tmp_path, "d/a.parquet", written(pl.DataFrame({"a": [1], "b": [None]}), ".parquet"))
    frame = pl.DataFrame({"b": ["x"], "a": pl.Series([2.5], dtype=pl.Float32)})
    table = opened(tmp_path, "d/b.parquet", written(frame, ".parquet"))
    table = open_table("train", DataSource(source="d"), tmp_path)
    assert rows_of(table) == [(1.0, None), (2.5, "x")]


def test_a_folder_of_other_files_is_a_row_for_each(tmp_path: Path) -> None:
    for path, content in {"cats/b.png": b"1", "cats/a.png": b"2", "x.png": b"1"}.items():
        (tmp_path / "d" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / path).write_bytes(content)
    source = DataSource(source="d")
    table = open_table("train", source, tmp_path)
    one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    two = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    rows = [("cats/a.png", two, "cats"), ("cats/b.png", one, "cats"), ("x.png", one, None)]
    assert table.columns == ("path", "sha256", "label")
    assert table.kind == "files"
    assert rows_of(table, rows=2) == rows
    # What is known of the bytes is not read again.
    manifest = scan(tmp_path / "d", name="d")
    (tmp_path / "d/x.png").write_bytes(b"other")
    assert rows_of(open_table("train", source, tmp_path, manifest=manifest)) == rows


# Text


def test_csv_as_people_write_it(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf\n,a,"b ""c"""\r\n\r\n1, x ,NA\r\n2,"",nan\n\n3,"a\n\nb",N/A\n'
    table = opened(tmp_path, "t.csv", content)
    assert table.columns == ("Unnamed: 0", "a", 'b "c"')
    assert rows_of(table) == [("1", " x ", None), ("2", None, None), ("3", "a\n\nb", None)]
    assert rows_of(opened(tmp_path, "t.csv", b"a\n1\n\n\n2")) == [("1",), ("2",)]
    assert rows_of(opened(tmp_path, "t.tsv", b"a\tb\n1,2\t3")) == [("1,2", "3")]


values = st.one_of(
    st.sampled_from(["", "NA", "1", "1.0", "a,b", 'say "x"', "two\nlines", "\r\n", "ü", " "]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=5),
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.tuples(values, values), min_size=1, max_size=12),
    block=st.integers(1, 40),
    size=st.integers(1, 5),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_any_block_gives_what_the_csv_module_gives(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[tuple[str, str]],
    block: int,
    size: int,
    ending: str,
) -> None:
    import csv as standard

    out = io.StringIO()
    writer = standard.writer(out, lineterminator=ending, quoting=standard.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    monkeypatch.setattr(lines, "BLOCK", block)
    table = opened(tmp_path, "t.csv", out.getvalue().encode())
    expected = [
        tuple(None if value in csv.MISSING or not value.strip() else value for value in row)
        for row in rows
    ]
    assert rows_of(table, rows=size) == expected


def test_missing_in_csv_is_what_pandas_says_and_spaces(tmp_path: Path) -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(csv.MISSING) == STR_NA_VALUES
    words = [*sorted(STR_NA_VALUES), " ", "\t ", "\u00a0"]
    content = "a,b\n" + "".join(f'{word},"{word}"\n' for word in words) + "- ,nAn\n"
    found = rows_of(opened(tmp_path, "t.csv", content.encode()), rows=100)
    assert found == [(None, None)] * len(words) + [("- ", "nAn")]


WRONG = {
    "empty": (b"", "t.csv: an empty file\nhint: put rows there, or another source"),
    "header only": (b"a,b\n", "t.csv: no rows\nhint: put rows there, or another source"),
    "short": (
        b'a,b\n1,2\n\n"x\ny",2\n3\n',
        "t.csv:6: row 3 has 1 value\nexpected: 2, as the header has\n"
        "hint: add what is missing; values with a separator in them need quotes",
    ),
    "long and short": (
        b"a,b\n1,2\n1,2,3\n1\n",
        "t.csv:3: row 2 has 3 values\nexpected: 2, as the header has\n"
        "hint: add what is missing; values with a separator in them need quotes",
    ),
    "quote in a value": (
        b'a,b\n1,2\n5" pipe,2\n',
        "t.csv:3: row 2 has a quote within a value\n"
        'hint: put quotes around the value, and write those in it twice: "5"" pipe"',
    ),
    "quote not closed": (
        b'a,b\n1,2\n3,"4\n5,6\n',
        "t.csv:3: row 2 has a quote within a value\n"
        'hint: put quotes around the value, and write those in it twice: "5"" pipe"',
    ),
    "latin-1": (
        b"a,b\n1,2\n\xfc,2\n",
        "t.csv:3: row 2 is not UTF-8\nfound: byte 0xfc\n"
        "hint: convert all of the file to UTF-8, e.g. iconv -f ISO-8859-1 -t UTF-8",
    ),
    "utf-16": (
        "a,b\n1,2\n".encode("utf-16"),
        "t.csv: UTF-16 text\nexpected: UTF-8\nhint: convert it: iconv -f UTF-16 -t UTF-8 t.csv",
    ),
    "two names": (b"a,b,a\n", "t.csv: two columns with the name 'a'\nhint: rename one of them"),
    "old line ends": (
        b"a\r1\r",
        "t.csv: line ends are CR alone\nexpected: LF or CRLF\nhint: convert them",
    ),
    "another format": (
        b"PAR1....PAR1",
        "t.csv: not what its name says\nexpected: CSV\nfound: it begins as Parquet does\n"
        "hint: give it the ending of what it is",
    ),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_csv_that_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(opened(tmp_path, "t.csv", content))
    assert str(caught.value) == message


def test_gzip_that_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(opened(tmp_path, "t.csv.gz", gzip.compress(b"a\n1\n")[:-9]))
    assert str(caught.value) == (
        "t.csv.gz: damaged, or not gzip\n"
        "found: compressed file ended before the end-of-stream marker was reached\n"
        "hint: write it again"
    )


# JSON lines


def test_types_of_json_are_those_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (
        b'{"n": 1, "m": 1, "o": null}\n\n{"n": 2.5, "m": true, "b": {"x": [1]}}\n'
        b'{"m": "s", "n": null, "b": 3}\n'
    )
    table = opened(tmp_path, "t.jsonl", content)
    assert table.columns == ("n", "m", "o", "b")
    rows = [(1.0, "1", None, None), (2.5, "true", None, '{"x": [1]}'), (None, "s", None, "3")]
    assert rows_of(table) == rows
    for block in (1, 10, 40):
        monkeypatch.setattr(lines, "BLOCK", block)
        assert rows_of(opened(tmp_path, "t.jsonl", content)) == rows


@pytest.mark.parametrize(
    ("content", "place", "found"),
    [
        (b'{"a": 1}\n{"a": tru}\n', ":2", "JSON is malformed: invalid character (byte 10)"),
        (b'{"a": 1}\n\n[1]\n', ":3", "list, not an object"),
        (b'{"a": 1}\n{"a": 2', ":2", "Input data was truncated"),
    ],
    ids=["malformed", "list", "truncated"],
)
def test_json_that_is_wrong(tmp_path: Path, content: bytes, place: str, found: str) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "t.jsonl", content)
    assert str(caught.value) == (
        f"t.jsonl{place}: not a line of JSON\n"
        f'expected: an object, e.g. {{"id": 1, "label": "a"}}\nfound: {found}'
    )


# Typed


def test_what_is_nested_is_made_flat(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "image": [{"bytes": b"\0", "path": "a.png"}, None],
            "tags": [["x", "y"], None],
            "size": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int16, 2)),
            "kind": pl.Series(["a", None], dtype=pl.Categorical),
            "nan": [float("nan"), 1.0],
        }
    )
    table = opened(tmp_path, "t.parquet", written(frame, ".parquet"))
    assert table.columns == ("image.bytes", "image.path", "tags", "size", "kind", "nan")
    assert rows_of(table) == [
        (b"\0", "a.png", '["x","y"]', "[1,2]", "a", None),
        (None, None, None, None, None, 1.0),
    ]


def test_typed_files_that_are_wrong(tmp_path: Path) -> None:
    good = written(FRAME, ".parquet")
    cut = "t.parquet: not a whole Parquet file: its end is missing\nhint: write it again"
    other = (
        "t.parquet: not what its name says\nexpected: Parquet\nfound: it begins as gzip does\n"
        "hint: give it the ending of what it is"
    )
    for content, message in ((good[:-1], cut), (gzip.compress(b"a"), other)):
        with pytest.raises(DataError) as caught:
            opened(tmp_path, "t.parquet", content)
        assert str(caught.value) == message
    out = io.BytesIO()
    FRAME.write_ipc_stream(out)
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "t.arrow", out.getvalue())
    assert str(caught.value) == (
        "t.arrow: an Arrow stream, not an Arrow file\n"
        "hint: write it as a file (Feather version 2), or as Parquet"
    )


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, ending: str) -> None:
    good = written(FRAME, ending)
    expected = rows_of(opened(tmp_path, f"t{ending}", good))
    refused = 0
    for place in range(8, len(good) - 8, 97):
        damaged = bytearray(good)
        damaged[place] ^= 0xFF
        try:
            found = rows_of(opened(tmp_path, f"t{ending}", bytes(damaged)))
        except DataError as error:
            assert error.file == f"t{ending}"
            refused += 1
        else:
            assert len(found) <= len(expected)
    assert refused


# What is no table


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    cases: list[tuple[Callable[[], object], str]] = [
        (
            lambda: opened(tmp_path, "t.txt", b"x"),
            "t.txt: not a table\nexpected: a folder, or a file that ends with .csv.gz, .tsv.gz, "
            ".csv, .tsv, .parquet, .jsonl, .ndjson, .arrow, .feather, .npy or .npz",
        ),
        (
            lambda: opened(tmp_path, "d"),
            "d: no file is selected\nhint: put files there, or select them",
        ),
    ]
    for call, message in cases:
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value) == message
    opened(tmp_path, "d/b.parquet", written(FRAME, ".parquet"))
    (tmp_path / "d/a.csv").write_bytes(b"a\n")
    with pytest.raises(DataError) as caught:
        open_table("train", DataSource(source="d"), tmp_path)
    assert str(caught.value) == (
        "d: a folder of two formats\nfound: a.csv (CSV), b.parquet (Parquet)\n"
        "hint: select one of them with include, or make them two sources"
    )
    (tmp_path / "d/b.parquet").unlink()
    (tmp_path / "d/b.csv").write_bytes(b"b\n")
    with pytest.raises(DataError) as caught:
        open_table("train", DataSource(source="d"), tmp_path)
    assert str(caught.value) == (
        "d/b.csv: other columns than d/a.csv\nexpected: 'a'\nfound: 'b'\n"
        "hint: give all files of a source the same columns, or make them two sources"
    )


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    table = opened(tmp_path, "t.csv", b"Quality,pH\n1,2\n")
    assert column(table, "pH", key="data.train.label") == "pH"
    for name, hint in (("quality", 'did you mean "Quality"?'), ("x", "it has 'Quality', 'pH'")):
        with pytest.raises(SpecError) as caught:
            column(table, name, key="data.train.label")
        assert str(caught.value) == (
            f"mlproject.toml: data.train.label: train has no column '{name}'\nhint: {hint}"
        )


def test_without_polars_there_is_one_message(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['polars'] = None\n"
        "from mllock.errors import InputError\n"
        "from mllock.gates.open import open_table\n"
        "from mllock.spec.types import DataSource\n"
        "from pathlib import Path\n"
        "try: open_table('t', DataSource(source='t.csv'), Path('.'))\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == (
        'gates need polars, which is not installed\nhint: pip install "mllock[gates]"\n'
    )


def test_one_file_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"prediction\n1\n")
    table = open_file("predictions", tmp_path / "p.csv", shown="predictions.csv")
    assert rows_of(table) == [("1",)]
