"""What lies in the folder of a run beside its record: gone, added, changed, or another run's."""

from __future__ import annotations

import base64
import json
import os
import shutil

import pytest
from support.world import RUN, finding, verdicts

from mllock.attest.model_signing import sign_model
from mllock.core.canonical import dumps
from mllock.core.tree import TreeManifest
from mllock.errors import InputError


@pytest.mark.parametrize("prefix", ["path:", ""])
@pytest.mark.parametrize("part", ["", "model"])
def test_a_run_that_shows_the_model_of_another(world, part, prefix):
    """The model of the good run would be proven, whichever run was named."""
    bad, good = world.other / part, world.run / part
    shutil.rmtree(bad)
    bad.symlink_to(good)
    what = "a link where a model is expected" if part else "a link inside of a run"
    for options in ({}, {"run": RUN}, {"record": world.run / "record.sigstore.json"}):
        with pytest.raises(InputError) as caught:
            world.check(f"{prefix}{world.other}/model", **options)
        assert str(caught.value) == (
            f"{bad}: {what}\nfound: a link to {good}\n"
            f"hint: name what it leads to: path:{world.run}/model"
        )


KEPT = [
    "code.manifest",
    "log.txt",
    "mlproject.lock",
    "model.manifest",
    "params.json",
    "record.json",
]


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("what", ["the model", "a copy", "the image"])
def test_a_file_that_the_run_no_longer_has(world, name, what):
    """Evidence that is gone proves nothing, and a byte of it would have refuted."""
    target = {
        "the model": f"{world.run}/model",
        "a copy": f"{world.deployed()}",
        "the image": f"oci:{world.oci}",
    }[what]
    (world.run / name).unlink()
    found = finding(world.check(target, run=RUN), "lineage")
    assert (found.verdict, found.reason, found.cure) == (
        "unproven",
        f"missing from the run folder {RUN}: {name}",
        "bring them back from a copy of the run: the record has their digests",
    )


def test_all_that_is_gone_is_named(world):
    for name in KEPT:
        (world.run / name).unlink()
    report = world.check(f"{world.run}/model")
    assert finding(report, "lineage").reason == (
        f"missing from the run folder {RUN}: {', '.join(KEPT)}"
    )
    assert verdicts(report)["model"] == "proven"
    assert report.exit_code() == 3
    assert world.check(f"{world.run}/model", accepted=["lineage"]).exit_code() == 0


@pytest.mark.parametrize("name", ["metrics.json", "failed.json"])
def test_a_file_that_the_run_never_had(world, name):
    (world.run / name).write_text('{"accuracy": 1}')
    report = world.check(f"{world.run}/model")
    (difference,) = finding(report, "lineage").differences
    assert (difference.path, difference.expected) == (f"{RUN}/{name}", "nothing")
    assert report.exit_code() == 1


@pytest.mark.parametrize("name", KEPT)
def test_a_file_of_the_run_that_is_a_link_to_the_same(world, name):
    """What it leads to may be changed without the run folder."""
    (world.run / name).rename(world.root / name)
    (world.run / name).symlink_to(world.root / name)
    found = finding(world.check(f"{world.run}/model"), "lineage")
    if name == "mlproject.lock":
        assert found.verdict == "refuted"
    assert [(d.path, d.found) for d in found.differences] == [(f"{RUN}/{name}", "a link")]


def flip_payload(data: bytes, _: object) -> bytes:
    bundle = json.loads(data)
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"]).replace(b"weights.bin", b"weights.bim")
    envelope["payload"] = base64.b64encode(payload).decode()
    return dumps(bundle)


MODEL_SIGNATURES = {
    "no JSON": (lambda _, __: b"x", "not a model signature: "),
    "a name": (flip_payload, "the signature does not fit"),
    "another key": (
        lambda _, key: sign_model(TreeManifest.of(()), "model", key),
        "signed by another key: ",
    ),
}


@pytest.mark.parametrize("how", MODEL_SIGNATURES)
def test_an_edited_model_signature(world, other_key, how):
    change, message = MODEL_SIGNATURES[how]
    path = world.run / "model.sig"
    path.write_bytes(change(path.read_bytes(), other_key))
    report = world.check(str(world.deployed()), run=RUN)
    (difference,) = finding(report, "lineage").differences
    assert (difference.path, difference.expected) == (
        f"{RUN}/model.sig",
        "the signature of the record's signer about this model",
    )
    assert difference.found.startswith(message)
    assert report.exit_code() == 1


def test_the_model_signature_of_another_run(world):
    shutil.copy(world.other / "model.sig", world.run / "model.sig")
    (difference,) = finding(world.check(f"{world.run}/model"), "lineage").differences
    assert (difference.path, difference.found) == (
        f"{RUN}/model.sig",
        "a signature of another model",
    )


def test_a_model_signature_is_not_asked_for(world):
    """It is for other tools: the record says the same and more."""
    (world.run / "model.sig").unlink()
    assert world.check(f"{world.run}/model").exit_code() == 0


@pytest.mark.parametrize("name", [*KEPT, "metrics.json", "model.sig", "probes.json"])
def test_a_fifo_in_the_run_is_not_waited_for(world, name):
    (world.run / name).unlink(missing_ok=True)
    os.mkfifo(world.run / name)
    found = finding(world.check(str(world.deployed()), run=RUN), "lineage")
    assert found.verdict == "refuted"
    assert {d.path for d in found.differences} == {f"{RUN}/{name}"}
    assert found.differences[-1].found.endswith("a FIFO")


def test_a_log_is_hashed_whatever_its_size(world):
    with (world.run / "log.txt").open("ab") as log:
        log.truncate(100 * 1024 * 1024)
    (difference,) = finding(world.check(f"{world.run}/model"), "lineage").differences
    assert difference.path == f"{RUN}/log.txt"
    assert difference.found.startswith("sha256:")
    os.truncate(world.run / "log.txt", 1 << 40)
    (difference,) = finding(world.check(f"{world.run}/model"), "lineage").differences
    assert difference.found == "more than 68719476736 bytes"
