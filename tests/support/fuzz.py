"""Archives with one place changed, and what is made of them: for a law, and for hours by hand.

    PYTHONPATH=tests python -m support.fuzz [NUMBER [SEED]]

The law: from a changed archive comes an MllockError, or the very same files; never others, and
never another exception. For what is inside of an archive whose checksums are right again
(`INSIDE`), only the second half of it holds. By hand, memory and time are bounded as well. The bits
of a wheel that say whether a file is executable are covered by no checksum of a zip, and not by
RECORD: modes are not compared there. (The sha256 of the whole, which the lock has, covers them.)
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import itertools
import random
import re
import signal
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from mllock.core.digest import sha256_of
from mllock.errors import MllockError
from mllock.image.content import Sources
from mllock.image.debian import base_nodes
from mllock.image.gzip import GzipSink
from mllock.image.read import merge, read_layer
from mllock.image.tar import write_tar
from mllock.image.tree import Node
from mllock.image.wheel import wheel_nodes
from support.debian import ar, files_tar, make_deb, member, on_disk, tar_of
from support.nodes import blob, file, folder, hardlink, symlink
from support.wheels import make_wheel

Outcome = object
WHEEL_NAME = "pkg-1.0-py3-none-any.whl"

_FILES = {
    "pkg/__init__.py": b"",
    "pkg/code.py": b"def main(): pass\n" * 50,
    "pkg/\u00fc.txt": b"text",
    "pkg/tool*": b"#!/bin/sh\n",
    # Large enough to be passed through into a layer (docs/reference/builder-format.md).
    "pkg/table.txt": b"".join(b"%d\n" % (n * n % 97) for n in range(8000)),
    "pkg-1.0.data/scripts/run": b"#!python\nprint()\n",
    "pkg-1.0.data/data/share/x": b"data",
    "pkg-1.0.dist-info/INSTALLER": b"pip\n",
}
_ENTRY_POINTS = "[console_scripts]\nhello = pkg.code:main\n"


class _Unseekable(io.RawIOBase):
    """`zipfile` writes data descriptors where it cannot go back to a header."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += memoryview(data).tobytes()  # type: ignore[arg-type]  # any buffer
        return len(memoryview(data))  # type: ignore[arg-type]


def streamed(data: bytes, *, zip64: bool = False) -> bytes:
    """The same wheel with data descriptors."""
    out = _Unseekable()
    with zipfile.ZipFile(io.BytesIO(data)) as plain, zipfile.ZipFile(out, "w") as archive:
        for info in plain.infolist():
            entry = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.compress_type = info.external_attr, zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=zip64) as stream:
                stream.write(plain.read(info))
    return bytes(out.data)


def _layer() -> bytes:
    out = io.BytesIO()
    sink = GzipSink(out)
    long = "n" * 120
    nodes = [folder("usr"), folder("usr/lib"), file("usr/lib/a", b"a" * 3000)]
    nodes += [file(f"usr/{long}", b"long"), symlink("lib", "usr/lib"), hardlink("b", "usr/lib/a")]
    write_tar(nodes, sink)
    sink.finish()
    return out.getvalue()


_DEB_FILES = {
    "usr/bin": "folder",
    "usr/bin/hello": b"#!/bin/sh\n" * 50,
    "usr/bin/hi": "-> hello",
    "usr/bin/hey": "hard usr/bin/hello",
    "usr/share/" + "d" * 90 + "/" + "f" * 90: b"long",
    "etc/secret": member("./etc/secret", mode=0o640),
}


def _of_wheel(folder: Path, data: bytes) -> Outcome:
    """The contents as a host's environment has them, which are those that a layer has: streams are
    inflated by two libraries, and both must take or refuse one."""
    path = folder / "x.whl"
    path.write_bytes(data)
    nodes = wheel_nodes(path, WHEEL_NAME)
    digests = outcome(lambda *_: _digests_in_layer(nodes), folder, data)
    try:
        with Sources() as sources:
            contents = {node.path: b"".join(sources.read(node)) for node in nodes}
    except MllockError:
        assert digests is None
        raise
    assert digests == {path: sha256_of(content) for path, content in contents.items()}
    return contents


def _of_deb(folder: Path, data: bytes) -> Outcome:
    package, path = on_disk(folder, data, "hello")
    nodes: Iterable[Node] = base_nodes([(package, path)])
    return {node.path: node for node in nodes}


def _of_layer(_: Path, data: bytes) -> Outcome:
    layer = read_layer(iter([data]), "layer", hashed=lambda _: True)
    return layer.diff_id, merge([layer])


Make = Callable[[Path, bytes], Outcome]
_WHEEL = make_wheel("pkg", "1.0", _FILES, entry_points=_ENTRY_POINTS)
ARCHIVES: dict[str, tuple[bytes, Make]] = {
    "wheel": (_WHEEL, _of_wheel),
    "stored wheel": (
        make_wheel("pkg", "1.0", _FILES, entry_points=_ENTRY_POINTS, compression=0),
        _of_wheel,
    ),
    "streamed wheel": (streamed(_WHEEL), _of_wheel),
    "streamed zip64 wheel": (streamed(_WHEEL, zip64=True), _of_wheel),
    "deb": (make_deb("hello", files=_DEB_FILES), _of_deb),
    "layer": (_layer(), _of_layer),
}


def _digests_in_layer(nodes: Iterable[Node]) -> Outcome:
    layer = read_layer(iter([blob(nodes)]), "layer", hashed=lambda _: True)
    return {path: member.digest for path, member in layer.members.items()}


def _inside_deb(folder: Path, tar: bytes) -> Outcome:
    return _of_deb(folder, make_deb("hello", data=("data.tar", _checked(tar))))


def _inside_control(folder: Path, text: bytes) -> Outcome:
    control = tar_of([(member("./control"), text)])
    data = tar_of([])
    parts = [("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", data)]
    return _of_deb(folder, ar(parts))


def _inside_layer(folder: Path, tar: bytes) -> Outcome:
    return _of_layer(folder, gzip.compress(_checked(tar)))


def _checked(tar: bytes) -> bytes:
    """The tar with right checksums wherever a header may be."""
    out = bytearray(tar)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


def _inside(name: str) -> Make:
    def make(folder: Path, data: bytes) -> Outcome:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(_WHEEL)) as old, zipfile.ZipFile(out, "w") as new:
            for info in old.infolist():
                content = data if info.filename.endswith(name) else old.read(info)
                if info.filename.endswith("/RECORD") and name != "RECORD":
                    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                    row = re.compile(rb"(?m)^([^,\n]*%s),.*$" % name.encode())
                    content = row.sub(rb"\1,sha256=" + digest + b",", content)
                new.writestr(info, content)
        return _of_wheel(folder, out.getvalue())

    return make


def _text(name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(_WHEEL)) as archive:
        return archive.read(f"pkg-1.0.dist-info/{name}")


INSIDE: dict[str, tuple[bytes, Make]] = {
    "tar of a deb": (files_tar(_DEB_FILES), _inside_deb),
    "control of a deb": (b"Package: hello\nVersion: 1.0\nArchitecture: amd64\n", _inside_control),
    "tar of a layer": (gzip.decompress(_layer()), _inside_layer),
    **{
        f"{name} of a wheel": (_text(name), _inside(name))
        for name in ("RECORD", "entry_points.txt", "WHEEL")
    },
}
CHANGES = ("flip", "set", "cut", "insert", "remove", "repeat", "swap", "zero")


def changed(data: bytes, how: str, at: int, length: int, other: int, value: int) -> bytes:
    """`data` with one change; all numbers are taken modulo what there is."""
    at, other = at % len(data), other % len(data)
    end = min(len(data), at + 1 + length % 64)
    piece = data[at:end]
    match how:
        case "flip":
            return data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :]
        case "set":
            return data[:at] + bytes([value % 256]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "insert":
            return data[:at] + bytes([value % 256]) * (1 + length % 64) + data[at:]
        case "remove":
            return data[:at] + data[end:]
        case "repeat":
            return data[:other] + piece + data[other:]
        case "swap":
            low, high = sorted((at, other))
            size = min(1 + length % 64, high - low, len(data) - high)
            first, second = data[low : low + size], data[high : high + size]
            return data[:low] + second + data[low + size : high] + first + data[high + size :]
    return data[:at] + bytes(len(piece)) + data[end:]


def outcome(make: Make, folder: Path, data: bytes) -> Outcome | None:
    """None for an MllockError; other exceptions pass."""
    try:
        return make(folder, data)
    except MllockError:
        return None


def main() -> int:
    import resource

    number = int(sys.argv[1]) if sys.argv[1:] else 1000
    numbers = random.Random(int(sys.argv[2]) if sys.argv[2:] else 0)
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        every = ARCHIVES | INSIDE
        good = {name: make(folder, data) for name, (data, make) in every.items()}
        for name, _ in itertools.product(every, range(number)):
            data, make = every[name]
            how = numbers.choice(CHANGES)
            places = [numbers.randrange(1 << 30) for _ in range(4)]
            bad = changed(data, how, *places)
            signal.alarm(20)
            try:
                made = outcome(make, folder, bad)
            except BaseException:
                print(name, how, places)
                traceback.print_exc()
                return 1
            finally:
                signal.alarm(0)
            kind = "refused" if made is None else "same" if made == good[name] else "different"
            seen[f"{name}: {kind}"] += 1
            if kind == "different" and name in ARCHIVES:
                print(name, how, places)
                return 1
    for line, count in sorted(seen.items()):
        print(f"{count:8} {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
