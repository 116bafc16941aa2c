"""`mllock release` and gates: what may not be released, why, and what is said of the rest."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.judged import put_judgement, result_of
from support.releases import put_release
from support.world import OTHER, RUN, World

from mllock.attest.keys import load_or_create_key
from mllock.attest.release import Accepted as Exception_
from mllock.attest.release import ReleasedGates
from mllock.check.report import lines, to_json
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import AnswerNoError
from mllock.gates.types import Kind
from mllock.spec.types import Accepted
from mllock.workflows.release import Released, release_run

NOW = dt.datetime(2026, 11, 25, 22, 0, 0, tzinfo=dt.UTC)
BOTH = '[gates]\nmetrics = ["accuracy >= 0.9"]\n[gates.columns]\n'
MODEL = '[gates]\nmetrics = ["accuracy >= 0.9"]\n'


def declare(world: World, gates: str) -> None:
    path = world.project / "mlproject.toml"
    text = path.read_text().partition("[gates]")[0]
    if "metrics =" not in text:
        text = text.replace("[train]\n", '[train]\nmetrics = "metrics.json"\n')
    path.write_text(text + gates)


def release(world: World, **options: Any) -> Released:
    return release_run(world.context(), RUN, "production", now=NOW, **options)


def refused(world: World, now: dt.datetime = NOW) -> str:
    with pytest.raises(AnswerNoError) as caught:
        release_run(world.context(), RUN, "production", now=now)
    assert not (world.project / ".mllock/releases").exists()
    return str(caught.value)


def test_no_gates_no_word(world: World) -> None:
    declare(world, "")
    put_judgement(world, verdict="failed")
    assert release(world).release.gates == ()


def test_a_release_says_how_gates_came_out(world: World) -> None:
    declare(world, BOTH + '[[gates.accept]]\ngate = "drift"\nuntil = 2027-01-01\nreason = "few"\n')
    data = put_judgement(
        world,
        "data",
        results=(
            result_of("passed", gate="columns.constant", subject="train"),
            *(
                result_of(
                    "accepted",
                    gate="drift.columns",
                    subject=f"train, {name}",
                    accepted=Accepted(gate="drift", until=dt.date(2027, 1, 1), reason="few"),
                )
                for name in ("a", "b")
            ),
        ),
    )
    model = put_judgement(world, "model")
    done = release(world)
    assert done.release.gates == (
        ReleasedGates(
            kind="data",
            statement=data,
            result="WARNED",
            passed=1,
            warned=2,
            accepted=(Exception_(gate="drift", until=dt.date(2027, 1, 1), reason="few"),),
        ),
        ReleasedGates(kind="model", statement=model, result="PASSED", passed=1),
    )
    # Whoever checks what is deployed sees them.
    report = world.check(str(world.deployed()), stage="production", now=NOW)
    assert [line for line in lines(report) if line.startswith("gates ")] == [
        "gates          data: warned (1 passed, 2 warned)",
        "gates          data: drift accepted until 2027-01-01: few",
        "gates          model: passed (1 passed)",
    ]
    assert to_json(report)["gates"] == [
        {
            "kind": "data",
            "result": "WARNED",
            "passed": 1,
            "warned": 2,
            "failed": 0,
            "accepted": [{"gate": "drift", "until": "2027-01-01", "reason": "few"}],
            "statement": data,
        },
        {
            "kind": "model",
            "result": "PASSED",
            "passed": 1,
            "warned": 0,
            "failed": 0,
            "accepted": [],
            "statement": model,
        },
    ]
    assert to_json(world.check(str(world.deployed())))["gates"] is None


def test_what_is_deployed_has_no_gates(world: World) -> None:
    put_release(world)
    report = world.check(str(world.deployed()), stage="production", now=NOW)
    assert report.gates == ()
    assert "gates          none were declared when it was released" in lines(report)
    # Of another run than the released one there is nothing to say.
    put_release(world, OTHER, number=2)
    assert world.check(str(world.deployed()), stage="production", run=RUN, now=NOW).gates is None


def test_not_judged(world: World) -> None:
    declare(world, BOTH)
    assert refused(world) == (
        f"{RUN}: the run was not judged by the gates of its data\nhint: mllock gates {RUN}"
    )
    put_judgement(world, "data")
    assert refused(world) == (
        f"{RUN}: the run was not judged by the gates of its metrics\nhint: mllock evaluate {RUN}"
    )
    put_judgement(world, "model")
    assert len(release(world).release.gates) == 2


@pytest.mark.parametrize("kind", ["data", "model"])
def test_failed(world: World, kind: Kind) -> None:
    declare(world, BOTH)
    put_judgement(world, "data")
    put_judgement(world, "model")
    put_judgement(world, kind, "failed")
    name, cure, command = {
        "data": ("its data", "train with other data", "gates"),
        "model": ("its metrics", "train a better model", "evaluate"),
    }[kind]
    assert refused(world) == (
        f"{RUN}: {kind}-gates: a gate of {name} failed\n"
        "found: metrics                  test: accuracy >= 0.9: accuracy is 0.95\n"
        f"hint: {cure}, or make an exception that ends, [[gates.accept]], and then: "
        f"mllock {command} {RUN}"
    )
    for verdict in ("warned", "not judged", "passed"):
        put_judgement(world, kind, verdict)  # type: ignore[arg-type]
    assert release(world).release.number == 1


def test_judged_by_other_gates(world: World) -> None:
    declare(world, MODEL)
    put_judgement(world)
    old = read_config(world)
    declare(world, MODEL.replace("0.9", "0.95"))
    message = refused(world)
    put_judgement(world)
    assert message == (
        f"{RUN}: model-gates: the run was judged by other gates of its metrics than those of "
        f"mlproject.toml\nexpected: {read_config(world)}\nfound: {old}\n"
        f"hint: mllock evaluate {RUN}"
    )
    assert release(world).release.gates[0].result == "PASSED"


def read_config(world: World) -> str:
    return str(json.loads((world.run / "model-gates.json").read_bytes())["config"])


def test_what_cannot_be_believed(world: World, tmp_path: Path) -> None:
    declare(world, MODEL)
    stranger = load_or_create_key(tmp_path / "stranger", {})
    put_judgement(world, key=stranger)
    assert refused(world).startswith(
        f"{RUN}/model-gates.sigstore.json: the gates of its metrics cannot be believed: the "
        "statement is not trusted: signed by a key that nothing here trusts"
    )
    put_judgement(world, verdict="failed")
    path = world.run / "model-gates.json"
    value = json.loads(path.read_bytes())
    value["results"][0]["verdict"] = "passed"
    path.write_bytes(canonical.dumps(value))
    assert refused(world).startswith(
        f"{RUN}/model-gates.json: the gates of its metrics cannot be believed: not the bytes "
        "that the statement names"
    )
    # That of the other run, which passed.
    put_judgement(world, run=OTHER)
    for name in ("model-gates.json", "model-gates.sigstore.json"):
        shutil.copy(world.other / name, world.run / name)
    assert refused(world).startswith(
        f"{RUN}/model-gates.sigstore.json: the gates of its metrics cannot be believed: a "
        "statement about another model"
    )


def test_exceptions_end(world: World) -> None:
    until = dt.date(2026, 12, 1)
    accept = f'[[gates.accept]]\ngate = "metrics"\nuntil = {until}\nreason = "a small set"\n'
    declare(world, MODEL + accept)
    made = Accepted(gate="metrics", until=until, reason="a small set")
    put_judgement(world, results=(result_of("accepted", accepted=made),))
    late = dt.datetime(2026, 12, 2, tzinfo=dt.UTC)
    place = f"{RUN}: metrics: test: accuracy >= 0.9: the exception for metrics"
    end = f"\nfound: a small set\nhint: mllock evaluate {RUN}"
    assert refused(world, late) == f"{place} is over since 2026-12-01{end}"
    declare(world, MODEL)
    assert refused(world) == f"{place} is not in mlproject.toml any more{end}"
    declare(world, MODEL + accept.replace(str(until), "2026-11-30"))
    assert refused(world) == f"{place} is not in mlproject.toml any more{end}"
    declare(world, MODEL + accept)
    assert release(world).release.gates[0].accepted[0].until == until


def test_another_evaluation_than_the_judged_one(tmp_path: Path) -> None:
    from support.evaluating import judged_project, policy_of

    from mllock.gates.releasable import releasable
    from mllock.spec.reader import load_spec

    ctx, run, _ = judged_project(tmp_path, gates='[gates]\nmetrics = ["accuracy >= 0.8"]')

    def ask() -> tuple[ReleasedGates, ...]:
        spec = load_spec(ctx.project / "mlproject.toml").spec
        return releasable(spec, run, run.record(), policy_of(ctx), NOW.date())

    assert [gates.result for gates in ask()] == ["PASSED"]
    place = run.path / "evaluation/test/metrics.json"
    good = place.read_bytes()
    place.write_bytes(b'{"accuracy":1.0}')
    with pytest.raises(AnswerNoError) as caught:
        ask()
    assert str(caught.value) == (
        f"{run.id}/evaluation/test/metrics.json: the gates of its metrics cannot be believed: not "
        f"the bytes that the statement names\nexpected: {sha256_of(good)}\n"
        f"found: {sha256_of(place.read_bytes())}\nhint: mllock evaluate {run.id}"
    )
    place.write_bytes(good)
    # A good evaluation, signed, and another than that which was judged.
    kept = {name: (run.path / name).read_bytes() for name in JUDGED}
    (ctx.project / "judge.py").write_text(
        (ctx.project / "judge.py").read_text().replace("sum(right)", "0.9 * sum(right)")
    )
    from mllock.workflows.evaluate import evaluate

    evaluate(ctx)
    for name, data in kept.items():
        (run.path / name).write_bytes(data)
    with pytest.raises(AnswerNoError) as caught:
        ask()
    assert str(caught.value) == (
        f"{run.id}/evaluation.sigstore.json: the gates of its metrics cannot be believed: another "
        f"evaluation than the one that was judged\nhint: mllock evaluate {run.id}"
    )
    (run.path / "evaluation.sigstore.json").unlink()
    with pytest.raises(AnswerNoError) as caught:
        ask()
    assert str(caught.value).startswith(f"{run.id}/evaluation.sigstore.json: the gates of")


JUDGED = ("model-gates.json", "model-gates.sigstore.json")
