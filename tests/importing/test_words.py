"""The small languages: ranges, versions of Python, shell lines, secrets."""

from __future__ import annotations

import pytest

from mllock.spec.importing.bases import base_of
from mllock.spec.importing.commands import words_of
from mllock.spec.importing.docker_syntax import expand, instructions
from mllock.spec.importing.found import Collector, Place
from mllock.spec.importing.joining import joined
from mllock.spec.importing.poetry_ranges import specifier
from mllock.spec.importing.pythons import minor_of
from mllock.spec.importing.secrets import is_secret_name, one_line, reveals, without_credentials
from mllock.spec.importing.shell import commands_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^1.2", ">=1.2,<2"),
        ("^1", ">=1,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("*", ""),
        ("1.2.*", "==1.2.*"),
        ("1.2.3", "==1.2.3"),
        ("=1.2", "==1.2"),
        (">= 1.2, < 2", ">=1.2,<2"),
        (">=1.2 <2", ">=1.2,<2"),
        ("~=1.4", "~=1.4"),
        ("!=2.0", "!=2.0"),
        ("^2.0b1", ">=2.0b1,<3"),
        ("^1 || ^2", None),
        ("latest", None),
    ],
)
def test_ranges_of_poetry(text, expected):
    assert specifier(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.11", "3.11"),
        ("3.11.4", "3.11"),
        ("==3.12.*", "3.12"),
        (">=3.9", "3.11"),
        (">=3.12", "3.12"),
        (">=3.7,<3.11", "3.10"),
        ("^3.10", "3.11"),
        ("~3.9", "3.9"),
        (">3.11", "3.11"),
        (">=3.10.4,<3.11", "3.10"),
        ("3", "3.11"),
        ("2.7", None),
        (">=4", None),
        ("pypy3", None),
    ],
)
def test_which_python(text, expected):
    assert minor_of(text) == expected


def test_commands_between_separators_outside_of_quotes():
    text = "a 'b && c'; d \\; e && # no\n f || g | h\n\"i\n j\" k # end"
    assert [command for _, command in commands_of(text)] == [
        "a 'b && c'",
        "d \\; e",
        "f",
        "g | h",
        '"i\n j" k',
    ]
    assert all(text[at:].startswith(command) for at, command in commands_of(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://u:p@h.example.org/x", "https://h.example.org/x"),
        ("git+https://ghp_012345678901234567890123@h/x", "git+https://h/x"),
        ("https://${A}:${B}@h/x?sig=abc&x=1#egg=y", "https://h/x"),
        ("login user:pw@host.example.org", "login host.example.org"),
        ("--token abc", "--token ***"),
        ("API_KEY=abc x", "API_KEY=*** x"),
        ('password: "a b" c', "password: *** c"),
        ("x hf_01234567890123456789 y", "x *** y"),
        ("https://conda.example.org/t/tk-12-ab/channel", "https://conda.example.org/t/***/channel"),
        ('-H "Authorization: Bearer abc" h', '-H "Authorization: Bearer ***" h'),
        ("authorization: abc", "authorization: ***"),
        ("docker login -u me -p abc h", "docker login -u me -p *** h"),
        ("curl -u me:abc h", "curl -u *** h"),
        ("curl --user='me:abc' h", "curl --user='***' h"),
        ("machine h login me password abc >> .netrc", "machine h login me password *** >> .netrc"),
        (
            "aws configure set aws_secret_access_key abc",
            "aws configure set aws_secret_access_key ***",
        ),
        ("//h/:_authToken=abc", "//h/:_authToken=***"),
        ("x eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK y", "x *** y"),
    ],
)
def test_credentials_are_taken_out(text, expected):
    assert without_credentials(text) == expected
    assert without_credentials(expected) == expected
    assert reveals(text)


@pytest.mark.parametrize(
    "text",
    [
        "tokenizers==0.15",
        "tokenizers>=0.15",
        "secretstorage==3.3",
        "python:3.11@sha256:0123",
        "python -m train --tokens-per-batch 4",
        "uvicorn app:app --port 8080",
        "https://example.org/a/b",
        "libpq5=15.6-0+deb12u1",
        "docker run -u 1000:1000 x",
        "pip install -U --user torch",
        "the bearer of it",
        "https://example.org/t/",
        "Authorization: Bearer $MINE",
    ],
)
def test_harmless_words_stay(text):
    assert not reveals(text)
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a==1", "a==1", "a==1"),
        ("a", "a>=1", "a>=1"),
        ("a[y]==1", "a[x]==1", "a[x,y]==1"),
        ("a==1.5; os_name == 'x'", "a[x]>=1; os_name == 'x'", 'a[x]==1.5; os_name == "x"'),
        ("a[x]", "a @ https://h.example.org/a.whl", "a[x] @ https://h.example.org/a.whl"),
        ("a==1", "a==2", None),
        ("a==1", "a>=2", None),
        ("a<2", "a>=1", None),
        ("a==1.*", "a>=1", None),
        ("a==1", "a @ https://h.example.org/a.whl", None),
    ],
)
def test_two_requirements_of_one_package(one, other, both):
    assert joined(one, other) == joined(other, one) == both


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python train.py", ["python", "train.py"]),
        ("python t.py {alpha} && x", ["sh", "-c", "python t.py {alpha} && x"]),
        ("uv run train.py --x", ["python", "train.py", "--x"]),
        ("uv run --frozen -- python train.py", ["python", "train.py"]),
        ("poetry run python -m train", ["python", "-m", "train"]),
        ("conda run -n env --no-capture-output python t.py", ["python", "t.py"]),
        ("pdm run a.py && uv run b $X", ["sh", "-c", "python a.py && b $X"]),
        (["uv", "run", "uvicorn", "a:b", "a b"], ["uvicorn", "a:b", "a b"]),
        (["uv", "run", "--with", "x", "y"], ["uv", "run", "--with", "x", "y"]),
        (["sh", "-c", "uv run x"], ["sh", "-c", "uv run x"]),
        ([], []),
    ],
)
def test_words_of_a_command(text, expected):
    assert words_of(text) == expected


@pytest.mark.parametrize(
    ("image", "python"),
    [
        ("ghcr.io/astral-sh/uv:python3.12-bookworm-slim", "3.12"),
        ("rayproject/ray:2.9.0-py310", "3.10"),
        ("rayproject/ray:2.9.0-py39-cpu", "3.9"),
        ("quay.io/jupyter/scipy-notebook:python-3.11.6", "3.11"),
        ("pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime", None),
        ("python:3.11.4-slim-bookworm", "3.11"),
    ],
)
def test_the_python_that_a_tag_names(image, python):
    out = Collector()
    base_of(out, image, Place(file="Dockerfile"))
    assert out.python == python


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("HF_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("DB_PASSWORD", True),
        ("OPENAI_API_KEY", True),
        ("GOOGLE_APPLICATION_CREDENTIALS", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("OMP_NUM_THREADS", False),
        ("PYTHONHASHSEED", False),
    ],
)
def test_names_of_secrets(name, secret):
    assert is_secret_name(name) is secret


def test_what_is_too_long_to_be_looked_through_counts_as_a_credential():
    assert reveals("://" * 300_000)


def test_a_cut_does_not_bare_a_credential():
    assert one_line("https://" + "u" * 1995 + ":password@h") != ""
    assert "password" not in one_line("https://" + "u" * 1990 + ":password@h")


def test_variables_of_a_dockerfile():
    known = {"A": "1", "E": ""}
    text = r"$A ${A} ${B:-x} ${E:-y} ${A:+z} ${B:+z} $B \$A ${A"
    assert expand(text, known) == r"1 1 x y z  $B \$A ${A"


def test_lines_of_a_continued_instruction():
    (item,) = instructions("RUN a && \\\n  # no\n\n  b \\\n  c\n", "Dockerfile")
    assert (item.word, item.text) == ("RUN", "a &&   b   c")
    assert [item.line_at(item.text.index(word)) for word in "abc"] == [1, 4, 5]
