"""`mllock init`: whole projects or nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mllock.cli.main import run
from mllock.errors import SurroundingsError
from mllock.resources import resource
from mllock.spec.hints import normalised_name
from mllock.spec.reader import load_spec, parse_spec
from mllock.workflows.init import SCHEMA, SPEC, TEMPLATES, _place, template_files

FILES = {SCHEMA, *TEMPLATES["sklearn"]}


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_a_new_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "My Wine"]) == 0
    made = tmp_path / "My Wine"
    assert capsys.readouterr() == (
        "",
        (
            f"made my-wine: {len(FILES)} files in {made}\n"
            "next:\n"
            "  cd 'My Wine'\n"
            "  mllock lock     pin everything that mlproject.toml declares\n"
            "  mllock train    train from the lock, and sign what went in and came out\n"
        ),
    )
    assert tree(made) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["My Wine"]
    loaded = load_spec(made / SPEC)
    assert loaded.spec.project.name == "my-wine"


def test_this_folder_beside_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("mine")
    assert run(["init"]) == 0
    assert tree(tmp_path) == FILES | {"notes.txt", "data/mine.csv"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_project_option_names_the_folder(tmp_path):
    assert run(["--project", str(tmp_path / "new"), "init"]) == 0
    assert tree(tmp_path / "new") == FILES


def test_quiet_says_nothing(tmp_path, capsys):
    assert run(["-q", "init", str(tmp_path / "new")]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_project_is_there_already(tmp_path, capsys):
    (tmp_path / SPEC).write_text("mine")
    assert run(["init", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/mlproject.toml: there is a project here already\n"
        "hint: choose another folder: mllock init DIR\n"
    )
    assert tree(tmp_path) == {SPEC}
    assert (tmp_path / SPEC).read_text() == "mine"


def test_files_in_the_way_are_listed_and_left(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "train.py").symlink_to("nowhere")
    (tmp_path / "tests").write_text("a file where a folder goes")
    assert run(["init", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: files are in the way, and are left as they are\n"
        "found: README.md, tests/test_starter.py, train.py\n"
        "hint: move them away, or choose another folder: mllock init DIR\n"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "train.py", "tests"}
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_file_with_the_same_bytes_is_not_in_the_way(tmp_path):
    (tmp_path / "train.py").write_bytes(
        (resource("templates", "sklearn") / "train.py").read_bytes()
    )
    assert run(["init", str(tmp_path)]) == 0
    assert tree(tmp_path) == FILES


@pytest.mark.parametrize("below", ["", "/deep/er"])
def test_not_a_folder(tmp_path, capsys, below: str):
    (tmp_path / "file").write_text("mine")
    assert run(["init", f"{tmp_path}/file{below}"]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/file: this is not a folder\n"
    assert tree(tmp_path) == {"file"}


def test_a_folder_that_cannot_be_written(capsys):
    """Nobody, root included, makes folders in /proc."""
    assert run(["init", "/proc/mllock-project"]) == 4
    assert capsys.readouterr().err.startswith("error: /proc: cannot write: ")


def test_another_template_is_a_usage_error(tmp_path, capsys):
    assert run(["init", str(tmp_path / "x"), "--template", "torhc"]) == 2
    assert "'torhc' is not 'sklearn'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("folder", "name"), [("My_Model.v2", "my-model-v2"), ("--x--", "x"), ("日本", "")]
)
def test_names(folder: str, name: str):
    assert normalised_name(folder) == name


def test_a_folder_without_letters_keeps_the_name_of_the_template(tmp_path):
    assert run(["init", str(tmp_path / "日本")]) == 0
    assert load_spec(tmp_path / "日本" / SPEC).spec.project.name == "wine-quality"


def test_the_listed_files_are_those_of_the_repository():
    root = resource("templates", "sklearn")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    assert set(TEMPLATES["sklearn"]) == {name for name in listed.split("\0") if name}
    assert TEMPLATES["sklearn"][-1] == SPEC


def test_the_spec_fits_on_one_screen_and_names_its_schema():
    text = (resource("templates", "sklearn") / SPEC).read_text()
    assert text.startswith(f"#:schema {SCHEMA}\n")
    assert text.count("\n") <= 42
    assert max(map(len, text.split("\n"))) <= 110


def test_the_data_keeps_every_row_and_equal_rows_on_one_side():
    rows = {
        name: (resource("templates", "sklearn", "data") / f"{name}.csv").read_text().splitlines()
        for name in ("train", "test")
    }
    assert rows["train"][0] == rows["test"][0]
    assert len(rows["train"]) + len(rows["test"]) - 2 == 4898
    assert not set(rows["train"][1:]) & set(rows["test"][1:])
    attribution = (resource("templates", "sklearn", "data") / "README.md").read_text()
    assert re.search(r"Cortez.*2009", attribution, re.DOTALL)


def test_what_was_placed_is_taken_back_when_one_file_cannot_be(tmp_path):
    staged, folder = tmp_path / "staged", tmp_path / "folder"
    for path in (staged, folder):
        path.mkdir()
    (folder / "mine").write_text("mine")
    (staged / "a").mkdir()
    (staged / "a" / "first").write_text("1")
    # "second" was never staged: its rename fails after "a/first" is in its place.
    with pytest.raises(SurroundingsError) as caught:
        _place(staged, folder, {"a/first": b"1", "second": b"2"})
    assert str(caught.value) == f"{folder}/second: cannot write: no such file or directory"
    assert [path.name for path in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("host", "python", "lines"),
    [
        ("linux/amd64", "3.11", ['platforms = ["linux/amd64"]']),
        ("linux/arm64", "3.11", ['platforms = ["linux/arm64"]']),
        ("linux/amd64", "3.12", ['platforms = ["linux/amd64"]', 'resolver = "uv"']),
        ("darwin/amd64", "3.11", ['platforms = ["linux/amd64"]', 'resolver = "uv"']),
        (
            "darwin/arm64",
            "3.11",
            ['platforms = ["linux/amd64", "linux/arm64"]', 'resolver = "uv"'],
        ),
        ("linux/riscv64", "3.11", ['platforms = ["linux/amd64"]', 'resolver = "uv"']),
    ],
)
def test_where_this_machine_cannot_be_the_target(host, python, lines):
    """The resolver that needs no such machine is written down, and nothing but that differs."""
    spec = template_files("sklearn", "", host=host, python=python)[SPEC].decode()
    found = [line for line in spec.splitlines() if line.startswith(("platforms", "resolver"))]
    assert [line.partition("#")[0].rstrip() for line in found] == lines
    parse_spec(spec.encode(), Path(SPEC))
    plain = template_files("sklearn", "", host="linux/amd64", python="3.11")[SPEC].decode()
    rest = [line for line in spec.splitlines() if line not in found]
    assert rest == [line for line in plain.splitlines() if not line.startswith("platforms")]
