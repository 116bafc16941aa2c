"""The values of a run: what is to be run, what was seen, what is recorded.

Plan -> Outcome -> Record. A `RunPlan` is complete before anything starts; an `Outcome` is what a
runtime reports; the record (an in-toto Statement, docs/reference/record.md) is made from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from mllock.core.digest import Digest
from mllock.core.tree import TreeManifest
from mllock.data.touched import Looks
from mllock.errors import ProgramError
from mllock.lock.types import Lock
from mllock.spec.types import Scalar, Spec

__all__ = ["CodeIdentity", "Evaluation", "Outcome", "Output", "OutputKind", "RunPlan", "Runtime"]

OutputKind = Literal["model", "metrics", "predictions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeIdentity:
    """The declared code: its tree, and the commit it was taken from where there is one."""

    manifest: TreeManifest
    commit: str | None
    dirty: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """That a plan is to evaluate a model that was trained before: `model`, whose files are at
    `root`, by the test source `source`."""

    source: str
    model: TreeManifest
    root: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What a program writes, and where."""

    kind: OutputKind
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """Everything a runtime needs. `environment` is the environment digest of the train image;
    `environment_document` the JSON value that it is the digest of. A plan trains, unless there is
    an `evaluation`."""

    run_id: str
    spec: Spec
    lock: Lock
    lock_bytes: bytes
    project: Path
    command: tuple[str, ...]
    params: Mapping[str, Scalar]
    code: CodeIdentity
    data: Mapping[str, TreeManifest]
    environment: Digest
    environment_document: Mapping[str, Any]
    runtime: str
    evaluation: Evaluation | None = None

    @property
    def table(self) -> Literal["train", "evaluate"]:
        """The table of the spec that declares the program."""
        return "train" if self.evaluation is None else "evaluate"

    @property
    def again(self) -> str:
        """The next step when something was not as it has to be."""
        return "train again" if self.evaluation is None else "evaluate again"

    @property
    def outputs(self) -> tuple[Output, ...]:
        train, evaluate = self.spec.train, self.spec.evaluate
        assert train is not None
        if self.evaluation is None:
            found: dict[OutputKind, str | None] = {"model": train.model, "metrics": train.metrics}
        else:
            assert evaluate is not None
            found = {"metrics": evaluate.metrics, "predictions": evaluate.predictions}
        return tuple(Output(kind=kind, path=path) for kind, path in found.items() if path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a runtime saw. Times are RFC 3339 in UTC; `facts` are internalParameters.

    `exit_code` is negative for a program that a signal ended; `interrupted` says that the user
    asked for it, `out_of_memory` that the kernel did; `refused` is why outputs of a program that
    ended well could not be taken. `looks` is how the data looked just before the program started,
    from a runtime that makes hard links to it.
    """

    exit_code: int
    started: str
    finished: str
    facts: Mapping[str, Any]
    wheels_verified: int
    interrupted: bool = False
    out_of_memory: bool = False
    refused: ProgramError | None = None
    looks: Mapping[str, Looks] | None = None


class Runtime(Protocol):
    """Runs a plan in `work`, an empty folder, and leaves outputs and `log` there.

    Raises SurroundingsError; a failing program is an Outcome, not an exception.
    """

    name: str

    def run(self, plan: RunPlan, work: Path, log: Path) -> Outcome: ...
