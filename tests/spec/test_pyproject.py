"""The project's own pyproject.toml as a file of requirements: what counts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.corpus import BASE

from mllock.errors import SpecError
from mllock.spec.meaning import meaning
from mllock.spec.reader import parse_spec
from mllock.spec.requirements import declared

PROJECT = """\
[build-system]
requires = ["hatchling"]

[project]
name = "My_Wine"
version = "1.0"
requires-python = ">=3.10.4"
dependencies = ["Pandas>=2", "tomli; python_version < '3.11'"]

[project.optional-dependencies]
Serve = ["uvicorn"]
plot = ["matplotlib"]
all = ["my.wine[serve,plot]", "rich"]
"""


def read(folder: Path, text: str, spec: str = 'requirements = ["pyproject.toml"]'):
    (folder / "pyproject.toml").write_text(text)
    loaded = parse_spec(f"{BASE}\n{spec}\n".encode(), folder / "mlproject.toml")
    found = declared(folder, loaded)
    return found.requirements, meaning(loaded.spec, found).digest


def test_its_dependencies_and_those_of_extras(tmp_path: Path) -> None:
    own = ("pandas>=2", 'tomli; python_version < "3.11"')
    assert read(tmp_path, PROJECT)[0] == own
    extras = 'requirements = ["pyproject.toml[ serve ]"]'
    assert read(tmp_path, PROJECT, extras)[0] == (*own, "uvicorn")
    extras = 'requirements = ["pyproject.toml[All]"]'
    assert read(tmp_path, PROJECT, extras)[0] == ("matplotlib", own[0], "rich", own[1], "uvicorn")


def test_nothing_else_of_it_counts(tmp_path: Path) -> None:
    _, before = read(tmp_path, PROJECT)
    more = PROJECT.replace('version = "1.0"', 'version = "2.0"  # released')
    more = more.replace("matplotlib", "seaborn").replace("hatchling", "flit-core")
    assert read(tmp_path, f"# tools\n{more}\n[tool.ruff]\nline-length = 100\n")[1] == before
    assert read(tmp_path, PROJECT.replace("Pandas>=2", "pandas >= 2"))[1] == before
    assert read(tmp_path, PROJECT.replace("Pandas>=2", "pandas>=3"))[1] != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (PROJECT, "[project\n", "pyproject.toml:1: TOML syntax error"),
        (PROJECT, "[tool.poetry]\n", "pyproject.toml: names no dependencies: it has no [project]\n"
         "expected: [project] dependencies (PEP 621)\n"
         "hint: write them into dependencies of mlproject.toml"),
        ('version = "1.0"', 'dynamic = ["dependencies"]', "pyproject.toml:6: its dependencies are "
         "computed when the project is built, and nothing of it is run\n"
         "hint: name the file that they are read from in requirements"),
        (">=3.10.4", ">=3.12", "pyproject.toml:7: its requires-python does not allow the Python of "
         "the image\nexpected: Python 3.11, as environment.python says\nfound: >=3.12"),
        ('"Pandas>=2"', '"pandas = 2"', "pyproject.toml:8: not a requirement: expected semicolon "
         "(after name with no version specifier) or end\n"
         'expected: PEP 508, e.g. "pandas>=2,<3"\nfound: pandas = 2'),
        ('"Pandas>=2"', "7", "pyproject.toml:8: project.dependencies[0]: "),
        ("[project.optional", "[tool.uv.sources]\npandas = { git = 'https://e.org/p' }\n"
         "[project.optional", "pyproject.toml:11: pandas comes from elsewhere for uv, which the "
         'spec does not say\nhint: write "NAME @ URL" into dependencies of mlproject.toml, or the '
         "package into [[environment.indexes]]"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, PROJECT.replace(old, new))
    said = str(caught.value)
    assert said == message if "\n" in message else said.startswith(message)


def test_an_extra_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, PROJECT, 'requirements = ["pyproject.toml[srve]"]')
    assert str(caught.value) == (
        "pyproject.toml: it has no extra 'srve'\nexpected: serve, plot, all\n"
        "hint: see [project.optional-dependencies]"
    )


def test_what_the_spec_says_of_a_source(tmp_path: Path) -> None:
    text = f"{PROJECT}\n[tool.uv.sources]\npandas = {{ git = 'https://e.org/p' }}\n"
    spec = (
        'requirements = ["pyproject.toml"]\n'
        'dependencies = ["pandas @ git+https://e.org/p@v1"]\nbuilds = ["pandas"]'
    )
    found, _ = read(tmp_path, text, spec)
    assert found[:2] == ("pandas @ git+https://e.org/p@v1", "pandas>=2")
