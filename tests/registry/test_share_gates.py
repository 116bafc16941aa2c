"""Gates and evaluations travel with their run, and arrive as they were signed, or not at all."""

from __future__ import annotations

import json
import shutil

import pytest
from support.chain import TITLE, Chain
from support.judged import put_evaluation, put_judgement
from support.layers import sha
from support.sharing import listing, pull, push
from support.world import OTHER, RUN, World

from mllock.attest.policy import load_policy
from mllock.core import canonical
from mllock.errors import MllockError, RunError
from mllock.gates.evaluation import read_evaluation
from mllock.gates.signed import read_signed
from mllock.store.registry.share import FILE, is_run_file
from mllock.workflows.judged import judged as judged_of


@pytest.fixture
def judged(world: World) -> World:
    put_judgement(world, "data", "warned")
    put_judgement(world, "model")
    put_evaluation(world)
    return world


def test_to_another_machine(judged, registry, elsewhere):
    push(judged, registry.host, run=RUN)
    there = elsewhere(judged)
    run = pull(there, registry.host).run
    assert listing(run.path) == listing(judged.run)
    policy = load_policy(None, there.config_dir, there.environ)
    assert judged_of(run, run.record(), policy).state == "warned"
    found = read_evaluation(run, run.record(), policy)
    assert found is not None
    assert dict(found.sources["train"].metrics) == {"accuracy": 0.95}


def test_what_is_not_as_it_was_signed_is_not_pushed(judged, registry):
    (judged.run / "evaluation/train/metrics.json").write_text('{"accuracy": 1}')
    with pytest.raises(RunError) as caught:
        push(judged, registry.host, run=RUN)
    assert caught.value.file == f"{RUN}/evaluation/train/metrics.json"
    assert caught.value.message == "not the bytes that the statement names"


def test_what_has_no_statement_stays(judged, registry, elsewhere):
    (judged.run / "evaluation.sigstore.json").unlink()
    (judged.run / "evaluation-failed.log").write_text("no")
    push(judged, registry.host, run=RUN)
    run = pull(elsewhere(judged), registry.host).run
    assert not (run.path / "evaluation").exists()
    assert not (run.path / "evaluation-failed.log").exists()


@pytest.mark.parametrize(
    ("title", "travels"),
    [
        ("model-gates.json", True),
        ("evaluation/test/predictions.parquet", True),
        ("evaluation/test/model.bin", False),
        ("evaluation/../record.json", False),
        ("evaluation/test/../metrics.json", False),
        ("evaluation/Test/metrics.json", False),
        ("evaluation/test/metrics.json\n", False),
        ("/evaluation/test/metrics.json", False),
        ("probes.json", False),
    ],
)
def test_names_that_travel(title: str, travels: bool) -> None:
    assert is_run_file(title) == travels


def replaced(chain: Chain, title: str, data: bytes) -> None:
    """Another file of that name; None takes it away."""
    layer = chain.file(title)
    chain.run["layers"] = [
        chain.blob(data, FILE, title) if one is layer else one for one in chain.run["layers"]
    ]
    chain.save(model=False)


@pytest.fixture
def shared(judged, server, elsewhere):
    """`shared(change)`: push, change what the registry has, pull; what is said, and no more."""
    push(judged, server.host, run=RUN)
    chain = Chain(server)

    def go(change) -> str:
        change(chain)
        ctx = elsewhere(judged)
        with pytest.raises(MllockError) as caught:
            pull(ctx, server.host)
        assert not ctx.state.exists()
        return f"{caught.value.file}: {caught.value.message}"

    return go


def better(chain: Chain) -> None:
    data = chain.server.blobs["wine", chain.file("data-gates.json")["digest"]]
    value = json.loads(data)
    value["results"][0]["verdict"] = "passed"
    replaced(chain, "data-gates.json", canonical.dumps(value))


def test_a_better_result(shared):
    assert shared(better) == f"{RUN}/data-gates.json: not the bytes that the statement names"


def test_another_prediction(shared):
    name = "evaluation/train/predictions.csv"
    assert shared(lambda chain: replaced(chain, name, b"prediction\n1\n1\n")) == (
        f"{RUN}/{name}: not the bytes that the statement names"
    )


def test_gates_of_another_run(shared, judged):
    put_judgement(judged, run=OTHER)

    def exchange(chain: Chain) -> None:
        for name in ("model-gates.json", "model-gates.sigstore.json"):
            replaced(chain, name, (judged.other / name).read_bytes())

    assert shared(exchange) == (f"{RUN}/model-gates.sigstore.json: a statement about another model")


def test_a_file_that_is_no_part_of_a_run(shared):
    def more(chain: Chain) -> None:
        chain.run["layers"].append(chain.blob(b"x", FILE, "evaluation/test/../../x"))
        chain.save(model=False)

    assert shared(more).endswith(": a file that is not of a run")


def test_a_blob_that_is_another(shared):
    def lie(chain: Chain) -> None:
        digest = chain.file("evaluation/train/predictions.csv")["digest"]
        chain.server.blobs["wine", digest] = b"prediction\n1\n1\n"

    assert "other bytes than the digest names" in shared(lie)


def test_check_finds_what_was_changed_beside_a_run(judged):
    target = f"path:{judged.run / 'model'}"
    assert judged.check(target).findings[1].verdict == "proven"
    policy = load_policy(None, judged.context().config_dir, {})
    signed = read_signed(judged_run(judged), "data", judged_run(judged).record(), policy)
    assert signed.judgement.warns
    (judged.run / "evaluation/train/predictions.csv").write_text("prediction\n1\n1\n")
    shutil.copy(judged.run / "model-gates.json", judged.run / "data-gates.json")
    lineage = judged.check(target).findings[1]
    assert (lineage.claim, lineage.verdict) == ("lineage", "refuted")
    assert [difference.path for difference in lineage.differences] == [
        f"{RUN}/data-gates.json",
        f"{RUN}/evaluation/train/predictions.csv",
    ]


def judged_run(world: World):
    from mllock.train.runs import RunFolder

    return RunFolder(world.run)


def test_titles_are_in_the_manifest(judged, server):
    push(judged, server.host, run=RUN)
    titles = [layer["annotations"][TITLE] for layer in Chain(server).run["layers"]]
    assert titles == sorted(titles)
    assert "evaluation/train/log.txt" in titles
    blob = Chain(server).file("evaluation/train/predictions.csv")
    assert blob["digest"] == sha(b"prediction\n1\n0\n")
