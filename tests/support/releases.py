"""Releases and lists of revocations as any signer could write them, put where check looks."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.image_statement import read_image_statement
from mllock.attest.keys import SigningKey
from mllock.attest.release import (
    Release,
    ReleasedImage,
    Revocations,
    Revoked,
    make_release,
    make_revocations,
)
from mllock.check.types import Finding, Report
from mllock.train.runs import RunFolder
from support.world import RUN, World, finding

NOW = dt.datetime(2026, 11, 25, 22, 0, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=90)


def folder(world: World) -> Path:
    return world.project / ".mllock" / "releases"


def release_of(world: World, run: str = RUN, **changes: Any) -> Release:
    """What `mllock release` would sign about `run`: number 1 of stage production."""
    path = world.project / ".mllock" / "runs" / run
    record = RunFolder(path).record()
    images = []
    statement = path / "serve-image.sigstore.json"
    if statement.exists():
        image = read_image_statement(read_bundle(statement.read_bytes()).payload)
        images.append(
            ReleasedImage(
                kind="serve",
                platform=image.platform,
                config=image.config_digest,
                manifest=image.manifest_digest,
            )
        )
    release = Release(
        project=record.project,
        stage="production",
        number=1,
        run=record.run_id,
        issued=NOW,
        expires=LATER,
        revocations=0,
        record=record.digest,
        model=record.model,
        lock=record.lock_content,
        environment=record.environment,
        images=tuple(images),
    )
    return replace(release, **changes)


def put_release(
    world: World, run: str = RUN, *, key: SigningKey | None = None, **changes: Any
) -> Path:
    """Sign a release and put it into the project. The file has the name that mllock gives it."""
    release = release_of(world, run, **changes)
    data = sign_statement(make_release(release), key or world.key)
    path = folder(world) / release.stage / f"{release.number:06}-{release.run}.sigstore.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def put_revocations(
    world: World,
    *runs: str,
    number: int = 1,
    reason: str = "bad labels",
    project: str = "tiny",
    key: SigningKey | None = None,
) -> Path:
    revoked = [
        Revoked(
            run=run,
            record=RunFolder(world.project / ".mllock" / "runs" / run).record().digest,
            reason=reason,
            at=NOW,
        )
        for run in runs
    ]
    value = Revocations(project=project, number=number, issued=NOW, revoked=tuple(revoked))
    path = folder(world) / "revoked" / f"{number:06}.sigstore.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sign_statement(make_revocations(value), key or world.key))
    return path


def ask(world: World, target: str | None = None, **options: Any) -> Report:
    options = {"stage": "production", "now": NOW, "accepted": ["environment"]} | options
    return world.check(target or str(world.deployed()), **options)


def answer(world: World, target: str | None = None, **options: Any) -> Finding:
    """The finding; nothing but a proven one, and nothing else wrong, comes with exit code 0."""
    report = ask(world, target, **options)
    found = finding(report, "release")
    assert (report.exit_code() == 0) == (found.verdict == "proven")
    return found


def said(found: Finding) -> tuple[str, str]:
    return found.verdict, found.reason
