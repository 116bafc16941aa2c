"""`mllock evaluate` when something is wrong: one message, the log kept, and the run as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.evaluating import TABLE, files, judged_project, project, table

from mllock.attest.keys import load_or_create_key
from mllock.data.scan import scan
from mllock.errors import (
    AnswerNoError,
    MllockError,
    ProgramError,
    RunError,
    SpecError,
    VoidRunError,
)
from mllock.train.runs import list_runs
from mllock.workflows import judging
from mllock.workflows.context import Context
from mllock.workflows.evaluate import evaluate


def refused(ctx: Context, kind: type[MllockError], run: str | None = None) -> str:
    """The whole message; the run is as it was, but for the log."""
    folder = list_runs(ctx.runs)[0]
    before = files(folder)
    with pytest.raises(kind) as caught:
        evaluate(ctx, run=run)
    after = files(folder)
    after.pop("evaluation-failed.log", None)
    before.pop("evaluation-failed.log", None)
    assert after == before
    assert [*(ctx.state / "tmp").iterdir()] == []
    return str(caught.value)


def test_a_program_that_fails(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path)
    (ctx.project / "judge.py").write_text("print('no'); raise SystemExit(3)")
    log = f".mllock/runs/{run.id}/evaluation-failed.log"
    assert refused(ctx, ProgramError) == (
        f"{log}: the evaluation program failed with exit code 3\nfound: \n    no"
    )
    assert (ctx.project / log).read_text() == "no\n"
    (ctx.project / "judge.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert refused(ctx, ProgramError) == (
        f"{log}: the evaluation program was ended by SIGKILL\nfound: no output"
    )
    # What ends well takes the log of what did not.
    (ctx.project / "judge.py").write_text(
        "import os, pathlib as p; p.Path('judged').mkdir(); p.Path('judged/metrics.json')"
        ".write_text('{}'); p.Path('judged/predictions.csv').write_text('prediction\\n')"
    )
    evaluate(ctx)
    assert not (ctx.project / log).exists()


def test_interrupted(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path)
    before = files(run)
    (ctx.project / "judge.py").write_text(
        "import os, signal, time\nprint('long', flush=True)\n"
        "os.kill(os.getppid(), signal.SIGINT)\ntime.sleep(600)"
    )
    with pytest.raises(KeyboardInterrupt):
        evaluate(ctx)
    after = files(run)
    assert after.pop("evaluation-failed.log").startswith(b"long\n")
    assert after == before
    assert [*(ctx.state / "tmp").iterdir()] == []


WROTE = "import pathlib, os, json\npathlib.Path('judged').mkdir()\n"


GOOD_METRICS = "pathlib.Path('judged/metrics.json').write_text('{\"accuracy\": 1}')\n"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            WROTE,
            "mlproject.toml: evaluate.metrics: the program ended well and wrote no metrics\n"
            "expected: a JSON file judged/metrics.json",
        ),
        (
            WROTE + "pathlib.Path('judged/metrics.json').write_text('{\"a\": NaN}')",
            "judged/metrics.json: the metrics are not JSON: NaN is not JSON\n"
            'expected: one object of numbers, e.g. {"accuracy": 0.93}',
        ),
        (
            WROTE + "pathlib.Path('judged/metrics.json').write_text('{\"a\": \"good\"}')",
            'judged/metrics.json: the metric "a" is not a number\n'
            "expected: a number\nfound: a string",
        ),
        (
            WROTE + "os.symlink('/etc/passwd', 'judged/metrics.json')",
            "judged/metrics.json: the metrics are not a regular file",
        ),
        (
            "import os; os.symlink('/tmp', 'judged')",
            "mlproject.toml: evaluate.metrics: the metrics would be taken from outside of the run: "
            "judged is a link\n"
            "expected: judged to be a folder that the program makes\nfound: a link to /tmp\n"
            "hint: make the folder judged and write the metrics into it",
        ),
        (
            WROTE + GOOD_METRICS,
            "mlproject.toml: evaluate.predictions: the program ended well and wrote no "
            "predictions\nexpected: a file judged/predictions.csv\n"
            'hint: write it, or remove "predictions" from [evaluate]',
        ),
        (
            WROTE + GOOD_METRICS + "os.mkfifo('judged/predictions.csv')",
            "judged/predictions.csv: the predictions are not a regular file",
        ),
        (
            WROTE + GOOD_METRICS + "os.symlink('../data/test.csv', 'judged/predictions.csv')",
            "judged/predictions.csv: the predictions are not a regular file",
        ),
    ],
    ids=[
        *("no metrics", "NaN", "a string", "a link", "a link on the way"),
        *("no predictions", "a FIFO", "a link to data"),
    ],
)
def test_bad_outputs(tmp_path: Path, program: str, message: str) -> None:
    ctx = project(tmp_path)
    (ctx.project / "judge.py").write_text(program)
    assert refused(ctx, ProgramError) == message


def test_another_model_than_the_records(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path, program="print('ran')")
    (run.path / "model/rule.txt").write_text("another rule")
    assert refused(ctx, RunError) == (
        "out/model/rule.txt: not the file that the run's record names\n"
        'hint: see what differs with "mllock check", or name another run'
    )
    assert not (run.path / "evaluation-failed.log").exists()
    (run.path / "model/rule.txt").unlink()
    assert refused(ctx, RunError).startswith("out/model/rule.txt: not the file")


def test_a_record_that_somebody_else_signed(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path)
    bundle = json.loads((run.path / "record.sigstore.json").read_bytes())
    signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = signature[:9] + "AA" + signature[11:]
    (run.path / "record.sigstore.json").write_text(json.dumps(bundle))
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    assert refused(ctx, AnswerNoError) == (
        f"{run.id}: the run's record is not to be trusted: the signature does not fit: the payload "
        f"or the signature was changed\nfound: {key.fingerprint}\n"
        f'hint: see "mllock show {run.id}"'
    )


def test_data_that_changes_while_it_is_judged(tmp_path: Path) -> None:
    ctx = project(tmp_path)
    place = ctx.project / "data/test.csv"
    (ctx.project / "judge.py").write_text(f"open({str(place)!r}, 'a').write('9,f,1,1\\n')\n")
    message = refused(ctx, VoidRunError)
    assert message.startswith("mlproject.lock: data.test: data changed while the program ran:")
    assert message.endswith(
        "hint: nothing may write to declared data while a run reads it; evaluate again"
    )


def test_code_that_changes_while_it_runs(tmp_path: Path) -> None:
    ctx = project(tmp_path, after="pathlib.Path('train.py').write_text('another')")
    assert refused(ctx, VoidRunError) == (
        "train.py: the code changed while the program ran\n"
        "expected: the file that the run was started with\n"
        "hint: write outputs to other paths than code, and evaluate again"
    )


def test_meddling_with_what_is_kept(tmp_path: Path) -> None:
    after = (
        "import glob\n"
        "for place in glob.glob(os.environ['HOME'] + '/../../evaluation/test'):\n"
        "    open(place + '/metrics.json', 'w').write('{\"accuracy\": 1}')"
    )
    ctx = project(tmp_path, after=after)
    message = refused(ctx, ProgramError)
    assert message.split("\n")[0].endswith(
        "the program changed the folder in which mllock keeps its run"
    )
    assert "found: log.txt, metrics.json" in message


SLICES = '[gates.slices]\nby = ["sex"]\nmetric = "recall"\nmax-difference = 0.05\n'
SECOND = '[data.zz]\nsource = "data/zz.csv"\nrole = "test"\nlabel = "label"\n'
ASKED_ABOUT_THE_SECOND = """\
import glob, json, os, pathlib
if json.loads(pathlib.Path(os.environ["MLLOCK_DATA"]).read_text())["name"] == "zz":
"""


def two_sources(folder: Path, meddling: str, gates: str = SLICES) -> Context:
    """The predictions for `test` fail the gate; asked about `zz`, the program does `meddling`."""
    return project(
        folder,
        gates=gates,
        test=table({"f": (10, 40, 40, 40), "m": (45, 5, 5, 45)}),
        data=SECOND,
        program=ASKED_ABOUT_THE_SECOND + meddling,
        files={"data/zz.csv": TABLE},
    )


@pytest.mark.parametrize("gates", [SLICES, ""], ids=["judged", "not judged"])
def test_a_program_that_rewrites_the_data_of_a_source_before(tmp_path: Path, gates: str) -> None:
    place = tmp_path / "project/data/test.csv"
    # With these labels the predictions that were made before are all right.
    meddling = (
        f"    place = pathlib.Path({str(place)!r})\n"
        "    head, *rows = [line.split(',') for line in place.read_text().splitlines()]\n"
        "    new = [head, *([*row[:2], row[3], row[3]] for row in rows)]\n"
        "    place.write_text(''.join(','.join(row) + '\\n' for row in new))\n"
    )
    ctx = two_sources(tmp_path, meddling, gates)
    assert ctx.project / "data/test.csv" == place
    locked_as = scan(place, name="test").digest
    size = f"1 file, {place.stat().st_size} bytes"
    message = refused(ctx, VoidRunError)
    assert message == (
        "mlproject.lock: data.test: data changed before it was judged: 'data/test.csv' has the "
        f"size that is locked, but other names or bytes\nexpected: {size}, {locked_as}\n"
        f"found: {size}, {scan(place, name='test').digest}\n"
        "hint: nothing may write to declared data until an evaluation has ended; evaluate again"
    )


def test_data_that_is_not_there_to_be_judged(tmp_path: Path) -> None:
    place = tmp_path / "project/data/test.csv"
    ctx = two_sources(tmp_path, f"    os.unlink({str(place)!r})\n")
    assert refused(ctx, VoidRunError).startswith(
        "mlproject.toml: data.test.source: data changed before it was judged: "
    )


def test_data_that_is_put_back_before_it_is_judged(tmp_path: Path) -> None:
    place = tmp_path / "project/data/test.csv"
    ctx = two_sources(
        tmp_path,
        f"    place = pathlib.Path({str(place)!r})\n    place.write_text(place.read_text())\n",
    )
    assert evaluate(ctx).judgement is not None


@pytest.mark.parametrize("file", ["predictions.csv", "metrics.json"])
def test_a_program_that_rewrites_what_was_kept_of_a_source_before(
    tmp_path: Path, file: str
) -> None:
    meddling = (
        "    (place,) = glob.glob(os.environ['HOME'] + '/../../evaluation/test')\n"
        f"    place = pathlib.Path(place, {file!r})\n"
        "    place.write_text(place.read_text().replace('0', '1'))\n"
    )
    message = refused(two_sources(tmp_path, meddling), VoidRunError)
    first, expected, found, hint = message.split("\n")
    assert (first, hint) == (
        f"evaluation/test/{file}: what an evaluation wrote was changed before it was judged",
        "hint: write and remove files only in the folder that the program runs in; evaluate again",
    )
    assert expected.startswith("expected: sha256:")
    assert found.startswith("found: sha256:")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "data",
            "data/test.csv: data.test: data changed while the gates read it\n"
            "hint: nothing may write to declared data until an evaluation has ended; "
            "evaluate again",
        ),
        (
            "predictions",
            "evaluation/test/predictions.csv: what an evaluation wrote was changed before it was "
            "judged\nhint: write and remove files only in the folder that the program runs in; "
            "evaluate again",
        ),
    ],
)
def test_what_changes_while_the_gates_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, message: str
) -> None:
    ctx = project(tmp_path, gates=SLICES)
    whole = judging.judge_run

    def judged_and_written(*options: Any) -> Any:
        # Whoever else runs on this machine: the bytes are the same afterwards.
        (kept,) = (ctx.state / "tmp").glob("*/evaluation/test/predictions.csv")
        place = ctx.project / "data/test.csv" if what == "data" else kept
        good = place.read_bytes()
        place.write_bytes(good.replace(b"1", b"x"))
        try:
            return whole(*options)
        finally:
            place.write_bytes(good)

    monkeypatch.setattr("mllock.workflows.evaluate.judge_run", judged_and_written)
    assert refused(ctx, VoidRunError) == message


def test_a_missing_column_is_said_before_the_program_runs(tmp_path: Path) -> None:
    gates = '[gates.slices]\nby = ["gender", "sex"]\nmetric = "recall"\nmax-difference = 0.1'
    ctx = project(tmp_path, gates=gates, program="raise SystemExit('it ran')")
    message = refused(ctx, SpecError)
    assert message.split("\n")[0] == (
        "mlproject.toml: gates.slices.by: test has no column 'gender'"
    )
