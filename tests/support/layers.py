"""Layers and layouts made by hand, with Python's tarfile: not with what is under test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def info(path: str, kind: str, content: str | bytes = b"", mode: int | None = None):
    """A TarInfo and its data: kind is file, folder, symlink, hardlink."""
    member = tarfile.TarInfo(path)
    data = b""
    if kind == "file":
        data = content.encode() if isinstance(content, str) else content
        member.size = len(data)
    elif kind == "folder":
        member.type = tarfile.DIRTYPE
    else:
        member.type = tarfile.SYMTYPE if kind == "symlink" else tarfile.LNKTYPE
        member.linkname = str(content)
    member.mode = (0o755 if kind == "folder" else 0o644) if mode is None else mode
    return member, data


def tar(members: Iterable[tuple]) -> bytes:
    """An uncompressed tar of `info` arguments; size is the least that ends it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for arguments in members:
            member, data = info(*arguments)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def compact(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class HandMade:
    """A layout folder to which blobs, images and artifacts are added, right or wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict] = []
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_bytes(compact({"imageLayoutVersion": "1.0.0"}))

    def blob(self, data: bytes, media_type: str) -> dict:
        digest = sha(data)
        (self.folder / "blobs" / "sha256" / digest[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(self, ref: str, tars: list[bytes], config: dict | None = None) -> dict:
        """An image of these uncompressed layers; answers its descriptor."""
        config = {"architecture": "amd64", "os": "linux", "config": {}} | (config or {})
        config["rootfs"] = {"type": "layers", "diff_ids": [sha(data) for data in tars]}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(compact(config), CONFIG),
            "layers": [self.blob(packed(data), LAYER) for data in tars],
        }
        return self.add(compact(manifest), ref)

    def artifact(self, subject: dict, data: bytes, kind: str = BUNDLE) -> dict:
        plain = {key: subject[key] for key in ("mediaType", "digest", "size")}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self.blob(b"{}", EMPTY),
            "layers": [self.blob(data, kind)],
            "subject": plain,
        }
        return self.add(compact(manifest), None)

    def add(self, manifest: bytes, ref: str | None) -> dict:
        entry = self.blob(manifest, MANIFEST)
        if ref is not None:
            entry["annotations"] = {"org.opencontainers.image.ref.name": ref}
        self.entries.append(entry)
        self.write_index()
        return entry

    def write_index(self) -> None:
        index = {"schemaVersion": 2, "manifests": self.entries}
        (self.folder / "index.json").write_bytes(compact(index))
