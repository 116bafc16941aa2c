"""What makes a lock stale, and what does not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from mllock.core import canonical
from mllock.resources import resource
from mllock.spec.meaning import Meaning, meaning
from mllock.spec.reader import parse_spec
from mllock.spec.requirements import declared

FULL = """\
[project]
name = "a"

[environment]
python = "3.11"
debian-mirror = "https://mirror.example.org"
dependencies = ["B", "a>=1,<2"]
system-packages = ["libb1", "liba1"]
variables = { B = "2", A = "1" }

[data.train]
source = "data/train"
include = ["b*", "a*"]
role = "train"
label = "y"

[data.test]
source = "data/test.csv"
role = "test"

[train]
command = ["python", "train.py"]
model = "model"
params = { alpha = 0.5, seed = 1 }

[serve]
command = ["uvicorn"]

[builder]
layers = 50
"""


def meant(text: str, folder: Path = Path("nowhere")) -> Meaning:
    loaded = parse_spec(text.encode(), folder / "mlproject.toml")
    return meaning(loaded.spec, declared(folder, loaded))


def test_all_of_it():
    found = meant(FULL)
    assert found == Meaning(
        environment={
            "python": "3.11",
            "base": "debian:bookworm",
            "dependencies": ["a<2,>=1", "b"],
            "constraints": [],
            "system-packages": ["liba1", "libb1"],
            "platforms": ["linux/amd64"],
            "resolver": "pip-tools",
            "bytecode": False,
            "overlaps": [],
            "variables": {"A": "1", "B": "2"},
            "indexes": [],
        },
        data={
            "test": {
                "source": "data/test.csv",
                "path": "data/test.csv",
                "include": ["**/*"],
                "exclude": [],
            },
            "train": {
                "source": "data/train",
                "path": "data/train",
                "include": ["a*", "b*"],
                "exclude": [],
            },
        },
        builder={"kind": "native", "layers": 50},
    )


def test_the_vector_of_the_reference():
    """The example of docs/reference/mlproject-toml.md, digest included."""
    reference = Path(__file__).parents[2] / "docs" / "reference" / "mlproject-toml.md"
    section = reference.read_text().split("## What makes a lock stale")[1]
    spec = section.split("```toml\n")[1].split("```")[0]
    written = section.split("```json\n")[1].split("```")[0]
    found = meant(spec)
    document = {"environment": found.environment, "data": found.data, "builder": found.builder}
    assert canonical.dumps(document).decode() == written.strip()
    assert f"`{found.digest}`" in section


IRRELEVANT = {
    "a comment": ('name = "a"', 'name = "a" # really'),
    "the name": ('name = "a"', 'name = "b"'),
    "a description": ('name = "a"', 'name = "a"\ndescription = "x"'),
    "a mirror": ("mirror.example.org", "other.example.org"),
    "how a requirement is written": ('"B", "a>=1,<2"', "'A <2, >=1', 'b'"),
    "the order of system packages": ('"libb1", "liba1"', '"liba1", "libb1"'),
    "a default that is written": ('python = "3.11"', 'python = "3.11"\nresolver = "pip-tools"'),
    "a path that is the source": ('label = "y"', 'label = "y"\npath = "data/train"'),
    "the order of patterns": ('"b*", "a*"', '"a*", "b*", "a*"'),
    "a role": ('role = "test"', 'role = "validation"'),
    "a column": ('label = "y"', 'label = "z"\nkey = ["id"]'),
    "a command": ('"train.py"', '"train.py", "-v"'),
    "a param": ("alpha = 0.5", "alpha = 0.7"),
    "a port": ('["uvicorn"]', '["uvicorn"]\nport = 99'),
}

RELEVANT = {
    "a dependency": ('"B"', '"B>=1"'),
    "a system package": ('"libb1", ', ""),
    "a variable": ('B = "2"', 'B = "3"'),
    "a platform": ('python = "3.11"', 'python = "3.11"\nplatforms = ["linux/arm64"]'),
    "a base": ('"3.11"', '"3.11"\nbase = "registry.example.org/x:1"'),
    "bytecode": ('python = "3.11"', 'python = "3.11"\nbytecode = true'),
    "a time": ('python = "3.11"', 'python = "3.11"\nexclude-newer = "2026-01-01T00:00:00Z"'),
    "a source": ("data/test.csv", "data/test2.csv"),
    "a path": ('label = "y"', 'path = "in"'),
    "a pattern": ('"b*"', '"c*"'),
    "the name of a source": ("[data.test]", "[data.test2]"),
    "the builder": ("layers = 50", "layers = 51"),
}


@pytest.mark.parametrize("change", IRRELEVANT)
def test_what_does_not_count(change: str):
    old, new = IRRELEVANT[change]
    assert FULL.count(old) == 1
    assert meant(FULL.replace(old, new)) == meant(FULL)


@pytest.mark.parametrize("change", RELEVANT)
def test_what_counts(change: str):
    old, new = RELEVANT[change]
    assert FULL.count(old) == 1
    assert meant(FULL.replace(old, new)).digest != meant(FULL).digest


def test_requirements_files_count_by_content(tmp_path: Path):
    (tmp_path / "r.txt").write_text("a>=1,<2 # here\n")
    moved = FULL.replace('"B", "a>=1,<2"]', '"B"]\nrequirements = ["r.txt"]')
    assert meant(moved, tmp_path) == meant(FULL)
    (tmp_path / "r.txt").write_text("a>=1,<3\n")
    assert meant(moved, tmp_path).digest != meant(FULL).digest


def test_the_meaning_has_no_null_which_toml_lacks():
    found = meant(FULL)
    for table in (found.environment, found.data, found.builder):
        assert tomllib.loads(tomlkit.dumps(dict(table))) == table


def shuffled(value: object, random) -> object:
    if isinstance(value, dict):
        items = [(key, shuffled(item, random)) for key, item in value.items()]
        random.shuffle(items)
        return dict(items)
    return value


@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_keys_and_comments_never_count(random, inline: bool):
    for text in (FULL, (resource("templates", "sklearn") / "mlproject.toml").read_text()):
        document = shuffled(tomllib.loads(text), random)
        assert isinstance(document, dict)
        if inline:
            name = random.choice([*document])
            table = tomlkit.inline_table()
            table.update(document.pop(name))
            document = {name: table, **document}
        written = tomlkit.dumps(document).replace("\n[", "\n# a comment\n\n[")
        assert meant(written).digest == meant(text).digest
