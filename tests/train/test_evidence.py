"""What is written about a model is never larger than what is read of it, anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.training import lock_of, make_project, plan_of

from mllock.attest.bundle import sign_statement
from mllock.attest.keys import load_or_create_key
from mllock.attest.model_signing import sign_model
from mllock.check import expected
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import ProgramError
from mllock.image import read
from mllock.train import outputs, runs
from mllock.train.outputs import evidence_bytes, take_model
from mllock.train.record import make_record
from mllock.train.types import Outcome

NAMES = ["a", "shard-{:05}.safetensors", "deep/er/and/deeper/{}/w.bin", 'quote"{}', "größe-{}-模型"]


def test_every_reader_reads_what_train_lets_through() -> None:
    for limit in (canonical.MAX_BYTES, read.MAX_KEPT, expected.MAX_FILE, runs.MAX_FILE):
        assert limit > outputs.MAX_EVIDENCE


@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_is_no_less_than_the_files(tmp_path: Path, name: str) -> None:
    count = 1 if name == "a" else 2000
    model = TreeManifest.of(
        Entry(kind="f", path=name.format(n), size=2**40, digest=sha256_of(b"x"))
        for n in range(count)
    )
    make_project(tmp_path / "p")
    lock = lock_of(tmp_path / "p", ())
    plan = plan_of(tmp_path / "p", lock, run_id="20261123-081501-k3f9")
    done = "2026-11-23T08:15:01Z"
    outcome = Outcome(exit_code=0, started=done, finished=done, facts={}, wheels_verified=0)
    key = load_or_create_key(tmp_path / "key", {})
    record = sign_statement(make_record(plan, outcome, model, {}), key)
    largest = max(len(record), len(sign_model(model, "model", key)), len(model.text()))
    # What is not of the files is the same for one and for many.
    assert largest - evidence_bytes(model) < 20_000 < canonical.MAX_BYTES - outputs.MAX_EVIDENCE


def test_a_model_whose_record_nobody_would_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MAX_EVIDENCE", 400)
    for number in range(3):
        path = tmp_path / "work" / "model" / f"w{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with pytest.raises(ProgramError) as caught:
        take_model(tmp_path / "work", "model", tmp_path / "taken")
    assert str(caught.value) == (
        "model: the model cannot be shipped: its record would be larger than what is read of one\n"
        "expected: evidence of at most 400 bytes\n"
        "found: 3 files, evidence of 496 bytes\n"
        "hint: let the program pack them into fewer files"
    )
