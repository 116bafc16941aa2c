"""Where keys stand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st
from support.corpus import cases

from mllock.spec.places import Part, dotted, nearest, places

TEXT = '''\
# a comment with [a.table] and key = "value"
[project]
name = "a" # not = "this"
'quoted' = 1
"with \\"quotes\\"" = 2
description = """
[not.a.table]
name = "not this"
"""
literal = \'\'\'x\'\'\'\'

[environment]
dependencies = [
    "a", # ]
    # "comment"
    "b]",
    ["nested",
     "c"],
]
variables = { A = "1", B.C = { D = 2027-01-01 10:00:00 } }
a.b . "c d".e = 1

[[environment.indexes]]
name = "first"

[[environment.indexes]]
name = "second"
[environment.indexes.more]
x = +1_000.5e-7
[[environment.indexes.deep]]
y = inf
'''

EXPECTED = {
    "project": 2,
    "project.name": 3,
    "project.quoted": 4,
    'project."with \\"quotes\\""': 5,
    "project.description": 6,
    "project.literal": 10,
    "environment": 12,
    "environment.dependencies": 13,
    "environment.dependencies[0]": 14,
    "environment.dependencies[1]": 16,
    "environment.dependencies[2]": 17,
    "environment.dependencies[2][0]": 17,
    "environment.dependencies[2][1]": 18,
    "environment.variables": 20,
    "environment.variables.A": 20,
    "environment.variables.B": 20,
    "environment.variables.B.C": 20,
    "environment.variables.B.C.D": 20,
    "environment.a": 21,
    "environment.a.b": 21,
    'environment.a.b."c d"': 21,
    'environment.a.b."c d".e': 21,
    "environment.indexes": 23,
    "environment.indexes[0]": 23,
    "environment.indexes[0].name": 24,
    "environment.indexes[1]": 26,
    "environment.indexes[1].name": 27,
    "environment.indexes[1].more": 28,
    "environment.indexes[1].more.x": 29,
    "environment.indexes[1].deep": 30,
    "environment.indexes[1].deep[0]": 30,
    "environment.indexes[1].deep[0].y": 31,
}


def test_every_way_to_write_a_key():
    tomllib.loads(TEXT)
    assert places(TEXT) == EXPECTED


def test_line_ends_of_windows():
    assert places(TEXT.replace("\n", "\r\n")) == EXPECTED


def test_the_nearest_table_that_is_written():
    found = places(TEXT)
    assert nearest(found, ("environment", "indexes", 1, "url")) == 26
    assert nearest(found, ("environment", "python")) == 12
    assert nearest(found, ("train",)) is None


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("data", "train", "source"), "data.train.source"),
        (("a", 0, "b-c", 12), "a[0].b-c[12]"),
        (("a b", "c.d", ""), '"a b"."c.d".""'),
        (("é",), '"é"'),
    ],
)
def test_dotted(parts: tuple[Part, ...], key: str):
    assert dotted(parts) == key


def every_key(value: object, path: tuple[Part, ...] = ()) -> Iterator[tuple[Part, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from every_key(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from every_key(item, (*path, index))


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from("abc")
SCALARS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.text("\"'\\\n#[]{}=,", max_size=8)
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.dates()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_key_of_a_written_document_has_a_place(document: dict):
    text = tomlkit.dumps(document)
    parsed = tomllib.loads(text)
    found = places(text)
    keys = {dotted(path) for path in every_key(parsed)}
    assert set(found) == keys
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@pytest.mark.parametrize(
    "case", [*cases("spec", "valid.txt"), *cases("spec", "invalid.txt")], ids=str
)
def test_every_key_of_the_corpus_has_a_place_on_its_line(case):
    found = places(case.document)
    lines = case.document.split("\n")
    for path in every_key(tomllib.loads(case.document)):
        line = lines[found[dotted(path)] - 1]
        if isinstance(path[-1], str):
            assert path[-1] in line
