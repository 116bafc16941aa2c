"""Something else than a run, shared by a registry or whoever writes to it: nothing stays."""

from __future__ import annotations

import gzip

import pytest
from support.chain import NAME, Chain
from support.layers import LAYER, packed, tar
from support.reporter import Recorder
from support.tamper import flip
from support.world import OTHER, RUN

from mllock.image.read import MAX_KEPT
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.share import FILE
from mllock.workflows.context import make_context
from mllock.workflows.pull import pull_run
from mllock.workflows.push import push_run


def test_untouched(chain, whole, tmp_path):
    """What the tests below start from is right, also when it is put together again."""
    before = chain.server.tags["wine", "v1"]
    chain.save()
    assert chain.server.tags["wine", "v1"] == before
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(whole.root / "config")}
    ctx = make_context(tmp_path, Recorder(), environ)
    assert pull_run(ctx, parse_reference(f"{chain.server.host}/wine:v1")).run.id == RUN


# The index.


def test_an_image_is_no_run(chain, refused):
    chain.server.tags["wine", "v1"] = chain.server.tags["wine", "v1-serve"]
    error = refused()
    assert str(error) == (
        f"{chain.server.host}/wine:v1: not a shared run\nfound: an image or artifact\n"
        'hint: name the tag that "mllock push" printed'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.pop("artifactType"), "not a shared run"),
        (lambda i: i.update(artifactType="application/x"), "not a shared run"),
        (lambda i: i.update(more=1), "unknown key 'more'"),
        (lambda i: i["manifests"].append(i["manifests"][0]), "2 entries for the serve, expected 1"),
        (lambda i: i["manifests"].pop(2), "0 entries for the model, expected 1"),
        (lambda i: i["manifests"].pop(3), "0 entries for the run, expected 1"),
        (lambda i: i["manifests"][2]["annotations"].update({NAME: "other"}),
         "0 entries for the model, expected 1"),
        (lambda i: i["manifests"].append(
            i["manifests"][0] | {"annotations": {NAME: "../x"}}), "an entry of an unknown kind"),
        (lambda i: i["manifests"].extend([i["manifests"][-1]] * 40),
         "48 manifests, at most 40"),
        (lambda i: i["manifests"][2].update(urls=["https://example.org/x"]),
         "a foreign blob, to be fetched from elsewhere"),
        (lambda i: i["manifests"][2].update(size=7), "not the size that the index says"),
        (lambda i: i["manifests"][3].update(mediaType=LAYER), "not as expected"),
        (lambda i: i.update(manifests=7), "not as expected"),
    ],
)  # fmt: skip
def test_other_indexes(chain, refused, change, message):
    change(chain.index)
    chain.save(model=False, run=False)
    assert refused().message == message


# The model.


def model_layer(chain):
    (layer,) = chain.model["layers"]
    return layer


def members_of(chain):
    data = gzip.decompress(chain.server.blobs["wine", model_layer(chain)["digest"]])
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (m.name, "folder" if m.isdir() else "file",
             b"" if m.isdir() else archive.extractfile(m).read(), m.mode)
            for m in archive
        ]  # fmt: skip


def retar(chain, members):
    chain.model["layers"] = [chain.blob(packed(tar(members)), LAYER)]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("model/more.bin", "file", b"x"), "a member that is not in the model's manifest"),
        (("model/more", "folder"), "a member that is not in the model's manifest"),
        (("escaped", "file", b"x"), "a member that is not in the model's manifest"),
        (("mlproject.lock", "file", b"x"), "a member that is not in the model's manifest"),
        (("model/more", "symlink", "/etc/passwd"), "a member that is not in the model's manifest"),
        (("model/.wh.weights.bin", "file", b""), None),
        (("../../escaped", "file", b"x"), None),
        (("/escaped", "file", b"x"), None),
        (("model/weights.bin", "file", b"x"), None),
        (("model/hard", "hardlink", "model/weights.bin"),
         "a member that is not in the model's manifest"),
    ],
)  # fmt: skip
def test_other_members(chain, refused, member, message):
    retar(chain, [*members_of(chain), member])
    chain.save()
    error = refused()
    assert error.message == message or message is None
    assert error.file is not None


def test_a_member_with_other_bytes(chain, refused):
    members = members_of(chain)
    changed = [(n, k, flip(d) if n == "model/weights.bin" else d, m) for n, k, d, m in members]
    retar(chain, changed)
    chain.save()
    error = refused()
    assert (error.message, error.key) == (
        "a member that is not in the model's manifest", "model/weights.bin")  # fmt: skip


def test_a_member_is_missing(chain, refused):
    retar(chain, [m for m in members_of(chain) if m[0] != "model/weights.bin"])
    chain.save()
    error = refused()
    assert str(error) == "model/weights.bin: a file of the model is missing"


def test_no_layers(chain, refused):
    chain.model["layers"] = []
    chain.save()
    assert refused().message == "a file of the model is missing"


def test_a_file_twice(chain, refused):
    chain.model["layers"] *= 2
    chain.save()
    assert refused().message == "a file is there twice"


def test_a_large_file_that_is_not_in_the_manifest(chain, refused):
    chain.model["layers"].append(chain.blob(b"more", FILE, "model/more.bin"))
    chain.save()
    assert refused().message == "a file that is not in the model's manifest"


def test_a_tar_that_unpacks_to_more_than_there_may_be(chain, refused):
    members = [*members_of(chain), ("model/bomb", "file", bytes(MAX_KEPT + 1))]
    retar(chain, members)
    chain.save()
    assert f"at most {MAX_KEPT} are read" in refused().message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(artifactType="application/x"), "not a model"),
        (lambda m: m.pop("artifactType"), "not a model"),
        (lambda m: m["layers"][0].update(mediaType="application/x"),
         "a layer of an unknown type"),
        (lambda m: m["config"].update(mediaType="application/vnd.oci.empty.v1+json"),
         "not as expected"),
        (lambda m: m["layers"][0].update(urls=["https://example.org/x"]),
         "a foreign blob, to be fetched from elsewhere"),
    ],
)  # fmt: skip
def test_other_models(chain, refused, change, message):
    change(chain.model)
    chain.save()
    assert refused().message == message


def test_the_model_of_another_run(chain, refused, whole):
    """Everything fits, but for what the record says."""
    push_run(whole.context(), parse_reference(f"{chain.server.host}/wine:other"), OTHER)
    other = Chain(chain.server)
    other.index = other.read(chain.server.tags["wine", "other"])
    chain.model = other.read(other.entry("model")["digest"])
    chain.save()
    error = refused()
    assert error.message == "the model is not the one that the record names"
    assert error.found == chain.model["config"]["digest"]
