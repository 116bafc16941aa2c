"""`no-worse-than` at a release: a run is held to what is released then, not to what was before."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from support.evaluating import judged_project, policy_of, rejudge
from support.training import no_layers

from mllock.attest.bundle import sign_statement
from mllock.attest.keys import load_or_create_key
from mllock.attest.release import make_release
from mllock.core.digest import sha256_of
from mllock.errors import AnswerNoError, MllockError, RunError
from mllock.gates.signed import keep_judgement, read_signed
from mllock.spec.reader import load_spec
from mllock.train.runs import list_runs
from mllock.workflows.context import Context
from mllock.workflows.evaluate import evaluate
from mllock.workflows.measure import refuse_another_measure
from mllock.workflows.release import release_run
from mllock.workflows.releases import all_releases
from mllock.workflows.train import train

GATES = '[gates]\nmetrics = ["accuracy >= 0.5"]\nno-worse-than = "released"\n'
SCORE = """\
params = json.loads(pathlib.Path(os.environ["MLLOCK_PARAMS"]).read_text())
(out / "metrics.json").write_text(json.dumps({"accuracy": params["alpha"]}))
"""


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, str, str]:
    """A project with a run of accuracy 0.5, and one of 0.9: judged while nothing is released."""
    monkeypatch.setattr("mllock.workflows.release._checked", lambda _, run: run.record())
    ctx, bad, _ = judged_project(tmp_path, gates=GATES, after=SCORE)
    good = train(ctx, overrides=["alpha=0.9"], environment_of=no_layers).run
    evaluate(ctx, run=good.id)
    return ctx, bad.id, good.id


def not_released(ctx: Context, run: str, kind: type[MllockError] = AnswerNoError) -> str:
    before = sorted(ctx.releases.rglob("*.json"))
    with pytest.raises(kind) as caught:
        release_run(ctx, run, "production")
    assert sorted(ctx.releases.rglob("*.json")) == before
    return str(caught.value)


def stale(run: str, expected: str, found: str) -> str:
    return (
        f"{run}: gates.no-worse-than: the run was not compared with what is released now\n"
        f"expected: {expected}\nfound: {found}\nhint: mllock evaluate {run}"
    )


def test_a_comparison_with_nothing_ends_with_the_first_release(
    two: tuple[Context, str, str],
) -> None:
    ctx, bad, good = two
    assert release_run(ctx, good, "production").release.number == 1
    first = 'release 1 of stage "production"'
    assert not_released(ctx, bad) == stale(bad, first, "nothing was released yet")
    # What is released can be released again, and is another measure then: it has another number.
    assert release_run(ctx, good, "production").release.number == 2
    judgement = evaluate(ctx, run=bad).judgement
    assert judgement is not None
    assert [one.verdict for one in judgement.results] == ["passed", "failed"]
    assert not_released(ctx, bad).startswith(f"{bad}: model-gates: a gate of its metrics failed\n")
    # One that was compared with a release before.
    rejudged = evaluate(ctx, run=train(ctx, environment_of=no_layers).run.id)
    assert rejudged.judgement is not None
    better = train(ctx, overrides=["alpha=0.95"], environment_of=no_layers).run.id
    evaluate(ctx, run=better)
    release_run(ctx, good, "production")
    assert not_released(ctx, better) == stale(
        better,
        'release 3 of stage "production"',
        'release 2 of stage "production"',
    )
    evaluate(ctx, run=better)
    assert release_run(ctx, better, "production").release.number == 4


def test_a_judgement_that_names_no_measure(two: tuple[Context, str, str]) -> None:
    ctx, bad, _ = two
    run = next(run for run in list_runs(ctx.runs) if run.id == bad)
    signed = read_signed(run, "model", run.record(), policy_of(ctx)).judgement
    inputs = {key: digest for key, digest in signed.inputs.items() if key != "released"}
    assert signed.inputs == {**inputs, "released": sha256_of(b"null")}
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    keep_judgement(run.path, replace(signed, inputs=inputs), run.record(), key)
    assert not_released(ctx, bad) == stale(bad, "nothing is released", "no release is named")


@pytest.mark.parametrize("than", ["released", "production"])
def test_a_release_that_was_seen_is_not_nothing(two: tuple[Context, str, str], than: str) -> None:
    ctx, bad, good = two
    rejudge(ctx, '"released"', f'"{than}"')
    for run in (bad, good):
        evaluate(ctx, run=run)
    path = release_run(ctx, good, "production").path
    data = path.read_bytes()
    path.unlink()
    message = (
        ".mllock/releases: gates.no-worse-than: a release that this machine has seen is not here\n"
        'expected: release 1 of stage "production"\nfound: none of this stage\n'
        'hint: bring it back, e.g. with "mllock pull"'
    )
    assert not_released(ctx, bad, RunError) == message
    with pytest.raises(RunError) as caught:
        evaluate(ctx, run=bad)
    assert str(caught.value) == message
    # An older one is not the newest.
    path.write_bytes(data)
    second = release_run(ctx, good, "production").path
    second.unlink()
    assert not_released(ctx, bad, RunError) == message.replace(
        "release 1 of", "release 2 of"
    ).replace("none of this stage", "release 1")


def test_one_number_twice(two: tuple[Context, str, str]) -> None:
    ctx, bad, good = two
    first = release_run(ctx, good, "production")
    other = replace(first.release, expires=first.release.expires + dt.timedelta(days=1))
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    place = first.path.with_name("x.sigstore.json")
    place.write_bytes(sign_statement(make_release(other), key))
    with pytest.raises(RunError) as caught:
        evaluate(ctx, run=bad)
    assert str(caught.value) == (
        "production/x.sigstore.json: gates.no-worse-than: there are two releases with one number\n"
        'expected: one release 1 of stage "production"\n'
        f"found: production/{first.path.name} as well\nhint: remove the one that is not meant"
    )
    # The other one alone is not what was seen.
    first.path.unlink()
    with pytest.raises(RunError) as caught:
        evaluate(ctx, run=bad)
    assert "\nfound: release 1, another one\n" in str(caught.value)


def test_judged_again_while_it_is_released(two: tuple[Context, str, str]) -> None:
    ctx, bad, _ = two
    run = next(run for run in list_runs(ctx.runs) if run.id == bad)
    spec = load_spec(ctx.project / "mlproject.toml").spec
    state = all_releases(ctx, "tiny")
    with pytest.raises(AnswerNoError) as caught:
        # The statement that is bound is another one than the run has by now.
        refuse_another_measure(spec, run, run.record(), policy_of(ctx), state, ())
    assert str(caught.value) == (
        f"{bad}: the run was judged again meanwhile\nhint: release it again"
    )
