"""What wheels say of their licence: read from METADATA once for each wheel, then remembered.

Only what the packages declare, in SPDX where they do; nothing is guessed. It is a function of the
wheel alone. What is remembered counts only if this user wrote it (`mllock.store.own`); so a build
whose layers are all there asks for no wheel.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mllock.core import canonical
from mllock.errors import ArchiveError
from mllock.image.zip import STORED, read_zip
from mllock.lock.types import PythonPackage
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.store.own import read_own

__all__ = ["Declared", "declared_licences", "licences_in", "read_metadata"]

# ("expression", SPDX) or ("name", words)
Declared = tuple[tuple[str, str], ...]

FOLDER = "licences"
VERSION = 1
MAX_METADATA = 16 * 1024 * 1024
MAX_NAME = 120
MAX_ENTRY = 64 * 1024
MAX_LICENCES = 20
_PREFIX = "License :: "


def declared_licences(
    packages: Sequence[PythonPackage],
    wheels: Callable[[Sequence[PythonPackage]], Mapping[str, Path]],
    cache: Cache,
) -> dict[str, Declared]:
    """By the sha256 of the wheel. `wheels` is asked for those that were never looked at.

    Raises ArchiveError, and what `wheels` raises."""
    found: dict[str, Declared] = {}
    unknown = []
    folder = cache.folder(FOLDER)
    for package in packages:
        digest = package.wheels[0].hashes["sha256"]
        known = _remembered(folder / _name(digest))
        if known is None:
            unknown.append(package)
        else:
            found[digest] = known
    files = wheels(unknown) if unknown else {}
    for package in unknown:
        wheel = package.wheels[0]
        licences = licences_in(read_metadata(files[wheel.name], wheel.name))
        entry = {"v": VERSION, "licences": [list(pair) for pair in licences]}
        digest = wheel.hashes["sha256"]
        atomic.write_bytes(folder / _name(digest), canonical.dumps(entry))
        found[digest] = licences
    return found


def read_metadata(path: Path, name: str) -> bytes:
    """METADATA of the wheel at `path`. Raises ArchiveError."""
    for entry in read_zip(path, name):
        folder, _, file = entry.name.partition("/")
        if not folder.endswith(".dist-info") or file != "METADATA":
            continue
        if max(entry.size, entry.compressed) > MAX_METADATA:
            raise ArchiveError("a METADATA of more than 16 MiB", file=name, key=entry.name)
        with open(path, "rb") as archive:
            archive.seek(entry.offset)
            raw = archive.read(entry.compressed)
        try:
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
            data = raw if entry.method == STORED else stream.decompress(raw, entry.size + 1)
        except zlib.error as error:
            raise ArchiveError(f"cannot inflate: {error}", file=name, key=entry.name) from None
        if zlib.crc32(data) != entry.crc:
            raise ArchiveError("not the CRC of the archive", file=name, key=entry.name)
        return data
    raise ArchiveError("a wheel without METADATA", file=name)


def licences_in(metadata: bytes) -> Declared:
    """License-Expression, else a short License, else classifiers (PyPA core metadata)."""
    from packaging.metadata import parse_email

    raw, _ = parse_email(metadata)
    expression = _expression(raw.get("license_expression", ""))
    text = " ".join(raw.get("license", "").split())
    if expression is None:
        expression = _expression(text)
    if expression is not None:
        return (("expression", expression),)
    if text.isprintable() and 0 < len(text) <= MAX_NAME and text.upper() != "UNKNOWN":
        return (("name", text),)
    names = {
        name.rpartition(" :: ")[2]
        for name in raw.get("classifiers", [])
        if name.startswith(_PREFIX) and name.isprintable() and len(name) <= MAX_NAME
    }
    return tuple(("name", name) for name in sorted(names - {"OSI Approved"})[:MAX_LICENCES])


def _expression(text: str) -> str | None:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if not text or len(text) > MAX_NAME * 4:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def _remembered(path: Path) -> Declared | None:
    data = read_own(path, MAX_ENTRY)
    if data is None:
        return None
    try:
        entry = canonical.loads(data)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.keys() != {"v", "licences"} or entry["v"] != VERSION:
        return None
    pairs = entry["licences"]
    if not isinstance(pairs, list):
        return None
    found = []
    for pair in pairs:
        right = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], str)
        if not right or pair[0] not in ("expression", "name"):
            return None
        found.append((pair[0], pair[1]))
    return tuple(found)


def _name(digest: str) -> str:
    # Users of one cache have entries of their own, and do not take turns replacing them.
    return f"{digest}-{os.geteuid()}.json"
