"""An image of two layers that are a few bytes, for layouts that nobody runs."""

from __future__ import annotations

from mllock.core.digest import sha256_of
from mllock.image.config import assemble
from mllock.image.types import Image, ImageConfig, ImagePlan, Layer
from mllock.store.cache import Cache

__all__ = ["image"]


def image(cache: Cache, kind: str, text: str = "") -> Image:
    layers = []
    for number in ("base", text or kind):
        digest = cache.put_bytes(f"layer {number}".encode())
        size = len(f"layer {number}")
        layers.append(
            Layer(
                kind="base" if number == "base" else "code",
                title=number,
                digest=digest,
                diff_id=sha256_of(f"tar {number}".encode()),
                size=size,
                unpacked=9,
            )
        )
    return assemble(
        ImagePlan(
            kind=kind,
            platform="linux/amd64",
            layers=tuple(layers),
            config=ImageConfig(command=(kind, text), variables={"PATH": "/bin"}),
        )
    )
