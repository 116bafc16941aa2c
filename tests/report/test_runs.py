"""`mllock runs` for iterations: columns, order, gates, releases; and `show` of what was judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.judged_runs import DATA_RESULTS, put_all, put_evaluation, put_gates, put_statement
from support.releases import put_release, put_revocations
from support.typed import Typed
from support.world import OTHER, RUN, World

from mllock.attest.keys import load_or_create_key
from mllock.core.digest import sha256_of


def table(typed: Typed, *words: str) -> list[list[str]]:
    code, out, err = typed("runs", *words)
    assert (code, err) == (0, "")
    return [line.split() for line in out.splitlines()]


def test_columns(typed: Typed, world: World) -> None:
    put_release(world)
    header, newest, older = table(typed)
    assert header == [
        *("RUN", "STATUS", "GATES", "RELEASED"),
        *("r2", "rmse", "test/accuracy", "test/recall", "alpha", "MODEL"),
    ]
    assert newest[:-1] == [
        *(RUN, "good", "failed", "production"),
        *("0.875", "0.25", "0.93", "0.85", "0.5"),
    ]
    assert older[:-1] == [OTHER, "good", "-", "-", "0.75", "0.5", "-", "-", "0.5"]


def test_order(typed: Typed) -> None:
    def order(*words: str) -> list[str]:
        return [line[0] for line in table(typed, *words)[1:]]

    assert order() == [RUN, OTHER]
    assert order("--reverse") == [OTHER, RUN]
    # Less rmse is better, more r2 is.
    assert order("--sort", "rmse") == order("--sort", "r2") == [RUN, OTHER]
    assert order("--sort", "rmse", "--reverse") == [OTHER, RUN]
    assert order("--sort", "accuracy", "--reverse") == [RUN, OTHER]
    assert table(typed, "--sort", "recall")[0][4] == "test/recall"


def test_a_condition_says_which_way_is_better(typed: Typed, world: World) -> None:
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text() + '\n[gates]\nmetrics = ["r2 <= 0.8"]\n')
    assert [line[0] for line in table(typed, "--sort", "r2")[1:]] == [OTHER, RUN]


def test_unknown_metrics(typed: Typed, world: World) -> None:
    assert typed("runs", "--sort", "rsme") == (
        2,
        "",
        'error: no run has the metric "rsme"\n'
        "expected: r2, rmse, test/accuracy, test/recall\n"
        'hint: did you mean "rmse"?\n',
    )
    put_evaluation(world.run, {"a": {"auc": 1.0}, "b": {"auc": 0.5}}, world.key)
    assert typed("runs", "--sort", "auc") == (
        2,
        "",
        'error: more than one source has the metric "auc"\nfound: a/auc, b/auc\n',
    )


def test_what_has_no_column_is_named(typed: Typed, world: World) -> None:
    put_evaluation(world.run, {"test": {f"m{n:02}": n / 2 for n in range(20)}}, world.key)
    code, out, err = typed("runs", "--sort", "m19")
    assert code == 0
    assert out.splitlines()[0].split()[4] == "test/m19"
    assert err == (
        "not shown: "
        + ", ".join(f"test/m{n:02}" for n in range(7, 19))
        + ", alpha (--json has everything)\n"
    )


def test_json(typed: Typed, world: World) -> None:
    put_release(world, OTHER)
    put_revocations(world, RUN)
    newest, older = json.loads(typed("runs", "--json", "--sort", "rmse")[1])
    model = newest.pop("model")
    assert model.startswith("sha256:")
    assert newest == {
        "run": RUN,
        "status": "good",
        "metrics": {"rmse": 0.25, "r2": 0.875, "test/accuracy": 0.93, "test/recall": 0.85},
        "params": {"alpha": 0.5},
        "problem": None,
        "gates": "failed",
        "released": [],
        "revoked": True,
    }
    assert (older["gates"], older["released"], older["revoked"]) == (
        "not judged",
        ["production"],
        False,
    )


def lines(typed: Typed, name: str) -> list[str]:
    code, out, _ = typed("show", RUN)
    assert code == 0
    return [line[13:] for line in out.splitlines() if line[:13].rstrip() == name]


def test_show(typed: Typed) -> None:
    assert lines(typed, "evaluation") == ["test: accuracy = 0.93", "test: recall = 0.85"]
    assert lines(typed, "gates") == [
        "failed: 1 failed, 1 accepted, 2 passed, 3 warned, 1 not judged"
    ]
    assert (
        lines(typed, "gate")[0] == "failed: leakage.rows: train, test: 2 rows of test are in train"
    )
    assert len(lines(typed, "gate")) == 6
    assert lines(typed, "judged by") == lines(typed, "problem") == []
    value = json.loads(typed("show", RUN, "--json")[1])
    assert value["evaluations"] == {"test": {"accuracy": 0.93, "recall": 0.85}}
    assert value["gates"]["state"] == "failed"
    assert value["gates"]["results"][0] == {
        "gate": "leakage.rows",
        "subject": "train, test",
        "verdict": "failed",
        "summary": "2 rows of test are in train",
        "measured": 0.02,
        "limit": 0,
        "rows": 2,
    }


def test_gates_by_another_key_are_said_to_be(typed: Typed, world: World, tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "somebody", {})
    put_gates(world.run, "data", DATA_RESULTS, key)
    assert lines(typed, "judged by") == [
        f"{key.public.fingerprint} (data-gates.sigstore.json): unknown"
    ]
    # Neither what it calls good nor what it calls bad counts.
    assert lines(typed, "gates")[0].startswith("not trusted: 1 failed")
    assert [row["gates"] for row in json.loads(typed("runs", "--json")[1])] == [
        "not trusted",
        "not judged",
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("data-gates.json", b'"failed"', b'"passed"', "not the bytes that the statement names"),
        (
            "evaluation/test/metrics.json",
            b"0.93",
            b"0.99",
            "not the bytes that the statement names",
        ),
        ("data-gates.sigstore.json", None, None, "no such file in the run"),
        ("data-gates.json", None, None, "no such file in the run"),
        ("evaluation/test/metrics.json", None, None, "no such file in the run"),
    ],
)
def test_what_was_tampered_with_is_not_shown(
    typed: Typed, world: World, name: str, old: bytes | None, new: bytes | None, problem: str
) -> None:
    path = world.run / name
    if old is None or new is None:
        path.unlink()
    else:
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))
    assert lines(typed, "problem") == [f"{RUN}/{name}: {problem}"]
    # A gate that failed is not made better by what else is wrong.
    state = "failed" if name.startswith("evaluation") else "damaged"
    assert lines(typed, "gates")[0].startswith(state)
    assert table(typed)[1][2] == state


def test_the_statement_of_another_run(typed: Typed, world: World) -> None:
    put_all(world.other, world.key)
    for name in ("data-gates.json", "data-gates.sigstore.json"):
        (world.run / name).write_bytes((world.other / name).read_bytes())
    assert lines(typed, "problem") == [
        f"{RUN}/data-gates.sigstore.json: a statement about another model"
    ]


def test_a_statement_that_says_something_else(typed: Typed, world: World) -> None:
    """Signed, about this run, and by digest about this document; only its tests are others."""
    document = (world.run / "data-gates.json").read_bytes()
    put_statement(
        world.run, "data-gates", world.key, {"results": sha256_of(document)}, passed=("a: b",)
    )
    assert lines(typed, "problem") == [
        f"{RUN}/data-gates.sigstore.json: the statement and its details do not say the same"
    ]


def test_a_statement_about_other_data(typed: Typed, world: World) -> None:
    put_statement(world.run, "evaluation", world.key, {"data/train": sha256_of(b"other")})
    assert lines(typed, "problem") == [
        f"{RUN}/evaluation.sigstore.json: a statement about something else"
    ]
