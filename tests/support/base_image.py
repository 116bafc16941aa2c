"""Base images as other tools make them: tars of Python's own writer, gzip or zstd, OCI or Docker.

    base = BaseImage(layers=[python_layer()])
    base.to_layout(folder)
    base.to_registry(server, "py", "1")

Files of a layer are bytes by path, or a `tarfile.TarInfo` for what is not a plain file. The Python
is none that runs: it has what mllock looks at.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mllock.core.digest import Digest
from mllock.image.base_tree import BaseTree, LayerBlob, open_tree
from mllock.store.cache import Cache
from support.reporter import Recorder
from support.small_registry import SmallRegistry

__all__ = [
    "BaseImage",
    "Files",
    "binary",
    "blobs",
    "elf",
    "layer",
    "libc",
    "link",
    "python_layer",
    "status",
    "tree_of",
]

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
PATH = "/usr/local/bin:/usr/bin:/bin"

Files = Mapping[str, bytes | tarfile.TarInfo]


def elf(machine: int = 62) -> bytes:
    return b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", machine) + bytes(44)


def binary(version: str, machine: int = 62) -> bytes:
    return elf(machine) + b"main\0" + version.encode() + b"\0%.80s (%.80s) %.80s\0"


def libc(version: str = "2.36") -> bytes:
    text = f"GNU C Library (Debian GLIBC {version}-9) stable release version {version}.\n"
    return elf() + text.encode()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    # A hard link has the mode of its file.
    info.type, info.linkname, info.mode = kind, target, 0o777 if kind == tarfile.SYMTYPE else 0o755
    return info


def status(**packages: str) -> bytes:
    """The status file of dpkg: packages by name and version; _ stands for a hyphen."""
    return "\n".join(
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\n"
        f"Architecture: amd64\nVersion: {version}\n"
        for name, version in packages.items()
    ).encode()


def python_layer(
    version: str = "3.11.9", prefix: str = "usr/local", machine: int = 62
) -> dict[str, Any]:
    minor = ".".join(version.split(".")[:2])
    return {
        "bin": link("usr/bin"),
        "lib": link("usr/lib"),
        f"usr/lib/{'x86_64' if machine == 62 else 'aarch64'}-linux-gnu/libc.so.6": libc(),
        f"{prefix}/bin/python{minor}": binary(version, machine),
        f"{prefix}/bin/python3": link(f"python{minor}"),
        f"{prefix}/bin/python": link("python3"),
    }


def layer(files: Files, *, format: int = tarfile.GNU_FORMAT) -> bytes:  # noqa: A002 - tarfile's
    """A tar with times, names of owners, and "./" before each path."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for path, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo()
            info.name = path if path.startswith("/") else f"./{path}"
            info.uname = info.gname = "root"
            info.mtime = 1_700_000_000
            if isinstance(content, bytes):
                info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


@dataclass(kw_only=True)
class BaseImage:
    """`layers` are files, or tars as bytes; `packing` is "gzip", "zstd" or "none" for all."""

    layers: Sequence[Files | bytes]
    platform: str = "linux/amd64"
    env: Sequence[str] | None = (f"PATH={PATH}", "LANG=C.UTF-8")
    packing: str = "gzip"
    docker: bool = False
    history: Sequence[Mapping[str, Any]] = ()
    blobs: dict[str, bytes] = field(default_factory=dict, init=False)
    manifest: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        tars = [part if isinstance(part, bytes) else layer(part) for part in self.layers]
        system, _, architecture = self.platform.partition("/")
        config = {
            "os": system,
            "architecture": architecture,
            "config": {
                "Env": self.env,
                "Cmd": ["python3"],
                "Entrypoint": ["/entry"],
                "User": "1000",
                "WorkingDir": "/srv",
                "Volumes": {"/data": {}},
            },
            "rootfs": {"type": "layers", "diff_ids": [_sha(tar) for tar in tars]},
            "history": list(self.history),
        }
        types = {"gzip": ".gzip", "zstd": ".zstd", "none": ""}
        named = f"{DOCKER}image.rootfs.diff.tar{types[self.packing]}"
        if not self.docker:
            named = f"{OCI}layer.v1.tar{types[self.packing].replace('.', '+')}"
        kind = "container.image.v1+json" if self.docker else "config.v1+json"
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self._blob(json.dumps(config).encode(), f"{self._prefix}{kind}"),
            "layers": [self._blob(self._pack(tar), named) for tar in tars],
        }

    @property
    def _prefix(self) -> str:
        return DOCKER if self.docker else OCI

    @property
    def media_type(self) -> str:
        kind = "distribution.manifest.v2+json" if self.docker else "manifest.v1+json"
        return f"{self._prefix}{kind}"

    @property
    def data(self) -> bytes:
        return json.dumps(self.manifest).encode()

    @property
    def digest(self) -> str:
        return _sha(self.data)

    @property
    def descriptor(self) -> dict[str, Any]:
        system, _, architecture = self.platform.partition("/")
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.data),
            "platform": {"os": system, "architecture": architecture},
        }

    def _pack(self, tar: bytes) -> bytes:
        if self.packing == "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=3).compress(tar)
        return gzip.compress(tar, 6, mtime=7) if self.packing == "gzip" else tar

    def _blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[_sha(data)] = data
        return {"mediaType": media_type, "digest": _sha(data), "size": len(data)}

    def to_layout(self, folder: Path, *others: BaseImage) -> Path:
        """An OCI layout of this image, or of several for their platforms."""
        place = folder / "blobs" / "sha256"
        place.mkdir(parents=True, exist_ok=True)
        for image in (self, *others):
            for digest, data in (*image.blobs.items(), (image.digest, image.data)):
                (place / digest.removeprefix("sha256:")).write_bytes(data)
        index = {"schemaVersion": 2, "manifests": [i.descriptor for i in (self, *others)]}
        (folder / "index.json").write_text(json.dumps(index))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return folder

    def to_registry(
        self, server: SmallRegistry, repo: str, tag: str, *others: BaseImage, index: bool = False
    ) -> str:
        """The image under a tag, or an index of several; answers the digest of what is tagged."""
        for image in (self, *others):
            for digest, data in image.blobs.items():
                server.blobs[repo, digest] = data
            server.put(repo, None, image.data, image.media_type)
        if not others and not index:
            return server.put(repo, tag, self.data, self.media_type)
        kind = (
            f"{DOCKER}distribution.manifest.list.v2+json" if self.docker else f"{OCI}index.v1+json"
        )
        listed = [image.descriptor for image in (self, *others)]
        unknown = listed[0] | {"platform": {"os": "unknown", "architecture": "unknown"}}
        value = {"schemaVersion": 2, "mediaType": kind, "manifests": [unknown, *listed]}
        return server.put(repo, tag, json.dumps(value).encode(), kind)


def _sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tree_of(tmp_path: Path, *layers: Files | bytes, packing: str = "gzip") -> BaseTree:
    image = BaseImage(layers=layers, packing=packing)
    cache = Cache(tmp_path / "cache", Recorder())
    for data in image.blobs.values():
        cache.put_bytes(data)
    return open_tree(cache, blobs(image))


def blobs(image: BaseImage) -> list[LayerBlob]:
    config = json.loads(image.blobs[image.manifest["config"]["digest"]])
    return [
        LayerBlob(
            digest=Digest(entry["digest"]),
            diff_id=Digest(diff_id),
            media_type=entry["mediaType"],
        )
        for entry, diff_id in zip(
            image.manifest["layers"], config["rootfs"]["diff_ids"], strict=True
        )
    ]
