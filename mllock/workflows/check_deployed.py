"""`mllock check` of what is in a registry or an engine: which record it is held against, and why.

The rest of `mllock.workflows.check` for these targets: the name is resolved once, the statement
is looked for beside the runs by the id of the image, then the target is read (`check_engine`), and
what was found is the evidence. As everywhere, the choice believes nothing of the target.
"""

from __future__ import annotations

from mllock.attest.image_statement import ImageStatement
from mllock.check import expected as side
from mllock.check.claims_platform import wanted_document
from mllock.check.evidence import Evidence, ImageFacts, Signed
from mllock.check.expected import Source
from mllock.engine.ports import Engine
from mllock.errors import InputError
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_BUNDLE
from mllock.workflows import check_engine
from mllock.workflows.check import image_evidence
from mllock.workflows.check_against import (
    Asked,
    best_statement,
    is_about,
    named_record,
    readable_runs,
    record_for_image,
    refuse_training,
    statements_of,
)
from mllock.workflows.check_evidence import evidence_of
from mllock.workflows.engine import engine_if_any, engine_of

__all__ = ["in_engine"]


def in_engine(asked: Asked) -> tuple[Evidence, str, str]:
    """The evidence, why this record, and what the name was resolved to."""
    opened = engine_if_any if asked.target.guessed else engine_of
    with opened(asked.ctx) as engine:
        if engine is None or asked.target.kind == "image":
            return _engine_image(asked, engine)
        return _container(asked, engine)


def _engine_image(asked: Asked, engine: Engine | None) -> tuple[Evidence, str, str]:
    image = check_engine.find_image(engine, asked.target)
    assert engine is not None
    facts = check_engine.read_image(engine, image.id, asked.target.text)
    carried = side.carried_files(facts)
    statement = best_statement(_kept_statements(asked), facts)
    source, why, statement = _against(asked, facts, statement, carried)
    signed = side.sign_of_record(source, asked.policy, asked.project)
    if signed.usable is not None:
        usable = None if statement is None else statement.usable
        document, _ = wanted_document(signed.usable, statement)
        facts = check_engine.name_culprits(facts, engine, image.id, document, usable)
    chosen = f"{asked.target.chosen} at {engine.info.endpoint}: {image.id}"
    return evidence_of(asked, source, signed, statement, facts, carried), why, chosen


def _container(asked: Asked, engine: Engine) -> tuple[Evidence, str, str]:
    container = check_engine.find_container(engine, asked.target)
    is_manifest = engine.info.image_is_manifest
    known = ImageFacts(
        ref=asked.target.text,
        store="engine",
        manifest_digest=container.image if is_manifest else None,
        config_digest=None if is_manifest else container.image,
    )
    statement = best_statement(_kept_statements(asked), known)
    carried = check_engine.carried_record(engine, container.id)
    source, why, statement = _against(asked, known, statement, carried)
    signed = side.sign_of_record(source, asked.policy, asked.project)
    usable = None if statement is None else statement.usable
    facts = check_engine.read_container(asked.ctx, engine, container, signed.usable, usable)
    chosen = (
        f"{asked.target.chosen} at {engine.info.endpoint}: {container.id}, "
        f"{container.state.status}, of the image {container.image}"
    )
    carried = side.carried_files(facts)
    return evidence_of(asked, source, signed, statement, facts, carried), why, chosen


def in_registry(asked: Asked) -> tuple[Evidence, str, str]:
    """What a registry serves, read while it comes; nothing of it is kept."""
    from mllock.check.registry import RegistryImages
    from mllock.store.registry.client import Registry

    target = asked.target
    assert target.reference is not None
    with Registry(target.reference, asked.ctx.environ) as registry:
        images = RegistryImages(registry, asked.platform)
        evidence, why = image_evidence(asked, images)
    digest = images.digest
    # Of a tag: which digest it was.
    plain = digest in (None, target.ref)
    return evidence, why, target.chosen if plain else f"{target.chosen}, {digest}"


def _kept_statements(asked: Asked) -> tuple[Signed[ImageStatement], ...]:
    """Those beside the runs, and those in the project's layout."""
    kept = [
        (f"{run.id}/{side.STATEMENT}", data)
        for run in readable_runs(asked)
        if (data := side.read_optional(run.path / side.STATEMENT)) is not None
    ]
    try:
        layout = open_layout(asked.ctx.state / "oci")
        kept += [("image statement", data) for data in layout.referrers(None, MEDIA_BUNDLE)]
    except InputError:
        # There is none, or it cannot be read: then it says nothing.
        pass
    return statements_of(asked, kept)


def _against(
    asked: Asked,
    facts: ImageFacts,
    statement: Signed[ImageStatement] | None,
    carried: dict[str, bytes],
) -> tuple[Source, str, Signed[ImageStatement] | None]:
    """The record, why it is this one, and the statement that goes with it."""
    about = statement if is_about(statement, facts) else None
    refuse_training(asked, about)
    source, why = named_record(asked) or record_for_image(asked, facts, about, carried)
    if about is None and source.folder is not None:
        # Of the run, or beside the record that was named: a run folder that travelled alone.
        data = side.read_optional(source.folder / side.STATEMENT)
        kept = [] if data is None else [(f"{source.folder.name}/{side.STATEMENT}", data)]
        about = best_statement(statements_of(asked, kept), facts)
    return source, why, about
