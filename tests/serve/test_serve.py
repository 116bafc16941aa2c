"""`mllock serve` as users type it, with real programs in real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from support.serving import (
    COMMAND,
    SERVE_SPEC,
    SERVER,
    lines_until,
    start_mllock,
    with_serve,
)
from support.training import SPEC, locked, no_layers, relock

from mllock.cli.main import run as type_command
from mllock.errors import (
    InputError,
    MllockError,
    ProgramError,
    RunError,
    SpecError,
    StaleLockError,
    SurroundingsError,
)
from mllock.serve.listening import free_port
from mllock.workflows.context import Context
from mllock.workflows.serve import serving
from mllock.workflows.train import train


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A trained project, whose program can be told its port."""
    ctx = locked(tmp_path, **with_serve(probes=None))
    train(ctx, environment_of=no_layers)
    return ctx


def ask(url: str, path: str = "/predict") -> object:
    request = urllib.request.Request(url + path, data=b'{"x": 2}')
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.loads(response.read())


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def nothing_left(ctx: Context) -> bool:
    return list((ctx.state / "tmp").iterdir()) == []


def test_the_model_of_the_run_is_served(ctx: Context) -> None:
    port = free_port()
    output: list[bytes] = []
    with serving(ctx, port=port, output=output.append) as served:
        url = str(served.server.address)
        assert url == f"http://127.0.0.1:{port}"
        assert ask(url) == {"weights": "3 0.5 1.0\n", "x": 0.2}
        assert served.server.exit_code() is None
    assert not listens(port)
    assert nothing_left(ctx)
    assert b"".join(output) == f"serving on {port}\n".encode()
    lines = ctx.reporter.lines  # type: ignore[attr-defined]
    assert f"note: model of run {served.run.id}" in lines


def test_the_declared_port_is_the_default(ctx: Context) -> None:
    port = free_port()
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace("18080", str(port)))
    with serving(ctx) as served:
        assert served.server.address.port == port


def test_another_run(ctx: Context) -> None:
    (first,) = ctx.runs.iterdir()
    other = train(ctx, overrides=["alpha=0.75"], environment_of=no_layers).run
    with serving(ctx, port=free_port(), run=other.id) as served:
        assert ask(str(served.server.address))["weights"] == "3 0.75 1.0\n"  # type: ignore[index]
    with serving(ctx, port=free_port(), run=first.name) as served:
        assert ask(str(served.server.address))["weights"] == "3 0.5 1.0\n"  # type: ignore[index]


def refused(ctx: Context, kind: type[MllockError], **options: object) -> str:
    with pytest.raises(kind) as caught, serving(ctx, **options):  # type: ignore[arg-type]
        pass
    assert not (ctx.state / "tmp").exists() or nothing_left(ctx)
    return str(caught.value)


def test_another_port_for_a_command_that_has_it_written_out(ctx: Context) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace("{port}", "18080"))
    assert refused(ctx, InputError, port=18081) == (
        "mlproject.toml: serve.command: --port 18081: the port stands in the command, and cannot "
        "be another on the host\n"
        "expected: {port} where the command says the port\n"
        "hint: write {port} there, or leave --port out to serve on 18080"
    )


def test_a_python_that_the_image_does_not_have(ctx: Context) -> None:
    """It would be the system's, without the locked packages."""
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace(COMMAND, COMMAND.replace("python", "python3.12")))
    assert refused(ctx, ProgramError) == (
        "mlproject.toml: serve.command: cannot run python3.12: the locked environment has Python "
        "3.11\nexpected: python, python3 or python3.11\nfound: python3.12"
    )


def test_the_python_of_the_image_by_its_long_name(ctx: Context) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace(COMMAND, COMMAND.replace("python", "python3.11")))
    with serving(ctx, port=free_port()) as served:
        assert ask(str(served.server.address)) is not None


def test_a_port_that_is_in_use(ctx: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(ctx, SurroundingsError, port=port) == (
            f"port {port} is in use\nhint: stop what uses it, or choose another with --port"
        )


def test_no_run_yet(tmp_path: Path) -> None:
    ctx = locked(tmp_path, **with_serve(probes=None))
    assert refused(ctx, RunError) == (
        'no run of this lock: there is no model to serve\nhint: make one with "mllock train"'
    )


def test_a_run_of_another_lock(ctx: Context) -> None:
    (run,) = ctx.runs.iterdir()
    (ctx.project / "data/train.csv").write_text("a\n9\n")
    relock(ctx)
    assert "the run was trained from another lock" in refused(ctx, RunError, run=run.name)
    assert "no run of this lock" in refused(ctx, RunError)


def test_nothing_to_serve(tmp_path: Path) -> None:
    ctx = locked(tmp_path, spec=SPEC)
    assert refused(ctx, SpecError) == (
        "mlproject.toml: there is nothing to serve\nhint: add a [serve] table with command and port"
    )


def test_a_stale_lock(ctx: Context) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('"tiny-lib"', '"tiny-lib>=1"'))
    refused(ctx, StaleLockError)


def test_a_program_on_the_host_cannot_be_left_behind(ctx: Context) -> None:
    assert refused(ctx, InputError, port=free_port(), detached=True) == (
        "--detach: a program on the host ends with the command that started it\n"
        'hint: leave --detach out, or put "&", nohup or a service of systemd around it'
    )


def test_a_model_that_was_changed_is_not_served(ctx: Context) -> None:
    (run,) = ctx.runs.iterdir()
    (run / "model" / "weights.txt").write_text("9 0.5 1.0\n")
    assert refused(ctx, RunError, port=free_port()) == (
        "model/weights.txt: not the file that the run's record names\n"
        'hint: see what differs with "mllock check", or serve another run'
    )
    shutil.rmtree(run / "model")
    refused(ctx, RunError, port=free_port())


def test_a_record_that_is_not_to_be_trusted(ctx: Context) -> None:
    (run,) = ctx.runs.iterdir()
    ctx.config_dir.joinpath("policy.toml").write_text(
        '[[revoked]]\nfingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"\n'
    )
    message = refused(ctx, RunError, port=free_port())
    assert message.startswith(f"{run.name}: the run's record is not to be trusted: ")
    assert message.endswith(f'hint: see "mllock show {run.name}"')


def test_what_is_changed_while_it_is_served_changes_nothing(ctx: Context) -> None:
    (run,) = ctx.runs.iterdir()
    server = SERVER.replace(
        "print(", "pathlib.Path('model/weights.txt').write_text('x')\nprint(", 1
    )
    (ctx.project / "serve.py").write_text(server)
    with serving(ctx, port=free_port()):
        pass
    assert (run / "model" / "weights.txt").read_text() == "3 0.5 1.0\n"
    assert (ctx.project / "serve.py").read_text() == server


def test_only_declared_variables(ctx: Context) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(
        spec.read_text().replace("port = 18080", 'runtime-variables = ["TOKEN", "UNSET"]')
    )
    server = SERVER.replace("weights = ", "weights = json.dumps(dict(os.environ)) #")
    (ctx.project / "serve.py").write_text(server)
    asked = replace(
        ctx, environ={**ctx.environ, "TOKEN": "t", "OTHER": "o", "OMP_NUM_THREADS": "9"}
    )
    with serving(asked, port=free_port()) as served:
        seen = json.loads(ask(str(served.server.address))["weights"])  # type: ignore[index]
    seen.pop("LC_CTYPE", None)
    assert sorted(seen) == [
        "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "OMP_NUM_THREADS", "PATH",
        "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "TOKEN", "TZ",
    ]  # fmt: skip
    assert seen["CUDA_VISIBLE_DEVICES"] == ""  # no GPU is declared for serving
    assert (seen["TOKEN"], seen["OMP_NUM_THREADS"]) == ("t", "1")
    assert "UNSET" not in seen


def test_without_a_health_path_listening_is_ready(ctx: Context) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('health = "/healthz"\n', ""))
    with serving(ctx, port=free_port()) as served:
        assert ask(str(served.server.address))
    (ctx.project / "serve.py").write_text("import time; time.sleep(60)")
    port = free_port()
    assert refused(ctx, ProgramError, port=port, patience=0.5) == (
        f"mlproject.toml: serve.command: the serving program did not answer port {port} within "
        "0.5 s: it listens on no port\n"
        f"expected: a program that listens on port {port}\n"
        "found: no output"
    )


STRANGER = """\
import pathlib, subprocess, sys, time
stranger = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]],
                            start_new_session=True, stdout=subprocess.DEVNULL)
pathlib.Path(sys.argv[3]).write_text(str(stranger.pid))
time.sleep(60)
"""


def test_the_answers_of_somebody_else_count_for_nothing(ctx: Context, tmp_path: Path) -> None:
    """A program outside of the session answers on the very port, health and all."""
    stranger = SERVER.replace("weights = pathlib", "weights = '' #")
    spec = ctx.project / "mlproject.toml"
    words = f'"{{port}}", {json.dumps(stranger)}, "{tmp_path}/stranger"]'
    spec.write_text(spec.read_text().replace('"{port}"]', words))
    (ctx.project / "serve.py").write_text(STRANGER)
    port = free_port()
    try:
        message = refused(ctx, ProgramError, port=port, patience=3.0)
        give_up = time.monotonic() + 30
        while not listens(port) and time.monotonic() < give_up:
            time.sleep(0.05)
        assert ask(f"http://127.0.0.1:{port}") == {"weights": "", "x": 0.2}
    finally:
        os.kill(int((tmp_path / "stranger").read_text()), signal.SIGKILL)
    assert message.splitlines()[0] == (
        "mlproject.toml: serve.health: the serving program did not answer GET /healthz within 3 s: "
        "it listens on no port"
    )


def test_a_program_that_ends_early(ctx: Context) -> None:
    (ctx.project / "serve.py").write_text("print('that is all')")
    assert refused(ctx, ProgramError, port=free_port()) == (
        "mlproject.toml: serve.command: the serving program ended by itself before it was ready\n"
        "found: \n    that is all"
    )


def test_a_health_that_never_comes(ctx: Context) -> None:
    (ctx.project / "serve.py").write_text(SERVER.replace("200 if", "503 if"))
    port = free_port()
    assert refused(ctx, ProgramError, port=port, patience=1.0) == (
        "mlproject.toml: serve.health: the serving program did not answer GET /healthz within 1 s: "
        "it answers with status 503\n"
        f"expected: a program that listens on port {port} and answers /healthz with 200 to 299\n"
        f"found: \n    serving on {port}"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_stops_a_server_has_what_he_wanted(ctx: Context, number: int) -> None:
    port = free_port()
    with start_mllock(ctx, "serve", "--port", str(port)) as process:
        out = lines_until(process, b"\n")
        assert out == f"http://127.0.0.1:{port}\n".encode()
        assert ask(out.decode().strip())
        os.kill(process.pid, number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, b"")
    assert errors.decode().endswith(f"serving on {port}\nready; Ctrl-C stops it\nstopping\n")
    assert not listens(port)
    assert nothing_left(ctx)


def test_an_interrupt_before_it_is_ready(ctx: Context) -> None:
    (ctx.project / "serve.py").write_text(
        "import time; print('loading', flush=True); time.sleep(60)"
    )
    with start_mllock(ctx, "serve", "--port", str(free_port())) as process:
        assert process.stderr is not None
        seen = b""
        while b"loading" not in seen:
            seen += os.read(process.stderr.fileno(), 4096)
        os.kill(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert errors.decode().endswith("interrupted: nothing was half-written\n")
    assert nothing_left(ctx)


def test_a_program_that_dies_while_it_serves(ctx: Context) -> None:
    port = free_port()
    with start_mllock(ctx, "serve", "--port", str(port)) as process:
        lines_until(process, b"\n")
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=b'{"die": 1}', timeout=20)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.decode().endswith(
        "error: mlproject.toml:20: serve.command: the serving program failed with exit code 9 "
        f"while it served\nfound: \n    serving on {port}\n"
    )
    assert nothing_left(ctx)


def test_a_program_that_ends_well(ctx: Context) -> None:
    (ctx.project / "serve.py").write_text(SERVER.replace("os._exit(9)", "os._exit(0)"))
    port = free_port()
    with start_mllock(ctx, "serve", "--port", str(port)) as process:
        lines_until(process, b"\n")
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=b'{"die": 1}', timeout=20)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.decode().endswith("the serving program ended by itself\n")


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_no_port(port: str) -> None:
    assert type_command(["serve", "--port", port]) == 2


def test_the_port_of_the_image_is_the_declared_one() -> None:
    from mllock.spec.command import takes_port, with_port

    command = ("uvicorn", "a:b", "--port", "{port}", "--bind=0:{port}", "{params.port}")
    assert takes_port(command)
    assert with_port(command, 8080) == (
        "uvicorn", "a:b", "--port", "8080", "--bind=0:8080", "{params.port}",
    )  # fmt: skip
    assert not takes_port(("uvicorn", "--port", "8080"))
    assert "{port}" in COMMAND and "{port}" in SERVE_SPEC
