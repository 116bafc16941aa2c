"""`mllock demo`: the whole line on a small real project, with the commands a user would type.

It runs the real commands one after the other in this process and shows each as it would be typed;
nothing is staged. The last one is asked about a model with one changed byte, and has to refute it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from mllock.cli.app import SPEC_NAME, App
from mllock.errors import InputError, MllockError

__all__ = ["command"]

DEFAULT_FOLDER = "mllock-demo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command line, why it is run, and the exit codes that it may answer."""

    why: str
    arguments: tuple[str, ...]
    expected: tuple[int, ...] = (0,)


@click.command(
    "demo",
    epilog="Example: mllock demo my-first-project",
    short_help="Watch the whole line work on a small real project.",
)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def command(app: App, folder: Path | None) -> int:
    """Make a small real project in FOLDER (default: mllock-demo), then lock it, build its
    images, train, check the model and the serving image, change one byte and check again.

    Needs the network the first time. Trains in a container engine where one answers; needs
    none, and no registry.
    """
    folder = folder or (app.project or Path()) / DEFAULT_FOLDER
    began = time.monotonic()
    if (folder / SPEC_NAME).is_file():
        click.echo(f"{folder} has a project already: using it", err=True)
    else:
        _run(app, Step(why="A project to begin with", arguments=("init", str(folder))))
    with _inside(folder):
        model, tampered = _train_and_check(app)
    _close(folder, model, tampered, time.monotonic() - began)
    return 0


def _train_and_check(app: App) -> tuple[Path, Path]:
    for step in (
        Step(why="Pin packages, base image, system packages and data", arguments=("lock",)),
        Step(why="The training image, as an OCI layout", arguments=("build", "train")),
        Step(why="Train from the lock; sign what went in and out", arguments=("train",)),
        Step(why="The serving image, on the same layers", arguments=("build", "serve")),
    ):
        _run(app, step)
    run = _newest_run()
    model = run / "model"
    _run(app, Step(why="Is this the model that we trained?", arguments=("check", str(model))))
    code = _run(
        app,
        Step(
            why="Does the serving image hold it, in the environment that trained it?",
            arguments=("check", "oci:.mllock/oci"),
            expected=(0, 3),
        ),
    )
    if code == 3:
        click.echo(
            "\nThe environment is unproven, not refuted: the program ran on this host, outside of\n"
            "the image, with the packages of the lock. Exit code 3 says so;\n"
            '"--allow-unproven environment" accepts it by name.'
        )
    else:
        click.echo(
            "\nThe environment is proven: the program ran in a container of the training image,\n"
            "whose layers the serving image has too."
        )
    copy, changed = _flip_one_byte(run)
    click.echo(f"\nNow somebody changes one byte of {changed}")
    _run(
        app,
        Step(
            why="Is this still the model that we trained?",
            arguments=("check", str(copy), "--run", run.name),
            expected=(1,),
        ),
    )
    return model, copy


def _run(app: App, step: Step) -> int:
    """Type one command. Raises MllockError if it answers another code than it should."""
    from mllock.cli.main import run

    typed = shlex.join(("mllock", *step.arguments))
    click.echo(f"\n# {step.why}\n$ {typed}")
    began = time.monotonic()
    flags = ["-q"] * -app.verbosity if app.verbosity < 0 else ["-v"] * app.verbosity
    code = run([*flags, *step.arguments])
    click.echo(f"({time.monotonic() - began:.1f} s)", err=True)
    if code in step.expected:
        return code
    if code == 130:
        raise KeyboardInterrupt
    error = MllockError(
        f'"{typed}" answered exit code {code}',
        expected=" or ".join(map(str, step.expected)),
        hint="the message above says why; run the demo again when it is mended",
    )
    error.exit_code = code or 1
    raise error


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    click.echo(f"\n$ cd {shlex.quote(str(folder))}")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _newest_run() -> Path:
    from mllock.train.runs import newest_good

    run = newest_good(Path(".mllock/runs"), None)
    if run is None:
        raise InputError("no good run", file=".mllock/runs", hint='run "mllock train"')
    return Path(".mllock/runs") / run.id


def _flip_one_byte(run: Path) -> tuple[Path, Path]:
    """A copy of the run's model with the middle byte of its largest file changed."""
    copy = Path(".mllock/demo/model")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run / "model", copy)
    victim = max((p for p in copy.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    victim.chmod(0o644)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    return copy, victim


def _close(folder: Path, model: Path, tampered: Path, seconds: float) -> None:
    name = shlex.quote(str(folder))
    click.echo(
        f"\nDone in {seconds:.0f} s: the trained model is proven, the changed copy is refuted.\n"
        f"\nNext:\n"
        f"  cd {name}\n"
        f"  mllock show                      what went into the run and what came out\n"
        f"  mllock train --set depth=8       another run; then: mllock runs\n"
        f"  mllock check {model}\n"
        f"  mllock check {tampered}   the changed copy\n"
        f"  $EDITOR {SPEC_NAME}            then: mllock lock"
    )
