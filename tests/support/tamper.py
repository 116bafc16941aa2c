"""Breaking a layout as an attacker would: change a layer, repair everything around it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.layers import BUNDLE, compact, packed, sha

REF = "org.opencontainers.image.ref.name"


class Layout:
    """The image `ref` of a layout, to be taken apart and put together again, digests repaired."""

    def __init__(self, folder: Path, ref: str = "serve") -> None:
        self.folder = folder
        self.index = json.loads((folder / "index.json").read_bytes())
        self.entry = next(e for e in self.index["manifests"] if _ref(e) == ref)
        self.manifest = json.loads(self.read(self.entry))
        self.config = json.loads(self.read(self.manifest["config"]))

    def path(self, descriptor: Mapping[str, Any]) -> Path:
        return self.folder / "blobs" / "sha256" / descriptor["digest"][7:]

    def read(self, descriptor: Mapping[str, Any]) -> bytes:
        return self.path(descriptor).read_bytes()

    def put(self, descriptor: dict[str, Any], data: bytes) -> None:
        """Keep `data` and make `descriptor` name it."""
        descriptor["digest"], descriptor["size"] = sha(data), len(data)
        path = self.path(descriptor)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def layer_with(self, path: str) -> int:
        """The number of the layer that holds this member."""
        return next(n for n in range(len(self.manifest["layers"])) if path in self.members(n))

    def members(self, number: int) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        data = gzip.decompress(self.read(self.manifest["layers"][number]))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found = {}
            for info in archive:
                stream = archive.extractfile(info) if info.isreg() else None
                found[info.name] = (info, stream.read() if stream else b"")
            return found

    def replace(self, number: int, members: Mapping[str, tuple[tarfile.TarInfo, bytes]]) -> None:
        """Write layer `number` anew from members; digest and diff_id are repaired."""
        self.set_tar(number, make_tar(members))

    def set_tar(self, number: int, data: bytes) -> None:
        self.put(self.manifest["layers"][number], packed(data))
        self.config["rootfs"]["diff_ids"][number] = sha(data)

    def append(self, data: bytes) -> None:
        """One more layer on top, an uncompressed tar, as `docker commit` would add it."""
        self.manifest["layers"].append(dict(self.manifest["layers"][-1]))
        self.config["rootfs"]["diff_ids"].append("")
        self.config["history"].append({"created_by": "sh"})
        self.set_tar(len(self.manifest["layers"]) - 1, data)

    def drop(self, number: int) -> None:
        del self.manifest["layers"][number]
        del self.config["rootfs"]["diff_ids"][number]
        del self.config["history"][number]

    def edit(self, path: str, change: Callable[[tarfile.TarInfo, bytes], bytes | None]) -> None:
        """Change one member where it is; None removes it."""
        number = self.layer_with(path)
        members = self.members(number)
        info, data = members.pop(path)
        changed = change(info, data)
        if changed is not None:
            members[info.name] = (info, changed)
        self.replace(number, members)

    def save(self, *, repoint: bool = False) -> None:
        """Write config, manifest and index with right digests; with `repoint` the statements
        beside the image are made to be about the new manifest."""
        old = self.entry["digest"]
        self.put(self.manifest["config"], compact(self.config))
        self.put(self.entry, compact(self.manifest))
        for entry in self.index["manifests"] if repoint else ():
            artifact = json.loads(self.read(entry))
            if artifact.get("subject", {}).get("digest") == old:
                artifact["subject"] |= {k: self.entry[k] for k in ("digest", "size")}
                self.put(entry, compact(artifact))
        (self.folder / "index.json").write_bytes(compact(self.index))

    def statements(self) -> list[dict[str, Any]]:
        """The index entries of signed statements about this image."""
        found = []
        for entry in self.index["manifests"]:
            subject = json.loads(self.read(entry)).get("subject", {})
            signed = entry.get("artifactType") == BUNDLE
            if signed and subject.get("digest") == self.entry["digest"]:
                found.append(entry)
        return found

    def remove_statements(self) -> None:
        gone = self.statements()
        self.index["manifests"] = [e for e in self.index["manifests"] if e not in gone]
        (self.folder / "index.json").write_bytes(compact(self.index))

    def set_statement(self, bundle: bytes) -> None:
        """Put another bundle in place of the statement about this image."""
        for entry in self.statements():
            artifact = json.loads(self.read(entry))
            self.put(artifact["layers"][0], bundle)
            self.put(entry, compact(artifact))
        (self.folder / "index.json").write_bytes(compact(self.index))


def make_tar(members: Mapping[str, tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members.values():
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def flip(data: bytes, at: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _ref(entry: Mapping[str, Any]) -> str | None:
    return entry.get("annotations", {}).get(REF)
