"""`mllock check`: what should be, what is, and the findings about it.

Order: the target's meaning, the policy, the target's bytes (of a folder no more than a signed model
may have), then the record that it is held against (chosen, never believed, by what the target
says), then the probes, if an endpoint is to be asked, then the claims. Reads only: no key is made,
nothing is fetched, built or run, nothing of the target is executed; with a stage, what was seen of
releases is remembered at the end. Imports no resolver and no builder; a test holds it to that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mllock.attest.policy import load_policy
from mllock.check import expected as side
from mllock.check.claims import decide, hashed_bytes
from mllock.check.claims_platform import wanted_document
from mllock.check.claims_release import released_gates
from mllock.check.evidence import (
    Endpoint,
    Evidence,
)
from mllock.check.expected import Source
from mllock.check.folder import read_tree
from mllock.check.image import ImageSource, name_culprits, read_image
from mllock.check.layouts import layout_of
from mllock.check.released import ask_release
from mllock.check.targets import parse_target
from mllock.check.types import Claim, Report
from mllock.errors import InputError
from mllock.probes.address import Address, parse_address
from mllock.train.runs import newest_good
from mllock.workflows.check_against import (
    Asked,
    best_statement,
    is_about,
    named_record,
    no_record,
    readable_runs,
    record_for_folder,
    record_for_image,
    refuse_training,
    source_of,
    statements_in,
    statements_of,
)
from mllock.workflows.check_evidence import evidence_of
from mllock.workflows.context import Context

__all__ = ["check_target", "image_evidence"]

SPEC = "mlproject.toml"


def check_target(
    ctx: Context,
    target: str,
    *,
    base: Path | None = None,
    run: str | None = None,
    record: Path | None = None,
    policy: Path | None = None,
    accepted: Iterable[Claim] = (),
    stage: str | None = None,
    releases: Path | None = None,
    now: dt.datetime | None = None,
    probe: str | None = None,
    platform: str | None = None,
) -> Report:
    """Check `target` (as on the command line; relative to `base`, default the current folder).

    `probe` is an endpoint that is asked as well; of an index, the image for `platform` (default:
    this machine's) is looked at. Raises InputError for what cannot be checked at all; what was
    found out about the target itself is in the report.
    """
    if run is not None and record is not None:
        raise InputError("--run and --record both say what it should be: give one of them")
    trust = load_policy(policy, ctx.config_dir, ctx.environ)
    parsed = parse_target(target, Path.cwd() if base is None else base)
    if parsed.address is not None and probe is not None:
        raise InputError("--probe: the target is an endpoint, and is asked itself")
    asked = Asked(
        ctx=ctx,
        target=parsed,
        policy=trust,
        project=_project_name(ctx),
        run=run,
        record=record,
        platform=platform,
        probe=parsed.address if probe is None else parse_address(probe),
        released=ask_release(
            ctx.releases if releases is None else releases,
            place=".mllock/releases" if releases is None else str(releases),
            memory=lambda: ctx.seen_dir,
            policy=trust,
            stage=stage,
            clock=now or dt.datetime.now(dt.UTC),
            must_exist=releases is not None,
        ),
    )
    chosen = asked.target.chosen
    if asked.target.kind == "path":
        evidence, why = _folder(asked)
    elif asked.target.address is not None:
        evidence, why = _endpoint(asked, asked.target.address)
    elif asked.target.kind == "oci":
        evidence, why = image_evidence(asked, layout_of(asked.target.path, platform))
    else:
        from mllock.workflows.check_deployed import in_engine, in_registry

        look = in_registry if asked.target.kind == "registry" else in_engine
        evidence, why, chosen = look(asked)
    checked, there = hashed_bytes(evidence)
    value = evidence.record.usable
    findings = decide(evidence)
    if evidence.release is not None and evidence.stage is not None:
        asked.released.remember(evidence.release)
    return Report(
        target=target,
        chosen=chosen,
        record=f"{evidence.record.name} ({why})",
        run=None if value is None else value.run_id,
        findings=findings,
        accepted=frozenset(accepted),
        checked_bytes=checked,
        expected_bytes=there,
        gates=released_gates(evidence.release, value),
    )


def _project_name(ctx: Context) -> str | None:
    from mllock.spec.reader import load_spec

    path = ctx.project / SPEC
    return load_spec(path).spec.project.name if path.is_file() else None


def _folder(asked: Asked) -> tuple[Evidence, str]:
    named = named_record(asked)
    found = read_tree(asked.target.path, _signed_size(asked, named))
    source, why = named or record_for_folder(asked, found)
    signed = side.sign_of_record(source, asked.policy, asked.project)
    return evidence_of(asked, source, signed, None, found, {}), why


def _signed_size(asked: Asked, named: tuple[Source, str] | None) -> int | None:
    """The bytes of the largest model that the target could be; None if nothing here says it."""
    if named is None:
        return max((run.model_manifest().size for run in readable_runs(asked)), default=0)
    record = side.sign_of_record(named[0], asked.policy, asked.project).usable
    if record is None:
        return 0
    manifest = side.find_manifest(record.model, named[0], {})
    return None if manifest is None else manifest.size


def image_evidence(asked: Asked, layout: ImageSource) -> tuple[Evidence, str]:
    ref = asked.target.ref
    assert ref is not None
    facts = read_image(layout, ref)
    facts = replace(facts, listed_as=asked.platform or facts.listed_as)
    carried = side.carried_files(facts)
    statement = best_statement(statements_in(asked, layout, facts), facts)
    refuse_training(asked, None, named=ref == "train" or ref.endswith("-train"))
    source, why = named_record(asked) or record_for_image(asked, facts, statement, carried)
    if source.run is not None and not is_about(statement, facts):
        data = side.read_optional(source.run.path / side.STATEMENT)
        kept = [] if data is None else [(f"{source.run.id}/{side.STATEMENT}", data)]
        statement = best_statement(
            (*statements_of(asked, kept), *([statement] if statement else [])), facts
        )
    signed = side.sign_of_record(source, asked.policy, asked.project)
    record = signed.usable
    document = None if record is None else wanted_document(record, statement)[0]
    if document is not None and facts.readable:
        facts = name_culprits(facts, layout, document.diff_ids)
    return evidence_of(asked, source, signed, statement, facts, carried), why


def _endpoint(asked: Asked, address: Address) -> tuple[Evidence, str]:
    newest = asked.released.records()
    named = named_record(asked) or next(
        (
            (source_of(run), "the released run")
            for run in readable_runs(asked)
            if run.record().digest in newest
        ),
        None,
    )
    good = newest_good(asked.ctx.runs, None) if named is None else None
    if good is not None:
        named = source_of(good), "the newest run"
    if named is None:
        raise no_record(asked)
    source, why = named
    signed = side.sign_of_record(source, asked.policy, asked.project)
    return evidence_of(asked, source, signed, None, Endpoint(url=str(address)), {}), why
