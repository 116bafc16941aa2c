"""`mllock release RUN --stage NAME`: one signed statement that binds a run's set to a stage."""

from __future__ import annotations

import datetime as dt
import re

import click

from mllock.cli.app import App, json_option

__all__ = ["command"]

EPILOG = """\b
Examples:
  mllock release 20261123-081501-k3f9 --stage production
  mllock release 20261123-081501-k3f9 --stage staging --expires 14
"""
MAX_DAYS = 3660


def _end(ctx: click.Context, param: click.Parameter, value: str | None) -> dt.datetime | None:
    """The first moment after DAYS from now, or after the day DATE."""
    if value is None:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,3}", value) and int(value) <= MAX_DAYS:
        return dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=int(value))
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            day = dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)
            return day + dt.timedelta(days=1)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f'"{value}" is neither a number of days (1 to {MAX_DAYS}) nor a day like 2027-12-31',
        ctx,
        param,
    )


@click.command("release", epilog=EPILOG, short_help="Release a run to a stage.")
@click.argument("run")
@click.option("--stage", metavar="NAME", required=True, help="Where to, such as production.")
@click.option(
    "--expires",
    metavar="DAYS|DATE",
    callback=_end,
    help="When it is over unless it is released again: after that many days, or that day. "
    "[default: 90 days]",
)
@json_option
@click.pass_obj
def command(app: App, *, run: str, stage: str, expires: dt.datetime | None, as_json: bool) -> None:
    """Sign that RUN (an ID or the start of one) is the one for a stage from now on.

    The run is checked first. Its model, lock, record and the images that were built of it are bound
    as one set, with a number that is higher than any before. What does not exist is not bound, and
    said. A run whose gates failed, or that was not judged by those of [gates], is refused. The
    statement is in .mllock/releases: commit it, so that it travels.
    """
    from mllock.attest.release import rfc3339
    from mllock.check.report import gates_lines, gates_to_json
    from mllock.workflows.release import release_run

    done = release_run(app.context(), run, stage, expires=expires)
    release = done.release
    kinds = {image.kind for image in release.images}
    if "serve" not in kinds:
        app.reporter.warn(
            "there is no serving image of this run, so none is bound: only a model folder can be "
            f"proven; first: mllock build serve --run {release.run}"
        )
    elif "train" not in kinds:
        app.reporter.note("no training image of this run was built with it: none is bound")
    if as_json:
        app.print_json(
            {
                "project": release.project,
                "stage": release.stage,
                "number": release.number,
                "run": release.run,
                "issued": rfc3339(release.issued),
                "expires": rfc3339(release.expires),
                "model": release.model,
                "images": [
                    {
                        "kind": image.kind,
                        "platform": image.platform,
                        "config": image.config,
                        "manifest": image.manifest,
                    }
                    for image in release.images
                ],
                "gates": gates_to_json(release.gates),
                "file": str(done.path),
                "signer": done.fingerprint,
            }
        )
        return
    app.print(f"released {release.run}")
    app.print(f"as       release {release.number} of {release.project}, stage {release.stage}")
    app.print(f"until    {rfc3339(release.expires)}")
    app.print(f"model    {release.model}")
    for image in release.images:
        app.print(f"image    {image.kind} {image.platform} {image.manifest}")
    for line in gates_lines(release.gates) if release.gates else ():
        app.print(f"gates    {line}")
    app.print(f"file     {done.path}")
    app.print(f"signed   {done.fingerprint}")
