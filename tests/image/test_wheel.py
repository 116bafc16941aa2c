"""Wheels become the files that `installer` would write, and a lie in one is refused."""

from __future__ import annotations

import csv
import io
import posixpath
import stat
from pathlib import Path

import pytest
from support.hostile_zip import Entry, zipped
from support.wheels import make_wheel

from mllock.errors import ArchiveError
from mllock.image.content import Sources
from mllock.image.tree import Node
from mllock.image.wheel import Prefix, wheel_nodes

SITE = "opt/venv/lib/python3.11/site-packages"
SCRIPTS = """\
[console_scripts]
hello = pkg.cli:main
deep = pkg.cli:App.run [extra]
[gui_scripts]
window = pkg:show
[other]
x = not.read
"""


def nodes_of(
    tmp_path: Path, data: bytes, name: str = "pkg-1.0-py3-none-any.whl"
) -> dict[str, Node]:
    path = tmp_path / name
    path.write_bytes(data)
    return {node.path: node for node in wheel_nodes(path, name)}


def read(node: Node) -> bytes:
    with Sources() as sources:
        return b"".join(sources.read(node))


FILES = {
    "pkg/__init__.py": b"",
    "pkg/cli.py": b"def main(): pass\n" * 2000,
    "pkg/tool.sh*": b"#!/bin/sh\n",
    "pkg/__pycache__/cli.cpython-311.pyc": b"bytecode",
    "pkg-1.0.data/scripts/run": b"#!python -E\nprint('run')\n",
    "pkg-1.0.data/scripts/native": b"\x7fELF",
    "pkg-1.0.data/data/share/pkg/x.txt": b"data",
    "pkg-1.0.data/headers/pkg.h": b"#define X\n",
    "pkg-1.0.data/platlib/pkg_native.so": b"\x7fELF",
    "pkg-1.0.data/purelib/pkg_pure.py": b"x = 1\n",
    "pkg-1.0.dist-info/INSTALLER": b"pip\n",
    "pkg-1.0.dist-info/direct_url.json": b"{}",
}


def test_layout(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path, make_wheel("pkg", "1.0", FILES, entry_points=SCRIPTS))
    assert {path: f"{node.mode:o}" for path, node in nodes.items()} == {
        f"{SITE}/pkg/__init__.py": "644",
        f"{SITE}/pkg/cli.py": "644",
        f"{SITE}/pkg/tool.sh": "755",
        "opt/venv/bin/run": "755",
        "opt/venv/bin/native": "755",
        "opt/venv/share/pkg/x.txt": "644",
        "opt/venv/include/site/python3.11/pkg/pkg.h": "644",
        f"{SITE}/pkg_native.so": "644",
        f"{SITE}/pkg_pure.py": "644",
        "opt/venv/bin/hello": "755",
        "opt/venv/bin/deep": "755",
        "opt/venv/bin/window": "755",
        f"{SITE}/pkg-1.0.dist-info/METADATA": "644",
        f"{SITE}/pkg-1.0.dist-info/WHEEL": "644",
        f"{SITE}/pkg-1.0.dist-info/entry_points.txt": "644",
        f"{SITE}/pkg-1.0.dist-info/INSTALLER": "644",
        f"{SITE}/pkg-1.0.dist-info/RECORD": "644",
    }
    assert read(nodes["opt/venv/bin/run"]) == b"#!/opt/venv/bin/python\nprint('run')\n"
    assert read(nodes[f"{SITE}/pkg/cli.py"]) == FILES["pkg/cli.py"]
    assert read(nodes[f"{SITE}/pkg-1.0.dist-info/INSTALLER"]) == b"mllock\n"
    assert read(nodes["opt/venv/bin/deep"]) == (
        b"#!/opt/venv/bin/python\n# -*- coding: utf-8 -*-\nimport re\nimport sys\n"
        b'from pkg.cli import App\nif __name__ == "__main__":\n'
        b'    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])\n'
        b"    sys.exit(App.run())\n"
    )


def test_record_lists_what_is_installed_sorted(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path, make_wheel("pkg", "1.0", FILES, entry_points=SCRIPTS))
    text = read(nodes[f"{SITE}/pkg-1.0.dist-info/RECORD"]).decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == sorted(rows)
    assert len(rows) == len(nodes)
    assert ["pkg-1.0.dist-info/RECORD", "", ""] in rows
    assert "\r" not in text


def test_the_same_as_installer(tmp_path: Path) -> None:
    """Against pypa/installer itself: same paths, same bytes, same modes but for scripts."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    name = "pkg-1.0-py3-none-any.whl"
    left_out = ("__pycache__", "direct_url", "INSTALLER")
    files = {k: v for k, v in FILES.items() if not any(part in k for part in left_out)}
    ours = nodes_of(tmp_path, make_wheel("pkg", "1.0", files, entry_points=SCRIPTS))
    prefix = Prefix()
    schemes = {
        name: str(tmp_path / "root" / str(prefix.schemes("pkg")[name]))
        for name in ("purelib", "platlib", "scripts", "headers", "data")
    }
    target = SchemeDictionaryDestination(schemes, prefix.interpreter, "posix")
    with WheelFile.open(tmp_path / name) as source:
        install(source, target, {"INSTALLER": b"mllock\n"})
    root = tmp_path / "root"
    theirs = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
    assert sorted(theirs) == sorted(ours)
    for path, file in theirs.items():
        if not path.endswith("/RECORD"):
            assert read(ours[path]) == file.read_bytes(), path
        # `installer` leaves the scripts of a wheel without the bit if the wheel has none.
        if path not in ("opt/venv/bin/run", "opt/venv/bin/native"):
            executable = bool(file.stat().st_mode & stat.S_IXUSR)
            assert executable == (ours[path].mode == 0o755), path
    text = (root / f"{SITE}/pkg-1.0.dist-info/RECORD").read_text()
    # `installer` writes "./x" for what it moves within site-packages.
    rows = sorted([posixpath.normpath(p), d, n] for p, d, n in csv.reader(io.StringIO(text)))
    record = read(ours[f"{SITE}/pkg-1.0.dist-info/RECORD"]).decode()
    assert list(csv.reader(io.StringIO(record))) == rows


INFO = "pkg-1.0.dist-info"
WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
EMPTY = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


def hand_made(record: str, wheel: bytes = WHEEL, *more: Entry) -> bytes:
    return zipped(
        Entry(b"pkg.py", b""),
        *more,
        Entry(f"{INFO}/WHEEL".encode(), wheel),
        Entry(f"{INFO}/RECORD".encode(), record.encode()),
    )


def wheel_row(data: bytes = WHEEL) -> str:
    import base64
    import hashlib

    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{INFO}/WHEEL,sha256={digest},{len(data)}\n"


GOOD = f"pkg.py,sha256={EMPTY},0\n{wheel_row()}{INFO}/RECORD,,\n"


def test_the_hand_made_wheel_is_good(tmp_path: Path) -> None:
    assert f"{SITE}/pkg.py" in nodes_of(tmp_path, hand_made(GOOD))


OLD = b"Wheel-Version: 2.0\n"
REFUSED = {
    "unlisted": (hand_made(wheel_row()), "pkg.py: RECORD does not list this file"),
    "missing": (
        hand_made(f"{GOOD}gone.py,sha256={EMPTY},0\n"),
        "gone.py: RECORD lists a file that is not there",
    ),
    "twice": (hand_made(GOOD + GOOD), "pkg.py: RECORD lists a file twice"),
    "size": (
        hand_made(GOOD.replace(",0\n", ",7\n")),
        "pkg.py: its size is not what RECORD says\nexpected: 7\nfound: 0",
    ),
    "no digest": (
        hand_made(f"pkg.py,,\n{wheel_row()}"),
        "pkg.py: RECORD has no sha256 for this file\nfound: nothing",
    ),
    "weak digest": (
        hand_made(f"pkg.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0\n{wheel_row()}"),
        "pkg.py: RECORD has no sha256 for this file\nfound: md5=1B2M2Y8AsgTpgAmY7PhCfg",
    ),
    "sha1": (
        hand_made(f"pkg.py,sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk,0\n{wheel_row()}"),
        "pkg.py: RECORD has no sha256 for this file\nfound: sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk",
    ),
    "short digest": (
        hand_made(f"pkg.py,sha256={EMPTY[:-4]},0\n{wheel_row()}"),
        f"pkg.py: RECORD has no sha256 for this file\nfound: sha256={EMPTY[:-4]}",
    ),
    "digest of other letters": (
        hand_made(f"pkg.py,sha256={EMPTY[:-1]}!,0\n{wheel_row()}"),
        f"pkg.py: RECORD has no sha256 for this file\nfound: sha256={EMPTY[:-1]}!",
    ),
    "another spelling": (
        hand_made(GOOD.replace("pkg.py", "./pkg.py")),
        "./pkg.py: RECORD lists a file that is not there",
    ),
    "size in other words": (
        hand_made(GOOD.replace(",0\n", ",00\n")),
        "pkg.py: its size is not what RECORD says\nexpected: 00\nfound: 0",
    ),
    "not csv": (
        hand_made(GOOD.replace("pkg.py,", '"pkg.py"x,')),
        f"{INFO}/RECORD: RECORD is not CSV in UTF-8: ',' expected after '\"'",
    ),
    "not utf-8": (
        zipped(
            Entry(f"{INFO}/WHEEL".encode(), WHEEL),
            Entry(f"{INFO}/RECORD".encode(), b"\xff"),
        ),
        f"{INFO}/RECORD: RECORD is not CSV in UTF-8: 'utf-8' codec can't decode byte 0xff in "
        "position 0: invalid start byte",
    ),
    "metadata of many bytes": (
        hand_made(
            f"{GOOD}{INFO}/entry_points.txt,sha256={EMPTY},1048577\n",
            WHEEL,
            Entry(f"{INFO}/entry_points.txt".encode(), b"#" * 1_048_577),
        ),
        f"{INFO}/entry_points.txt: 1048577 bytes, at most 1048576 are read",
    ),
    "two dist-infos": (
        hand_made(GOOD, WHEEL, Entry(b"other-1.0.dist-info/METADATA")),
        "not a wheel: it needs exactly one NAME-VERSION.dist-info folder",
    ),
    "fields": (
        hand_made(f"pkg.py,sha256={EMPTY}\n{wheel_row()}"),
        "pkg.py: a row of RECORD that has not three fields",
    ),
    "lie about metadata": (
        hand_made(f"pkg.py,sha256={EMPTY},0\n{INFO}/WHEEL,sha256={EMPTY},\n"),
        f"{INFO}/WHEEL: its sha256 is not what RECORD says",
    ),
    "no record": (
        zipped(Entry(f"{INFO}/WHEEL".encode(), WHEEL)),
        f"{INFO}/RECORD: not a wheel: this file is missing",
    ),
    "no wheel file": (
        zipped(Entry(f"{INFO}/RECORD".encode(), b"")),
        f"{INFO}/WHEEL: not a wheel: this file is missing",
    ),
    "no dist-info": (
        zipped(Entry(b"pkg.py")),
        "not a wheel: it needs exactly one NAME-VERSION.dist-info folder",
    ),
    "another name": (
        zipped(Entry(b"other-1.0.dist-info/RECORD", b"")),
        "other-1.0.dist-info: the name of the wheel is not that of its metadata",
    ),
    "version": (
        hand_made(f"pkg.py,sha256={EMPTY},0\n{wheel_row(OLD)}", OLD),
        f'{INFO}/WHEEL: Wheel-Version is "2.0", only 1.x is read',
    ),
    "scheme": (
        hand_made(
            f"{GOOD}pkg-1.0.data/etc/x,sha256={EMPTY},0\n",
            WHEEL,
            Entry(b"pkg-1.0.data/etc/x", b""),
        ),
        "pkg-1.0.data/etc/x: not in a valid scheme of .data",
    ),
    "two files, one path": (
        hand_made(
            f"{GOOD}pkg-1.0.data/purelib/pkg.py,sha256={EMPTY},0\n",
            WHEEL,
            Entry(b"pkg-1.0.data/purelib/pkg.py", b""),
        ),
        f"{SITE}/pkg.py: two files of the wheel go to this path",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    data, message = REFUSED[case]
    with pytest.raises(ArchiveError) as caught:
        nodes_of(tmp_path, data)
    assert str(caught.value) == f"pkg-1.0-py3-none-any.whl: {message}"


def test_a_section_of_defaults_is_one_like_others(tmp_path: Path) -> None:
    text = "[DEFAULT]\nx = a:b\n[console_scripts]\ny = a:b\n"
    nodes = nodes_of(tmp_path, make_wheel("pkg", "1.0", entry_points=text))
    assert [path for path in nodes if path.startswith("opt/venv/bin/")] == ["opt/venv/bin/y"]


ENTRY_POINTS = f"{INFO}/entry_points.txt"
BAD_ENTRY_POINTS = {
    "slash": ("[console_scripts]\n../x = a:b\n", "an entry point that cannot be a script: '../x'"),
    "whiteout": (
        "[console_scripts]\n.wh.python = a:b\n",
        "an entry point that cannot be a script: '.wh.python'",
    ),
    "no attribute": ("[console_scripts]\nx = a\n", "an entry point that cannot be a script: 'x'"),
    "code": (
        "[console_scripts]\nx = a:b;import os\n",
        "an entry point that cannot be a script: 'x'",
    ),
    "not ini": ("hello\n", "its entry points cannot be read"),
    "twice": ("[console_scripts]\nx = a:b\nx = c:d\n", "its entry points cannot be read"),
}


@pytest.mark.parametrize("case", BAD_ENTRY_POINTS)
def test_entry_points_that_cannot_be_scripts(tmp_path: Path, case: str) -> None:
    text, message = BAD_ENTRY_POINTS[case]
    with pytest.raises(ArchiveError) as caught:
        nodes_of(tmp_path, make_wheel("pkg", "1.0", entry_points=text))
    assert str(caught.value) == f"pkg-1.0-py3-none-any.whl: {ENTRY_POINTS}: {message}"


def test_a_file_whose_digest_is_not_that_of_record(tmp_path: Path) -> None:
    lying = GOOD.replace(EMPTY, "A" * 43)
    nodes = nodes_of(tmp_path, hand_made(lying))
    with pytest.raises(ArchiveError) as caught:
        read(nodes[f"{SITE}/pkg.py"])
    assert str(caught.value) == (
        f"pkg-1.0-py3-none-any.whl: {SITE}/pkg.py: its sha256 is not what RECORD says"
    )
