"""The layout that a target names, also where it cannot be opened: that is found out about it.

A folder with a part of a layout whose marker or index cannot be read strictly is a layout that was
tampered with or damaged, and is refuted; a folder with none of it is a mistyped target.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mllock.core.digest import Digest
from mllock.errors import ArchiveError, InputError
from mllock.store.layout_reader import INDEX, MARKER, Layout, LayoutImage, open_layout
from mllock.store.oci_json import Descriptor

__all__ = ["layout_of"]


def layout_of(folder: Path, platform: str | None = None) -> Layout:
    """The layout in `folder`; asked for an image, one that cannot be opened says why not. Raises
    InputError if there is none."""
    try:
        return open_layout(folder, platform)
    except ArchiveError as error:
        if not any(os.path.lexists(folder / name) for name in (MARKER, INDEX, "blobs")):
            raise InputError(
                "not an OCI layout",
                file=str(folder),
                expected=f"{MARKER}, {INDEX} and blobs",
                hint="name a model folder with path:DIR",
            ) from None
        return _Broken(folder=folder, manifests=(), error=error)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Broken(Layout):
    error: ArchiveError

    def image(self, ref: str) -> LayoutImage:
        self._refuse(ref)

    def referrers(self, subject: Digest | None, artifact_type: str) -> tuple[bytes, ...]:
        self._refuse(subject, artifact_type)

    def stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        self._refuse(descriptor)

    def _refuse(self, *_: object) -> NoReturn:
        raise self.error
