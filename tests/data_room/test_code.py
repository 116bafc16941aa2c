"""Which files are code: with git, without it, and by patterns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mllock.data.code import SelectedCode, select_code
from mllock.errors import DataError
from mllock.spec.types import DataSource, Environment, Evaluate, Project, Spec, Train

SPEC = Spec(
    project=Project(name="p"),
    environment=Environment(python="3.11"),
    data={
        "train": DataSource(source="./data/train.csv"),
        "more": DataSource(source="raw/v1", path="data/more"),
    },
    train=Train(command=("python", "train.py"), model="model", metrics="metrics.json"),
    evaluate=Evaluate(command=("python",), metrics="evaluation.json", predictions="out/p.csv"),
)
FILES = (
    "mlproject.toml",
    "mlproject.lock",
    "train.py",
    "pkg/a.py",
    "pkg/data.txt",
    "pkg/a.pyc",
    "pkg/__pycache__/a.cpython-311.pyc",
    "data/train.csv",
    "data/README.md",
    "data/more/x",
    "raw/v1/x",
    "raw/v2/x",
    "model/model.joblib",
    "metrics.json",
    "evaluation.json",
    "out/p.csv",
    ".mllock/runs/x",
    ".venv/bin/python",
    "env/pyvenv.cfg",
    "env/lib/x.py",
    ".env",
    ".env.local",
    ".gitignore",
)
CODE = [".gitignore", "data/README.md", "pkg/a.py", "pkg/data.txt", "raw/v2/x", "train.py"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "p"


def git(project: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    settings += ["-c", "protocol.file.allow=always"]
    command = ["git", *settings, *arguments]
    return subprocess.run(
        command, cwd=project, check=True, capture_output=True, text=True
    ).stdout.strip()


def paths(code: SelectedCode) -> list[str]:
    return [entry.path for entry in code.manifest.entries]


def test_without_git(project: Path) -> None:
    code = select_code(project, SPEC, None)
    assert paths(code) == CODE
    assert (code.commit, code.dirty) == (None, None)


def test_with_nothing_tracked(project: Path) -> None:
    git(project, "init", "-q")
    code = select_code(project, SPEC, None)
    assert paths(code) == CODE
    assert (code.commit, code.dirty) == (None, True)


def test_without_the_git_program(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "init", "-q")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value) == (
        ".git: git decides what is code here, and there is no git program\n"
        "hint: install git, or list the files of the code in mlproject.toml"
    )
    listed = select_code(project, SPEC, ["train.py"])
    assert (paths(listed), listed.commit, listed.dirty) == (["train.py"], None, None)


def test_what_git_tracks(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "train.py", "pkg/a.py", "data/train.csv", "mlproject.toml", "env/lib/x.py")
    git(project, "commit", "-q", "-m", "x")
    code = select_code(project, SPEC, None)
    assert paths(code) == ["env/lib/x.py", "pkg/a.py", "train.py"]
    assert (code.commit, code.dirty) == (git(project, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        ("edit", True),
        ("stage", True),
        ("add", True),
        ("remove", True),
        ("chmod", True),
        ("untracked", False),
        ("edit the spec", False),
        ("edit the data", False),
        ("touch", False),
    ],
)
def test_dirty(project: Path, change: str, dirty: bool) -> None:
    git(project, "init", "-q")
    git(project, "add", "train.py", "pkg/a.py", "data/train.csv", "mlproject.toml")
    git(project, "commit", "-q", "-m", "x")
    match change:
        case "edit" | "stage":
            (project / "train.py").write_text("edited")
            if change == "stage":
                git(project, "add", "train.py")
        case "add":
            git(project, "add", "pkg/data.txt")
        case "remove":
            (project / "pkg/a.py").unlink()
        case "chmod":
            (project / "train.py").chmod(0o755)
        case "edit the spec":
            (project / "mlproject.toml").write_text("edited")
        case "edit the data":
            (project / "data/train.csv").write_text("edited")
        case "touch":
            os.utime(project / "train.py", (0, 0))
    assert select_code(project, SPEC, None).dirty is dirty


def test_a_project_below_the_top_of_the_work_tree(project: Path) -> None:
    git(project.parent, "init", "-q")
    (project.parent / "other.py").write_text("x")
    git(project.parent, "add", "other.py", "p/train.py", "p/pkg/a.py")
    git(project.parent, "commit", "-q", "-m", "x")
    code = select_code(project, SPEC, None)
    assert (paths(code), code.dirty) == (["pkg/a.py", "train.py"], False)
    (project.parent / "other.py").write_text("edited")
    assert select_code(project, SPEC, None).dirty is False
    (project / "train.py").write_text("edited")
    assert select_code(project, SPEC, None).dirty is True


def test_names_that_git_would_quote(project: Path) -> None:
    git(project, "init", "-q")
    (project / 'ü "x".py').write_text("x")
    git(project, "add", 'ü "x".py')
    git(project, "commit", "-q", "-m", "x")
    code = select_code(project, SPEC, None)
    assert (paths(code), code.dirty) == (['ü "x".py'], False)


def test_submodules(project: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/lib.py").write_text("x")
    git(tmp_path / "sub", "init", "-q")
    git(tmp_path / "sub", "add", ".")
    git(tmp_path / "sub", "commit", "-q", "-m", "x")
    git(project, "init", "-q")
    git(project, "add", "train.py")
    git(project, "submodule", "--quiet", "add", str(tmp_path / "sub"), "lib")
    git(project, "commit", "-q", "-m", "x")
    assert paths(select_code(project, SPEC, None)) == [".gitmodules", "lib/lib.py", "train.py"]
    git(project, "submodule", "--quiet", "deinit", "-f", "lib")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value) == (
        "lib: a submodule that is not checked out\n"
        "hint: run `git submodule update --init`, or name it in .mllockignore"
    )


def test_the_repository_runs_nothing_of_its_own(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "train.py")
    git(project, "commit", "-q", "-m", "x")
    hook = project / "hook"
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    git(project, "config", "core.fsmonitor", str(hook))
    select_code(project, SPEC, None)
    assert not (project / "ran").exists()


def test_a_git_that_refuses(project: Path) -> None:
    (project / ".git").write_text("gitdir: nowhere\n")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert caught.value.file == ".git"
    assert caught.value.message.startswith("git rev-parse failed: fatal: not a git repository")
    assert caught.value.hint == "run `git rev-parse` here and follow what it says"


def test_git_variables_of_the_caller_do_not_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project, "init", "-q")
    git(project, "add", "train.py")
    git(project, "commit", "-q", "-m", "x")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    assert paths(select_code(project, SPEC, None)) == ["train.py"]


def test_patterns(project: Path) -> None:
    assert paths(select_code(project, SPEC, ("**/*.py",))) == ["pkg/a.py", "train.py"]
    assert paths(select_code(project, SPEC, ("pkg", ".env"))) == [
        ".env",
        "pkg/a.py",
        "pkg/data.txt",
    ]
    git(project, "init", "-q")
    git(project, "add", "train.py")
    git(project, "commit", "-q", "-m", "x")
    code = select_code(project, SPEC, ("**/*.py",))
    assert (paths(code), code.dirty) == (["pkg/a.py", "train.py"], True)
    git(project, "add", "pkg/data.txt")
    git(project, "commit", "-q", "-m", "x")
    (project / "pkg/data.txt").unlink()
    assert select_code(project, SPEC, ("train.py",)).dirty is False
    assert select_code(project, SPEC, ("train.py", "pkg")).dirty is True


HINT = (
    "patterns are relative to the project: "
    "`**/*.py` is all Python files, `src` is everything in src"
)


@pytest.mark.parametrize("pattern", ["src", "mlproject.toml", "model/*", "env"])
def test_a_pattern_that_matches_nothing(project: Path, pattern: str) -> None:
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, ("train.py", pattern), key="serve.code")
    assert str(caught.value) == (
        f"mlproject.toml: serve.code: pattern {pattern!r} matches no file that can be code\n"
        f"hint: {HINT}"
    )


@pytest.mark.parametrize(
    ("pattern", "path", "what"),
    [
        ("data/*.csv", "data/train.csv", "data.train.source"),
        ("mode[l]", "model", "train.model"),
        ("*.json", "metrics.json", "train.metrics"),
    ],
)
def test_a_pattern_that_matches_what_is_never_code(
    project: Path, pattern: str, path: str, what: str
) -> None:
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, ("train.py", pattern))
    assert str(caught.value) == (
        f"mlproject.toml: train.code: pattern {pattern!r} matches {path!r}, which is {what} and "
        "never code\nhint: give code, data and outputs paths of their own"
    )


def test_a_wrong_pattern(project: Path) -> None:
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, ("/abs",))
    assert str(caught.value) == ("mlproject.toml: train.code: pattern is not relative: '/abs'")


def test_no_code(tmp_path: Path) -> None:
    (tmp_path / "mlproject.toml").touch()
    with pytest.raises(DataError) as caught:
        select_code(tmp_path, SPEC, None)
    assert str(caught.value) == (
        "mlproject.toml: train.code: the project holds no code\n"
        "hint: put the program beside mlproject.toml, or list its files in train.code"
    )


@pytest.mark.parametrize("with_git", [False, True])
def test_mllockignore(project: Path, with_git: bool) -> None:
    (project / ".mllockignore").write_text("# docs\n*.txt\n/raw/\n!pkg/data.txt\r\n")
    if with_git:
        git(project, "init", "-q")
        git(project, "add", "-f", ".")
    left = {path for path in CODE if not path.startswith("raw/")}
    found = set(paths(select_code(project, SPEC, None)))
    assert found - {"env/lib/x.py", "env/pyvenv.cfg"} == left
    assert "raw/v2/x" not in paths(select_code(project, SPEC, ("**/*",)))


def test_a_wrong_line_in_mllockignore(project: Path) -> None:
    (project / ".mllockignore").write_text("ok\n[z-a]\n")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value) == (
        ".mllockignore: line 2: wrong character range in pattern '**/[z-a]'"
    )
    (project / ".mllockignore").write_bytes(b"\xff")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value) == ".mllockignore: cannot be read as UTF-8 text"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_an_mllockignore_that_is_no_file(project: Path, make: Callable[[Path], None]) -> None:
    make(project / ".mllockignore")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value) == ".mllockignore: not a regular file"


@pytest.mark.parametrize("with_git", [False, True])
def test_links(project: Path, with_git: bool) -> None:
    (project / "alias.py").symlink_to("train.py")
    if with_git:
        git(project, "init", "-q")
        git(project, "add", "alias.py", "train.py")
    code = select_code(project, SPEC, None)
    entry = next(entry for entry in code.manifest.entries if entry.path == "alias.py")
    assert (entry.kind, entry.target) == ("l", "train.py")
    (project / "alias.py").unlink()
    (project / "alias.py").symlink_to("/etc/hostname")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value).startswith("alias.py: a link that does not stay in the folder\n")


def test_a_folder_that_became_a_link(project: Path, tmp_path: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "train.py", "pkg/a.py")
    git(project, "commit", "-q", "-m", "x")
    (project / "pkg").rename(tmp_path / "elsewhere")
    (project / "pkg").symlink_to(tmp_path / "elsewhere")
    code = select_code(project, SPEC, None)
    assert (paths(code), code.dirty) == (["train.py"], True)


@pytest.mark.parametrize("with_git", [False, True])
def test_hostile_names(project: Path, with_git: bool) -> None:
    (project / "a\u202eb.py").write_text("x")
    if with_git:
        git(project, "init", "-q")
        git(project, "add", "-f", ".")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert caught.value.file == "a\\u202eb.py"
    assert caught.value.message == "a name that is not portable: character U+202E in path"


@pytest.mark.parametrize("with_git", [False, True])
@pytest.mark.parametrize("name", [".wh.train.py", ".wh..wh..opq", "pkg/.wh.a.py"])
def test_names_that_would_remove_others_in_an_image(
    project: Path, name: str, *, with_git: bool
) -> None:
    (project / name).write_text("x")
    if with_git:
        git(project, "init", "-q")
        git(project, "add", "-f", ".")
    with pytest.raises(DataError) as caught:
        select_code(project, SPEC, None)
    assert str(caught.value) == (
        f'{name}: a name that begins with ".wh.": in an image it would remove another file\n'
        "hint: rename it, or name it in .mllockignore"
    )
    (project / ".mllockignore").write_text(".wh.*\n**/.wh.*\n")
    assert name not in paths(select_code(project, SPEC, None))


def test_the_same_code_with_and_without_git(project: Path) -> None:
    plain = select_code(project, SPEC, ("**/*.py",)).manifest
    git(project, "init", "-q")
    git(project, "add", "train.py", "pkg/a.py")
    git(project, "commit", "-q", "-m", "x")
    assert select_code(project, SPEC, None).manifest.digest == plain.digest
