"""A model folder, its record and its lock: each thing that can be wrong, and who sees it."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from support.tamper import flip
from support.world import MODEL, OTHER, RUN, finding, make_run, paths, verdicts

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.model_signing import sign_model
from mllock.core import tree
from mllock.core.canonical import digest_of, dumps
from mllock.errors import InputError, RunError
from mllock.lock.format import read_lock


def edit_byte(folder: Path) -> None:
    path = folder / "weights.bin"
    path.write_bytes(flip(path.read_bytes(), 7))


def same_stat(folder: Path) -> None:
    path = folder / "weights.bin"
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"\x01")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "a byte": (edit_byte, ["weights.bin"]),
    "a byte, same size and time": (same_stat, ["weights.bin"]),
    "a file added": (lambda f: (f / "sub" / "adapter.bin").write_text("x"), ["sub/adapter.bin"]),
    "a hidden file added": (lambda f: (f / ".git").mkdir(), [".git"]),
    "a file removed": (lambda f: (f / "weights.bin").unlink(), ["weights.bin"]),
    "a folder removed": (lambda f: shutil.rmtree(f / "sub"), ["sub/features.json"]),
    "a file renamed": (
        lambda f: (f / "weights.bin").rename(f / "w.bin"),
        ["w.bin", "weights.bin"],
    ),
    "an exec bit": (lambda f: (f / "weights.bin").chmod(0o755), ["weights.bin"]),
    "an exec bit less": (lambda f: (f / "run.sh").chmod(0o644), ["run.sh"]),
    "an empty folder": (lambda f: (f / "new").mkdir(), ["new"]),
    "a FIFO": (lambda f: os.mkfifo(f / "pipe"), ["pipe"]),
    "a link in place of a file": (
        lambda f: (
            (f / "weights.bin").rename(f.parent / "w"),
            (f / "weights.bin").symlink_to("../w"),
        ),
        ["weights.bin"],
    ),
    "a link in place of a folder": (
        lambda f: ((f / "sub").rename(f.parent / "s"), (f / "sub").symlink_to("../s")),
        ["sub", "sub/features.json"],
    ),
    "a name that hides itself": (
        lambda f: (f / "weights.bin\u202e").write_text(""),
        ["weights.bin\u202e"],
    ),
    "a name that is not UTF-8": (
        lambda f: open(os.fsencode(f) + b"/\xff", "wb").close(),
        ["\udcff"],
    ),
    "names that fold together": (lambda f: (f / "RUN.sh").write_text("x"), ["RUN.sh"]),
}


def test_untouched(world):
    report = world.check(str(world.deployed()))
    assert [f.verdict for f in report.findings] == ["proven"] * 3 + ["not asked"] * 5
    assert report.exit_code() == 0
    assert report.run == RUN
    assert report.record == f"{RUN}/record.sigstore.json (the newest run with this model)"
    assert (report.checked_bytes, report.expected_bytes) == (209, 209)


@pytest.mark.parametrize("what", CHANGES)
def test_the_model(world, what):
    change, differ = CHANGES[what]
    folder = world.deployed()
    change(folder)
    report = world.check(f"path:{folder}")
    assert verdicts(report) == verdicts(world.check(f"path:{world.run}/model")) | {
        "model": "refuted"
    }
    assert paths(report, "model") == differ
    assert report.exit_code() == 1
    assert world.check(f"path:{folder}", accepted=["model"]).exit_code() == 1


def test_a_difference_says_what_was_expected_and_found(world):
    folder = world.deployed()
    (folder / "sub" / "features.json").rename(folder / "features.json")
    (folder / "sub").rmdir()
    (folder / "run.sh").chmod(0o644)
    (new, script, old) = finding(world.check(str(folder)), "model").differences
    digest = old.expected.split(" ")[0]
    assert (new.expected, new.found) == (
        "nothing",
        f"{digest} (6 bytes); the bytes of sub/features.json",
    )
    assert old.found == "nothing; its bytes are at features.json"
    assert script.expected.removesuffix(", executable)") == script.found.removesuffix(")")


GIANT = 1 << 40


@pytest.mark.parametrize("how", ["found", "run", "record"])
@pytest.mark.parametrize("name", ["more.bin", "weights.bin"])
def test_a_sparse_giant_is_not_read(world, name, how):
    """Hashing it would take hours."""
    folder = world.deployed()
    with (folder / name).open("r+b" if name in MODEL else "wb") as file:
        file.truncate(GIANT)
    options = {"run": {"run": RUN}, "record": {"record": world.run / "record.sigstore.json"}}
    report = world.check(str(folder), **options.get(how, {}))
    (difference,) = finding(report, "model").differences
    size = sum(map(len, MODEL.values()))
    assert (difference.path, difference.found) == (
        name,
        f"a file of {GIANT} bytes, not read: all of the model has {size}",
    )
    assert report.exit_code() == 1


def test_a_model_of_another_run_is_found_and_named(world):
    report = world.check(f"{world.other}/model")
    assert (report.exit_code(), report.run) == (0, OTHER)
    report = world.check(f"{world.other}/model", run=RUN)
    assert report.exit_code() == 1
    assert paths(report, "model") == ["weights.bin"]


@pytest.mark.parametrize("name", ["record.json", "params.json", "code.manifest", "log.txt"])
def test_a_changed_file_of_the_run(world, name):
    path = world.run / name
    path.write_bytes(path.read_bytes() + b"\n")
    report = world.check(f"{world.run}/model")
    assert verdicts(report)["lineage"] == "refuted"
    assert paths(report, "lineage") == [f"{RUN}/{name}"]


def test_an_edited_lock_of_the_project(world):
    path = world.project / "mlproject.lock"
    path.write_text(path.read_text().replace('version = "2.0"', 'version = "2.1"'))
    report = world.check(str(world.deployed()))
    assert verdicts(report)["lineage"] == "refuted"
    assert paths(report, "lineage")[0].startswith("mlproject.lock")
    assert report.exit_code() == 1


def test_an_edited_lock_of_the_run(world):
    path = world.run / "mlproject.lock"
    path.write_text(path.read_text().replace('version = "2.0"', 'version = "2.1"'))
    report = world.check(str(world.deployed()))
    assert verdicts(report)["lineage"] == "refuted"
    assert paths(report, "lineage") == [f"{RUN}/mlproject.lock"]


def test_a_lock_that_moved_on_is_not_an_edited_one(world):
    path = world.project / "mlproject.lock"
    path.unlink()
    assert world.check(str(world.deployed())).exit_code() == 0
    (world.run / "mlproject.lock").unlink()
    report = world.check(str(world.deployed()))
    digest = read_lock(world.other / "mlproject.lock").content_digest
    lineage = finding(report, "lineage")
    assert (lineage.verdict, lineage.reason, lineage.cure) == (
        "unproven",
        f"no lock with the content digest {digest} was found",
        "check in the project that trained it, or name its run with --run RUN",
    )
    assert report.exit_code() == 3
    accepted = world.check(str(world.deployed()), accepted=["lineage"])
    assert accepted.exit_code() == 0


def signed_by(world, key):
    path = world.run / "record.sigstore.json"
    path.write_bytes(sign_statement(read_bundle(path.read_bytes()).payload, key))
    model = tree.parse((world.run / "model.manifest").read_bytes())
    (world.run / "model.sig").write_bytes(sign_model(model, "model", key))


def test_a_record_signed_by_another_key(world, other_key, policy):
    signed_by(world, other_key)
    target = f"{world.run}/model"
    report = world.check(target)
    assert [f.verdict for f in report.findings[:3]] == ["unproven"] * 3
    assert finding(report, "signature").cure == (
        "ask its owner, not who sent this, for the public key; then: mllock keys trust FILE "
        f"--project tiny --fingerprint {other_key.fingerprint}"
    )
    assert report.exit_code() == 3
    assert world.check(target, accepted=["signature"]).exit_code() == 3

    report = world.check(target, policy=policy(world.key.public))
    assert verdicts(report)["signature"] == "refuted"
    assert paths(report, "signature") == [f"{RUN}/record.sigstore.json"]
    assert finding(report, "signature").cure == (
        "ask its owner, not who sent this, for the public key; then: mllock keys trust FILE "
        f"--project tiny --fingerprint {other_key.fingerprint} "
        f"--policy {policy(world.key.public)}"
    )
    assert report.exit_code() == 1

    assert world.check(target, policy=policy(other_key.public)).exit_code() == 0
    assert world.check(target, policy=policy(other_key.public, "*")).exit_code() == 0
    assert world.check(target, policy=policy(other_key.public, "else")).exit_code() == 1


def test_an_unknown_key_still_refutes_the_model(world, other_key):
    signed_by(world, other_key)
    (world.run / "model" / "weights.bin").write_bytes(b"")
    report = world.check(f"{world.run}/model")
    assert verdicts(report)["model"] == "refuted"


def test_a_changed_payload(world):
    path = world.run / "record.sigstore.json"
    bundle = json.loads(path.read_bytes())
    payload = read_bundle(path.read_bytes()).payload.replace(b'"alpha":0.5', b'"alpha":0.6')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    path.write_bytes(dumps(bundle))
    (world.run / "record.json").write_bytes(payload)
    report = world.check(f"{world.run}/model")
    assert verdicts(report)["signature"] == "refuted"
    assert "proven" not in [f.verdict for f in report.findings]


def test_a_record_that_is_no_bundle(world):
    (world.run / "record.sigstore.json").write_bytes(b"{}")
    report = world.check(f"{world.run}/model")
    assert verdicts(report)["signature"] == "refuted"
    assert report.exit_code() == 1


def test_the_record_of_another_run(world):
    for name in ("record.sigstore.json", "record.json", "model.manifest", "model.sig"):
        shutil.copy(world.other / name, world.run / name)
    report = world.check(f"{world.run}/model", run=RUN)
    assert verdicts(report)["model"] == "refuted"
    assert paths(report, "model") == ["weights.bin"]
    assert paths(report, "lineage") == [f"{RUN}/record.sigstore.json"]


def test_the_record_of_another_project(world):
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('name = "tiny"', 'name = "else"'))
    report = world.check(f"{world.run}/model")
    signature = finding(report, "signature")
    assert (signature.verdict, signature.reason) == (
        "refuted",
        "the record is of another project",
    )
    assert [(d.expected, d.found) for d in signature.differences] == [("else", "tiny")]


def test_a_record_of_other_materials_than_its_lock(world):
    """Signed well, and false: a wheel that the lock does not have."""
    lock = read_lock(world.run / "mlproject.lock")
    path = world.run / "record.sigstore.json"
    payload = read_bundle(path.read_bytes()).payload
    digest = lock.python.packages[0].wheels[0].hashes["sha256"].encode()
    payload = payload.replace(digest, b"0" * 64)
    path.write_bytes(sign_statement(payload, world.key))
    (world.run / "record.json").write_bytes(payload)
    report = world.check(f"{world.run}/model")
    assert paths(report, "lineage") == ["wheels: other-2.0-py3-none-any.whl (pkg:pypi/other@2.0)"]


def test_a_record_by_its_file_away_from_the_project(world):
    (world.root / "elsewhere").mkdir()
    record = world.run / "record.sigstore.json"
    report = world.check(str(world.deployed()), folder="elsewhere", record=record)
    assert report.exit_code() == 0


def test_a_single_file(whole, tmp_path):
    world = whole.copy(tmp_path / "w")
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('"out/model"', '"out/model.bin"'))
    shutil.copytree(whole.root / "cache", world.root / "cache")
    lock = read_lock(world.project / "mlproject.lock")
    run = "20261124-081501-aaaa"
    make_run(world.context(), lock, run, {"model.bin": b"weights"}, single=True)
    folder = world.project / ".mllock" / "runs" / run / "model"
    assert world.check(str(folder)).exit_code() == 0
    assert world.check(str(folder / "model.bin")).exit_code() == 0
    same = f"1 of 1 files, 7 bytes, are those of run {run}"
    assert finding(world.check(str(folder / "model.bin")), "model").reason == same
    shutil.copy(folder / "model.bin", world.root / "other.name")
    report = world.check(str(world.root / "other.name"), run=run)
    assert finding(report, "model").reason == (
        f'{same}; that it is called "other.name", there "model.bin", is no part of it'
    )
    assert report.exit_code() == 0
    (world.root / "served").mkdir()
    (world.root / "other.name").rename(world.root / "served" / "other.name")
    assert world.check(str(world.root / "served"), run=run).exit_code() == 1
    (folder / "more").write_bytes(b"")
    assert world.check(str(folder)).exit_code() == 1
    (folder / "model.bin").write_bytes(b"Weights")
    report = world.check(str(folder / "model.bin"), run=run)
    assert paths(report, "model") == ["model.bin"]


def test_nothing_to_check_against(world):
    shutil.rmtree(world.project / ".mllock" / "runs")
    with pytest.raises(InputError) as caught:
        world.check(f"path:{world.project}/data")
    assert str(caught.value) == (
        f"path:{world.project}/data: there is no record to check it against\n"
        "hint: name one with --record FILE, or check in the project that trained it"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "20200101"}, 'no run "20200101"'),
        ({"record": Path("/nowhere")}, "no such record"),
        (
            {"run": "x", "record": Path("y")},
            "--run and --record both say what it should be: give one of them",
        ),
    ],
)
def test_records_that_are_not_there(world, options, message):
    with pytest.raises((RunError, InputError)) as caught:
        world.check(str(world.deployed()), **options)
    assert caught.value.message == message


def test_a_document_of_no_known_form_is_no_crash(world, other_key):
    """Signed by a stranger, so that it may say anything: never a traceback, never proven."""
    path = world.run / "record.sigstore.json"
    statement = json.loads(read_bundle(path.read_bytes()).payload)
    definition = statement["predicate"]["buildDefinition"]
    definition["internalParameters"]["environment"] = {"diff_ids": 5, "variables": [1]}
    digest = digest_of({"diff_ids": 5, "variables": [1]}).removeprefix("sha256:")
    definition["resolvedDependencies"][1]["digest"]["sha256"] = digest
    path.write_bytes(sign_statement(dumps(statement), other_key))
    for target in (f"{world.run}/model", f"oci:{world.oci}"):
        report = world.check(target, run=RUN)
        assert "proven" not in [f.verdict for f in report.findings]
        assert report.exit_code() == 1
