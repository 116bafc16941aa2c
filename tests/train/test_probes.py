"""`mllock train` records what the new model answers, or there is no run that looks good."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

import pytest
from support.serving import (
    COMMAND,
    PROBES,
    SERVE_SPEC,
    SERVER,
    lines_until,
    start_mllock,
    with_serve,
)
from support.training import PROGRAM, locked, no_layers

from mllock.core.digest import sha256_of
from mllock.errors import (
    InputError,
    MllockError,
    ProgramError,
    SurroundingsError,
    VoidRunError,
)
from mllock.probes.recording import parse_recording
from mllock.train.runs import RunFolder, list_runs
from mllock.workflows.context import Context
from mllock.workflows.train import TrainResult, train


def go(ctx: Context) -> TrainResult:
    return train(ctx, environment_of=no_layers)


def test_the_answers_stay_in_the_run_folder(tmp_path: Path) -> None:
    ctx = locked(tmp_path, **with_serve())
    result = go(ctx)
    run = result.run
    assert result.probes == 4
    data = (run.path / "probes.json").read_bytes()
    assert stat.S_IMODE((run.path / "probes.json").stat().st_mode) == 0o600
    recording = parse_recording(data)
    answers = [
        (e.probe.line, e.answer.status, e.answer.type, json.loads(e.answer.body))
        for e in recording.exchanges
    ]
    weights = "3 0.5 1.0\n"
    assert answers == [
        (1, 200, "application/json", {"weights": weights, "x": 3 * 0.1}),
        (2, 200, "application/json", {"weights": weights, "x": 7 * 0.1}),
        (3, 422, "application/json", {"failed": True}),
        (4, 404, "application/json", {"path": "/nowhere"}),
    ]
    # The record has the digest of the file, whose salt keeps the answers from being guessed.
    assert run.record().byproducts["probes.json"] == sha256_of(data)
    record = (run.path / "record.json").read_text()
    assert recording.salt not in record
    assert "0.30000000000000004" not in record
    assert sorted(p.name for p in run.path.iterdir() if "prob" in p.name) == ["probes.json"]
    assert list((ctx.state / "tmp").iterdir()) == []


def test_the_salt_is_of_the_run(tmp_path: Path) -> None:
    ctx = locked(tmp_path, **with_serve())
    one, two = (parse_recording((go(ctx).run.path / "probes.json").read_bytes()) for _ in "12")
    assert one.exchanges == two.exchanges
    assert one.salt != two.salt


def test_without_probes_nothing_is_served(tmp_path: Path) -> None:
    ctx = locked(tmp_path, **with_serve(probes=None, server="raise SystemExit(1)"))
    result = go(ctx)
    assert result.probes == 0
    assert "probes.json" not in result.run.record().byproducts


def failed(ctx: Context, kind: type[MllockError] = ProgramError) -> tuple[MllockError, RunFolder]:
    """Train, and answer the error and the one failed run, in which nothing looks good."""
    with pytest.raises(kind) as caught:
        go(ctx)
    (run,) = list_runs(ctx.runs)
    assert sorted(p.name for p in run.path.iterdir()) == ["failed.json", "log.txt", "probes.log"]
    failure = run.failure()
    assert failure is not None
    assert (failure.kind, failure.reason) == ("probes", caught.value.message)
    assert list((ctx.state / "tmp").iterdir()) == []
    return caught.value, run


def test_an_answer_that_is_not_as_it_must_be(tmp_path: Path) -> None:
    probes = PROBES + '{"path": "/predict", "body": {"fail": 404}}\n'
    error, _ = failed(locked(tmp_path, **with_serve(probes=probes)))
    assert str(error) == (
        "probes.jsonl:5: POST /predict: the trained model answers the probe with another status\n"
        "expected: 200 to 299\n"
        'found: 404 {"failed": true}\n'
        'hint: mend the probe or the program, or write "status": 404 if it is right'
    )


def test_an_error_of_the_program_names_its_log(tmp_path: Path) -> None:
    probes = '{"path": "/predict", "body": {"fail": 500}}\n'
    error, run = failed(locked(tmp_path, **with_serve(probes=probes)))
    assert error.found == '500 {"failed": true}'
    assert error.hint == f"its log is .mllock/runs/{run.id}/probes.log"
    assert run.path.joinpath("probes.log").read_text().startswith("serving on ")


def test_a_program_that_dies_of_a_probe(tmp_path: Path) -> None:
    probes = '{"path": "/predict", "body": {"die": true}}\n'
    error, run = failed(locked(tmp_path, **with_serve(probes=probes)))
    assert (
        error.message == "the serving program failed with exit code 9 while it answered the probes"
    )
    assert (error.file, error.key) == ("mlproject.toml", "serve.command")
    assert error.hint == f"its log is .mllock/runs/{run.id}/probes.log"


def test_a_program_that_does_not_start(tmp_path: Path) -> None:
    error, _ = failed(locked(tmp_path, **with_serve(server="print('no luck'); import nothing")))
    assert error.message == "the serving program failed with exit code 1 before it was ready"
    assert error.found is not None
    assert error.found.startswith("\n    no luck\n    Traceback")
    assert error.found.endswith("ModuleNotFoundError: No module named 'nothing'")


def test_what_can_be_seen_before_is_seen_before(tmp_path: Path) -> None:
    ctx = locked(tmp_path, **with_serve(probes="nonsense\n"))
    with pytest.raises(InputError) as caught:
        go(ctx)
    assert str(caught.value) == (
        "probes.jsonl:1: not JSON: Expecting value: line 1 column 1 (char 0)\n"
        "hint: each line is one JSON object"
    )
    (ctx.project / "probes.jsonl").unlink()
    with pytest.raises(InputError, match="no such file"):
        go(ctx)
    assert list_runs(ctx.runs) == ()


def test_a_port_that_is_written_out_and_in_use_costs_no_training(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spec = SERVE_SPEC.replace("{port}", str(port)).replace("18080", str(port))
        ctx = locked(tmp_path, **with_serve(spec=spec))
        with pytest.raises(SurroundingsError) as caught:
            go(ctx)
        assert str(caught.value) == (
            f"port {port} is in use\n"
            "hint: stop what uses it, or write {port} in serve.command, so that it can be another"
        )
        assert list_runs(ctx.runs) == ()
    # The same spec, once the port is free.
    assert go(ctx).probes == 4


def test_a_program_that_listens_somewhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mllock.workflows.probes.PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        other = sock.getsockname()[1]
    server = SERVER.replace("int(sys.argv[1])", str(other))
    error, _ = failed(locked(tmp_path, **with_serve(server=server)))
    assert error.message == (
        f"the serving program did not answer GET /healthz within 2 s: it listens on port {other}"
    )


def test_a_health_path_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mllock.workflows.probes.PATIENCE", 2.0)
    spec = SERVE_SPEC.replace("/healthz", "/ready")
    error, _ = failed(locked(tmp_path, **with_serve(spec=spec)))
    assert error.message == (
        "the serving program did not answer GET /ready within 2 s: it answers with status 404"
    )
    assert error.key == "serve.health"


def test_the_code_that_serves_is_that_of_the_start(tmp_path: Path) -> None:
    """Who trains for hours may go on writing; the recorded answers are those of one state."""
    program = PROGRAM + (
        f"import pathlib\npathlib.Path({str(tmp_path)!r} + '/project/serve.py').write_text('no')\n"
    )
    ctx = locked(tmp_path, program=program, **with_serve())
    result = go(ctx)
    assert (ctx.project / "serve.py").read_text() == "no"
    recording = parse_recording((result.run.path / "probes.json").read_bytes())
    (ctx.project / "serve.py").write_text(SERVER)
    from mllock.data.code import select_code
    from mllock.spec.reader import load_spec

    spec = load_spec(ctx.project / "mlproject.toml").spec
    assert recording.code == select_code(ctx.project, spec, ("serve.py",)).manifest.digest


RESTLESS = SERVER.replace(
    '{"weights": weights, ', '{"weights": weights, "time": [next(ticks)], '
).replace("class Handler", "ticks = iter(range(100))\nclass Handler", 1)


def test_answers_that_do_not_hold_are_said(tmp_path: Path) -> None:
    probes = (
        '{"path": "/predict", "body": {"x": 3}}\n'
        '{"path": "/predict", "body": {"x": 3}, "compare": {"ignore": ["/time"]}}\n'
    )
    ctx = locked(tmp_path, **with_serve(server=RESTLESS, probes=probes))
    run = go(ctx).run
    warnings = [x for x in ctx.reporter.lines if x.startswith("warn: ")]  # type: ignore[attr-defined]
    assert warnings == [
        "warn: probes.jsonl:1: answered differently when it was asked again: /time/0\n"
        "hint: check will refute every deployment by this probe; "
        'name what varies in its "compare", as tolerance or ignore, and train again'
    ]
    recording = parse_recording((run.path / "probes.json").read_bytes())
    assert [json.loads(e.answer.body)["time"] for e in recording.exchanges] == [[0], [1]]


def test_answers_of_a_program_that_left_its_port_are_thrown_away(tmp_path: Path) -> None:
    """Who listens there by then, and since when, nobody can say."""
    server = SERVER.replace(
        'if question.get("fail")',
        'if question["x"] == 7:\n            server.socket.close()\n'
        '        if question.get("fail")',
    )
    probes = '{"path": "/predict", "body": {"x": 3}}\n{"path": "/predict", "body": {"x": 7}}\n'
    ctx = locked(tmp_path, **with_serve(server=server, probes=probes))
    with pytest.raises(SurroundingsError) as caught:
        go(ctx)
    assert caught.value.message.startswith(
        "it was not the serving program alone that listened on port "
    )
    assert list_runs(ctx.runs) == ()
    assert list((ctx.state / "tmp").iterdir()) == []


NOSY = SERVER.replace(
    "print(",
    "files = sorted(str(p) for p in pathlib.Path('.').rglob('*') if p.is_file())\n"
    "print(files, sorted(k for k in os.environ if k != 'LC_CTYPE'), os.environ.get('TOKEN'), "
    "flush=True)\nprint(",
    1,
)


def test_the_program_finds_code_and_model_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the probes either: a server need not know what it will be asked."""
    spec = SERVE_SPEC.replace(
        'code = ["serve.py"]', 'code = ["**/*"]\nruntime-variables = ["TOKEN"]'
    )
    probes = '{"path": "/predict", "body": {"die": true}}\n'
    ctx = locked(tmp_path, **with_serve(server=NOSY, spec=spec, probes=probes))
    from dataclasses import replace

    ctx = replace(ctx, environ={**ctx.environ, "TOKEN": "hunter2", "OTHER": "secret"})
    _, run = failed(ctx)
    seen = (run.path / "probes.log").read_text().splitlines()[0]
    names = [
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "OMP_NUM_THREADS",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
    ]
    names += ["PYTHONNOUSERSITE", "TOKEN", "TZ"]
    assert seen == f"['model/weights.txt', 'serve.py', 'train.py'] {names} hunter2"
    lines = ctx.reporter.lines  # type: ignore[attr-defined]
    assert "note: from your environment, outside of the proof: TOKEN" in lines
    assert not any("hunter2" in line for line in lines)


def test_the_server_cannot_change_the_model(tmp_path: Path) -> None:
    server = SERVER.replace(
        "print(", "pathlib.Path('model/weights.txt').write_text('other')\nprint(", 1
    )
    run = go(locked(tmp_path, **with_serve(server=server))).run
    assert run.model_path().joinpath("weights.txt").read_text() == "3 0.5 1.0\n"


def test_a_model_that_is_a_file(tmp_path: Path) -> None:
    spec = SERVE_SPEC.replace('model = "model"', 'model = "model/weights.txt"')
    run = go(locked(tmp_path, **with_serve(spec=spec))).run
    assert run.model_path() == run.path / "model" / "weights.txt"
    assert parse_recording((run.path / "probes.json").read_bytes()).exchanges


def test_data_that_changed_is_seen_before_the_probes(tmp_path: Path) -> None:
    program = PROGRAM + "open('data/train.csv', 'a').write('more')\n"
    ctx = locked(tmp_path, program=program, **with_serve(server="raise SystemExit(7)"))
    with pytest.raises(VoidRunError):
        go(ctx)


SLOW = "import time\nprint('loading', flush=True)\ntime.sleep(60)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_probes_are_recorded(tmp_path: Path, number: int) -> None:
    ctx = locked(tmp_path, **with_serve(server=SLOW))
    with start_mllock(ctx, "train") as process:
        assert process.stderr is not None
        seen = b""
        while b"serving: " not in seen:
            seen += os.read(process.stderr.fileno(), 4096)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().endswith("interrupted: nothing was half-written\n")
    (run,) = list_runs(ctx.runs)
    failure = run.failure()
    assert failure is not None
    assert failure.kind == "interrupted"
    assert list((ctx.state / "tmp").iterdir()) == []


def test_the_command_line_says_how_many(tmp_path: Path) -> None:
    ctx = locked(tmp_path, **with_serve())
    with start_mllock(ctx, "train") as process:
        out = lines_until(process, b"signed ")
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"\nprobes   4\n" in out


def test_two_trainings_at_once(tmp_path: Path) -> None:
    assert COMMAND.endswith('"{port}"]')
    ctx = locked(tmp_path, **with_serve())
    processes = [start_mllock(ctx, "train") for _ in "12"]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
