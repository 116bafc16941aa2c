"""Placeholders of commands, and names that must not be set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.spec.command import placeholders, resolve
from mllock.spec.rules_programs import hook_reason

PARAMS = {"alpha": 0.5, "n": 3, "fast": True, "name": "a {params.n} b", "tiny": 1e-9}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--alpha={params.alpha}", "--alpha=0.5"),
        ("{params.n}{params.fast}", "3true"),
        ("{params.tiny}", "1e-09"),
        ("{params_file}", "p.json"),
        # What was put in is not looked at again.
        ("{params.name}", "a {params.n} b"),
        ('{"json": {"a": 1}}', '{"json": {"a": 1}}'),
        ("{{params.n}}", "{3}"),
        ("${HOME}", "${HOME}"),
    ],
)
def test_resolve(word: str, expected: str):
    assert resolve([word], PARAMS, "p.json") == (expected,)


def test_a_param_that_is_not_there():
    with pytest.raises(KeyError):
        resolve(["{params.x}"], PARAMS, "p.json")


@given(st.lists(st.text()))
def test_a_command_without_placeholders_is_left_alone(command: list[str]):
    if not any([*placeholders(word)] for word in command):
        assert resolve(command, {}, "p.json") == tuple(command)


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS",
     "GLIBC_TUNABLES", "OPENSSL_CONF", "PATH", "HOME", "MLLOCK_KEY", "BASH_ENV"],
)  # fmt: skip
def test_hooks(name: str):
    assert hook_reason(name)


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONHASHSEED", "API_KEY", "LDFLAGS"])
def test_not_hooks(name: str):
    assert hook_reason(name) is None
