"""Judgements of a run, signed: written beside it, and read again by whoever has to believe them.

Order of trust: the bundle by form, its key by the verifier's policy, the payload as a test result,
then what it binds: this record, this model, the data of this record, and by digest the document
with the details, which says the same tests. Anything else raises; nothing is half believed. While
one is replaced there is no statement, and the run is not judged. Raises RunError.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.keys import SigningKey
from mllock.attest.policy import Policy, Trust
from mllock.attest.test_result import TestResult, make_test_result, read_test_result
from mllock.core.digest import Digest, sha256_of
from mllock.errors import InputError, RunError
from mllock.gates.document import read_judgement, write_judgement
from mllock.gates.types import Judgement, Kind, Result
from mllock.store import atomic
from mllock.store.regular import open_regular
from mllock.train.record import Record
from mllock.train.runs import RunFolder

__all__ = [
    "KINDS",
    "GatesState",
    "SignedJudgement",
    "bundle_name",
    "document_name",
    "gates_of",
    "keep_judgement",
    "outcome_of",
    "read_optional",
    "read_signed",
    "read_trusted",
]

GatesState = Literal["passed", "warned", "failed", "not judged"]
KINDS: tuple[Kind, ...] = ("data", "model")
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedJudgement:
    """What a trusted statement says; `digest` is the sha256 of its payload."""

    judgement: Judgement
    statement: TestResult
    digest: Digest
    trust: Trust


def document_name(kind: Kind) -> str:
    return f"{kind}-gates.json"


def bundle_name(kind: Kind) -> str:
    return f"{kind}-gates.sigstore.json"


def outcome_of(judgement: Judgement, record: Record, document: Digest) -> TestResult:
    """The statement about a judgement that was written as `document`."""
    tests: dict[str, list[str]] = {"passed": [], "warned": [], "failed": []}
    for result in judgement.results:
        tests[_list_of(result)].append(f"{result.gate}: {result.subject}")
    return TestResult(
        model=record.model,
        configuration={
            **judgement.inputs,
            "record": record.digest,
            "results": document,
            "config": judgement.config,
        },
        passed=tuple(sorted(tests["passed"])),
        warned=tuple(sorted(tests["warned"])),
        failed=tuple(sorted(tests["failed"])),
    )


def keep_judgement(folder: Path, judgement: Judgement, record: Record, key: SigningKey) -> Digest:
    """Write the document and its signed statement into a run folder, or one that will be one.

    The sha256 of the payload.
    """
    document = write_judgement(judgement)
    payload = make_test_result(outcome_of(judgement, record, sha256_of(document)))
    # In between there is none: half of an old one is none as well.
    atomic.remove_tree(folder / bundle_name(judgement.kind))
    atomic.write_bytes(folder / document_name(judgement.kind), document)
    atomic.write_bytes(folder / bundle_name(judgement.kind), sign_statement(payload, key))
    return sha256_of(payload)


def read_signed(
    run: RunFolder, kind: Kind, record: Record, policy: Policy, *, unknown: bool = False
) -> SignedJudgement:
    """The judgement of `run`, believed. Raises RunError, also if there is none. With `unknown`, a
    key of which the policy does not know anything will do: what it signed proves nothing."""
    name = f"{run.id}/{bundle_name(kind)}"
    data = read_optional(run, bundle_name(kind))
    if data is None:
        raise RunError("no such file in the run", file=name)
    statement, trust, digest = read_trusted(data, name, record, policy, unknown=unknown)
    document = read_optional(run, document_name(kind))
    if document is None:
        raise RunError("no such file in the run", file=f"{run.id}/{document_name(kind)}")
    _same(
        {"results": sha256_of(document)}, statement.configuration, f"{run.id}/{document_name(kind)}"
    )
    judgement = read_judgement(document, name=f"{run.id}/{document_name(kind)}")
    if judgement.kind != kind or outcome_of(judgement, record, sha256_of(document)) != statement:
        raise RunError("the statement and its details do not say the same", file=name)
    return SignedJudgement(judgement=judgement, statement=statement, digest=digest, trust=trust)


def read_trusted(
    data: bytes, name: str, record: Record, policy: Policy, *, unknown: bool = False
) -> tuple[TestResult, Trust, Digest]:
    """A test result about the model of `record`, that a trusted key signed: with what the policy
    says, and the sha256 of its payload. `unknown` as for `read_signed`. Raises RunError."""
    bundle = read_bundle(data, name=name)
    trust = policy.decide(record.project, bundle)
    if trust.refuted or not (unknown or trust.trusted):
        raise RunError(
            f"the statement is not trusted: {trust.reason}",
            file=name,
            found=trust.fingerprint,
            hint=trust.hint,
        )
    statement = read_test_result(trust.payload or bundle.payload, name=name)
    if statement.model != record.model:
        raise RunError(
            "a statement about another model",
            file=name,
            expected=record.model,
            found=statement.model,
        )
    _same({"record": record.digest}, statement.configuration, name)
    data_of = {f"data/{source}": digest for source, digest in record.data.items()}
    for key, digest in statement.configuration.items():
        if key.startswith("data/"):
            _same({key: digest}, data_of, name)
    return statement, trust, bundle.payload_digest


def gates_of(run: RunFolder, policy: Policy) -> GatesState:
    """How the gates of a good run came out, by signed and trusted documents only.

    The worst of both kinds; "not judged" if there is none, or if one that is there is not to be
    believed. Which gates the present spec asks for is not looked at: that is for `release`.
    """
    record = run.record()
    found = []
    for kind in KINDS:
        names = (bundle_name(kind), document_name(kind))
        if not any(os.path.lexists(run.path / name) for name in names):
            continue
        try:
            found.append(read_signed(run, kind, record, policy).judgement)
        except RunError:
            return "not judged"
    if not found:
        return "not judged"
    if any(judgement.blocks for judgement in found):
        return "failed"
    return "warned" if any(judgement.warns for judgement in found) else "passed"


def read_optional(run: RunFolder, name: str) -> bytes | None:
    """A file of a run folder, or None. Raises RunError for what is no file, or too large."""
    try:
        with open_regular(run.path / name, follow=False) as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except InputError as error:
        raise RunError(error.message, file=f"{run.id}/{name}", found=error.found) from None
    except OSError as error:
        raise RunError(
            f"cannot read: {(error.strerror or str(error)).lower()}", file=f"{run.id}/{name}"
        ) from error
    if len(data) > MAX_BYTES:
        raise RunError("the file is too large", file=f"{run.id}/{name}")
    return data


def _list_of(result: Result) -> str:
    return result.verdict if result.verdict in ("passed", "failed") else "warned"


def _same(wanted: Mapping[str, Digest], found: Mapping[str, Digest], name: str) -> None:
    for key, digest in wanted.items():
        if found.get(key) != digest:
            raise RunError(
                "a statement about something else",
                file=name,
                key=key,
                expected=digest,
                found=found.get(key, "nothing"),
            )
