"""The bill of materials of images that were built: beside them, by `export`, in no digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support.world import OTHER, RUN, World, verdicts

from mllock.cli.main import run
from mllock.lock.format import parse_lock
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_SBOM
from mllock.workflows.build import build_images

KINDS = ("train", "serve")


def beside(world: World, kind: str) -> bytes:
    layout = open_layout(world.oci)
    (data,) = layout.referrers(layout.image(kind).manifest_digest, MEDIA_SBOM)
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_it_lists_the_lock(world: World, kind: str) -> None:
    result = build_images(world.context())
    built = next(item for item in result.images if item.image.kind == kind)
    data = beside(world, kind)
    assert result.sboms[kind] == (data,)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    bom = json.loads(data)
    lock = parse_lock((world.project / "mlproject.lock").read_bytes(), "mlproject.lock")
    found = {
        (component["name"], component["version"], component["hashes"][0]["content"])
        for component in bom["components"]
        if component["type"] == "library"
    }
    wheels = [(p.name, p.version, p.wheels[0].hashes["sha256"]) for p in lock.python.packages]
    assert found == {*wheels, *((d.name, d.version, d.sha256) for d in lock.system)}
    layers = {layer.diff_id for layer in built.image.layers}
    for component in bom["components"]:
        named = [p["value"] for p in component.get("properties", ()) if p["name"] == "mllock:layer"]
        if component["type"] in ("library", "machine-learning-model"):
            assert len(named) == 1
        assert set(named) <= layers
    cards = [c for c in bom["components"] if "modelCard" in c]
    assert [c["version"] for c in cards] == ([RUN] if kind == "serve" else [])
    assert f"sha256:{bom['metadata']['component']['hashes'][0]['content']}" == (
        built.image.manifest_digest
    )


def test_the_card_is_of_the_record(world: World) -> None:
    build_images(world.context(), ("serve",), run_id=OTHER)
    (card,) = [c for c in json.loads(beside(world, "serve"))["components"] if "modelCard" in c]
    manifest = (world.other / "model.manifest").read_bytes()
    from mllock.core.digest import sha256_of

    assert f"sha256:{card['hashes'][0]['content']}" == sha256_of(manifest)
    assert card["version"] == OTHER
    assert card["modelCard"]["modelParameters"] == {"datasets": [{"ref": "data/train"}]}


def test_no_image_has_it_inside(world: World) -> None:
    """Another bill, the same image: what the bill says of licences is in no digest."""
    first = build_images(world.context())
    for path in (world.root / "cache" / "licences").iterdir():
        path.write_text('{"licences":[["name","other words"]],"v":1}')
    second = build_images(world.context())
    assert first.sboms != second.sboms
    assert [i.image for i in first.images] == [i.image for i in second.images]


def test_check_is_not_disturbed(world: World) -> None:
    """A bill is no evidence: without it, or with another, all that was proven is proven."""
    target = f"oci:{world.oci}"
    expected = verdicts(world.check(target))
    assert expected["configuration"] == expected["lineage"] == "proven"
    index = json.loads((world.oci / "index.json").read_bytes())
    entries = [e for e in index["manifests"] if e.get("artifactType") == MEDIA_SBOM]
    assert len(entries) == 2
    index["manifests"] = [e for e in index["manifests"] if e not in entries]
    (world.oci / "index.json").write_text(json.dumps(index))
    assert verdicts(world.check(target)) == expected


# ----- export -----


@pytest.fixture
def typed(world: World, monkeypatch, capsysbinary):
    def call(*arguments: str) -> tuple[int, bytes, str]:
        for name, value in world.context().environ.items():
            monkeypatch.setenv(name, value)
        code = run(["-q", "--project", str(world.project), "export", *arguments])
        out, err = capsysbinary.readouterr()
        return code, out, err.decode()

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_export_gives_what_build_put_there(world: World, tmp_path: Path, typed, kind: str) -> None:
    assert typed("sbom", "--image", kind) == (0, beside(world, kind), "")
    place = tmp_path / "deep" / "sbom.json"
    assert typed("sbom", "--image", kind, "-o", str(place)) == (0, b"", f"wrote {place}\n")
    assert place.read_bytes() == beside(world, kind)


def test_export_of_another_run(world: World, typed) -> None:
    code, out, _ = typed("sbom", "--run", OTHER)
    assert (code, OTHER.encode() in out) == (0, True)
    build_images(world.context(), ("serve",), run_id=OTHER)
    assert out == beside(world, "serve")


def test_export_needs_no_build(world: World, typed) -> None:
    import shutil

    expected = beside(world, "serve")
    shutil.rmtree(world.oci)
    assert typed("sbom") == (0, expected, "")
    assert not world.oci.exists()


def test_export_refuses(world: World, tmp_path: Path, typed) -> None:
    assert typed("sbom", "--image", "train", "--run", RUN) == (
        2,
        b"",
        'error: --run is about the serve image\nhint: try "mllock export sbom --run ID"\n',
    )
    assert typed("sbom", "-o", str(tmp_path)) == (
        2,
        b"",
        f"error: {tmp_path}: this is no file, and is not written over\n",
    )
    code, out, err = typed("sbon")
    assert (code, out) == (2, b"")
    assert "No such command 'sbon'" in err
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().partition("[serve]")[0])
    assert typed("sbom") == (
        2,
        b"",
        "error: mlproject.toml: serve: a serve image needs a [serve] table\n"
        'hint: say there what is to be served, or try "mllock export sbom --image train"\n',
    )
    assert typed("sbom", "--image", "train")[0] == 0
