"""What a target is held against: which record, which image statement, and why these.

The choice is the verifier's: by --run or --record, else by what is here, runs and released ones.
What a target says of itself helps to find, and is never believed; signatures are put to the policy
by whoever uses what was chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.image_statement import ImageStatement
from mllock.attest.policy import Policy
from mllock.check import expected as side
from mllock.check.compare import manifest_of
from mllock.check.evidence import FoundTree, ImageFacts, Signed
from mllock.check.expected import Source
from mllock.check.image import ImageSource
from mllock.check.released import ReleaseQuestion
from mllock.check.targets import Target
from mllock.core.digest import Digest
from mllock.errors import ArchiveError, InputError, RunError
from mllock.probes.address import Address
from mllock.store.oci_json import MEDIA_BUNDLE
from mllock.train.runs import RunFolder, list_runs, newest_good, open_run
from mllock.workflows.context import Context

__all__ = [
    "Asked",
    "best_statement",
    "is_about",
    "named_record",
    "no_record",
    "readable_runs",
    "record_for_folder",
    "record_for_image",
    "refuse_training",
    "source_of",
    "statements_in",
    "statements_of",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the caller wants, with the policy read."""

    ctx: Context
    target: Target
    policy: Policy
    project: str | None
    run: str | None
    record: Path | None
    released: ReleaseQuestion
    probe: Address | None = None
    platform: str | None = None


def named_record(asked: Asked) -> tuple[Source, str] | None:
    if asked.run is not None:
        return source_of(open_run(asked.ctx.runs, asked.run)), "--run"
    if asked.record is None:
        return None
    data = side.read_optional(asked.record)
    if data is None:
        raise RunError("no such record", file=str(asked.record))
    return Source(name=str(asked.record), data=data, folder=asked.record.parent), "--record"


def source_of(run: RunFolder) -> Source:
    return Source(name=f"{run.id}/{side.RECORD}", data=run.bundle_bytes(), folder=run.path, run=run)


def readable_runs(asked: Asked) -> tuple[RunFolder, ...]:
    """Runs whose record and manifest read, to be found by what they say; what else of them is
    damaged is a finding."""
    return tuple(run for run in list_runs(asked.ctx.runs) if _reads(run))


def _reads(run: RunFolder) -> bool:
    try:
        run.model_manifest()
    except RunError:
        return False
    return True


def record_for_folder(asked: Asked, found: FoundTree) -> tuple[Source, str]:
    """The run that the folder belongs to, or whose model it is, else the newest."""
    inside = Path(os.path.realpath(asked.target.path))
    for run in list_runs(asked.ctx.runs):
        if inside.is_relative_to(Path(os.path.realpath(run.path))):
            return source_of(run), "the run that holds the target"
    runs = readable_runs(asked)
    newest = asked.released.records()
    released = [run for run in runs if run.record().digest in newest]
    manifest = manifest_of(found)
    for some, why in (
        (released, "the released run has this model"),
        (runs, "the newest run with this model"),
    ):
        for run in some:
            if manifest is not None and run.record().model == manifest.digest:
                return source_of(run), why
    if released:
        return source_of(released[0]), "no run has this model; this is the released one"
    last = newest_good(asked.ctx.runs, None)
    if last is not None:
        return source_of(last), "no run has this model; this is the newest"
    raise no_record(asked)


def record_for_image(
    asked: Asked,
    facts: ImageFacts,
    statement: Signed[ImageStatement] | None,
    carried: dict[str, bytes],
) -> tuple[Source, str]:
    """The record that the image statement names, else the one in the image, else the newest."""
    named = statement.value.record if statement is not None and statement.value else None
    runs = readable_runs(asked)
    for digest, why in (
        (named, "named by the image statement"),
        (_payload_digest(carried), "equal to the one in the image"),
    ):
        for run in runs:
            if digest is not None and run.record().digest == digest:
                return source_of(run), why
    if side.RECORD in carried:
        name = f"/opt/mllock/{side.RECORD}"
        return Source(name=name, data=carried[side.RECORD]), "carried in the image"
    newest = newest_good(asked.ctx.runs, None)
    if newest is not None:
        return source_of(newest), "the image names none that is known; this is the newest run"
    for problem in (facts.problem, *(layer.problem for layer in facts.layers)):
        if problem is not None:
            raise ArchiveError(
                problem.reason, file=problem.path, expected=problem.expected, found=problem.found
            )
    raise no_record(asked)


def _payload_digest(carried: dict[str, bytes]) -> Digest | None:
    from mllock.attest.bundle import read_bundle

    try:
        return read_bundle(carried[side.RECORD]).payload_digest
    except (KeyError, RunError):
        return None


def no_record(asked: Asked) -> InputError:
    hint = "name one with --record FILE, or check in the project that trained it"
    return InputError("there is no record to check it against", file=asked.target.text, hint=hint)


def statements_in(
    asked: Asked, layout: ImageSource, facts: ImageFacts
) -> tuple[Signed[ImageStatement], ...]:
    """Statements in the layout about this image, and about serving images that it was made of."""
    try:
        bundles = [("image statement", data) for data in layout.referrers(None, MEDIA_BUNDLE)]
    except ArchiveError:
        # Anyone can put a damaged artifact beside an image: it is as good as none.
        return ()
    return tuple(
        statement
        for statement in statements_of(asked, bundles)
        if statement.value is None
        or statement.value.kind == "serve"
        or statement.value.manifest_digest == facts.manifest_digest
    )


def statements_of(
    asked: Asked, bundles: Iterable[tuple[str, bytes]]
) -> tuple[Signed[ImageStatement], ...]:
    found = (
        side.sign_of_statement(name, data, asked.policy, asked.project) for name, data in bundles
    )
    return tuple(statement for statement in found if statement is not None)


def is_about(statement: Signed[ImageStatement] | None, facts: ImageFacts) -> bool:
    value = None if statement is None else statement.believed
    if value is None:
        return False
    if facts.manifest_digest is None:
        return value.config_digest == facts.config_digest
    return value.manifest_digest == facts.manifest_digest


def best_statement(
    statements: Iterable[Signed[ImageStatement]], facts: ImageFacts
) -> Signed[ImageStatement] | None:
    """The one that says most: believed and about this image, believed, readable, any."""
    return max(
        statements,
        key=lambda s: (is_about(s, facts), s.believed is not None, s.value is not None),
        default=None,
    )


def refuse_training(
    asked: Asked, statement: Signed[ImageStatement] | None, *, named: bool = False
) -> None:
    if named or (statement and statement.value and statement.value.kind == "train"):
        raise InputError(
            "a training image holds no model: there is nothing to check it against",
            file=asked.target.text,
            hint="check the serving image, or the model folder",
        )
