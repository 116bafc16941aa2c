"""Reading the file itself: what is not TOML, not text, not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpus import BASE

from mllock.errors import SpecError
from mllock.resources import resource
from mllock.spec.reader import MAX_SPEC, load_spec, parse_spec


def refusal(data: bytes | str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(data.encode() if isinstance(data, str) else data, Path("mlproject.toml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            f"{BASE}\ndependencies = [",
            "mlproject.toml:5: TOML syntax error: invalid value\nfound: dependencies = [",
        ),
        (
            "[project]\nname = a",
            "mlproject.toml:2: TOML syntax error: invalid value\nfound: name = a (column 8)",
        ),
        (
            "[project\n",
            (
                "mlproject.toml:1: TOML syntax error: "
                "expected ']' at the end of a table declaration\n"
                "found: [project (column 9)"
            ),
        ),
        (
            '[project]\nname = "a"\nname = "b"\n',
            (
                "mlproject.toml:3: TOML syntax error: cannot overwrite a value\n"
                'found: name = "b" (column 11)'
            ),
        ),
        (
            "name: a\n",
            (
                "mlproject.toml:1: TOML syntax error: "
                "expected '=' after a key in a key/value pair\n"
                "found: name: a (column 5)"
            ),
        ),
        (
            b"[project]\nname = '\xff'\n",
            "mlproject.toml:2: not UTF-8\nfound: byte 0xff\nhint: save it as UTF-8",
        ),
        (
            b"\xef\xbb\xbf[project]\n",
            (
                "mlproject.toml:1: starts with a byte order mark\n"
                'hint: save it as "UTF-8", not as "UTF-8 with BOM"'
            ),
        ),
        (b"#" * (MAX_SPEC + 1), f"mlproject.toml: more than {MAX_SPEC} bytes: this is not a spec"),
        ("x = " + "[" * 100_000, "mlproject.toml: nested too deeply"),
    ],
)
def test_what_is_not_toml(document: bytes | str, message: str):
    assert refusal(document) == message


def test_an_endless_integer_is_an_error_of_the_file():
    message = refusal("x = " + "9" * 5000)
    assert message.startswith("mlproject.toml:1: TOML syntax error: exceeds the limit")


def test_no_spec(tmp_path: Path):
    path = tmp_path / "mlproject.toml"
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == (
        "mlproject.toml: no such file\n"
        f"expected: a spec at {path}\n"
        'hint: make one with "mllock init"'
    )
    assert caught.value.exit_code == 2


def test_a_folder_for_a_spec(tmp_path: Path):
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path)
    assert str(caught.value) == f"{tmp_path.name}: this is a folder, not a file"


def test_places_of_the_starter():
    loaded = load_spec(resource("templates", "sklearn") / "mlproject.toml")
    lines = loaded.text.split("\n")
    for key in ("project.name", "environment.dependencies[0]", "data.test.role", "train.params"):
        line = loaded.place(key)
        assert line is not None
        assert key.split(".")[-1].split("[")[0] in lines[line - 1]
    assert loaded.place("train.gpus") is None


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes):
    """Nothing but a SpecError; and the shortest valid spec has more bytes than these."""
    with pytest.raises(SpecError):
        parse_spec(data, Path("mlproject.toml"))


@given(st.text("[]{}=.,\"'\\#\n ab1-", max_size=40))
def test_any_text_after_a_spec_is_read_or_refused(text: str):
    try:
        parse_spec(f"{BASE}\n{text}".encode(), Path("mlproject.toml"))
    except SpecError as error:
        assert error.file == "mlproject.toml"
        assert error.line is None or 1 <= error.line <= 5 + text.count("\n")
