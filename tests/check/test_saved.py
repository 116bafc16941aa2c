"""`docker save` in the three forms that engines write, read to the same image; and each mutation of
one byte, found."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping

import pytest
from support.world import World

from mllock.check.evidence import ImageFacts
from mllock.check.image import is_ours, read_image
from mllock.check.saved import list_layers, read_saved
from mllock.core.digest import Digest, sha256_of
from mllock.store.layout_reader import open_layout

Parts = dict[str, bytes]


def pieces(data: bytes, size: int = 4093) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def tar(parts: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()


def blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


class Form:
    """An archive to be taken apart: its parts, the id of its image."""

    def __init__(self, world: World, name: str) -> None:
        layout = open_layout(world.oci)
        image = layout.image("serve")
        gzipped = [b"".join(layout.stream(layer)) for layer in image.layers]
        self.config, self.manifest = image.config, image.manifest
        plain = [_plain(data) for data in gzipped]
        self.is_manifest = name == "containerd"
        config_name = blob(image.config_digest)
        match name:
            case "20.10":
                names = [f"{number:064x}/layer.tar" for number in range(len(plain))]
                bodies = plain
                config_name = f"{image.config_digest[7:]}.json"
            case "25":
                names, bodies = [blob(sha256_of(data)) for data in plain], plain
            case _:
                names, bodies = [blob(sha256_of(data)) for data in gzipped], gzipped
        self.id = image.manifest_digest if self.is_manifest else image.config_digest
        self.parts: Parts = {
            **({} if name == "20.10" else {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}),
            **({} if name == "20.10" else {blob(image.manifest_digest): image.manifest}),
            **dict(zip(names, bodies, strict=True)),
            **({f"{0:064x}/VERSION": b"1.0"} if name == "20.10" else {}),
            config_name: image.config,
            "manifest.json": json.dumps(
                [{"Config": config_name, "RepoTags": None, "Layers": names}]
            ).encode(),
        }
        self.names, self.config_name = names, config_name
        self.links: dict[str, str] = {}

    def read(self, size: int = 4093, id_: str | None = None) -> ImageFacts:
        return read_saved(
            pieces(tar(self.parts, self.links), size),
            "x",
            Digest(id_ or self.id),
            is_manifest=self.is_manifest,
            hashed=is_ours,
            kept=lambda path: path.startswith("opt/mllock/"),
        )


def _plain(data: bytes) -> bytes:
    out = b""
    while data:
        inflater = zlib.decompressobj(wbits=31)
        out += inflater.decompress(data)
        data = inflater.unused_data
    return out


@pytest.fixture(params=["20.10", "25", "containerd"])
def form(request: pytest.FixtureRequest, whole: World) -> Form:
    return Form(whole, request.param)


@pytest.mark.parametrize("size", [1, 513, 1 << 20])
def test_the_same_image_as_in_the_layout(form: Form, whole: World, size: int) -> None:
    found, expected = form.read(size), read_image(open_layout(whole.oci), "serve")
    assert found.readable
    assert found.merged == expected.merged
    assert found.config == expected.config
    assert found.config_digest == expected.config_digest
    assert found.manifest_digest == (expected.manifest_digest if form.is_manifest else None)
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in expected.layers]
    assert [layer.declared for layer in found.layers] == [
        layer.declared for layer in expected.layers
    ]


def test_one_byte_of_each_layer(form: Form) -> None:
    good = form.read()
    for number, name in enumerate(form.names):
        data = bytearray(form.parts[name])
        data[len(data) // 3] ^= 1
        found = Form.read(_with(form, name, bytes(data)))
        assert not found.readable or (
            found.layers[number].diff_id != good.layers[number].diff_id
        ), name


def _with(form: Form, name: str, data: bytes | None) -> Form:
    other = object.__new__(Form)
    other.__dict__.update(form.__dict__)
    parts = dict(form.parts)
    del parts[name]
    other.parts = parts if data is None else parts | {name: data}
    return other


def problem(facts: ImageFacts) -> str:
    assert facts.problem is not None
    return f"{facts.problem.path}: {facts.problem.reason}"


def test_another_image_than_was_asked_for(form: Form) -> None:
    other = sha256_of(b"other")
    found = form.read(id_=other)
    if form.is_manifest:
        assert problem(found) == (
            "the image as the engine writes it: the document that the image's id names is missing"
        )
    else:
        assert problem(found) == (
            f"{form.config_name}: the engine wrote another image than it was asked for"
        )


def test_parts_that_are_missing(form: Form) -> None:
    assert problem(_with(form, "manifest.json", None).read()) == "manifest.json: missing"
    assert problem(_with(form, form.config_name, None).read()) == f"{form.config_name}: missing"
    found = _with(form, form.names[1], None).read()
    assert found.problem is None
    assert found.layers[1].problem is not None
    assert (found.layers[1].problem.path, found.layers[1].problem.reason) == (
        form.names[1],
        "missing",
    )
    assert not found.readable


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"[]", "not a list of one image"),
        (b"{}", "not a list of one image"),
        (b"[{},{}]", "not a list of one image"),
        (b'[{"Config":1,"Layers":[]}]', "no Config and Layers"),
        (b'[{"Config":"a","Config":"b","Layers":[]}]', "not strict JSON: duplicate key 'Config'"),
    ],
)
def test_manifests(form: Form, document: bytes, message: str) -> None:
    assert problem(_with(form, "manifest.json", document).read()) == f"manifest.json: {message}"


def test_a_stream_that_ends_early(form: Form) -> None:
    data = tar(form.parts)
    found = read_saved(
        pieces(data[: len(data) // 2]),
        "x",
        form.id,
        is_manifest=form.is_manifest,
        hashed=is_ours,
        kept=lambda _: False,
    )
    assert not found.readable


def test_a_layer_that_comes_twice_is_a_link(whole: World) -> None:
    """Engine 20.10 writes equal layers once."""
    form = Form(whole, "20.10")
    names = [*form.names, f"{9:064x}/layer.tar"]
    form.links = {names[-1]: f"../{form.names[0]}"}
    config = json.loads(form.config)
    config["rootfs"]["diff_ids"].append(config["rootfs"]["diff_ids"][0])
    form.parts[form.config_name] = json.dumps(config).encode()
    form.parts["manifest.json"] = json.dumps(
        [{"Config": form.config_name, "Layers": names}]
    ).encode()
    found = form.read(id_=sha256_of(form.parts[form.config_name]))
    assert found.layers[-1].diff_id == found.layers[0].diff_id


def test_an_index_above_the_manifest(whole: World) -> None:
    """A containerd store may name an index of platforms; the manifest of this config is taken."""
    form = Form(whole, "containerd")
    others = [{"digest": sha256_of(b"arm64")}, {"digest": form.id}]
    index = json.dumps({"manifests": others}).encode()
    form.parts[blob(sha256_of(index))] = index
    assert form.read(id_=sha256_of(index)).manifest_digest == form.id
    only = json.dumps({"manifests": others[:1]}).encode()
    form.parts[blob(sha256_of(only))] = only
    assert problem(form.read(id_=sha256_of(only))).endswith(
        "no manifest of the image's id has this config"
    )


def test_layers_are_listed_even_if_they_cannot_be_read(form: Form) -> None:
    name = form.names[-1]
    listed = list_layers(pieces(tar(form.parts)), [name])
    assert "opt/mllock/mlproject.lock" in listed[name]
    cut = tar(form.parts)
    assert list_layers(pieces(cut[: len(cut) // 4]), [name]) == {}
