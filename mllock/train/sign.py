"""Signing a run: the record as a bundle, the model for other tools, and reading both back.

The signer is outside of the program: it starts when the program has ended. What was written is
read from the disk again and verified with the public key before the run is published: a record
that does not verify is never seen. Raises RunError.
"""

from __future__ import annotations

from pathlib import Path

from mllock.attest.bundle import read_bundle, sign_statement, verify_bundle
from mllock.attest.keys import SigningKey
from mllock.attest.model_signing import read_model_signature, sign_model
from mllock.core.tree import TreeManifest
from mllock.store import atomic
from mllock.train.record import Record, read_record

__all__ = ["sign_run"]


def sign_run(payload: bytes, model: TreeManifest, name: str, key: SigningKey, run: Path) -> Record:
    """Write `record.json`, `record.sigstore.json`, `model.manifest` and `model.sig` into `run`.

    `name` is what the model is called in `model.sig`. Answers the record as it was read back.
    """
    atomic.write_bytes(run / "record.json", payload)
    atomic.write_bytes(run / "record.sigstore.json", sign_statement(payload, key))
    atomic.write_bytes(run / "model.manifest", model.text())
    atomic.write_bytes(run / "model.sig", sign_model(model, name, key))

    bundle = read_bundle((run / "record.sigstore.json").read_bytes(), name="record.sigstore.json")
    verified = verify_bundle(bundle, key.public, name="record.sigstore.json")
    assert verified == (run / "record.json").read_bytes()
    read_model_signature((run / "model.sig").read_bytes(), key.public)
    return read_record(verified)
