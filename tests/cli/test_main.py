"""The frame of every command: streams, exit codes, what may be printed, where the project is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reporter import Recorder

from mllock.cli.app import App, TerminalReporter, printable
from mllock.cli.main import run
from mllock.errors import InputError
from mllock.workflows.context import make_context

SPEC = '[project]\nname = "p"\n[environment]\npython = "3.11"\n'


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `mllock` is this interpreter's."""
    return subprocess.run(
        ["bash", "-c", f'mllock() {{ "{sys.executable}" -m mllock "$@"; }}; {line}'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mlproject.toml").write_text(SPEC)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("streams", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("arguments", "code"), [("runs", 0), ("lock --check", 2), ("nosuch", 2)])
def test_closed_streams_change_no_exit_code(
    project: Path, streams: str, arguments: str, code: int
) -> None:
    assert shell(f"mllock {arguments} {streams}", project).returncode == code


@pytest.mark.parametrize(
    "arguments",
    ["lock", "lock --check", "train", "build", "serve", "runs", "show", "check path:model", "init"],
)
@pytest.mark.parametrize("options", ["", "--project ."])
def test_a_folder_that_was_removed(tmp_path: Path, arguments: str, options: str) -> None:
    line = f'mkdir gone && cd gone && rmdir "$PWD" && mllock {options} {arguments}'
    done = shell(line, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "error: the folder that this command was typed in is gone\nhint: go to one that is there\n",
    )


def test_a_demo_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    done = shell('mkdir gone && cd gone && rmdir "$PWD" && mllock demo', tmp_path)
    assert done.returncode == 2
    assert "error: the folder that this command was typed in is gone\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["--version", "--help", "lock --help"])
def test_help_needs_no_folder(tmp_path: Path, arguments: str) -> None:
    done = shell(f'mkdir gone && cd gone && rmdir "$PWD" && mllock {arguments}', tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", ["INT", "TERM"])
def test_an_interrupt_before_anything_is_imported(tmp_path: Path, number: str) -> None:
    """Whatever is imported first interrupts us: there is no traceback, and the code of Ctrl-C."""
    (tmp_path / "click.py").write_text(
        f"import os, signal, time\nos.kill(os.getpid(), signal.SIG{number})\ntime.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mllock", "runs"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = {
        "INT": (130, "\ninterrupted: nothing was half-written\n"),
        "TERM": (-15, ""),
    }
    assert (done.returncode, done.stderr) == expected[number]


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('on')\nos._exit(0)\n"
    )
    done = shell(f"trap '' INT; PYTHONPATH={tmp_path} mllock runs", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


def test_no_command_is_help(project: Path) -> None:
    """On standard error, with the code of a wrong command line: a script that lost its words."""
    wanted = shell("mllock --help", project).stdout
    done = shell("mllock", project)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)
    done = shell("mllock -v", project)
    assert (done.returncode, done.stderr) == (
        2,
        'error: Missing command.\nhint: see "mllock --help"\n',
    )


@pytest.mark.parametrize("arguments", ["--help", "lock --help", "--version"])
def test_a_reader_of_the_output_that_left(project: Path, arguments: str) -> None:
    done = shell(f"( sleep 0.2; mllock {arguments}; echo $? >&2 ) | true", project)
    assert done.stderr == "141\n"


@pytest.mark.parametrize("arguments", ["lock --check", "nosuch"])
def test_a_reader_of_the_messages_that_left(project: Path, arguments: str) -> None:
    done = shell(
        f"( sleep 0.2; mllock {arguments} 2>&1 >&3; echo $? >&4 ) 3>&1 4>&2 | true", project
    )
    assert done.stderr == "2\n"


@given(st.text(alphabet=st.characters()))
def test_what_is_printed_is_one_visible_line(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert all(char.isprintable() or char == "\t" for char in shown)
    if text.isprintable() and "://" not in text:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a @ https://user:s3cret@host/a.whl", "a @ https://***@host/a.whl"),
        ('"https://token@host/x" and ftp://a:b@c', '"https://***@host/x" and ftp://***@c'),
        ("https://user:s3@cret@host/x?y", "https://***@host/x?y"),
        ("https://${USER}:${PASS}@host/x", "https://${USER}:${PASS}@host/x"),
        ("https://host/a@b mail@host", "https://host/a@b mail@host"),
        ("\x1b[31mred\n\u202eevil\udcff", "\\x1b[31mred\\n\\u202eevil\\udcff"),
    ],
)
def test_no_secret_and_no_control_character_is_printed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_credentials_of_a_spec_are_not_in_its_error(project: Path, capsys) -> None:
    spec = SPEC + 'dependencies = ["six @ https://user:s3cret@host/six.whl"]\n'
    (project / "mlproject.toml").write_text(spec)
    assert run(["lock"]) == 2
    assert 'found: "six @ https://***@host/six.whl"\n' in capsys.readouterr().err


@pytest.mark.parametrize(("no_color", "start"), [("", "\x1b[31merror: "), ("1", "error: ")])
def test_colour_only_where_it_is_wanted(
    project: Path, monkeypatch: pytest.MonkeyPatch, no_color: str, start: str
) -> None:
    said: list[str] = []
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.echo", lambda text, err: said.append(text))
    assert run(["nosuch"]) == 2
    assert run(["show", "nosuch"]) == 2
    assert [text.startswith(start) for text in said] == [True, True]
    TerminalReporter().warn("w")
    assert ("\x1b" in said[-1]) is (no_color == "")


@pytest.mark.parametrize(
    ("before", "after", "verbosity"),
    [
        ([], [], 0),
        (["-q"], [], -1),
        ([], ["-q"], -1),
        ([], ["--quiet"], -1),
        ([], ["-v"], 1),
        (["-v"], ["--verbose"], 2),
        (["-v"], ["-qq"], -1),
    ],
)
def test_options_of_all_commands_before_or_after_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, before, after, verbosity
) -> None:
    seen: list[App] = []
    monkeypatch.setattr(App, "context", lambda self, **_: seen.append(self) or 1 / 0)
    for words in (["runs"], ["keys", "list"]):
        with pytest.raises(ZeroDivisionError):
            run([*before, *words, *after])
        assert seen.pop().verbosity == verbosity


def test_the_project_before_or_after_the_command(project: Path, tmp_path: Path, capsys) -> None:
    missing = tmp_path / "nowhere"
    assert run(["--project", str(missing), "runs"]) == 2
    before = capsys.readouterr().err
    assert run(["runs", "--project", str(missing)]) == 2
    assert capsys.readouterr().err == before
    assert str(missing) in before


def test_an_option_of_the_command_is_the_commands(project: Path, capsys) -> None:
    """`keys trust --project NAME` is whose model a key may sign, and no folder."""
    assert run(["keys", "trust", "--project", "wine", "no.pub"]) == 2
    assert "no.pub" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "this is a folder, not a file"),
        (os.mkfifo, "this is something else, not a file"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
    ],
)
def test_a_spec_that_is_no_file_is_not_passed_over(project: Path, capsys, make, message) -> None:
    inner = project / "inner"
    inner.mkdir()
    make(inner / "mlproject.toml")
    assert run(["--project", str(inner), "lock"]) == 2
    assert capsys.readouterr().err.startswith(f"error: mlproject.toml: {message}\n")


def test_an_error_about_a_value_of_the_spec_has_its_line(project: Path, capsys) -> None:
    (project / "mlproject.toml").write_text(
        SPEC + 'debian-mirror = "http://127.0.0.1:9/debian-security"\n'
    )
    assert run(["lock"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: mlproject.toml:5: environment.debian-mirror: no mirror of bookworm itself, "
        "only of its security archive",
        "hint: add the URL of a mirror before it",
    ]


def test_the_nearest_spec_above(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(project / "a" / "b")
    assert App().context().project == project.resolve()


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(InputError) as caught:
        make_context(tmp_path, Recorder(), {})
    assert str(caught.value) == (
        "this user has no home folder\n"
        "hint: set HOME, or all of MLLOCK_CACHE, XDG_CACHE_HOME, XDG_CONFIG_HOME and "
        "XDG_STATE_HOME"
    )
    context = make_context(tmp_path, Recorder(), {"MLLOCK_CACHE": str(tmp_path)})
    with pytest.raises(InputError):
        _ = context.config_dir


def test_a_relative_cache_is_the_same_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    context = make_context(tmp_path, Recorder(), {"MLLOCK_CACHE": "cache"})
    assert context.cache.root == tmp_path / "cache"


@pytest.mark.parametrize("options", ["", "-X utf8=0"])
def test_names_are_utf8_where_the_locale_is_not(tmp_path: Path, options: str) -> None:
    """Begun again in UTF-8 mode, before a name is read; and once, whoever says otherwise."""
    done = subprocess.run(
        [sys.executable, *options.split(), "-m", "mllock", "--project", "ğüş", "lock"],
        cwd=tmp_path,
        env={
            **os.environ,
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        },
        capture_output=True,
        check=False,
    )
    # Without the mode Python holds the bytes as surrogates, and names are shown escaped.
    shown = "ğüş" if not options else "\\udcc4\\udc9f\\udcc3\\udcbc\\udcc5\\udc9f"
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"error: {shown}: no such folder\n"
