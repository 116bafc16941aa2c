"""Patterns: docs/reference/patterns.md, line by line, and git's own opinion on ignore rules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.core.globs import compile_globs, ignore_rules, is_everything

YES = [
    ("**/*", "a"),
    ("**/*", "a/b/.c"),
    ("**", "a/b"),
    ("*", "a/b"),
    ("serve.py", "serve.py"),
    ("**/serve.py", "serve.py"),
    ("**/serve.py", "a/b/serve.py"),
    ("src", "src/a/b.py"),
    ("src/", "src/a"),
    ("src/**", "src/a/b"),
    ("src/*.py", "src/a.py"),
    ("a/**/b", "a/b"),
    ("a/**/b", "a/x/y/b"),
    ("a/**/**/b", "a/b"),
    ("**/**/b", "b"),
    ("a/**/**", "a/x"),
    ("?.csv", "é.csv"),
    ("[a-c].csv", "b.csv"),
    ("[!a-c].csv", "d.csv"),
    ("[^a-c].csv", "d.csv"),
    ("[]].csv", "].csv"),
    ("[a.].csv", "..csv"),
    ("[a-].csv", "-.csv"),
    ("\\*.csv", "*.csv"),
    ("\\[a].csv", "[a].csv"),
    ("a b", "a b"),
    ("a**b", "axxb"),
    ("x.csv", "x.csv/part-0"),
    ("(a|b)+", "(a|b)+"),
]
NO = [
    ("serve.py", "a/serve.py"),
    ("src", "srcs/a"),
    ("src", "a/src/b"),
    ("src/", "src"),
    ("src/**", "src"),
    ("src/*.py", "src/a/b.py"),
    ("a/**/b", "a/xb"),
    ("a/**/b", "ab"),
    ("*.CSV", "a.csv"),
    ("?.csv", "ab.csv"),
    ("?", "a\n"[:0] + "bb"),
    ("[!a].csv", "a.csv"),
    ("a[!b]c", "a/c"),
    ("a?c", "a/c"),
    ("a**b", "a/b"),
    ("\\*.csv", "a.csv"),
    ("a.c", "abc"),
]


@pytest.mark.parametrize(("pattern", "path"), YES)
def test_selected(pattern: str, path: str) -> None:
    assert compile_globs([pattern])(path) is True
    assert compile_globs(["**/*"], [pattern])(path) is False


@pytest.mark.parametrize(("pattern", "path"), NO)
def test_not_selected(pattern: str, path: str) -> None:
    assert compile_globs([pattern])(path) is False
    assert compile_globs(["**/*"], [pattern])(path) is True


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "empty pattern"),
        ("/a", "pattern is not relative: '/a'"),
        ("a//b", "\"\" in pattern 'a//b'"),
        ("../a", "\"..\" in pattern '../a'"),
        ("./a", "\".\" in pattern './a'"),
        ("a[b", '"[" without "]" in pattern \'a[b\''),
        ("[z-a]", "wrong character range in pattern '[z-a]'"),
        ("a\\", "pattern ends with a backslash: 'a\\\\'"),
    ],
)
def test_wrong_patterns(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_globs([pattern])
    assert str(caught.value) == message


@given(
    st.lists(st.sampled_from("ab*?[]!\\/.-"), max_size=8).map("".join), st.text("ab/.", max_size=6)
)
def test_a_pattern_is_usable_or_a_value_error(pattern: str, path: str) -> None:
    try:
        selected = compile_globs([pattern])
    except ValueError:
        return
    assert selected("x" + path) in (True, False)


def test_order_means_nothing_and_exclude_wins() -> None:
    patterns = ["*.py", "src", "**/*.csv"]
    for path in ("a.py", "src/x", "d/e.csv", "d/e.txt"):
        assert compile_globs(patterns)(path) == compile_globs(patterns[::-1])(path)
    assert compile_globs(["**/*"], ["a"])("a/b") is False
    assert compile_globs(["a/b"], ["a"])("a/b") is False
    assert compile_globs([])("a") is False


def test_everything() -> None:
    assert is_everything(["**/*"], [])
    assert is_everything(["a", "*"], [])
    assert not is_everything(["**/*"], ["a"])
    assert not is_everything(["**/*.csv"], [])


IGNORES = [
    ["*.log"],
    ["build"],
    ["build/"],
    ["/a"],
    ["a/b"],
    ["# comment", "", "\\#x", "\\!y", "sp\\ "],
    ["*", "!keep.txt"],
    ["logs/*", "!logs/keep.txt"],
    ["logs/", "!logs/keep.txt"],
    ["**/x", "a/**", "!a/b"],
    ["a/**/c"],
    ["*.txt", "!a/*.txt"],
    ["[!k]eep.txt"],
]
FILES = ["a/b/c", "a/b/x", "a/y", "b.log", "build/out", "src/build/out", "src/build2", "keep.txt"]
FILES += ["logs/keep.txt", "logs/x.txt", "a/one.txt", "#x", "!y", "sp ", "deep/a/b", "deep/build"]


@pytest.mark.parametrize("rules", IGNORES)
def test_ignore_rules_are_those_of_git(rules: list[str], tmp_path: Path) -> None:
    files = [path for path in FILES if path != "deep/build"] + ["deep2/build"]
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / ".gitignore").write_text("\n".join(rules) + "\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others"]
    command += ["--exclude-standard"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    kept = set(output.decode().split("\0")) & set(files)
    ignored = ignore_rules(rules)
    assert {path for path in files if not ignored(path)} == kept


def test_a_wrong_rule_names_its_line() -> None:
    with pytest.raises(ValueError) as caught:
        ignore_rules(["a", "[z-a]"])
    assert str(caught.value) == "line 2: wrong character range in pattern '**/[z-a]'"
