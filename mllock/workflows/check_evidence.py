"""Everything that claims are decided by, put together for one target."""

from __future__ import annotations

from mllock.attest.image_statement import ImageStatement
from mllock.check import expected as side
from mllock.check.bases import settled
from mllock.check.evidence import (
    ContainerFacts,
    Endpoint,
    Evidence,
    FoundTree,
    ImageFacts,
    ProbesSeen,
    Signed,
)
from mllock.check.expected import Source
from mllock.core.offline import is_offline, not_asked
from mllock.train.record import Record
from mllock.workflows.check_against import Asked

__all__ = ["evidence_of"]


def evidence_of(
    asked: Asked,
    source: Source,
    signed: Signed[Record],
    statement: Signed[ImageStatement] | None,
    target: FoundTree | ImageFacts | ContainerFacts | Endpoint,
    carried: dict[str, bytes],
) -> Evidence:
    record = signed.usable
    project = asked.ctx.project if asked.project is not None else None
    of = asked.project if record is None else record.project
    locks = side.find_locks(project, source, carried)
    return Evidence(
        project=asked.project,
        run=None if source.run is None else source.run.id,
        record=signed,
        statement=statement,
        target=settled(target, locks, record) if isinstance(target, ImageFacts) else target,
        locks=locks,
        manifest=None if record is None else side.find_manifest(record.model, source, carried),
        kept=side.kept_files(source.run),
        model_signature=side.model_signature(source.run, signed),
        judged=side.judged_beside(source.run, signed, asked.policy),
        stage=asked.released.stage_of(of),
        release=None if record is None else asked.released.facts(record.project),
        probes=_probes(asked, source, signed),
    )


def _probes(asked: Asked, source: Source, signed: Signed[Record]) -> ProbesSeen | None:
    if asked.probe is None:
        return None
    from mllock.check.probing import ask_recorded, authorization

    if is_offline(asked.ctx.environ):
        raise not_asked(f"the endpoint {asked.probe}")
    headers = authorization(asked.probe, asked.ctx.environ)
    return ask_recorded(asked.probe, source, signed, headers=headers)
