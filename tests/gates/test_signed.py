"""Signed judgements beside a run: believed as they were written, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.judged import DAY, put_judgement, result_of
from support.world import OTHER, World

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.keys import load_or_create_key
from mllock.attest.policy import Policy, load_policy
from mllock.attest.test_result import make_test_result, read_test_result
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import RunError
from mllock.gates.config import config_of
from mllock.gates.signed import SignedJudgement, read_signed
from mllock.gates.types import Kind
from mllock.spec.reader import load_spec
from mllock.spec.types import (
    DataSource,
    DriftGate,
    Evaluate,
    Gates,
    LeakageGate,
    MetricGate,
    SlicesGate,
)
from mllock.train.runs import RunFolder
from mllock.workflows.judged import judged


def policy_of(world: World) -> Policy:
    ctx = world.context()
    return load_policy(None, ctx.config_dir, ctx.environ)


def read(world: World, kind: Kind = "model") -> SignedJudgement:
    run = RunFolder(world.run)
    return read_signed(run, kind, run.record(), policy_of(world))


def state_of(world: World) -> str:
    run = RunFolder(world.run)
    return judged(run, run.record(), policy_of(world)).state


def refused(world: World, kind: Kind = "model") -> str:
    """Why it is not believed; to people it is then neither good nor bad."""
    with pytest.raises(RunError) as caught:
        read(world, kind)
    assert state_of(world) in ("not judged", "damaged", "not trusted")
    return str(caught.value)


def test_what_was_written_is_read(world: World) -> None:
    digest = put_judgement(world)
    found = read(world)
    assert (
        found.digest
        == digest
        == read_bundle((world.run / "model-gates.sigstore.json").read_bytes()).payload_digest
    )
    assert found.judgement.results == (result_of(),)
    assert found.judgement.day == DAY
    assert found.statement.result == "PASSED"
    assert found.statement.passed == ("metrics: test: accuracy >= 0.9",)
    assert sorted(found.statement.configuration) == ["config", "data/train", "record", "results"]


@pytest.mark.parametrize(
    ("data", "model", "state"),
    [
        (None, None, "not judged"),
        ("passed", None, "passed"),
        (None, "failed", "failed"),
        ("passed", "warned", "warned"),
        ("accepted", "passed", "warned"),
        ("passed", "not judged", "warned"),
        ("failed", "passed", "failed"),
        ("passed", "passed", "passed"),
    ],
)
def test_the_state_of_a_run(world: World, data: str, model: str, state: str) -> None:
    for kind, verdict in (("data", data), ("model", model)):
        if verdict is not None:
            put_judgement(world, kind, verdict)
    assert state_of(world) == state


def test_details_that_were_changed(world: World) -> None:
    put_judgement(world, verdict="failed")
    path = world.run / "model-gates.json"
    value = json.loads(path.read_bytes())
    value["results"][0]["verdict"] = "passed"
    path.write_bytes(canonical.dumps(value))
    statement = read_test_result(
        read_bundle((world.run / "model-gates.sigstore.json").read_bytes()).payload
    )
    assert refused(world) == (
        f"{world.run.name}/model-gates.json: not the bytes that the statement names\n"
        f"expected: {statement.configuration['results']}\n"
        f"found: {sha256_of(path.read_bytes())}"
    )


@pytest.mark.parametrize("name", ["model-gates.json", "model-gates.sigstore.json"])
def test_half_of_it_is_nothing(world: World, name: str) -> None:
    put_judgement(world)
    (world.run / name).unlink()
    assert refused(world) == f"{world.run.name}/{name}: no such file in the run"
    (world.run / name).mkdir()
    assert refused(world) == (f"{world.run.name}/{name}: not a regular file\nfound: a folder")


def test_of_another_run(world: World) -> None:
    put_judgement(world, run=OTHER)
    for name in ("model-gates.json", "model-gates.sigstore.json"):
        shutil.copy(world.other / name, world.run / name)
    assert refused(world) == (
        f"{world.run.name}/model-gates.sigstore.json: a statement about another model\n"
        f"expected: {RunFolder(world.run).record().model}\n"
        f"found: {RunFolder(world.other).record().model}"
    )


def test_of_another_record_about_the_same_model(world: World) -> None:
    put_judgement(world)
    path = world.run / "model-gates.sigstore.json"
    value = read_test_result(read_bundle(path.read_bytes()).payload)
    other = {**value.configuration, "record": sha256_of(b"another")}
    path.write_bytes(
        sign_statement(make_test_result(replace(value, configuration=other)), world.key)
    )
    assert refused(world) == (
        f"{world.run.name}/model-gates.sigstore.json: record: a statement about something else\n"
        f"expected: {RunFolder(world.run).record().digest}\nfound: {sha256_of(b'another')}"
    )


def test_of_other_data(world: World) -> None:
    put_judgement(world, inputs={"data/train": sha256_of(b"another")})
    assert refused(world) == (
        f"{world.run.name}/model-gates.sigstore.json: data/train: a statement about something "
        f"else\nexpected: {sha256_of(b'another')}\n"
        f"found: {RunFolder(world.run).record().data['train']}"
    )


def test_the_statement_says_more_than_the_details(world: World) -> None:
    put_judgement(world)
    path = world.run / "model-gates.sigstore.json"
    value = read_test_result(read_bundle(path.read_bytes()).payload)
    more = replace(value, passed=(*value.passed, "slices: test: recall by sex"))
    path.write_bytes(sign_statement(make_test_result(more), world.key))
    message = (
        f"{world.run.name}/model-gates.sigstore.json: the statement and its details do not say "
        "the same"
    )
    assert refused(world) == message
    # One kind in the place of the other.
    put_judgement(world, "data")
    for name in ("gates.json", "gates.sigstore.json"):
        shutil.copy(world.run / f"data-{name}", world.run / f"model-{name}")
    assert refused(world) == message


def test_somebody_elses_key(world: World, tmp_path: Path) -> None:
    stranger = load_or_create_key(tmp_path / "stranger", {})
    put_judgement(world, key=stranger)
    assert refused(world) == (
        f"{world.run.name}/model-gates.sigstore.json: the statement is not trusted: signed by a "
        "key that nothing here trusts; without a policy, this machine's own key is\n"
        f"found: {stranger.fingerprint}\n"
        "hint: ask its owner, not who sent this, for the public key; then: mllock keys trust FILE "
        f"--project tiny --fingerprint {stranger.fingerprint}"
    )


def test_one_byte_of_the_signature(world: World) -> None:
    put_judgement(world)
    path = world.run / "model-gates.sigstore.json"
    value = json.loads(path.read_bytes())
    signature = value["dsseEnvelope"]["signatures"][0]
    signature["sig"] = ("A" if signature["sig"][9] != "A" else "B").join(
        (signature["sig"][:9], signature["sig"][10:])
    )
    path.write_bytes(canonical.dumps(value))
    assert refused(world) == (
        f"{world.run.name}/model-gates.sigstore.json: the statement is not trusted: the signature "
        f"does not fit: the payload or the signature was changed\nfound: {world.key.fingerprint}"
    )


def test_the_config_is_what_was_asked(whole: World) -> None:
    spec = load_spec(whole.project / "mlproject.toml").spec
    gates = Gates(
        metrics=("accuracy >= 0.9",), leakage=LeakageGate(), drift=DriftGate(columns=("age",))
    )

    def both(**changes: object) -> tuple[str, str]:
        changed = replace_of(spec, **{"gates": gates, **changes})
        return config_of(changed, "data"), config_of(changed, "model")

    data, model = both()
    assert data != model
    # As it means, not as it is written; exceptions and programs do not matter.
    same = replace_of(gates, metrics=(MetricGate(that="  accuracy  >= 0.9 ", severity="block"),))
    assert both(gates=same) == (data, model)
    # Each matters to its own kind.
    assert both(gates=replace_of(gates, leakage=LeakageGate(max_shared=0.1)))[1] == model
    assert both(gates=replace_of(gates, leakage=LeakageGate(max_shared=0.1)))[0] != data
    for other in ("accuracy >= 0.91", MetricGate(that="accuracy >= 0.9", severity="warn")):
        changed = both(gates=replace_of(gates, metrics=(other,)))
        assert changed[0] == data
        assert changed[1] != model
    sliced = SlicesGate(by=("sex",), metric="recall", max_difference=0.1)
    changed = both(gates=replace_of(gates, slices=sliced))
    assert changed[0] != data  # drift looks at the columns of slices
    assert changed[1] != model
    assert both(evaluate=Evaluate(command=("x",), metrics="m.json"))[1] != model
    evaluated = Evaluate(command=("x",), metrics="m.json", positive="yes")
    assert both(evaluate=replace_of(evaluated, positive=1))[1] != both(evaluate=evaluated)[1]
    for changed in (
        both(data={"train": DataSource(source="data/train.csv", label="a")}),
        both(data={"train": DataSource(source="data/train.csv", role="test")}),
    ):
        assert changed[0] != data
        assert changed[1] != model
    assert both(data={"train": DataSource(source="elsewhere.csv")}) == (data, model)


def replace_of(value: object, **changes: object) -> object:
    import msgspec

    return msgspec.structs.replace(value, **changes)
