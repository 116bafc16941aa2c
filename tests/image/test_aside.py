"""What is put aside while a layer is made: the same bytes, no name, and memory that comes back."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.debian import make_deb, on_disk
from support.nodes import blob

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError, SurroundingsError
from mllock.image import debian
from mllock.image.aside import let_go, put_aside
from mllock.image.debian import base_nodes, system_nodes
from mllock.image.tree import Node, Stored

SIZE = 40_000_000
MASTERS = {
    "usr/share/base-passwd/passwd.master": b"root:*:0:0:root:/root:/bin/bash\n",
    "usr/share/base-passwd/group.master": b"root:*:0:\n",
}


def resident(data: memoryview) -> int:
    """Bytes of the mapping that holds `data` in this process's memory, as the kernel counts."""
    maps = Path("/proc/self/smaps").read_text()
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps, flags=re.MULTILINE):
        found = dict(re.findall(r"^(\w+): +(\d+) kB$", part, re.MULTILINE))
        if "(deleted)" in part and abs(int(found["Size"]) * 1024 - data.nbytes) < 8192:
            return int(found["Rss"]) * 1024
    raise AssertionError("no such mapping")


def test_memory_comes_back(tmp_path: Path) -> None:
    held = put_aside((bytes([n % 251]) * 1_000_000 for n in range(SIZE // 1_000_000)), tmp_path)
    digest = sha256_of(held)
    assert resident(held) > SIZE // 2
    let_go(held[5:10])
    assert resident(held) == 0
    assert sha256_of(held) == digest
    assert list(tmp_path.iterdir()) == []
    let_go(memoryview(b"something else"))


def test_nothing_to_put_aside(tmp_path: Path) -> None:
    assert put_aside(iter(()), tmp_path) == b""


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError) as caught:
        put_aside(iter((b"x",)), tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path}/gone: cannot write: no such file or directory"


def layers(folder: Path, debs: dict[str, bytes], aside: Path | None) -> tuple[bytes, bytes]:
    pairs = [on_disk(folder, deb, name) for name, deb in debs.items()]
    below = base_nodes(pairs[:2], aside)
    above = system_nodes(pairs[2:], {node.path: node for node in below}, aside)
    if aside is not None:
        assert any(mapped(node) for node in above)
    return blob(below), blob(above)


def mapped(node: Node) -> bool:
    data = node.content.data if isinstance(node.content, Stored) else b""
    return isinstance(data, memoryview) and type(data.obj).__name__ == "mmap"


def test_a_layer_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what reads it while layers are made: links, libraries, replaced files."""
    large = os.urandom(100) * 300_000
    debs = {
        "base-passwd": make_deb("base-passwd", files=MASTERS),
        "one": make_deb("one", files={"usr/lib/one": b"1", "usr/lib/hard": "hard usr/lib/one"}),
        "two": make_deb("two", files={"usr/lib/two": large, "usr/lib/same": "hard usr/lib/two"}),
        "three": make_deb("three", files={"usr/lib/l.so": large[1:], "opt/x": b""}),
    }
    expected = layers(tmp_path, debs, None)
    monkeypatch.setattr(debian, "ASIDE", 0)
    aside = tmp_path / "aside"
    aside.mkdir()
    assert layers(tmp_path, debs, aside) == expected
    assert list(aside.iterdir()) == []
    # One bit of a package is seen through it.
    debs["two"] = make_deb("two", files={"usr/lib/two": large[:-1] + bytes([large[-1] ^ 1])})
    assert layers(tmp_path, debs, aside)[1] != expected[1]


def test_a_damaged_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put aside before the end was seen is not used."""
    monkeypatch.setattr(debian, "ASIDE", 0)
    deb = make_deb("x", files={"usr/x": os.urandom(3_000_000)})
    at = len(deb) - 2_000_000
    pin, path = on_disk(tmp_path, deb[:at] + bytes(64) + deb[at + 64 :], "x")
    with pytest.raises(ArchiveError) as caught:
        base_nodes([(pin, path)], tmp_path)
    assert str(caught.value).startswith("pool/main/x_1.0_amd64.deb: damaged data.tar.xz: ")
    assert [item.name for item in tmp_path.iterdir()] == ["x_1.0.deb"]


def test_the_largest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a file open: there is a bound, and small ones stay in memory anyway."""
    debs = {
        "base-passwd": make_deb("base-passwd", files=MASTERS),
        "middle": make_deb("middle", files={"usr/middle": os.urandom(300_000)}),
        "small": make_deb("small", files={"usr/small": os.urandom(100_000)}),
        "top": make_deb("top", files={"usr/top": os.urandom(500_000)}),
    }
    pairs = [on_disk(tmp_path, deb, name) for name, deb in debs.items()]
    for most, expected in ((200, {"usr/middle", "usr/top"}), (1, {"usr/top"})):
        monkeypatch.setattr(debian, "_MOST_ASIDE", most)
        assert {node.path for node in base_nodes(pairs, tmp_path) if mapped(node)} == expected
