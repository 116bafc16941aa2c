"""Hundreds of small damages; none may give exit 0 unless the formats say that it means the same.

What means the same, and is accepted: bytes of JSON documents that no digest covers (index.json,
the bundle files) may be spaced and ordered in other ways; a bundle may leave out an
empty `tlogEntries`, which protobuf JSON says is the same; index.json may say more about
entries than digest, size, type and name; other images of a layout are not looked at. Everything
that is under a digest is that digest. Each mutation is made from a seed, so that a failure
can be made again.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.layers import compact, sha
from support.mutate import BYTES, mutate_bytes, mutate_json
from support.tamper import REF, Layout
from support.world import RUN, World

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.errors import MllockError

SEEDS = range(6)
DOCUMENTS = ("index", "manifest", "config", "artifact", "statement")


@pytest.fixture(scope="module")
def world(whole, tmp_path_factory) -> World:
    made = whole.copy(tmp_path_factory.mktemp("mutations") / "w")
    (made.root / "elsewhere").mkdir()
    return made


@contextmanager
def restored(folder: Path) -> Iterator[None]:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        yield
    finally:
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            if path not in before:
                path.unlink()
        for path, data in before.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)


def exit_code(world: World, target: str, **options: Any) -> int:
    """Like the command line: our errors have codes, any other exception fails the test."""
    try:
        return world.check(target, **options).exit_code()
    except MllockError as error:
        assert error.exit_code != 0
        return error.exit_code


def image_code(world: World) -> int:
    # Away from the project: nothing but the image, and the key that is trusted.
    return exit_code(world, f"oci:{world.oci}", folder="elsewhere", accepted=["environment"])


def meaning(folder: Path) -> list[tuple[Any, ...]]:
    """What index.json says about the serving image and about artifacts."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    return sorted(
        (e["mediaType"], e["digest"], e["size"], e.get("annotations", {}).get(REF) or "")
        for e in entries
        if e.get("annotations", {}).get(REF) == "serve" or "annotations" not in e
    )


def same(folder: Path, before: list[tuple[Any, ...]], index: bytes) -> bool:
    """Whether only index.json was touched, and not in what it says about the image."""
    try:
        return meaning(folder) == before or (folder / "index.json").read_bytes() == index
    except (ValueError, KeyError, TypeError):
        return False


def place(layout: Layout, document: str) -> Path:
    match document:
        case "index":
            return layout.folder / "index.json"
        case "manifest":
            return layout.path(layout.entry)
        case "config":
            return layout.path(layout.manifest["config"])
        case "artifact":
            return layout.path(layout.statements()[0])
        case "statement":
            artifact = json.loads(layout.read(layout.statements()[0]))
            return layout.path(artifact["layers"][0])
    return layout.path(layout.manifest["layers"][int(document)])


def dice_of(*parts: object) -> random.Random:
    return random.Random(" ".join(map(str, parts)))


def test_nothing_changed(world):
    assert image_code(world) == 0


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("document", [*DOCUMENTS, *map(str, range(6))])
def test_bytes_without_repair(world, document, how):
    before = meaning(world.oci)
    for seed in SEEDS:
        dice = dice_of("raw", document, how, seed)
        with restored(world.oci):
            path = place(Layout(world.oci), document)
            old = path.read_bytes()
            new = mutate_bytes(old, how, dice)
            path.write_bytes(new)
            code = image_code(world)
            if code == 0 and new != old:
                assert document == "index", seed
                assert meaning(world.oci) == before, seed


def repaired(world: World, change: Callable[[Layout], None]) -> int:
    with restored(world.oci):
        layout = Layout(world.oci)
        change(layout)
        layout.save(repoint=True)
        return image_code(world)


@pytest.mark.parametrize("how", ["flip", "drop", "swap", "duplicate"])
@pytest.mark.parametrize("document", ["manifest", "config"])
def test_documents_repaired_around(world, document, how):
    for seed in SEEDS:
        dice = dice_of("json", document, how, seed)

        def change(layout: Layout, dice: random.Random = dice) -> None:
            if document == "config":
                layout.config = mutate_json(layout.config, how, dice)
            else:
                # The descriptor of the config is repaired by `save`: leave it alone.
                config = layout.manifest.pop("config")
                layout.manifest = mutate_json(layout.manifest, how, dice) | {"config": config}

        assert repaired(world, change) != 0, seed


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("number", range(6))
def test_layers_repaired_around(world, number, how):
    for seed in SEEDS:
        dice = dice_of("tar", number, how, seed)
        changed: list[bool] = []

        def change(layout: Layout, dice: random.Random = dice, changed: Any = changed) -> None:
            old = gzip.decompress(layout.read(layout.manifest["layers"][number]))
            new = mutate_bytes(old, how, dice)
            changed.append(new != old)
            layout.set_tar(number, new)

        # Even the same tar is another blob: packed in another way, with another manifest.
        assert repaired(world, change) != 0, seed


@pytest.mark.parametrize("number", range(6))
def test_layers_packed_in_another_way(world, number):
    """The same diff_id, and still not the manifest that was signed."""
    for level in (1, 6, 9):

        def change(layout: Layout, level: int = level) -> None:
            descriptor = layout.manifest["layers"][number]
            data = gzip.decompress(layout.read(descriptor))
            layout.put(descriptor, gzip.compress(data, level, mtime=0))

        assert repaired(world, change) == 1


@pytest.mark.parametrize("how", ["flip", "drop", "swap", "duplicate"])
@pytest.mark.parametrize("what", ["index", "artifact", "bundle", "payload"])
def test_statement_repaired_around(world, what, how):
    before = meaning(world.oci)
    for seed in SEEDS:
        dice = dice_of("statement", what, how, seed)
        with restored(world.oci):
            layout = Layout(world.oci)
            if what == "index":
                data = compact(mutate_json(layout.index, how, dice))
                (world.oci / "index.json").write_bytes(data)
                if image_code(world) == 0:
                    assert meaning(world.oci) == before, seed
                continue
            (entry,) = layout.statements()
            artifact = json.loads(layout.read(entry))
            bundle = json.loads(layout.read(artifact["layers"][0]))
            if what == "artifact":
                artifact = mutate_json(artifact, how, dice)
            else:
                damaged = mutate_bundle(bundle, what, how, dice)
                layout.put(artifact["layers"][0], compact(damaged))
            layout.put(entry, compact(artifact))
            (world.oci / "index.json").write_bytes(compact(layout.index))
            if image_code(world) == 0:
                # The subject of the artifact is a way to find it; the signed subject decides.
                assert what == "artifact", seed
                assert artifact["layers"][0]["digest"] == sha(compact(bundle) + b"\n"), seed


def mutate_bundle(bundle: Any, what: str, how: str, dice: random.Random) -> Any:
    if what == "bundle":
        return mutate_json(bundle, how, dice)
    import base64

    envelope = bundle["dsseEnvelope"]
    payload = mutate_json(json.loads(base64.b64decode(envelope["payload"])), how, dice)
    damaged = base64.b64encode(compact(payload)).decode()
    return bundle | {"dsseEnvelope": envelope | {"payload": damaged}}


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("what", ["bytes", "bundle", "payload"])
def test_the_record(world, what, how):
    path = world.run / "record.sigstore.json"
    for seed in range(12):
        dice = dice_of("record", what, how, seed)
        old = path.read_bytes()
        if what == "bytes":
            new = mutate_bytes(old, how, dice)
        else:
            new = compact(mutate_bundle(json.loads(old), what, how, dice))
        with restored(world.run):
            path.write_bytes(new)
            code = exit_code(world, f"{world.run}/model", run=RUN)
            if code == 0:
                assert without_default(new) == without_default(old), seed


def without_default(bundle: bytes) -> Any:
    """Protobuf JSON: a list that is absent is an empty one."""
    value = json.loads(bundle)
    if value["verificationMaterial"].get("tlogEntries") == []:
        del value["verificationMaterial"]["tlogEntries"]
    return value


@pytest.mark.parametrize("how", BYTES)
def test_a_record_that_is_signed_anew(world, how):
    """Signed by the right key and saying something else: it is not what the others say."""
    path = world.run / "record.sigstore.json"
    for seed in range(12):
        dice = dice_of("resigned", how, seed)
        statement = json.loads(read_bundle(path.read_bytes()).payload)
        payload = compact(mutate_json(statement, how, dice))
        with restored(world.run):
            path.write_bytes(sign_statement(payload, world.key))
            assert exit_code(world, f"{world.run}/model", run=RUN) != 0, seed


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("name", ["mlproject.lock", "model.manifest", "record.json"])
def test_what_the_run_keeps(world, name, how):
    for seed in SEEDS:
        dice = dice_of("kept", name, how, seed)
        with restored(world.run):
            path = world.run / name
            old = path.read_bytes()
            path.write_bytes(mutate_bytes(old, how, dice))
            if path.read_bytes() != old:
                assert exit_code(world, f"{world.run}/model", run=RUN) != 0, seed


@pytest.mark.parametrize("how", BYTES)
def test_the_model(world, how):
    folder = world.root / "copy"
    for seed in range(12):
        dice = dice_of("model", how, seed)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(world.run / "model", folder)
        path = dice.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
        old = path.read_bytes()
        path.write_bytes(mutate_bytes(old, how, dice))
        expected = 0 if path.read_bytes() == old else 1
        assert exit_code(world, str(folder)) == expected, seed


def test_compression_that_hides_data(world):
    """A second gzip member after the end of the tar: other readers may unpack it."""

    def change(layout: Layout) -> None:
        descriptor = layout.manifest["layers"][0]
        extra = zlib.compressobj(wbits=31)
        layout.put(descriptor, layout.read(descriptor) + extra.compress(b"x") + extra.flush())

    assert repaired(world, change) == 2
