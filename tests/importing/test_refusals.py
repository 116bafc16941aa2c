"""Files that `mllock init --from` refuses: one message, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mllock.cli.main import run


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def refusal(capsys, *words: str) -> str:
    assert run(["init", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("pyproject.toml", b"[project]\nname = \n", "pyproject.toml:2: TOML syntax error\n"),
        ("uv.lock", b"\n\xff", "uv.lock:2: not UTF-8\nhint: save it as UTF-8\n"),
        (
            "pyproject.toml",
            b'[project]\ndependencies = "pandas"\n',
            "pyproject.toml:2: project.dependencies: not what this file should hold here\n"
            "expected: a list\nfound: a text\n",
        ),
        (
            "environment.yml",
            b"dependencies:\n  - pip:\n    - a\n   - b\n",
            "environment.yml:4: YAML syntax error: expected <block end>, but found "
            "'<block sequence start>'\n",
        ),
        (
            "cog.yaml",
            b"build: !!python/object/apply:os.system [touch /tmp/x]\n",
            "cog.yaml:1: a YAML tag that is not read\n",
        ),
        (
            "cog.yaml",
            b"build: {python_version: !!python/name:os.system ''}\n",
            "cog.yaml:1: a YAML tag that is not read\n",
        ),
        (
            "dvc.yaml",
            b"stages: &a\n  b: *a\n",
            "dvc.yaml:1: more values, or deeper, than such a file has\n",
        ),
        ("MLproject", b"a: " + b"[" * 5000, "MLproject:1: nested too deeply\n"),
        (
            "bentofile.yaml",
            b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (c + 1, c + 1, b", ".join([b"*%c" % c] * 10))
                for c in range(ord("a"), ord("f"))
            ),
            "bentofile.yaml:1: more values, or deeper, than such a file has\n",
        ),
        (
            "requirements.txt",
            b"a\nb\n\xff",
            "requirements.txt:3: not UTF-8\nhint: save it as UTF-8\n",
        ),
        (
            "requirements.txt",
            b"\xff\xfea\x00\n",
            "requirements.txt:1: not utf-16\nhint: save it as UTF-8\n",
        ),
        (
            "requirements.txt",
            b"# coding: punycode\na\n",
            "requirements.txt:1: not punycode\nhint: save it as UTF-8\n",
        ),
        (
            "requirements.txt",
            b"# coding: klingon\na\n",
            "requirements.txt:1: not klingon\nhint: save it as UTF-8\n",
        ),
        (
            "requirements.txt",
            b"".join(b"a%d=1\n" % number for number in range(3000)),
            "requirements.txt:2001: more than 2000 things that cannot be carried over\n",
        ),
        ("Dockerfile", b"# nothing\n", "Dockerfile:1: no FROM: this is not a Dockerfile\n"),
        ("Dockerfile", b"FROM a:1\nRUN <<EOT\nx\n", "Dockerfile:2: the heredoc EOT has no end\n"),
        (
            "pyproject.toml",
            b"a" + b".a" * 5000 + b" = 1\n",
            "pyproject.toml: lines with more dots than such a file has\n",
        ),
        (
            "pylock.toml",
            b'lock-version = "2.0"\n',
            "pylock.toml:1: not a PEP 751 lock of version 1\nfound: 2.0\n",
        ),
        (
            "pylock.toml",
            b'lock-version = "1.x"\n',
            "pylock.toml:1: not a PEP 751 lock of version 1\nfound: 1.x\n",
        ),
        (
            "pylock.toml",
            b'lock-version = "1.0"\npackages = []\n',
            "pylock.toml:1: created-by: not a PEP 751 lock: missing required value\n",
        ),
        (
            "pylock.toml",
            b'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1"\n',
            "pylock.toml:3: packages[0]: not a PEP 751 lock: exactly one of vcs, directory, "
            "archive must be set if sdist and wheels are not set\n",
        ),
        (
            "pylock.toml",
            b'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nmarker = "("\n',
            "pylock.toml:5: packages[0].marker: not a PEP 751 lock: expected a marker variable or "
            "quoted string\n",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path, capsys, name, content, error):
    write(tmp_path, {name: content})
    assert (
        refusal(capsys, str(tmp_path / "new"), "--from", str(tmp_path / name)) == f"error: {error}"
    )
    assert not (tmp_path / "new").exists()


def test_a_pipe_a_link_outside_and_a_giant_are_not_read(tmp_path, capsys):
    source = tmp_path / "old"
    source.mkdir()
    new = str(tmp_path / "new")
    os.mkfifo(source / "requirements.txt")
    expected = "error: requirements.txt: not a regular file\n"
    assert refusal(capsys, new, "--from", str(source / "requirements.txt")) == expected
    (tmp_path / "secret.txt").write_text("s3cr3t\n")
    (source / "more.txt").symlink_to("../secret.txt")
    expected = "error: more.txt: leads outside of the folder, and is not read\n"
    assert refusal(capsys, new, "--from", str(source / "more.txt")) == expected
    with (source / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    expected = "error: huge.txt: more than 1048576 bytes\n"
    assert refusal(capsys, new, "--from", str(source / "huge.txt")) == expected
    write(source, {"a.txt": b"-r ../secret.txt\n-r /etc/passwd\nnumpy\n"})
    assert run(["init", new, "--from", str(source / "a.txt")]) == 0
    assert capsys.readouterr().out == (
        "a.txt:1: -r ../secret.txt: not a file of this folder\n"
        "  hint: copy it into this folder, and name it there\n"
        "a.txt:2: -r /etc/passwd: not a file of this folder\n"
        "  hint: copy it into this folder, and name it there\n"
    )
