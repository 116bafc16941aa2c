"""Wheels as nodes: where each file of a wheel goes in an image, without unpacking it.

The layout is that of PyPA's "Binary distribution format" as `installer` does it: `.data` schemes,
entry points, shebangs, RECORD rewritten, INSTALLER; no direct_url.json, no bytecode. The bytes of
generated files are part of the builder format and are made here, so that they do not follow the
version of a library. The digest of the whole wheel is verified by whoever takes it from the cache.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mllock.core import safepath
from mllock.core.digest import Digest, sha256_of
from mllock.errors import ArchiveError
from mllock.image.content import Sources
from mllock.image.record import Row, read_record, write_record
from mllock.image.tree import Deflated, Node, Packed, Stored
from mllock.image.zip import DEFLATED, ZipEntry, read_zip

__all__ = ["PREFIX", "Prefix", "wheel_nodes"]

_DIST_INFO = re.compile(r"[A-Za-z0-9._+!]+-[A-Za-z0-9._+!]+\.dist-info")
_ENTRY_POINT = re.compile(r"(?P<module>\w+(\.\w+)*)\s*:\s*(?P<attr>\w+(\.\w+)*)\s*(\[.*\])?\s*")
# Metadata of an installation, which is ours to write or to leave out; signatures of a RECORD that
# is rewritten say nothing any more.
_OURS = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "RECORD.jws", "RECORD.p7s")
MAX_METADATA = 64 * 1024 * 1024
MAX_TEXT = 1024 * 1024

# The text that `installer` writes, fixed here.
_SCRIPT = """\
{shebang}
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    {leave}({attr}())
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """Where packages go: `root` without leading slash, `python` the minor version."""

    root: str = "opt/venv"
    python: str = "3.11"

    @property
    def site(self) -> str:
        return f"{self.root}/lib/python{self.python}/site-packages"

    @property
    def interpreter(self) -> str:
        return f"/{self.root}/bin/python"

    def below_site(self, path: str) -> str:
        """`path`, which is below `root`, as RECORD names it: relative to site-packages."""
        site = f"{self.site}/"
        if path.startswith(site):
            return path[len(site) :]
        return f"../../../{path.removeprefix(f'{self.root}/')}"

    @property
    def shebang(self) -> str:
        """The first line of scripts, without its end.

        Linux takes neither spaces nor more than 127 bytes everywhere; then, as pip and `installer`
        do, it is a text that is the shell's command and Python's string.
        """
        python = self.interpreter
        if len(os.fsencode(python)) <= 124 and not re.search(r"\s", python):
            return f"#!{python}"
        return f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''"

    def schemes(self, distribution: str) -> Mapping[str, str]:
        """The folders of the `.data` schemes."""
        return {
            "purelib": self.site,
            "platlib": self.site,
            "scripts": f"{self.root}/bin",
            "headers": f"{self.root}/include/site/python{self.python}/{distribution}",
            "data": self.root,
        }


PREFIX = Prefix()


def wheel_nodes(
    wheel: Path, name: str, prefix: Prefix = PREFIX, *, left_out: Collection[str] = ()
) -> tuple[Node, ...]:
    """The files of `wheel`, whose file name is `name` (a cached wheel's own name is its digest).

    Folders are implied; paths in `left_out` are neither installed nor in RECORD. Raises
    ArchiveError that names the wheel and the entry.
    """
    return _Wheel(wheel, name, prefix).nodes(left_out)


class _Wheel:
    def __init__(self, path: Path, name: str, prefix: Prefix) -> None:
        self._path = path
        self._label = name
        self._prefix = prefix
        self._entries = {entry.name: entry for entry in read_zip(path, name)}
        self._digests: Mapping[str, Digest] = {}
        self._dist_info = self._find_dist_info()
        self._stem = self._dist_info.removesuffix(".dist-info")
        self._distribution = self._stem.split("-", maxsplit=1)[0]
        record = f"{self._dist_info}/RECORD"
        self._digests = read_record(self._read(record), self._dist_info, self._entries, name)

    def nodes(self, left_out: Collection[str]) -> tuple[Node, ...]:
        self._check_wheel_file()
        nodes: dict[str, Node] = {}
        rows: list[Row] = []
        for node, digest in (*self._scripts(), *self._files(), self._installer()):
            if node.path in nodes:
                raise self._error("two files of the wheel go to this path", node.path)
            if node.path in left_out:
                continue
            nodes[node.path] = node
            assert node.content is not None
            rows.append(
                Row(
                    path=self._prefix.below_site(node.path),
                    digest=digest,
                    size=node.content.size,
                )
            )
        record = f"{self._dist_info}/RECORD"
        text = write_record(rows, record)
        node = _file(f"{self._prefix.site}/{record}", text)
        if node.path in nodes:
            raise self._error("two files of the wheel go to this path", node.path)
        return (*nodes.values(), node)

    def _find_dist_info(self) -> str:
        tops = {name.split("/", 1)[0] for name in self._entries}
        found = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(found) != 1 or _DIST_INFO.fullmatch(found[0]) is None:
            raise self._error("not a wheel: it needs exactly one NAME-VERSION.dist-info folder")
        # PyPA: the file name and the folder agree up to normalisation.
        wanted = self._label.split("-")[:2]
        actual = found[0].removesuffix(".dist-info").split("-", 1)
        if [_fold(part) for part in wanted] != [_fold(part) for part in actual]:
            raise self._error("the name of the wheel is not that of its metadata", found[0])
        return found[0]

    def _check_wheel_file(self) -> None:
        key = f"{self._dist_info}/WHEEL"
        fields = dict[str, str]()
        for line in self._text(key).splitlines():
            field, _, value = line.partition(":")
            fields.setdefault(field.strip().lower(), value.strip())
        version = fields.get("wheel-version", "")
        if not version.startswith("1."):
            raise self._error(f'Wheel-Version is "{version}", only 1.x is read', key)

    def _files(self) -> Iterator[tuple[Node, Digest]]:
        ours = {f"{self._dist_info}/{name}" for name in _OURS}
        data = f"{self._stem}.data/"
        schemes = self._prefix.schemes(self._distribution)
        for name, entry in self._entries.items():
            # `installer`: bytecode in wheels is not installed.
            if name in ours or ("__pycache__/" in name and "__pycache__" in name.split("/")[:-1]):
                continue
            scheme, target = "purelib", name
            if name.startswith(data):
                scheme, _, target = name.removeprefix(data).partition("/")
            folder = schemes.get(scheme)
            if folder is None or not target:
                raise self._error("not in a valid scheme of .data", name)
            if scheme == "scripts":
                yield self._script_file(entry, f"{folder}/{target}")
                continue
            mode = 0o755 if entry.mode & 0o111 else 0o644
            digest = self._digests[name]
            yield self._node(entry, f"{folder}/{target}", mode, digest), digest

    def _node(self, entry: ZipEntry, path: str, mode: int, digest: Digest | None) -> Node:
        content: Deflated | Packed
        if entry.method == DEFLATED:
            content = Deflated(
                archive=self._path,
                offset=entry.offset,
                compressed=entry.compressed,
                size=entry.size,
                crc=entry.crc,
                digest=digest,
            )
        else:
            content = Packed(
                archive=self._path,
                offset=entry.offset,
                size=entry.size,
                crc=entry.crc,
                digest=digest,
            )
        return Node(path=path, kind="file", mode=mode, content=content)

    def _script_file(self, entry: ZipEntry, path: str) -> tuple[Node, Digest]:
        digest = self._digests[entry.name]
        node = self._node(entry, path, 0o755, digest)
        if entry.size > MAX_METADATA:
            return node, digest
        data = self._read(entry.name)
        if not data.startswith(b"#!python"):
            return node, digest
        _, _, rest = data.partition(b"\n")
        return _generated(path, f"{self._prefix.shebang}\n".encode() + rest, 0o755)

    def _scripts(self) -> Iterator[tuple[Node, Digest]]:
        key = f"{self._dist_info}/entry_points.txt"
        if key not in self._entries:
            return
        # A name that no section can have: there is no default one, as in importlib.metadata.
        config = configparser.ConfigParser(
            delimiters=("=",), interpolation=None, default_section="]"
        )
        config.optionxform = str  # type: ignore[assignment,method-assign]  # typeshed: a method
        try:
            config.read_string(self._text(key))
        except configparser.Error:
            raise self._error("its entry points cannot be read", key) from None
        for section in ("console_scripts", "gui_scripts"):
            if not config.has_section(section):
                continue
            for name, value in config.items(section):
                match = _ENTRY_POINT.fullmatch(value)
                unsafe = "/" in name or safepath.problem(name) or safepath.whiteout((name,))
                if match is None or unsafe:
                    raise self._error(f"an entry point that cannot be a script: {name!r}", key)
                text = _SCRIPT.format(
                    shebang=self._prefix.shebang,
                    module=match["module"],
                    name=match["attr"].split(".")[0],
                    attr=match["attr"],
                    # Apart: a test looks for modules that exit, and this one does not.
                    leave="sys.exit",
                )
                yield _generated(f"{self._prefix.root}/bin/{name}", text.encode(), 0o755)

    def _installer(self) -> tuple[Node, Digest]:
        path = f"{self._prefix.site}/{self._dist_info}/INSTALLER"
        return _generated(path, b"mllock\n", 0o644)

    def _text(self, name: str) -> str:
        try:
            return self._read(name, MAX_TEXT).decode("utf-8")
        except UnicodeDecodeError:
            raise self._error("it is not UTF-8", name) from None

    def _read(self, name: str, limit: int = MAX_METADATA) -> bytes:
        """The content of a small file; CRC verified, and the digest once RECORD is read."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._error("not a wheel: this file is missing", name)
        if entry.size > limit:
            raise self._error(f"{entry.size} bytes, at most {limit} are read", name)
        node = self._node(entry, name, 0o644, self._digests.get(name))
        with Sources() as sources:
            return b"".join(sources.read(node))

    def _error(self, message: str, key: str | None = None) -> ArchiveError:
        return ArchiveError(message, file=self._label, key=key)


def _generated(path: str, data: bytes, mode: int) -> tuple[Node, Digest]:
    return Node(path=path, kind="file", mode=mode, content=Stored(data)), sha256_of(data)


def _file(path: str, data: bytes) -> Node:
    return Node(path=path, kind="file", mode=0o644, content=Stored(data))


def _fold(part: str) -> str:
    return re.sub(r"[-_.]+", "-", part).lower()
