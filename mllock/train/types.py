"""The values of a run: what is to be run, what was seen, what is recorded.

Plan -> Outcome -> Record. A `RunPlan` is complete before anything starts; an `Outcome` is what a
runtime reports; the record (an in-toto Statement, docs/reference/record.md) is made from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mllock.core.digest import Digest
from mllock.core.tree import TreeManifest
from mllock.data.touched import Looks
from mllock.errors import ProgramError
from mllock.lock.types import Lock
from mllock.spec.types import Scalar, Spec

__all__ = ["CodeIdentity", "Outcome", "RunPlan", "Runtime"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeIdentity:
    """The declared code: its tree, and the commit it was taken from where there is one."""

    manifest: TreeManifest
    commit: str | None
    dirty: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """Everything a runtime needs. `environment` is the environment digest of the train image;
    `environment_document` the JSON value that it is the digest of."""

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
