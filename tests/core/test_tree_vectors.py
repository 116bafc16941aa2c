"""The tree digest is what docs/reference/tree-digest.md says, for ever."""

from __future__ import annotations

import base64
import importlib.util
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mllock.core.digest import sha256_of
from mllock.core.tree import Entry, TreeManifest, parse
from mllock.data.scan import scan

HERE = Path(__file__).parent / "vectors"
VECTORS: dict[str, Any] = json.loads((HERE / "tree-digest.json").read_text())
VALID = {vector["name"]: vector for vector in VECTORS["valid"]}
INVALID = {vector["name"]: vector for vector in VECTORS["invalid_manifests"]}


def content(entry: dict[str, Any]) -> bytes:
    if "text" in entry:
        return str(entry["text"]).encode()
    return base64.b64decode(entry["base64"])


def entry_of(entry: dict[str, Any]) -> Entry:
    if entry["kind"] in ("f", "x"):
        data = content(entry)
        return Entry(kind=entry["kind"], path=entry["path"], size=len(data), digest=sha256_of(data))
    return Entry(kind=entry["kind"], path=entry["path"], target=entry.get("target"))


def make(root: Path, entries: list[dict[str, Any]]) -> None:
    """Put a vector on the disk."""
    if [entry["path"] for entry in entries] != ["."]:
        root.mkdir()
    for entry in entries:
        path = root / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        match entry["kind"]:
            case "d":
                path.mkdir()
            case "l":
                path.symlink_to(entry["target"])
            case kind:
                path.write_bytes(content(entry))
                path.chmod(0o755 if kind == "x" else 0o644)


def test_the_vectors_are_as_their_maker_writes_them() -> None:
    spec = importlib.util.spec_from_file_location("make_vectors", HERE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (HERE / "tree-digest.json").read_text() == module.text()
    assert "import mllock" not in (HERE / "make.py").read_text()
    assert "from mllock" not in (HERE / "make.py").read_text()


@pytest.mark.parametrize("name", VALID)
def test_manifest_and_digest(name: str) -> None:
    vector = VALID[name]
    manifest = TreeManifest.of(entry_of(entry) for entry in reversed(vector["entries"]))
    assert manifest.text() == vector["manifest"].encode()
    assert manifest.digest == vector["digest"]
    assert parse(vector["manifest"].encode()) == manifest


# No system call takes a path of 4,095 bytes with a folder before it.
@pytest.mark.parametrize("name", [name for name in VALID if name != "the longest path"])
def test_on_disk(name: str, tmp_path: Path) -> None:
    vector = VALID[name]
    make(tmp_path / "tree", vector["entries"])
    manifest = scan(tmp_path / "tree", name="tree")
    assert manifest.text().decode() == vector["manifest"]
    assert manifest.digest == vector["digest"]


def test_digests_are_what_printf_and_sha256sum_say() -> None:
    for vector in VALID.values():
        command = f"printf '%s' {shlex.quote(vector['manifest'])} | sha256sum"
        said = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout
        assert f"sha256:{said[:64].decode()}" == vector["digest"]


@pytest.mark.parametrize("name", INVALID)
def test_readers_refuse(name: str) -> None:
    vector = INVALID[name]
    if "manifest" in vector:
        data = vector["manifest"].encode()
    else:
        data = base64.b64decode(vector["manifest_base64"])
    with pytest.raises(ValueError) as caught:
        parse(data)
    assert str(caught.value) == vector["reason"]


def test_names_are_unique() -> None:
    assert len(VALID) == len(VECTORS["valid"])
    assert len(INVALID) == len(VECTORS["invalid_manifests"])


RECIPE = r"""
printf 'mllock-tree\t1\n'
find . -type f | sed 's|^\./||' | LC_ALL=C sort | while IFS= read -r path; do
  kind=f; [ -n "$(find "./$path" -perm -0100)" ] && kind=x
  printf '%s\t%s\t%s\t%s\n' "$kind" "$path" "$(stat -c %s "./$path")" \
    "$(sha256sum < "./$path" | cut -c1-64)"
done
"""


def test_the_recipe_of_the_documentation(tmp_path: Path) -> None:
    make(tmp_path / "tree", VALID["order by bytes of paths"]["entries"])
    (tmp_path / "tree" / "b").chmod(0o744)
    said = subprocess.run(
        ["sh", "-c", RECIPE], cwd=tmp_path / "tree", capture_output=True, check=True
    ).stdout
    assert said == scan(tmp_path / "tree", name="tree").text()
    written = (Path(__file__).parents[2] / "docs/reference/tree-digest.md").read_text()
    words = written.replace("\\\n", " ").split()
    for line in RECIPE.strip().replace("\\\n", " ").splitlines():
        assert " ".join(line.split()) in " ".join(words)
