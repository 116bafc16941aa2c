"""Features to come: valid, and refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.corpus import BASE

from mllock.errors import NotAvailableError
from mllock.resources import resource
from mllock.spec.reader import load_spec, parse_spec, refuse_unavailable
from mllock.spec.sources import is_remote

TRAIN = '[train]\ncommand = ["x"]\nmodel = "model"\n'

CASES = [
    (TRAIN + "gpus = 2", 8, "train.gpus", "2"),
]


def load(text: str):
    return parse_spec(f"{BASE}\n{text}\n".encode(), Path("mlproject.toml"))


@pytest.mark.parametrize(("text", "line", "key", "found"), CASES, ids=[c[2] for c in CASES])
def test_refused(text: str, line: int, key: str, found: str | None):
    with pytest.raises(NotAvailableError) as caught:
        refuse_unavailable(load(text))
    error = caught.value
    expected = f"mlproject.toml:{line}: {key}: not available in this version"
    expected += f"\nfound: {found}" if found else ""
    assert str(error) == f"{expected}\nhint: {error.hint}"
    assert error.exit_code == 2


def test_evaluations_and_gates_are_not_refused():
    test = '[data.test]\nsource = "t.csv"\nrole = "test"\n'
    evaluate = '[evaluate]\ncommand = ["x"]\nmetrics = "m"\n'
    refuse_unavailable(load(test + TRAIN + evaluate + '[gates]\nmetrics = ["accuracy > 0.9"]'))


def test_no_platform_and_no_resolver_is_refused():
    refuse_unavailable(load('platforms = ["linux/amd64", "linux/arm64"]\nresolver = "uv"'))


def test_the_starter_uses_only_what_is_available():
    refuse_unavailable(load_spec(resource("templates", "sklearn") / "mlproject.toml"))


def test_what_is_accepted_although_only_check_will_use_it():
    text = TRAIN + '[serve]\ncommand = ["x"]\nport = 1\nhealth = "/"\nruntime-variables = ["A"]'
    refuse_unavailable(load(text))


@pytest.mark.parametrize("source", ["https://e.org/x", "s3://b/k", "gcs+x://b", "hf://d"])
def test_remote(source: str):
    assert is_remote(source)


@pytest.mark.parametrize("source", ["data/x", "a:b", "://x", "a b://x"])
def test_not_remote(source: str):
    assert not is_remote(source)
