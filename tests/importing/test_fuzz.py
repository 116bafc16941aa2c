"""Whatever the bytes are: a spec that reads, or one error with a file; never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fuzz import CHANGES, changed
from support.importing import CASES, files_of, found_in, spec_of

from mllock.errors import InputError
from mllock.spec.reader import parse_spec

KINDS = sorted({case.split("/")[0] for case in CASES})
# What means something to one of the readers, put where it is not expected.
PIECES = (
    b"\xff",
    *(
        piece.encode()
        for piece in (
            *(
                "{",
                "}",
                "[",
                "]",
                "- ",
                "\n",
                "\\\n",
                "'",
                '"',
                "&a",
                "*a",
                "<<: *a\n",
                "\0",
                "\x7f",
            ),
            *(
                "$",
                "${",
                "==",
                ">=1,",
                "://u:p@",
                "@",
                ";",
                "#",
                "\t",
                "<<EOT\n",
                "FROM ",
                "RUN ",
                "..",
            ),
            *("/", "[[", "]]", " = 1\n", "= {}\n", ": []\n", "\ufeff", "\\ud800", "\r", "~", "^"),
            *("python", "3.", "9" * 400, "-r ", "--", "|", "true", "null", "\u202e", ".git"),
            *("mlproject.toml", "!!python/object:os.system ", "> x"),
        )
    ),
)

numbers = st.integers(min_value=0, max_value=1 << 20)
change = st.one_of(
    st.tuples(st.sampled_from(CHANGES), numbers, numbers, numbers, numbers),
    st.tuples(st.just("piece"), numbers, st.sampled_from(PIECES)),
    st.tuples(st.just("value"), numbers, st.sampled_from(PIECES)),
)


def mutated(data: bytes, how: tuple) -> bytes:
    if not data:
        return data
    if how[0] in ("piece", "value"):
        at = how[1] % (len(data) + 1)
        end = len(data) if how[0] == "piece" else data.find(b"\n", at)
        return data[:at] + how[2] + (data[at:] if how[0] == "piece" or end < 0 else data[end:])
    return changed(data, *how)


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, max_examples=120, deadline=None)
@given(data=st.data())
def test_a_spec_or_one_error(kind: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([case for case in CASES if case.startswith(f"{kind}/")]))
    files = files_of(case)
    for how in data.draw(st.lists(change, min_size=1, max_size=4)):
        name = data.draw(st.sampled_from(sorted(files)))
        files[name] = mutated(files[name], how)
    try:
        found = found_in(files, folder=kind == "folder")
    except InputError as error:
        assert error.file in files
        return
    parse_spec(spec_of(found), Path("mlproject.toml"))
    assert all("\n" not in leftover.what + leftover.why for leftover in found.leftovers)


NAMES = (
    *("requirements.txt", "requirements.in", "pyproject.toml", "pylock.toml", "uv.lock"),
    *("poetry.lock", "environment.yml", "cog.yaml", "MLproject", "dvc.yaml", "bentofile.yaml"),
    "Dockerfile",
)


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, max_examples=60, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_noise(name: str, content: bytes) -> None:
    try:
        found = found_in({name: content})
    except InputError as error:
        assert error.file == name
        return
    parse_spec(spec_of(found), Path("mlproject.toml"))
