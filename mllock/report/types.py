"""What a report tells of a run, collected before a line of it is written. Values only.

Everything in it comes from a run folder, which may be anybody's: texts are escaped where they are
written, lists are cut to what a page can show (`MAX_*`), and say how many there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mllock.gates.types import Judgement, Result
from mllock.spec.types import Scalar

__all__ = ["DataFacts", "Facts", "FileFacts", "SignatureFacts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """A data source as the lock pinned it: `tree` is the digest that the record names."""

    name: str
    source: str
    path: str
    files: int
    size: int
    tree: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """A file of the model; `size` in bytes."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureFacts:
    """A signature and what the reader's policy says of it."""

    what: str
    fingerprint: str
    status: str
    reason: str
    trusted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything. `machine` is the record's facts, flat; `packages` and `debs` are names and
    versions; `stages` say what became of releases; `revoked` is a reason, which may be empty."""

    run: str
    project: str
    version: str
    description: str
    started: str
    finished: str
    runtime: str
    network: bool
    command: tuple[str, ...]
    params: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    evaluations: Mapping[str, Mapping[str, float]]
    data: tuple[DataFacts, ...]
    record: str
    lock: str
    lock_content: str
    environment: str
    base: str
    python: str
    packages: tuple[tuple[str, str], ...]
    debs: tuple[tuple[str, str], ...]
    wheels_locked: int
    wheels_verified: int
    code: str
    code_files: int | None
    commit: str | None
    dirty: bool | None
    model: str
    model_files: tuple[FileFacts, ...]
    machine: tuple[tuple[str, str], ...]
    judgements: tuple[Judgement, ...]
    gates: str
    problems: tuple[str, ...]
    signatures: tuple[SignatureFacts, ...]
    stages: Mapping[str, str]
    revoked: str | None
    mllock: str

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(result for judgement in self.judgements for result in judgement.results)

    @property
    def all_metrics(self) -> dict[str, float]:
        """The run's own, and by `SOURCE/METRIC` those of evaluations."""
        return dict(self.metrics) | {
            f"{source}/{name}": value
            for source, values in self.evaluations.items()
            for name, value in values.items()
        }
