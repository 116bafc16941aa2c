"""The claims that only an image can answer: environment, code, configuration. Pure.

`environment` is held against the record: diff_ids recomputed from the bytes, and nothing above
those layers may write outside of `/app` and `/opt/mllock`. `code` and `configuration` are held
against the signed image statement. What cannot be unpacked is refuted by the claim whose layer it
is, and by `configuration`; the other claims about bytes are then unproven, never proven.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mllock.attest.image_statement import ImageStatement
from mllock.check.bases import base_diff_ids
from mllock.check.claims_platform import (
    listed_wrongly,
    trained_on_another,
    wanted_document,
)
from mllock.check.compare import compare_json, compare_trees, manifest_of, tree_below
from mllock.check.document import Document, document_of
from mllock.check.evidence import Evidence, ImageFacts, Problem
from mllock.check.findings import count, proven, refuted, unproven
from mllock.check.types import Claim, Difference, Finding
from mllock.image.types import ENVIRONMENT_KINDS
from mllock.train.record import Record

__all__ = ["APP", "IN_THE_IMAGE", "claim_of", "code", "configuration", "environment"]
__all__ += ["named_for", "no_statement", "statement_of_another", "trained_elsewhere", "unreadable"]

APP = "app"
CARRIED = "opt/mllock"

# Runtimes that run the program in the very layers that are compared here.
IN_THE_IMAGE = ("docker",)
_SOURCE = "bytes of the image"
# Folders that layers above the environment name because they are on the way to their own.
_ON_THE_WAY = ("opt",)


def unreadable(
    claim: Claim, evidence: Evidence, image: ImageFacts, kinds: tuple[str, ...]
) -> Finding | None:
    """What `claim` is when the image cannot be read; None if it can."""
    if image.readable:
        return None
    known = _kinds(evidence)
    broken = [(n, layer.problem) for n, layer in enumerate(image.layers) if layer.problem]
    mine = [p for n, p in broken if n < len(known) and known[n] in kinds]
    if image.problem is not None and broken == [] and image.layers:
        # All layers read, and still no tree that engines would agree on.
        mine = [image.problem]
    differences = [*_listed(mine), *named_for(claim, evidence, image)]
    if differences:
        return refuted(claim, "the image cannot be unpacked", differences, source=_SOURCE)
    return unproven(claim, "the image cannot be unpacked", cure="see configuration")


def named_for(claim: Claim, evidence: Evidence, image: ImageFacts) -> list[Difference]:
    """The paths of `claim` that are known to differ although not everything could be read."""
    record = evidence.record.usable
    if record is None or image.readable:
        return []
    named = [difference for found in image.culprits.values() for difference in found]
    if image.problem is not None and image.problem.path.startswith("/"):
        named.append(image.problem.difference())
    return [
        difference
        for difference in named
        if claim_of(difference.path.removeprefix("/"), record.model_path) == claim
    ]


def claim_of(path: str, model_path: str) -> Claim:
    """The claim that a file of an image or container belongs to."""
    model = f"{APP}/{model_path}"
    if path == model or path.startswith(f"{model}/"):
        return "model"
    if path == APP or path.startswith(f"{APP}/"):
        return "code"
    if path == CARRIED or path.startswith(f"{CARRIED}/"):
        return "lineage"
    return "environment"


def _kinds(evidence: Evidence) -> tuple[str, ...]:
    """What the layers are for: by the statement, else by the record's environment."""
    statement = None if evidence.statement is None else evidence.statement.usable
    if statement is not None:
        return tuple(
            "environment" if layer.kind in ENVIRONMENT_KINDS else layer.kind
            for layer in statement.layers
        )
    record = evidence.record.usable
    document = None if record is None else document_of(record)
    return ("environment",) * (0 if document is None else len(document.diff_ids))


def _listed(problems: list[Problem]) -> list[Difference]:
    return [problem.difference() for problem in problems]


def environment(evidence: Evidence, record: Record) -> Finding:
    """The layers and settings that the record's environment document lists, from the bytes."""
    image = evidence.target
    assert isinstance(image, ImageFacts)
    stopped = unreadable("environment", evidence, image, ("environment",))
    if stopped is not None:
        return stopped
    document, foreign = wanted_document(record, evidence.statement)
    if document is None:
        return refuted("environment", "the record's environment is of no form that is known")
    differences = [
        *_environment_layers(document, image),
        *_environment_settings(document, image),
        *_removed(document, image, base_diff_ids(evidence.locks, record, image.config)),
        *_written_over(document, image),
        *(() if foreign else statement_of_another(evidence, record)),
        *listed_wrongly(image.listed_as, document),
    ]
    if differences:
        return refuted(
            "environment",
            f"not the environment that the {'image statement' if foreign else 'record'} names",
            differences,
            source=_SOURCE,
        )
    layers = len(document.diff_ids)
    if foreign:
        said = count(layers, "layer")
        return trained_on_another(record, evidence.statement, said, _SOURCE)
    same = f"{count(layers, 'layer')} are the environment {record.environment}"
    return trained_elsewhere(record, same, _SOURCE) or proven("environment", same, source=_SOURCE)


def trained_elsewhere(record: Record, same: str, source: str) -> Finding | None:
    """What `environment` is if the layers are right (`same` says so) and others trained."""
    if record.runtime in IN_THE_IMAGE:
        return None
    where = "on the host" if record.runtime == "host" else f"elsewhere ({record.runtime})"
    return unproven(
        "environment",
        f"{same}, but it was trained {where}; "
        f"{record.wheels_verified} of {record.wheels_locked} wheels equal by hash",
        cure="train in the image itself (mllock train --runtime docker), "
        "or accept it with --allow-unproven environment",
        source=source,
    )


def statement_of_another(evidence: Evidence, record: Record) -> Iterator[Difference]:
    """The image statement names the environment that the record names."""
    statement = None if evidence.statement is None else evidence.statement.usable
    if statement is not None and statement.environment != record.environment:
        yield Difference(
            path="image statement: environment",
            expected=record.environment,
            found=statement.environment,
        )


def _environment_layers(document: Document, image: ImageFacts) -> Iterator[Difference]:
    for number, diff_id in enumerate(document.diff_ids):
        if number >= len(image.layers):
            yield Difference(path=f"layer {number + 1}", expected=diff_id, found="nothing")
            continue
        layer = image.layers[number]
        if layer.diff_id != diff_id:
            yield from image.culprits.get(number, ())
            yield Difference(
                path=f"layer {number + 1}", expected=diff_id, found=layer.diff_id or "nothing"
            )
        if layer.declared != layer.diff_id:
            yield Difference(
                path=f"config: rootfs.diff_ids[{number}]",
                expected=layer.diff_id or "nothing",
                found=layer.declared,
            )


def _environment_settings(document: Document, image: ImageFacts) -> Iterator[Difference]:
    runtime = image.config.get("config")
    settings = runtime if isinstance(runtime, dict) else {}
    listed = settings.get("Env")
    variables = listed if isinstance(listed, list) else []
    found = {
        "os": image.config.get("os", ""),
        "architecture": image.config.get("architecture", ""),
        "variant": image.config.get("variant", ""),
        "user": settings.get("User", ""),
        "workdir": settings.get("WorkingDir", ""),
        "variables": sorted(str(variable) for variable in variables),
    }
    expected = {
        "os": document.os,
        "architecture": document.architecture,
        "variant": document.variant,
        "user": document.user,
        "workdir": document.workdir,
        "variables": sorted(f"{name}={value}" for name, value in document.variables.items()),
    }
    yield from compare_json(expected, found, "environment")


def _removed(document: Document, image: ImageFacts, base: Sequence[str]) -> Iterator[Difference]:
    """No layer of mllock's removes anything: what wheels and debs hold is in the image. Those of
    a base image (`base`, its diff_ids) may remove what is below them in the base."""
    for number, layer in enumerate(image.layers[: len(document.diff_ids)], start=1):
        assert layer.contents is not None
        if number <= len(base) and layer.diff_id == base[number - 1]:
            continue
        for path in (*layer.contents.whiteouts, *layer.contents.opaques):
            yield Difference(
                path=f"/{path}",
                expected="nothing removed within the environment",
                found=f"a whiteout in layer {number}",
            )


def _written_over(document: Document, image: ImageFacts) -> Iterator[Difference]:
    """No layer above the environment changes it."""
    first = len(document.diff_ids)
    for number, layer in enumerate(image.layers[first:], start=first + 1):
        assert layer.contents is not None
        contents = layer.contents
        for path, member in contents.members.items():
            way = path in (*_ON_THE_WAY, APP, CARRIED)
            if way and member.kind == "folder":
                continue
            if not path.startswith((f"{APP}/", f"{CARRIED}/")):
                yield Difference(
                    path=f"/{path}",
                    expected="nothing above the environment",
                    found=f"a {member.kind} in layer {number}",
                )
        for path in (*contents.whiteouts, *contents.opaques):
            yield Difference(
                path=f"/{path}",
                expected="nothing removed above the environment",
                found=f"a whiteout in layer {number}",
            )


def code(evidence: Evidence, record: Record) -> Finding:
    """`/app` without the model is the code of the image statement, file by file and as a layer."""
    image = evidence.target
    assert isinstance(image, ImageFacts)
    statement = None if evidence.statement is None else evidence.statement.usable
    stopped = unreadable("code", evidence, image, ("code",))
    if stopped is not None:
        return stopped
    if statement is None:
        return no_statement("code")
    found = tree_below(image.merged, APP, without=f"{APP}/{record.model_path}")
    there = manifest_of(found)
    differences = list(compare_trees(statement.code, found, f"/{APP}"))
    if not differences and (there is None or there.digest != statement.code.digest):
        differences.append(
            Difference(
                path=f"/{APP}",
                expected=statement.code.digest,
                found="a tree that no manifest can hold" if there is None else there.digest,
            )
        )
    for number, fact in enumerate(statement.layers):
        seen = image.layers[number].diff_id if number < len(image.layers) else None
        if fact.kind == "code" and seen != fact.diff_id:
            differences.append(
                Difference(
                    path=f"layer {number + 1} ({fact.title})",
                    expected=fact.diff_id,
                    found=seen or "nothing",
                )
            )
    if differences:
        return refuted("code", "not the code of the image statement", differences, source=_SOURCE)
    files = sum(1 for entry in found.entries.values() if entry.digest is not None)
    return proven(
        "code", f"{count(files, 'file')} in /{APP} as in the image statement", source=_SOURCE
    )


def configuration(evidence: Evidence, record: Record) -> Finding:
    """Config and manifest are, to the byte, those of the image statement."""
    image = evidence.target
    assert isinstance(image, ImageFacts)
    problems = [layer.problem for layer in image.layers if layer.problem is not None]
    if image.problem is not None:
        problems.append(image.problem)
    if problems:
        return refuted(
            "configuration", "the image cannot be read", _listed(problems), source=_SOURCE
        )
    statement = None if evidence.statement is None else evidence.statement.usable
    if statement is None:
        return no_statement("configuration")
    differences = list(_configuration(statement, image))
    if statement.project != record.project:
        differences.append(
            Difference(
                path="image statement: project",
                expected=record.project,
                found=statement.project,
            )
        )
    if differences:
        return refuted(
            "configuration", "not the image of the image statement", differences, source=_SOURCE
        )
    if image.manifest_digest is None:
        same = f"config {image.config_digest} and its {count(len(image.layers), 'layer')}"
    else:
        same = f"manifest {image.manifest_digest} and its config"
    return proven("configuration", f"{same} are those of the image statement", source=_SOURCE)


def _configuration(statement: ImageStatement, image: ImageFacts) -> Iterator[Difference]:
    if statement.kind != "serve":
        yield Difference(path="image statement: kind", expected="serve", found=statement.kind)
    yield from compare_json(dict(statement.config), dict(image.config), "config")
    expected = [layer.diff_id for layer in statement.layers]
    for number in range(max(len(expected), len(image.layers))):
        wanted = expected[number] if number < len(expected) else "nothing"
        seen = image.layers[number].diff_id if number < len(image.layers) else None
        if wanted != seen:
            yield Difference(path=f"layer {number + 1}", expected=wanted, found=seen or "nothing")
    for name, digest, there in (
        ("config", statement.config_digest, image.config_digest),
        ("manifest", statement.manifest_digest, image.manifest_digest),
    ):
        if there is None and name == "manifest" and image.store != "blobs":
            # A classic store keeps none, and pushes one of its own. It names config and layers, and
            # these are compared.
            continue
        if digest != there:
            yield Difference(path=name, expected=digest, found=there or "nothing")


def no_statement(claim: Claim) -> Finding:
    return unproven(
        claim,
        "no image statement with a usable signature says what it should be",
        cure='build the image with "mllock build", which signs one',
    )
