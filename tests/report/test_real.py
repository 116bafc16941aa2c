"""What `train`, its gates and `evaluate` really leave beside a run, on the page and in the list."""

from __future__ import annotations

import json

import pytest
from support.evaluating import TABLE, judged_project
from support.reports import Parts
from support.typed import Typed, typed_in

from mllock.report.details import Drift, Label, Missing, Slices, details_of
from mllock.train.runs import RunFolder
from mllock.workflows.judged import judged

GATES = """
[gates]
metrics = ["accuracy >= 0.9"]
[gates.leakage]
severity = "warn"
[gates.columns]
[gates.drift]
columns = ["x"]
[gates.slices]
by = ["sex"]
metric = "recall"
max-difference = 0.01
severity = "warn"
"""

MORE = """
[data.more]
source = "data/more.csv"
label = "label"
key = ["id"]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, RunFolder]:
    # The train split has some rows of the test split, few women, and a column that is the label.
    rows = TABLE.splitlines()
    train = [f"{row},{row.split(',')[2]}" for row in (*rows[1:6], *rows[101:])]
    ctx, run, _ = judged_project(
        tmp_path_factory.mktemp("real"),
        gates=GATES,
        data=MORE,
        test="\n".join([f"{rows[0]},copy", *(f"{r},{r.split(',')[2]}" for r in rows[1:])]) + "\n",
        files={
            "data/train.csv": "\n".join([f"{rows[0]},copy", *train]) + "\n",
            "data/more.csv": "\n".join([f"{rows[0]},copy", *train, "999,f,,1,1"]) + "\n",
        },
    )
    return ctx, run


@pytest.fixture
def typed(
    made: tuple[object, RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Typed:
    monkeypatch.delenv("MLLOCK_KEY", raising=False)
    return typed_in(made[0], monkeypatch, capfd)


def test_the_page_draws_all_of_it(typed: Typed, made: tuple[object, RunFolder]) -> None:
    code, html, err = typed("report", "--output", "-")
    assert (code, err) == (0, "")
    parts = Parts(html)
    assert "does not draw" not in html
    assert "What is wrong with this run" not in html
    record = made[1].record()
    assert f"Training run {record.run_id}" in parts.text
    for said in (
        "leakage.rows",
        "drift.columns",
        "recall of each slice with its confidence interval. sex=f: 0.8, ",
        "evaluation on test",
    ):
        assert said in parts.text
    assert html.count("<svg") >= 2


def test_every_detail_is_known(made: tuple[object, RunFolder], typed: Typed) -> None:
    """The forms that the gates write are the forms that are read."""
    from mllock.attest.policy import load_policy

    ctx, run = made
    found = judged(run, run.record(), load_policy(None, ctx.config_dir, ctx.environ))
    assert found.problems == ()
    forms = {result.gate: details_of(result) for result in found.results if result.details}
    assert {gate: type(form) for gate, form in forms.items() if form is not None} == {
        "drift.columns": Drift,
        "drift.label": Drift,
        "drift.missing": Missing,
        "leakage.label": Label,
        "slices": Slices,
    }


def test_the_list_and_the_difference(typed: Typed, made: tuple[object, RunFolder]) -> None:
    (row,) = json.loads(typed("runs", "--json", "--sort", "test/accuracy")[1])
    assert row["gates"] == "failed"
    assert row["metrics"] == {"accuracy": 0.75, "test/accuracy": 0.875}
    code, out, _ = typed("show")
    assert code == 0
    assert "gate         failed: metrics: test: accuracy >= 0.9: accuracy is 0.875" in out
    code, out, _ = typed("report", "--format", "md")
    assert (
        "| ❌ failed | metrics | test: accuracy &#62;= 0.9 | 0.875 | 0.9 | accuracy is 0.875 |"
        in out
    )
