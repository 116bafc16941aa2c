"""The demo stops where a command does not answer what it should, with that command's exit code."""

from __future__ import annotations

import pytest

from mllock.cli.app import App
from mllock.cli.demo import Step, _run
from mllock.cli.main import run
from mllock.errors import MllockError


def test_a_step_that_fails_stops_the_demo(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MllockError) as caught:
        _run(App(), Step(why="Pin", arguments=("lock",)))
    assert str(caught.value) == (
        '"mllock lock" answered exit code 2\nexpected: 0\n'
        "hint: the message above says why; run the demo again when it is mended"
    )
    assert caught.value.exit_code == 2
    out, err = capsys.readouterr()
    assert out == "\n# Pin\n$ mllock lock\n"
    assert err.startswith("error: mlproject.toml: no spec here\n")


def test_a_tampered_model_that_passes_would_fail_the_demo(tmp_path, monkeypatch) -> None:
    """Exit code 0 where 1 is expected is no success."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MllockError) as caught:
        _run(App(), Step(why="Version", arguments=("--version",), expected=(1,)))
    assert caught.value.exit_code == 1


def test_a_folder_that_is_a_file(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mllock-demo").write_text("")
    assert run(["demo"]) == 2
    assert "Traceback" not in capsys.readouterr().err
