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
from dataclasses import dataclass, replace
from pathlib import Path

from mllock.attest.image_statement import ImageStatement
from mllock.attest.policy import Policy, load_policy
from mllock.check import expected as side
from mllock.check.bases import settled
from mllock.check.claims import decide, hashed_bytes
from mllock.check.claims_platform import wanted_document
from mllock.check.compare import manifest_of
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
from mllock.check.folder import read_tree
from mllock.check.image import ImageSource, name_culprits, read_image
from mllock.check.layouts import layout_of
from mllock.check.released import ReleaseQuestion, ask_release
from mllock.check.targets import Target, parse_target
from mllock.check.types import Claim, Report
from mllock.core.digest import Digest
from mllock.errors import ArchiveError, InputError, RunError
from mllock.probes.address import Address, parse_address
from mllock.train.record import Record
from mllock.train.runs import RunFolder, list_runs, newest_good, open_run
from mllock.workflows.context import Context

__all__ = ["check_target"]

SPEC = "mlproject.toml"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
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
    asked = _Asked(
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
        evidence, why = _image(asked, layout_of(asked.target.path, platform))
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
    )


def _project_name(ctx: Context) -> str | None:
    from mllock.spec.reader import load_spec

    path = ctx.project / SPEC
    return load_spec(path).spec.project.name if path.is_file() else None


def _folder(asked: _Asked) -> tuple[Evidence, str]:
    named = _named(asked)
    found = read_tree(asked.target.path, _signed_size(asked, named))
    source, why = named or _for_folder(asked, found)
    signed = side.sign_of_record(source, asked.policy, asked.project)
    return _evidence(asked, source, signed, None, found, {}), why


def _signed_size(asked: _Asked, named: tuple[Source, str] | None) -> int | None:
    """The bytes of the largest model that the target could be; None if nothing here says it."""
    if named is None:
        return max((run.model_manifest().size for run in _runs(asked)), default=0)
    record = side.sign_of_record(named[0], asked.policy, asked.project).usable
    if record is None:
        return 0
    manifest = side.find_manifest(record.model, named[0], {})
    return None if manifest is None else manifest.size


def _image(asked: _Asked, layout: ImageSource) -> tuple[Evidence, str]:
    ref = asked.target.ref
    assert ref is not None
    facts = read_image(layout, ref)
    facts = replace(facts, listed_as=asked.platform or facts.listed_as)
    carried = side.carried_files(facts)
    statement = _best(_in_layout(asked, layout, facts), facts)
    _refuse_training(asked, None, named=ref == "train" or ref.endswith("-train"))
    source, why = _named(asked) or _for_image(asked, facts, statement, carried)
    if source.run is not None and not _is_about(statement, facts):
        data = side.read_optional(source.run.path / side.STATEMENT)
        kept = [] if data is None else [(f"{source.run.id}/{side.STATEMENT}", data)]
        statement = _best((*_signed(asked, kept), *([statement] if statement else [])), facts)
    signed = side.sign_of_record(source, asked.policy, asked.project)
    record = signed.usable
    document = None if record is None else wanted_document(record, statement)[0]
    if document is not None and facts.readable:
        facts = name_culprits(facts, layout, document.diff_ids)
    return _evidence(asked, source, signed, statement, facts, carried), why


def _refuse_training(
    asked: _Asked, statement: Signed[ImageStatement] | None, *, named: bool = False
) -> None:
    if named or (statement and statement.value and statement.value.kind == "train"):
        raise InputError(
            "a training image holds no model: there is nothing to check it against",
            file=asked.target.text,
            hint="check the serving image, or the model folder",
        )


def _endpoint(asked: _Asked, address: Address) -> tuple[Evidence, str]:
    newest = asked.released.records()
    named = _named(asked) or next(
        (
            (_of_run(run), "the released run")
            for run in _runs(asked)
            if run.record().digest in newest
        ),
        None,
    )
    good = newest_good(asked.ctx.runs, None) if named is None else None
    if good is not None:
        named = _of_run(good), "the newest run"
    if named is None:
        raise _nothing(asked)
    source, why = named
    signed = side.sign_of_record(source, asked.policy, asked.project)
    return _evidence(asked, source, signed, None, Endpoint(url=str(address)), {}), why


def _evidence(
    asked: _Asked,
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
        stage=asked.released.stage_of(of),
        release=None if record is None else asked.released.facts(record.project),
        probes=_probes(asked, source, signed),
    )


def _probes(asked: _Asked, source: Source, signed: Signed[Record]) -> ProbesSeen | None:
    if asked.probe is None:
        return None
    from mllock.check.probing import ask_recorded, authorization

    headers = authorization(asked.probe, asked.ctx.environ)
    return ask_recorded(asked.probe, source, signed, headers=headers)


def _named(asked: _Asked) -> tuple[Source, str] | None:
    if asked.run is not None:
        return _of_run(open_run(asked.ctx.runs, asked.run)), "--run"
    if asked.record is None:
        return None
    data = side.read_optional(asked.record)
    if data is None:
        raise RunError("no such record", file=str(asked.record))
    return Source(name=str(asked.record), data=data, folder=asked.record.parent), "--record"


def _of_run(run: RunFolder) -> Source:
    return Source(name=f"{run.id}/{side.RECORD}", data=run.bundle_bytes(), folder=run.path, run=run)


def _runs(asked: _Asked) -> tuple[RunFolder, ...]:
    """Runs whose record and manifest read, to be found by what they say; what else of them is
    damaged is a finding."""
    return tuple(run for run in list_runs(asked.ctx.runs) if _reads(run))


def _reads(run: RunFolder) -> bool:
    try:
        run.model_manifest()
    except RunError:
        return False
    return True


def _for_folder(asked: _Asked, found: FoundTree) -> tuple[Source, str]:
    """The run that the folder belongs to, or whose model it is, else the newest."""
    inside = asked.target.path.resolve()
    for run in list_runs(asked.ctx.runs):
        if inside.is_relative_to(run.path.resolve()):
            return _of_run(run), "the run that holds the target"
    runs = _runs(asked)
    newest = asked.released.records()
    released = [run for run in runs if run.record().digest in newest]
    manifest = manifest_of(found)
    for some, why in (
        (released, "the released run has this model"),
        (runs, "the newest run with this model"),
    ):
        for run in some:
            if manifest is not None and run.record().model == manifest.digest:
                return _of_run(run), why
    if released:
        return _of_run(released[0]), "no run has this model; this is the released one"
    last = newest_good(asked.ctx.runs, None)
    if last is not None:
        return _of_run(last), "no run has this model; this is the newest"
    raise _nothing(asked)


def _for_image(
    asked: _Asked,
    facts: ImageFacts,
    statement: Signed[ImageStatement] | None,
    carried: dict[str, bytes],
) -> tuple[Source, str]:
    """The record that the image statement names, else the one in the image, else the newest."""
    named = statement.value.record if statement is not None and statement.value else None
    runs = _runs(asked)
    for digest, why in (
        (named, "named by the image statement"),
        (_payload_digest(carried), "equal to the one in the image"),
    ):
        for run in runs:
            if digest is not None and run.record().digest == digest:
                return _of_run(run), why
    if side.RECORD in carried:
        name = f"/opt/mllock/{side.RECORD}"
        return Source(name=name, data=carried[side.RECORD]), "carried in the image"
    newest = newest_good(asked.ctx.runs, None)
    if newest is not None:
        return _of_run(newest), "the image names none that is known; this is the newest run"
    for problem in (facts.problem, *(layer.problem for layer in facts.layers)):
        if problem is not None:
            raise ArchiveError(
                problem.reason, file=problem.path, expected=problem.expected, found=problem.found
            )
    raise _nothing(asked)


def _payload_digest(carried: dict[str, bytes]) -> Digest | None:
    from mllock.attest.bundle import read_bundle

    try:
        return read_bundle(carried[side.RECORD]).payload_digest
    except (KeyError, RunError):
        return None


def _nothing(asked: _Asked) -> InputError:
    hint = "name one with --record FILE, or check in the project that trained it"
    return InputError("there is no record to check it against", file=asked.target.text, hint=hint)


def _in_layout(
    asked: _Asked, layout: ImageSource, facts: ImageFacts
) -> tuple[Signed[ImageStatement], ...]:
    """Statements in the layout about this image, and about serving images that it was made of."""
    try:
        bundles = [("image statement", data) for data in layout.referrers(None, BUNDLE)]
    except ArchiveError:
        # Anyone can put a damaged artifact beside an image: it is as good as none.
        return ()
    return tuple(
        statement
        for statement in _signed(asked, bundles)
        if statement.value is None
        or statement.value.kind == "serve"
        or statement.value.manifest_digest == facts.manifest_digest
    )


def _signed(
    asked: _Asked, bundles: Iterable[tuple[str, bytes]]
) -> tuple[Signed[ImageStatement], ...]:
    found = (
        side.sign_of_statement(name, data, asked.policy, asked.project) for name, data in bundles
    )
    return tuple(statement for statement in found if statement is not None)


def _is_about(statement: Signed[ImageStatement] | None, facts: ImageFacts) -> bool:
    value = None if statement is None else statement.believed
    if value is None:
        return False
    if facts.manifest_digest is None:
        return value.config_digest == facts.config_digest
    return value.manifest_digest == facts.manifest_digest


def _best(
    statements: Iterable[Signed[ImageStatement]], facts: ImageFacts
) -> Signed[ImageStatement] | None:
    """The one that says most: believed and about this image, believed, readable, any."""
    return max(
        statements,
        key=lambda s: (_is_about(s, facts), s.believed is not None, s.value is not None),
        default=None,
    )
