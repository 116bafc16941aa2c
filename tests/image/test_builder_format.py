"""The builder format: golden digests for ever, and the page suffices for another implementation.

tests/goldens/builder has a folder for each format, named by its number: the digests of all layers
of a small fixed world, configs and manifests of both images. Nothing in them changes. Format 0
carried no promise and has none.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import format_world
from support import second_builder as second
from support.format_world import (
    CODE,
    GROUPS,
    MODEL,
    RECORD,
    FormatWorld,
    make_format_world,
    wheels,
)
from support.nodes import blob

from mllock.core.digest import sha256_of
from mllock.image.bytecode import bytecode_nodes
from mllock.image.compiling import Compiled
from mllock.image.resolve import with_parents
from mllock.image.types import BUILDER_FORMAT

FORMATS = Path(__file__).parents[1] / "goldens" / "builder"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "builder-format.md"
PROMISED = range(1, BUILDER_FORMAT + 1)

SOURCE = "opt/venv/lib/python3.11/site-packages/alpha/__init__.py"
COMPILED = b"\xa7\r\r\n\x01\0\0\0" + bytes(range(256)) * 100


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FormatWorld:
    return make_format_world(tmp_path_factory.mktemp("format"), 1)


def project() -> second.Project:
    """The same world, as the second builder is told of it."""
    code: dict[str, Any] = {name: (text.encode(), False) for name, text in CODE.items()}
    code["bin/run"] = (code["bin/run"][0], True)
    code["lib/link"] = ("helper.py", False)
    code["train.py"] = (b"print(1)\n", False)
    model: dict[str, Any] = {name: (data, name == "ğ/run.sh") for name, data in MODEL.items()}
    made = wheels()
    return second.Project(
        name="golden",
        version="1.2.3",
        description="Small, fixed, ğ",
        base="debian:bookworm",
        builder_format=1,
        python="3.11.2",
        interpreter="/usr/bin/python3.11",
        below=(),
        groups=[[second.Wheel(package=n, data=made[n]) for n in group] for group in GROUPS],
        variables={"OMP_NUM_THREADS": "1", "LANG": "tr_TR.UTF-8"},
        outputs=("out/deep/model", "metrics/all.json"),
        model_path="out/deep/model",
        params={"rate": 0.5, "seed": 42, "name": "ğ"},
        train_command=("python", "train.py", "--rate=0.5", "/opt/mllock/params.json"),
        serve_command=("python", "serve.py", "8080"),
        port=8080,
        health="/healthz?full=1",
        runtime_variables=("TOKEN", "API_KEY"),
        train_code=code,
        serve_code={n: code[n] for n in code if n == "serve.py" or n.startswith("lib/")},
        model={**model, "empty": (None, False)},
        record=RECORD,
    )


def with_base(told: second.Project, world: FormatWorld) -> second.Project:
    below = [
        second.given(layer.kind, layer.title, world.blob(layer))
        for layer in world.environment.layers
        if layer.kind in ("base", "system")
    ]
    return replace(told, below=below)


def test_the_second_builder_is_one() -> None:
    """It has nothing of mllock, and so none of its mistakes."""
    for path in Path(second.__file__).parent.glob("*.py"):
        names = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        ours = [n for n in names if n.split(".")[0] in ("mllock", "support")]
        assert [n for n in ours if not n.startswith("support.second_builder.")] == []


def test_the_page_suffices(world: FormatWorld) -> None:
    built = second.images(with_base(project(), world))
    for kind, image in world.images.items():
        theirs = built[kind]
        for mine, other in zip(image.layers, theirs.layers, strict=True):
            assert (mine.kind, mine.title) == (other.kind, other.title)
            assert (mine.kind, mine.diff_id) == (other.kind, other.diff_id)
            assert mine.digest == other.digest
            assert mine.size == len(other.blob)
        assert json.loads(image.config) == json.loads(theirs.config)
        assert image.config == theirs.config
        assert image.manifest == theirs.manifest


def bytecode_layer() -> bytes:
    """A bytecode layer, of bytes that no interpreter made."""
    made = Compiled(path=f"/{SOURCE}", data=COMPILED)
    return blob(with_parents(bytecode_nodes([made], "3.11")))


def test_the_page_suffices_for_bytecode() -> None:
    path = "opt/venv/lib/python3.11/site-packages/alpha/__pycache__/__init__.cpython-311.pyc"
    file = second.Member(path=path, kind="0", mode=0o644, data=COMPILED)
    assert second.layer("bytecode", "alpha", [file]).blob == bytecode_layer()


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython",
    reason="the vector is of CPython 3.11",
)
def test_the_vector_of_bytecode() -> None:
    """Compiled by the Python that runs the tests, in a process where much was compiled before."""
    page = PAGE.read_text()
    source = page.partition("by CPython 3.11:\n\n```\n")[2].partition("```")[0].encode()
    name = "opt/venv/lib/python3.11/site-packages/vector.py"
    (made,) = second.bytecode({name: source}, "3.11")
    layer = second.layer("bytecode", "vector", [made])
    assert made.path.endswith("site-packages/__pycache__/vector.cpython-311.pyc")
    for digest in (second.sha256(made.data), layer.diff_id, layer.digest):
        assert f"`{digest}`" in page


def test_a_tree_that_is_one_file() -> None:
    told = replace(project(), model={".": (b"one file", False)}, model_path="model.bin")
    (layer,) = [item for item in second.serve_layers(told) if item.kind == "model"]
    from mllock.core.tree import Entry, TreeManifest
    from mllock.image.folder import model_nodes
    from mllock.image.tree import OnDisk, Stored

    entry = Entry(kind="f", path=".", size=8, digest=sha256_of(b"one file"))
    nodes = model_nodes(Path("model.bin"), TreeManifest.of([entry]), "model.bin")
    held = [
        msgspec.structs.replace(n, content=Stored(b"one file"))
        if isinstance(n.content, OnDisk)
        else n
        for n in nodes
    ]
    assert blob(held) == layer.blob


# ----- goldens -----


def facts(world: FormatWorld) -> dict[str, Any]:
    """Digests of the layers by kind and title, and of both images."""
    found: dict[str, Any] = {}
    for kind, image in sorted(world.images.items()):
        found[kind] = {"config": image.config_digest, "manifest": image.manifest_digest}
        for layer in image.layers:
            name = f"{layer.kind}: {layer.title}"
            found[name] = {"diff_id": layer.diff_id, "digest": layer.digest}
    code = bytecode_layer()
    found["bytecode: alpha"] = {"digest": sha256_of(code)}
    return found


def test_every_format_has_goldens() -> None:
    assert sorted(path.name for path in FORMATS.iterdir()) == [str(n) for n in PROMISED]


@pytest.mark.parametrize("number", PROMISED)
def test_goldens(number: int, golden, tmp_path: Path) -> None:
    world = make_format_world(tmp_path, number)
    place = FORMATS / str(number)
    text = json.dumps(facts(world), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    golden(place / "digests.json", text.encode())
    for kind, image in world.images.items():
        golden(place / f"{kind}-config.json", image.config)
        golden(place / f"{kind}-manifest.json", image.manifest)


def bit(data: bytes) -> bytes:
    """`data` with one bit of its last byte but one changed."""
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


def one_bit(name: str, *keys: str) -> Callable[[], tuple[str, object]]:
    """A constant of the world in which the value at `keys` has one bit changed."""

    def change(value: Any, path: tuple[str, ...]) -> Any:
        if not path:
            return bit(value.encode()).decode() if isinstance(value, str) else bit(value)
        if isinstance(value, tuple):
            return (value[0], change(value[1], path))
        return {**value, path[0]: change(value[path[0]], path[1:])}

    return lambda: (name, change(getattr(format_world, name), keys))


SHARED = {"train", "serve"}
MUTATIONS: Mapping[str, tuple[Callable[[], tuple[str, object]], set[str]]] = {
    "base": (
        one_bit("DEBS", "tool", "usr/lib/x/data"),
        {"base: debian:bookworm", *SHARED},
    ),
    "system": (one_bit("DEBS", "libextra", "usr/share/extra/x"), {"system: libextra", *SHARED}),
    "python": (one_bit("WHEELS", "gamma", "gamma/large.txt"), {"python: gamma", *SHARED}),
    "passed through": (
        one_bit("WHEELS", "alpha", "alpha/edge.txt"),
        {"python: alpha, beta", *SHARED},
    ),
    "code": (
        one_bit("CODE", "lib/helper.py"),
        {"code: training code", "code: serving code", *SHARED},
    ),
    "train code": (one_bit("CODE", "bin/run"), {"code: training code", "train"}),
    "model": (one_bit("MODEL", "weights.bin"), {"model: model", "serve"}),
    "record": (one_bit("RECORD", "mlproject.lock"), {"record: record", "serve"}),
    "bytecode": (lambda: ("COMPILED", bit(COMPILED)), {"bytecode: alpha"}),
    "description": (
        lambda: ("SPEC", format_world.SPEC.replace("Small", "Smalk")),
        SHARED,
    ),
    "port": (lambda: ("SPEC", format_world.SPEC.replace("8080", "8081")), {"serve"}),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_the_goldens_see_one_bit(what: str, tmp_path: Path, monkeypatch) -> None:
    """What each layer and document depends on, and that others do not."""
    mutation, expected = MUTATIONS[what]
    name, value = mutation()
    place = sys.modules[__name__] if name == "COMPILED" else format_world
    monkeypatch.setattr(place, name, value)
    found = facts(make_format_world(tmp_path, 1))
    there = json.loads((FORMATS / "1" / "digests.json").read_bytes())
    assert found.keys() == there.keys()
    assert {key for key in there if found[key] != there[key]} == expected


def test_the_number_is_in_the_images(tmp_path: Path, world: FormatWorld) -> None:
    """And in nothing below: a layer is the same in two formats that agree about it."""
    other = make_format_world(tmp_path, 2)
    for kind, image in world.images.items():
        assert image.layers == other.images[kind].layers
        assert image.config != other.images[kind].config
        label = json.loads(other.images[kind].config)["config"]["Labels"]["mllock.builder-format"]
        assert label == "2"
