"""An image with the record, statement, name or run of another one: the claim that sees it."""

from __future__ import annotations

import json
import shutil

import pytest
from support.tamper import Layout, flip
from support.world import MODEL, OTHER, RUN, finding, make_run, paths, verdicts

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.core.canonical import dumps
from mllock.errors import InputError
from mllock.lock.format import read_lock
from mllock.workflows.build import build_images

SITE = "opt/venv/lib/python3.11/site-packages"


def oci(world) -> str:
    return f"oci:{world.oci}"


def check(world, **options):
    return world.check(oci(world), **options)


def test_the_record_of_another_run_in_the_image(world):
    layout = Layout(world.oci)
    bundle = (world.other / "record.sigstore.json").read_bytes()
    layout.edit("opt/mllock/record.sigstore.json", lambda _, __: bundle)
    layout.save(repoint=True)
    report = check(world)
    assert verdicts(report)["lineage"] == "refuted"
    assert paths(report, "lineage") == ["/opt/mllock/record.sigstore.json"]


def test_the_image_of_another_run(world):
    report = check(world, run=OTHER)
    assert verdicts(report)["model"] == "refuted"
    assert paths(report, "model") == ["/app/out/model/weights.bin"]
    assert verdicts(report)["lineage"] == "refuted"
    assert "/opt/mllock/record.sigstore.json" in paths(report, "lineage")


def test_no_statement(world):
    Layout(world.oci).remove_statements()
    # The run folder keeps one: still proven by it.
    assert check(world, accepted=["environment"]).exit_code() == 0
    (world.run / "serve-image.sigstore.json").unlink()
    report = check(world, accepted=["environment"])
    assert verdicts(report)["signature"] == "unproven"
    assert verdicts(report)["code"] == "unproven"
    assert verdicts(report)["configuration"] == "unproven"
    assert report.exit_code() == 3


def test_away_from_the_project(world):
    """Only the image and the key: its own record, lock and manifest are enough if signed."""
    (world.root / "elsewhere").mkdir()
    report = world.check(oci(world), folder="elsewhere", accepted=["environment"])
    assert report.exit_code() == 0
    assert report.record == "/opt/mllock/record.sigstore.json (carried in the image)"
    assert report.run == RUN


def test_a_statement_by_another_key(world, other_key, policy):
    layout = Layout(world.oci)
    (entry,) = layout.statements()
    bundle = layout.read(json.loads(layout.read(entry))["layers"][0])
    layout.set_statement(sign_statement(read_bundle(bundle).payload, other_key))
    (world.run / "serve-image.sigstore.json").unlink()
    report = check(world, accepted=["environment"])
    assert verdicts(report)["signature"] == "unproven"
    assert verdicts(report)["code"] == "unproven"
    assert verdicts(report)["model"] == "proven"
    assert report.exit_code() == 3
    report = check(world, policy=policy(world.key.public), accepted=["environment"])
    assert verdicts(report)["signature"] == "refuted"
    assert report.exit_code() == 1


def test_a_training_image_is_refused(world):
    with pytest.raises(InputError) as caught:
        world.check(f"oci:{world.oci}:train")
    assert caught.value.message == (
        "a training image holds no model: there is nothing to check it against"
    )


def test_no_run_and_no_statement(world):
    shutil.rmtree(world.project / ".mllock" / "runs")
    layout = Layout(world.oci)
    layout.remove_statements()
    layout.edit("opt/mllock/record.sigstore.json", lambda _, __: None)
    layout.save()
    with pytest.raises(InputError) as caught:
        check(world)
    assert caught.value.message == "there is no record to check it against"


def trained(whole, place, runtime):
    world = whole.copy(place)
    shutil.copytree(whole.root / "cache", world.root / "cache")
    shutil.rmtree(world.project / ".mllock" / "runs")
    lock = read_lock(world.project / "mlproject.lock")
    make_run(world.context(), lock, RUN, MODEL, runtime=runtime)
    build_images(world.context())
    return world


def test_trained_in_the_image_itself(whole, tmp_path):
    """What a run in the image will say: then the environment is proven, with nothing accepted."""
    world = trained(whole, tmp_path / "w", "docker")
    report = check(world)
    assert [f.verdict for f in report.findings] == ["proven"] * 6 + ["not asked"] * 2
    assert report.exit_code() == 0
    layout = Layout(world.oci)
    layout.edit("usr/lib/libc.so.6", lambda _, data: flip(data))
    layout.save(repoint=True)
    assert check(world, accepted=["environment"]).exit_code() == 1


def test_trained_nobody_knows_where(whole, tmp_path):
    world = trained(whole, tmp_path / "w", "cloud")
    report = check(world)
    assert verdicts(report)["environment"] == "unproven"
    assert "but it was trained elsewhere (cloud)" in finding(report, "environment").reason


def test_a_statement_that_names_another_model(world):
    """Record, statement and image of three origins: one set, or none."""
    statement = world.run / "serve-image.sigstore.json"
    payload = json.loads(read_bundle(statement.read_bytes()).payload)
    payload["predicate"]["materials"]["model"] = "sha256:" + "0" * 64
    layout = Layout(world.oci)
    layout.set_statement(sign_statement(dumps(payload), world.key))
    statement.unlink()
    report = check(world, accepted=["environment"])
    assert verdicts(report)["lineage"] == "refuted"
    assert paths(report, "lineage") == ["image statement: materials.model"]
