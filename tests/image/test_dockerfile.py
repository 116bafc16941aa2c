"""The text of a Dockerfile: a golden one, and what values of a spec cannot do in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.errors import SpecError
from mllock.image.dockerfile import (
    DockerfilePlan,
    DockerStage,
    exec_form,
    quoted_word,
    render,
    requirements,
)

GOLDEN = Path(__file__).parents[1] / "goldens" / "dockerfile" / "Dockerfile"

PLAN = DockerfilePlan(
    project="tiny",
    base=None,
    archives=("base.tar.gz", "system.tar.gz"),
    interpreter="/usr/bin/python3.11",
    pip="pip-1-py3-none-any.whl",
    offline=True,
    bytecode=False,
    variables={"PATH": "/opt/venv/bin:/bin", "NASTY": "a \"b\" 'c' $PATH ${PATH} \\n # `d`\t\\"},
    stages=(
        DockerStage(
            kind="train",
            folders=("train",),
            command=("python", "train.py"),
            open_folders=("/app", "/app/a 'b' $c"),
            labels={"title": "tiny", "a b": 'two\nlines "$x"'},
        ),
        DockerStage(
            kind="serve",
            folders=("serve", "model", "record"),
            command=("sh", "-c", 'echo "$HOME" \\\n&& é\u2028\x85'),
            port=8080,
            health=("/opt/venv/bin/python", "-c", "raise SystemExit('$x')"),
            labels={"title": "tiny"},
        ),
    ),
)


def test_golden(golden: Callable[[Path, bytes], None]) -> None:
    golden(GOLDEN, render(PLAN).encode())


def test_another_plan_gives_another_text() -> None:
    changes = [
        {"project": "other"},
        {"base": "example.org/python@sha256:" + "0" * 64},
        {"archives": ("base.tar.gz",)},
        {"interpreter": "/usr/local/bin/python3.11"},
        {"pip": None},
        {"offline": False},
        {"bytecode": True},
        {"variables": {}},
        {"stages": PLAN.stages[:1]},
    ]
    texts = {render(PLAN), *(render(replace(PLAN, **change)) for change in changes)}
    assert len(texts) == len(changes) + 1


def test_without_packages_there_is_no_pip() -> None:
    text = render(replace(PLAN, pip=None, bytecode=True))
    assert "--require-hashes" not in text
    assert "COPY [" not in text.partition("AS train")[0].partition("AS environment")[0]


def test_an_index_is_asked_only_without_wheels() -> None:
    offline, online = render(PLAN), render(replace(PLAN, offline=False))
    assert ("--no-index" in offline, "ARG " in offline) == (True, False)
    assert ("--no-index" in online, "ARG PIP_INDEX_URL\n" in online) == (False, True)
    assert "--require-hashes" in online


@pytest.mark.parametrize("char", ["\n", "\r", "\x0b", "\x7f", "\x01"])
def test_a_control_character_in_a_variable_is_refused(char: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(replace(PLAN, variables={"A": f"x{char}RUN evil"}))
    assert str(caught.value) == (
        "mlproject.toml: environment.variables.A: a Dockerfile cannot hold this value: it has a "
        "line end or another control character\n"
        f"found: {json.dumps(f'x{char}RUN evil')}\n"
        "hint: let the program set it; images that mllock builds can have it"
    )


ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(ANYTHING, min_size=1))
def test_a_command_is_one_line_that_reads_back(words: list[str]) -> None:
    text = exec_form(words)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert json.loads(text) == words
    assert text.endswith("]")  # no backslash that would continue the line


@given(ANYTHING.map(lambda text: text.replace("\n", "").replace("\r", "")))
def test_a_word_reads_back(text: str) -> None:
    """By the rules of Dockerfile reference, environment replacement, between double quotes."""
    word = quoted_word(text)
    assert (word[0], word[-1]) == ('"', '"')
    found, inner = "", iter(word[1:-1])
    for char in inner:
        assert char not in '"$'
        found += next(inner) if char == "\\" else char
    assert found == text


@given(ANYTHING, ANYTHING)
def test_no_value_adds_a_line(value: str, word: str) -> None:
    """Whatever stands in command and labels, the text has the lines of the plain plan."""
    stage = replace(PLAN.stages[0], command=(word, value), labels={"a": value, "b": word})
    plain = replace(PLAN.stages[0], command=("x", "y"), labels={"a": "x", "b": "y"})
    lines = [
        [line.partition(" ")[0] for line in render(replace(PLAN, stages=(s,))).split("\n")]
        for s in (stage, plain)
    ]
    assert lines[0] == lines[1]


def test_requirements() -> None:
    data = requirements([("b", "2", ["0" * 64]), ("a", "1+cpu", ["1" * 64, "2" * 64])])
    assert data.decode() == (
        f"a==1+cpu \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{'2' * 64}\n"
        f"b==2 \\\n    --hash=sha256:{'0' * 64}\n"
    )
