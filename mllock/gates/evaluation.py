"""What an evaluation left beside a run, and the signed statement about it.

`evaluation/NAME/` has what the program wrote about the test source NAME; the statement names each
file by digest, with the record, the data and the code that ran. Reading believes nothing but a
statement that the policy trusts, about this very run, and only files that it names. Specified in
docs/reference/gates.md. Raises RunError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.policy import Policy
from mllock.attest.test_result import TestResult
from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.errors import InputError, RunError
from mllock.gates.signed import (
    KINDS,
    bundle_name,
    read_optional,
    read_signed,
    read_trusted,
)
from mllock.store.regular import hash_regular
from mllock.train.outputs import MAX_PREDICTIONS
from mllock.train.record import Record
from mllock.train.runs import RunFolder

__all__ = [
    "EVALUATION_BUNDLE",
    "EVALUATION_FOLDER",
    "PREDICTIONS",
    "Evaluated",
    "SignedEvaluation",
    "evaluation_statement",
    "problems_beside",
    "read_evaluation",
]

EVALUATION_BUNDLE = "evaluation.sigstore.json"
EVALUATION_FOLDER = "evaluation"
PREDICTIONS = ("predictions.csv", "predictions.parquet")
_SOURCE = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """What the program wrote about one test source. `metrics_digest` and `predictions_digest` are
    of the files; `data` is the tree digest of the source."""

    data: Digest
    metrics: Mapping[str, float]
    metrics_digest: Digest
    predictions: Path | None = None
    predictions_digest: Digest | None = None

    def inputs(self, name: str) -> dict[str, Digest]:
        """The digests of it all, as statements name them."""
        found = {f"data/{name}": self.data, f"metrics/{name}": self.metrics_digest}
        if self.predictions_digest is not None:
            found[f"predictions/{name}"] = self.predictions_digest
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedEvaluation:
    """`digest` is the sha256 of the statement's payload, `code` the tree digest of what ran."""

    digest: Digest
    code: Digest
    sources: Mapping[str, Evaluated]


def evaluation_statement(
    record: Record, code: Digest, sources: Mapping[str, Evaluated]
) -> TestResult:
    """What is signed: that this code wrote these files about this model and these data."""
    configuration = {"record": record.digest, "code": code}
    for name, evaluated in sources.items():
        configuration |= evaluated.inputs(name)
    return TestResult(
        model=record.model,
        configuration=configuration,
        passed=tuple(sorted(f"evaluate: {name}" for name in sources)),
    )


def read_evaluation(
    run: RunFolder, record: Record, policy: Policy, *, unknown: bool = False
) -> SignedEvaluation | None:
    """The evaluation of `run`, believed, its files hashed; None if there is none. `unknown` as for
    `mllock.gates.signed.read_signed`."""
    bundle = f"{run.id}/{EVALUATION_BUNDLE}"
    data = read_optional(run, EVALUATION_BUNDLE)
    if data is None:
        return None
    statement, _, digest = read_trusted(data, bundle, record, policy, unknown=unknown)
    names = [name.removeprefix("evaluate: ") for name in statement.passed]
    code = statement.configuration.get("code")
    if code is None or not all(_SOURCE.fullmatch(name) for name in names):
        raise RunError("not a statement about an evaluation", file=bundle)
    sources = {name: _evaluated(run, name, statement.configuration) for name in names}
    if evaluation_statement(record, code, sources) != statement:
        raise RunError("not a statement about an evaluation", file=bundle)
    return SignedEvaluation(digest=digest, code=code, sources=sources)


def problems_beside(run: RunFolder, record: Record, policy: Policy) -> Iterator[RunError]:
    """What of evaluation and gates beside a run is not as its statements say. What has no statement
    says nothing, and what an unknown key signed is no problem, and no proof."""
    for kind in KINDS:
        if os.path.lexists(run.path / bundle_name(kind)):
            try:
                read_signed(run, kind, record, policy, unknown=True)
            except RunError as error:
                yield error
    try:
        read_evaluation(run, record, policy, unknown=True)
    except RunError as error:
        yield error


def _evaluated(run: RunFolder, name: str, signed: Mapping[str, Digest]) -> Evaluated:
    folder = f"{EVALUATION_FOLDER}/{name}"
    data = read_optional(run, f"{folder}/metrics.json")
    if data is None:
        raise RunError("no such file in the run", file=f"{run.id}/{folder}/metrics.json")
    _expect(sha256_of(data), signed.get(f"metrics/{name}"), f"{run.id}/{folder}/metrics.json")
    predictions, digest = _predictions(run, folder)
    if predictions is not None:
        _expect(digest, signed.get(f"predictions/{name}"), f"{run.id}/{folder}/{predictions.name}")
    tree = signed.get(f"data/{name}")
    if tree is None:
        raise RunError("not a statement about an evaluation", file=f"{run.id}/{EVALUATION_BUNDLE}")
    return Evaluated(
        data=tree,
        # The statement names it: it was checked before it was signed.
        metrics=canonical.loads(data),
        metrics_digest=sha256_of(data),
        predictions=predictions,
        predictions_digest=digest,
    )


def _predictions(run: RunFolder, folder: str) -> tuple[Path | None, Digest | None]:
    for name in PREDICTIONS:
        path = run.path / folder / name
        try:
            return path, hash_regular(path, max_bytes=MAX_PREDICTIONS)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except InputError as error:
            raise RunError(
                error.message, file=f"{run.id}/{folder}/{name}", found=error.found
            ) from None
    return None, None


def _expect(found: Digest | None, signed: Digest | None, name: str) -> None:
    if found != signed:
        raise RunError(
            "not the bytes that the statement names",
            file=name,
            expected=signed or "nothing",
            found=found,
        )
