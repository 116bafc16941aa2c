"""`mllock check TARGET`: prints the report; the exit code is the report's own."""

from __future__ import annotations

from pathlib import Path

import click

from mllock.check.types import CLAIMS, Claim
from mllock.cli.app import App, json_option
from mllock.cli.options import platform_option

__all__ = ["command"]

EPILOG = """\b
Examples:
  mllock check .mllock/runs/20261123-081501-k3f9/model
  mllock check oci:.mllock/oci --allow-unproven environment
  mllock check registry:example.org/team/wine:v1
  mllock check path:/srv/model --run 20261123-081501-k3f9 --json
  mllock check image:wine-quality:serve
  mllock check container:wine-quality-1
  mllock check path:/srv/model --stage production
  mllock check https://wine.example.org --allow-unproven behaviour
"""


@click.command(epilog=EPILOG)
@click.argument("target")
@click.option("--run", metavar="RUN", help="The run that it should be: an ID, or how one starts.")
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The signed record (record.sigstore.json) that it should be.",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Whose signatures count; default: policy.toml of this user, else this machine's key.",
)
@click.option(
    "--stage",
    metavar="NAME",
    help="Ask as well whether this is the newest release of that stage, and not revoked.",
)
@click.option(
    "--releases",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where signed releases and revocations are; default: .mllock/releases of the project.",
)
@click.option(
    "--probe",
    metavar="URL",
    help="Ask this endpoint the recorded probes as well: where the target is served.",
)
@platform_option("Which image of an index for several platforms; default: that for this machine.")
@click.option(
    "--allow-unproven",
    "accepted",
    metavar="CLAIM",
    multiple=True,
    type=click.Choice(CLAIMS),
    help="Accept that this claim cannot be proven; repeatable. Never accepts a refuted one.",
)
@json_option
@click.pass_obj
def command(
    app: App,
    *,
    target: str,
    run: str | None,
    record: Path | None,
    policy: Path | None,
    stage: str | None,
    releases: Path | None,
    probe: str | None,
    platform: str | None,
    accepted: tuple[Claim, ...],
    as_json: bool,
) -> int:
    """Prove, claim by claim, that TARGET is what was trained, or say what differs.

    TARGET is path:DIR (a model folder or file), oci:DIR[:REF] (an image in an OCI layout; default
    REF: serve), registry:HOST/REPO[:TAG|@DIGEST] (default TAG: serve), image:REF (an image in the
    container engine), container:NAME (running or not) or http(s)://HOST[:PORT] (an endpoint, which
    is asked the recorded probes). Without a prefix it is the file or folder that is there, else an
    image. Exit code: 0 all asked claims are proven or accepted, 1 something is refuted, 3
    something is unproven.
    """
    from mllock.check.report import lines, to_json
    from mllock.workflows.check import check_target

    report = check_target(
        app.context(need_spec=False),
        target,
        run=run,
        record=record,
        policy=policy,
        stage=stage,
        releases=releases,
        accepted=accepted,
        probe=probe,
        platform=platform,
    )
    if as_json:
        app.print_json(to_json(report))
    else:
        for line in lines(report):
            app.print(line)
    return report.exit_code()
