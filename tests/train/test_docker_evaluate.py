"""`mllock evaluate` on a real engine: in the environment that trained, with the model read-only."""

from __future__ import annotations

import pytest
from support.containers import Project, go
from support.reporter import Recorder

from mllock.attest.policy import load_policy
from mllock.engine.docker import DockerEngine
from mllock.errors import ProgramError, RunError
from mllock.gates.evaluation import read_evaluation
from mllock.workflows.evaluate import evaluate

DATA = """\
[data.test]
source = "data/test.csv"
role = "test"
label = "label"
"""
EVALUATE = """\
[evaluate]
command = ["sh", "judge.sh"]
metrics = "judged/metrics.json"
predictions = "judged/predictions.csv"
[gates]
metrics = ["recall >= 0.5", "score >= 0.5"]
"""
JUDGE = r"""
cat "$MLLOCK_DATA"; cat "$MLLOCK_PARAMS" | tr -d ' \n'; echo
ls -R data out | tr '\n' ' '; echo
echo interfaces $(ls /sys/class/net)
(echo changed >> data/test.csv) 2>/dev/null && echo "could write data"
mkdir judged
echo '{"score": 0.75}' > judged/metrics.json
printf 'prediction\n1\n0\n' > judged/predictions.csv
"""
TEST = {"data/test.csv": "label\n1\n0\n", "judge.sh": JUDGE}


def test_in_the_environment_that_trained(
    project: Project, engine: DockerEngine, unique: str
) -> None:
    ctx = project(data=DATA, serve=EVALUATE, files=TEST)
    trained = go(ctx, "alpha=0.25")
    result = evaluate(ctx)
    assert (result.run, result.runtime) == (trained.run, "docker")
    run = result.run
    log = (run.path / "evaluation/test/log.txt").read_text().splitlines()
    assert log == [
        '{"name": "test", "path": "data/test.csv"}',
        '{"alpha":0.25}',
        "data: test.csv  out: model  out/model: params weights ",
        "interfaces lo",
    ]
    assert dict(result.sources["test"].metrics) == {"score": 0.75}
    assert result.judgement is not None
    assert [(one.subject, one.verdict) for one in result.judgement.results] == [
        ("test: recall >= 0.5", "passed"),
        ("test: score >= 0.5", "passed"),
    ]
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    assert read_evaluation(run, run.record(), policy) is not None
    assert isinstance(ctx.reporter, Recorder)
    assert f"note: runtime: docker {engine.info.version} (in the train image)" in ctx.reporter.lines
    # What fails keeps its log, and a command that is not there says so.
    (ctx.project / "judge.sh").write_text("echo no luck; exit 3")
    with pytest.raises(ProgramError) as caught:
        evaluate(ctx)
    assert str(caught.value) == (
        f".mllock/runs/{run.id}/evaluation-failed.log: the evaluation program failed with exit "
        "code 3\nfound: \n    no luck"
    )
    (ctx.project / "judge.sh").write_text(JUDGE.replace("judged/predictions.csv", "judged/x.csv"))
    with pytest.raises(ProgramError) as caught:
        evaluate(ctx)
    assert caught.value.message == "the program ended well and wrote no predictions"
    # Another model than the record's never reaches the engine.
    weights = run.path / "model" / "weights"
    weights.write_text("another")
    with pytest.raises(RunError) as error:
        evaluate(ctx)
    assert error.value.file == "out/model/weights"
    assert error.value.message == "not the file that the run's record names"
