"""Judgements of a run, signed: written beside it, and read again by whoever has to believe them.

Order of trust: the bundle by form, its key by the verifier's policy, the payload as a test result,
then what it binds: this record, this model, the data of this record, and by digest the document
with the details, which says the same tests. Anything else raises; nothing is half believed. While
one is replaced there is no statement, and the run is not judged. Raises RunError.
"""

from __future__ import annotations

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
    "keep_judgement",
    "outcome_of",
    "read_claimed",
    "read_details",
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
    judgement = read_details(run, kind, record, statement)
    return SignedJudgement(judgement=judgement, statement=statement, digest=digest, trust=trust)


def read_details(run: RunFolder, kind: Kind, record: Record, statement: TestResult) -> Judgement:
    """The document that `statement` names, if it says the same. Raises RunError."""
    document = read_optional(run, document_name(kind))
    if document is None:
        raise RunError("no such file in the run", file=f"{run.id}/{document_name(kind)}")
    if statement.configuration.get("results") != sha256_of(document):
        raise RunError(
            "not the bytes that the statement names",
            file=f"{run.id}/{document_name(kind)}",
            expected=statement.configuration.get("results") or "nothing",
            found=sha256_of(document),
        )
    judgement = read_judgement(document, name=f"{run.id}/{document_name(kind)}")
    if judgement.kind != kind or outcome_of(judgement, record, sha256_of(document)) != statement:
        raise RunError(
            "the statement and its details do not say the same",
            file=f"{run.id}/{bundle_name(kind)}",
        )
    return judgement


def read_trusted(
    data: bytes, name: str, record: Record, policy: Policy, *, unknown: bool = False
) -> tuple[TestResult, Trust, Digest]:
    """A test result about the model of `record`, that a trusted key signed: with what the policy
    says, and the sha256 of its payload. `unknown` as for `read_signed`. Raises RunError."""
    statement, trust, digest = read_claimed(data, name, record, policy)
    if trust.refuted or not (unknown or trust.trusted):
        raise RunError(
            f"the statement is not trusted: {trust.reason}",
            file=name,
            found=trust.fingerprint,
            hint=trust.hint,
        )
    return statement, trust, digest


def read_claimed(
    data: bytes, name: str, record: Record, policy: Policy
) -> tuple[TestResult, Trust, Digest]:
    """The same, whoever signed it: to be shown beside what the policy says of it, and never to be
    believed. A signature that does not fit is an error here too."""
    bundle = read_bundle(data, name=name)
    trust = policy.decide(record.project, bundle)
    if trust.status == "bad signature":
        raise RunError(
            f"the statement is not trusted: {trust.reason}", file=name, found=trust.fingerprint
        )
    statement = read_test_result(
        bundle.payload if trust.payload is None else trust.payload, name=name
    )
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
