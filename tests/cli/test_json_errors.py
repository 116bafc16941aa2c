"""Who asks for JSON gets JSON, also where there is no answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mllock.cli.main import run

PLACE = {"file": None, "line": None, "key": None, "expected": None, "found": None, "hint": None}


def error(out: str) -> dict[str, object]:
    answer = json.loads(out)
    assert answer.keys() == {"error", "exit-code"}
    assert answer["error"].keys() == {*PLACE, "message"}
    return dict(answer)


def test_a_target_that_is_not_there(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["check", "path:gone", "--json"]) == 2
    out, err = capsys.readouterr()
    assert error(out) == {
        "error": PLACE | {"message": "no such file or folder", "file": f"{tmp_path}/gone"},
        "exit-code": 2,
    }
    assert err == f"error: {tmp_path}/gone: no such file or folder\n"
    assert run(["check", "path:gone"]) == 2
    assert capsys.readouterr().out == ""


def test_a_line_of_the_spec(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "mlproject.toml").write_text('[project]\nname = "x"\nverson = "1"\n')
    monkeypatch.chdir(tmp_path)
    assert run(["lock", "--json"]) == 2
    found = error(capsys.readouterr().out)["error"]
    assert isinstance(found, dict)
    assert (found["file"], found["line"], found["key"], found["hint"]) == (
        "mlproject.toml",
        3,
        "project.verson",
        'did you mean "version"?',
    )


def test_usage(capsys) -> None:
    assert run(["check", "--json"]) == 2
    assert error(capsys.readouterr().out) == {
        "error": PLACE | {"message": "Missing argument 'TARGET'."},
        "exit-code": 2,
    }


def test_nothing_in_it_moves_the_cursor(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["check", "path:a\x1b[2J\u202e", "--json"]) == 2
    out = capsys.readouterr().out
    assert out.isascii()
    assert error(out)["error"]["file"] == f"{tmp_path}/a\\x1b[2J\\u202e"


@pytest.mark.parametrize("command", [["check", "path:gone", "--json"]])
def test_a_reader_that_left(tmp_path: Path, command: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", "from mllock.cli.main import main; main()", *command],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path}/gone: no such file or folder\n",
    )
