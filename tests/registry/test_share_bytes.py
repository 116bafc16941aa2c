"""The run of a shared run, and bytes that are not those of their digests: nothing stays."""

from __future__ import annotations

import copy
import json

import pytest
from support.layers import BUNDLE, MANIFEST, compact, sha
from support.oci_push import opened
from support.reporter import Recorder
from support.tamper import flip
from support.world import RUN

from mllock.errors import ArchiveError, IntegrityError, MllockError, RunError
from mllock.store.oci_json import (
    MEDIA_INDEX,
    MEDIA_SBOM,
)
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.share import FILE, MODEL, SHARE
from mllock.workflows.context import make_context
from mllock.workflows.pull import pull_run

# The run.


def test_a_run_about_another_model(chain, refused):
    chain.model["annotations"] = {"x": "y"}
    chain._put(chain.model, chain.entry("model"))
    chain.save(model=False)
    assert refused().message == "a run of another model"


@pytest.mark.parametrize(
    "title", ["../evil", "record.json", "model.manifest", "probes.jsonl", "failed.json", "x"]
)
def test_files_that_are_not_of_a_run(chain, refused, title):
    chain.run["layers"].append(chain.blob(b"x", FILE, title))
    chain.save()
    error = refused()
    assert (error.message, error.found) == ("a file that is not of a run", title)


def test_a_file_without_a_name(chain, refused):
    chain.run["layers"].append(chain.blob(b"x", FILE))
    chain.save()
    assert refused().found == "no name"


@pytest.mark.parametrize("title", ["mlproject.lock", "record.sigstore.json"])
def test_a_file_is_missing(chain, refused, title):
    chain.run["layers"].remove(chain.file(title))
    chain.save()
    assert refused().message == f"{title} is missing"


@pytest.mark.parametrize("title", ["mlproject.lock", "code.manifest", "log.txt", "params.json"])
def test_a_file_that_is_not_what_the_record_says(chain, refused, title):
    chain.file(title).update(chain.blob(b"other", FILE, title))
    chain.save()
    error = refused(RunError)
    assert error.file == f"{RUN}/{title}"
    assert error.message in (
        "not the bytes that the record names", "not the lock that the record names")  # fmt: skip


def test_a_by_product_is_left_out(chain, refused):
    chain.run["layers"].remove(chain.file("params.json"))
    chain.save()
    assert str(refused(RunError)) == f"{RUN}/params.json: no such file in the run"


def test_a_record_with_another_signature(chain, refused):
    bundle = json.loads(chain.server.blobs["wine", chain.file("record.sigstore.json")["digest"]])
    signature = bundle["dsseEnvelope"]["signatures"][0]
    changed = copy.deepcopy(bundle)
    middle = len(signature["sig"]) // 2
    letter = "A" if signature["sig"][middle] != "A" else "B"
    changed["dsseEnvelope"]["signatures"][0]["sig"] = (
        signature["sig"][:middle] + letter + signature["sig"][middle + 1 :]
    )
    title = "record.sigstore.json"
    chain.file(title).update(chain.blob(compact(changed), FILE, title))
    chain.save()
    error = refused(MllockError)
    assert error.exit_code == 1
    assert error.message.startswith("the record's signature is refused: ")


def test_a_record_that_is_none(chain, refused):
    title = "record.sigstore.json"
    chain.file(title).update(chain.blob(b"{}", FILE, title))
    chain.save()
    refused(RunError)


# Bytes.


@pytest.mark.parametrize("what", ["model", "run", "config"])
@pytest.mark.parametrize("change", ["byte", "longer", "shorter"])
def test_bytes_that_are_not_those_of_the_digest(chain, refused, what, change):
    descriptor = {
        "model": chain.model["layers"][0],
        "run": chain.file("log.txt"),
        "config": chain.model["config"],
    }[what]
    data = chain.server.blobs["wine", descriptor["digest"]]
    chain.server.blobs["wine", descriptor["digest"]] = {
        "byte": flip(data, len(data) // 2),
        "longer": data + b"x",
        "shorter": data[:-1],
    }[change]
    error = refused((IntegrityError, ArchiveError))
    assert error.file == descriptor["digest"]


def test_a_manifest_that_is_not_that_of_the_digest(chain, refused):
    digest = chain.entry("model")["digest"]
    chain.server.manifests["wine", digest] = (MANIFEST, compact(chain.run))
    assert refused(IntegrityError).file == digest


def test_a_layer_of_an_image(chain, tmp_path, whole):
    """The run is there and whole; no layout is."""
    image = chain.read(chain.entry("serve")["digest"])
    digest = image["layers"][0]["digest"]
    chain.server.blobs["wine", digest] = flip(chain.server.blobs["wine", digest], 100)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(whole.root / "config")}
    ctx = make_context(tmp_path, Recorder(), environ)
    with pytest.raises(IntegrityError) as caught:
        pull_run(ctx, parse_reference(f"{chain.server.host}/wine:v1"))
    assert caught.value.file == digest
    assert not (ctx.state / "oci").exists()
    assert [path.name for path in ctx.runs.iterdir()] == [RUN]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (BUNDLE, "not a statement about one of the images"),
        (MEDIA_SBOM, "not a bill of materials about one of the images"),
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(artifactType="application/x"),
        lambda s: s["layers"].append(s["layers"][0]),
        lambda s: s["subject"].update(digest=sha(b"x")),
    ],
)
def test_statements_that_are_none(chain, tmp_path, whole, change, kind, message):
    entry = [e for e in chain.index["manifests"] if e.get("artifactType") == kind][-1]
    statement = chain.read(entry["digest"])
    change(statement)
    chain._put(statement, entry)
    chain.save(model=False, run=False)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(whole.root / "config")}
    ctx = make_context(tmp_path, Recorder(), environ)
    with pytest.raises(ArchiveError) as caught:
        pull_run(ctx, parse_reference(f"{chain.server.host}/wine:v1"))
    assert caught.value.message == message
    assert not (ctx.state / "oci").exists()


def test_the_types_are_those_of_the_specification(chain):
    assert chain.index["artifactType"] == SHARE
    assert chain.model["artifactType"] == MODEL
    with opened(f"{chain.server.host}/wine") as client:
        assert client.document("v1").media_type == MEDIA_INDEX
