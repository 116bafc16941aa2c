"""`mllock serve`: the URL on standard output when it is ready, the program's output on standard
error; stopped by Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, pass_on

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.workflows.runtimes import RuntimeName

__all__ = ["command"]


@click.command(
    "serve",
    epilog="Example: mllock serve --port 9000 --run 20261123-081501-k3f9",
    short_help="Serve a run's model with the locked environment.",
)
@click.option(
    "--runtime",
    metavar="RUNTIME",
    type=click.Choice(["docker", "host"]),
    help="Where the program runs; docker: in a container of the serving image (default where an "
    "engine answers); host: this machine's Python with the locked packages.",
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    help="The port of this machine; default: [serve] port.",
)
@click.option("--run", metavar="RUN", help="Whose model; default: the newest good run of the lock.")
@click.option(
    "--wait",
    "patience",
    metavar="SECONDS",
    type=click.FloatRange(min=1, max=86400),
    default=300,
    show_default=True,
    help="How long the program may take until it is ready.",
)
@click.option("--detach", is_flag=True, help="Leave the container running; only in an engine.")
@click.pass_obj
def command(
    app: App,
    *,
    runtime: RuntimeName | None,
    port: int | None,
    run: str | None,
    patience: float,
    detach: bool,
) -> int:
    """Run [serve] command with the locked environment, in a fresh copy of the serving code and of
    the run's model, both verified while they are copied.

    Prints the URL when the program is ready. Ctrl-C stops it; nothing of it is left. Exit code: 0
    it was ready and was then stopped, or ended well; 1 it failed, or was not ready in time; 130
    interrupted before it was ready.
    """
    from mllock.serve.docker import DockerServer
    from mllock.serve.ready import ended_early
    from mllock.workflows.serve import serving

    with serving(
        app.context(),
        run=run,
        port=port,
        runtime=runtime,
        detached=detach,
        output=None if app.verbosity < 0 else pass_on,
        patience=patience,
    ) as served:
        try:
            if isinstance(served.server, DockerServer) and served.detached:
                app.print(str(served.server.address))
                return _leave(app, served.server.name)
            # Before the URL: who has read that may stop it.
            app.reporter.note("ready; Ctrl-C stops it")
            app.print(str(served.server.address))
            code = served.server.wait()
        except KeyboardInterrupt:
            app.reporter.note("stopping")
            if not served.server.stop():
                app.reporter.warn("the program did not stop when it was told to, and was killed")
            return 0
        if code:
            raise ended_early(served.server, code, "while it served")
    app.reporter.note("the serving program ended by itself")
    return 0


def _leave(app: App, container: str) -> int:
    app.print(container)
    app.reporter.note("ready; what it prints, and how to stop and remove it:")
    app.reporter.note(f"  docker logs --follow {container}")
    app.reporter.note(f"  docker rm --force {container}")
    return 0
