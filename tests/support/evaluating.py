"""Small projects that are trained, and evaluated by one test source or more.

The model is a rule; the evaluation program reads it, the test source that MLLOCK_DATA names, and
writes metrics and predictions. A test gives the program lines of its own, which come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllock.attest.policy import Policy, load_policy
from mllock.train.runs import RunFolder
from mllock.workflows.context import Context
from mllock.workflows.evaluate import EvaluateResult, evaluate
from mllock.workflows.train import train
from support.training import locked, no_layers

__all__ = [
    "EVALUATE",
    "SPEC",
    "TABLE",
    "files",
    "judged_project",
    "policy_of",
    "project",
    "rejudge",
    "table",
]

SPEC = """\
[project]
name = "tiny"
version = "1.2.3"

[environment]
python = "3.11"
dependencies = ["tiny-lib"]
variables = {{ OMP_NUM_THREADS = "1" }}

[data.train]
source = "data/train.csv"

[data.test]
source = "data/test.csv"
role = "test"
label = "label"
{data}
[train]
command = ["python", "train.py"]
code = ["*.py"]
model = "out/model"
metrics = "metrics.json"
params = {{ alpha = 0.5 }}

[evaluate]
command = ["python", "judge.py"]
metrics = "judged/metrics.json"
{evaluate}
{gates}
"""
PREDICTIONS = 'predictions = "judged/predictions.csv"'

TRAIN = """\
import json, pathlib
pathlib.Path("out/model").mkdir(parents=True)
pathlib.Path("out/model/rule.txt").write_text("the prediction is x\\n")
pathlib.Path("metrics.json").write_text(json.dumps({"accuracy": 0.75}))
"""
EVALUATE = """\
import csv, json, os, pathlib
import tiny_lib
data = json.loads(pathlib.Path(os.environ["MLLOCK_DATA"]).read_text())
assert pathlib.Path("out/model/rule.txt").read_text() == "the prediction is x\\n"
rows = list(csv.DictReader(open(data["path"])))
right = [row["label"] == row["x"] for row in rows]
out = pathlib.Path("judged")
out.mkdir()
(out / "metrics.json").write_text(json.dumps({"accuracy": sum(right) / len(right)}))
with open(out / "predictions.csv", "w") as file:
    file.write("prediction\\n" + "".join(row["x"] + "\\n" for row in rows))
print("judged by", data["name"])
"""


def table(groups: Mapping[str, tuple[int, int, int, int]]) -> str:
    """Rows of each group: true positives, false negatives, false positives, true negatives."""
    lines = ["id,sex,label,x"]
    for group, counts in groups.items():
        kinds = zip(counts, ("1,1", "1,0", "0,1", "0,0"), strict=True)
        for number, kind in kinds:
            lines += [f"{len(lines) + place},{group},{kind}" for place in range(number)]
    return "\n".join(lines) + "\n"


TABLE = table({"f": (40, 10, 5, 45), "m": (45, 5, 5, 45)})


def project(
    folder: Path,
    *,
    gates: str = "",
    test: str = TABLE,
    data: str = "",
    evaluate: str = PREDICTIONS,
    program: str = "",
    after: str = "",
    files: Mapping[str, str] | None = None,
) -> Context:
    """A locked project that was trained once. `program` comes before EVALUATE, `after` after it."""
    ctx = locked(
        folder,
        spec=SPEC.format(gates=gates, data=data, evaluate=evaluate),
        program=TRAIN,
        files={
            "data/test.csv": test,
            "judge.py": f"{program}\n{EVALUATE}{after}\n",
            **(files or {}),
        },
    )
    train(ctx, environment_of=no_layers)
    return ctx


def judged_project(folder: Path, **options: Any) -> tuple[Context, RunFolder, EvaluateResult]:
    """The same, evaluated: also the run, and what came out."""
    ctx = project(folder, **options)
    result = evaluate(ctx)
    return ctx, result.run, result


def rejudge(ctx: Context, old: str, new: str) -> EvaluateResult:
    """Change the spec, and evaluate again."""
    path = ctx.project / "mlproject.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return evaluate(ctx)


def policy_of(ctx: Context) -> Policy:
    return load_policy(None, ctx.config_dir, ctx.environ)


def files(run: RunFolder) -> dict[str, bytes]:
    """Everything that evaluating writes, by path."""
    return {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and path.name.startswith(("model-gates", "evaluation"))
    } | {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in sorted((run.path / "evaluation").rglob("*"))
        if path.is_file()
    }
