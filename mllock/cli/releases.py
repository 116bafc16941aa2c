"""`mllock releases`: which run is released to which stage, what was before, what was revoked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, json_option, printable

if TYPE_CHECKING:
    from mllock.attest.release_files import Stated
    from mllock.workflows.releases import Stages

__all__ = ["command"]


@click.command(
    "releases",
    epilog="Example: mllock releases --stage production",
    short_help="List releases and revocations.",
)
@click.option("--stage", metavar="NAME", help="Only this stage.")
@click.option(
    "--releases",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the statements are; default: .mllock/releases of the project.",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Whose signatures count; default: your policy.toml, else this machine's own key.",
)
@json_option
@click.pass_obj
def command(
    app: App, *, stage: str | None, releases: Path | None, policy: Path | None, as_json: bool
) -> None:
    """List the releases of this project, newest first, and the runs that were revoked.

    What a deployed model is, "mllock check TARGET --stage NAME" says.
    """
    from mllock.spec.reader import load_spec
    from mllock.workflows.releases import all_releases

    ctx = app.context()
    project = load_spec(ctx.project / "mlproject.toml").spec.project.name
    state = all_releases(ctx, project, releases=releases, policy=policy)
    rows = _rows(state, stage)
    broken = [s for s in state.statements if s.release is None and s.revocations is None]
    if as_json:
        app.print_json(_json(state, rows))
        return
    for stated in rows:
        value = stated.release
        assert value is not None
        app.print(
            printable(
                f"{value.stage:<12} {value.number:>4}  {value.run}  "
                f"until {value.expires:%Y-%m-%d}  {state.status(stated)}"
            )
        )
    for one in state.revoked:
        app.print(printable(f"{'revoked':<12} {'':>4}  {one.run}  {one.reason}".rstrip()))
    for stated in broken:
        app.reporter.warn(f"{stated.name} does not read: {stated.problem}")
    if not rows and not state.revoked:
        where = "" if stage is None else f' for stage "{stage}"'
        app.reporter.note(f"nothing is released{where} yet: mllock release RUN --stage NAME")


def _rows(state: Stages, stage: str | None) -> list[Stated]:
    found = [
        stated
        for stated in state.statements
        if stated.release is not None
        and stated.release.project == state.project
        and stage in (None, stated.release.stage)
    ]
    return sorted(found, key=_newest_first)


def _newest_first(stated: Stated) -> tuple[str, int, str]:
    assert stated.release is not None
    return stated.release.stage, -stated.release.number, stated.name


def _json(state: Stages, rows: list[Stated]) -> dict[str, object]:
    from mllock.attest.release import rfc3339

    releases = []
    for stated in rows:
        value = stated.release
        assert value is not None
        releases.append(
            {
                "stage": value.stage,
                "number": value.number,
                "run": value.run,
                "issued": rfc3339(value.issued),
                "expires": rfc3339(value.expires),
                "model": value.model,
                "images": [
                    {"kind": i.kind, "platform": i.platform, "manifest": i.manifest}
                    for i in value.images
                ],
                "status": state.status(stated),
                "signer": None if stated.trust is None else stated.trust.fingerprint,
                "file": stated.name,
            }
        )
    return {
        "project": state.project,
        "releases": releases,
        "revoked": [
            {"run": one.run, "record": one.record, "reason": one.reason} for one in state.revoked
        ],
        "unreadable": [
            {"file": stated.name, "problem": stated.problem}
            for stated in state.statements
            if stated.problem is not None
        ],
    }
