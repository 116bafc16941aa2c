"""An image, read from its bytes: every blob hashed, every layer unpacked in mind.

Where the blobs come from is the business of an `ImageSource`: a layout, a registry. Nothing is
executed and nothing is written. Layers are read side by side; contents are hashed where
a claim looks at files one by one (`/app`, `/opt/mllock`), the rest is bound by the layer's
diff_id. `name_culprits` reads a layer that is not as expected once more, to say which file it is.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from mllock.check.bases import hinted
from mllock.check.evidence import ImageFacts, LayerSeen, Problem
from mllock.check.types import MAX_DIFFERENCES, Difference
from mllock.core.digest import Digest
from mllock.errors import ArchiveError
from mllock.image.read import LayerContents, Member, merge, read_layer
from mllock.store.layout_reader import LayoutImage
from mllock.store.oci_json import MEDIA_MANIFEST, Descriptor
from mllock.store.other_json import packing_of

__all__ = [
    "APP",
    "CARRIED",
    "CARRIED_FILES",
    "ImageSource",
    "carried_once",
    "culprits_of",
    "is_list",
    "is_ours",
    "name_culprits",
    "read_image",
]

APP = "app"
CARRIED = "opt/mllock"
STATUS = "var/lib/dpkg/status.d/"
MAX_NAMED_LAYERS = 3
MAX_CARRIED = 8
CARRIED_FILES = frozenset(
    f"{CARRIED}/{name}" for name in ("mlproject.lock", "model.manifest", "record.sigstore.json")
)


class ImageSource(Protocol):
    """Where images and what is about them come from. What is not as it should be raises
    ArchiveError; threads stream side by side."""

    def image(self, ref: str) -> LayoutImage:
        """The documents of an image, verified; the same ones whenever it is asked."""

    def stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob; size and digest are verified before the iterator ends."""

    def referrers(self, subject: Digest | None, artifact_type: str) -> tuple[bytes, ...]:
        """The contents of artifacts about `subject`, or about whatever is known if it is None."""

    def stop(self) -> None:
        """End what other threads are streaming: nobody waits for it any more."""


def read_image(source: ImageSource, ref: str) -> ImageFacts:
    """All of the image. What cannot be read strictly is a `Problem`, not an exception; a missing
    reference is one (InputError), and whatever the source cannot get (SurroundingsError)."""
    try:
        image = source.image(ref)
    except ArchiveError as error:
        return ImageFacts(ref=ref, problem=problem_of(error))
    declared = image.config_value["rootfs"]["diff_ids"]
    stop = threading.Event()
    kept = carried_once()
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mllock-check") as pool:
        try:
            layers = tuple(
                pool.map(
                    lambda item: _read(source, item[0], item[1], item[2], stop, kept),
                    zip(image.layers, declared, _others(image), strict=True),
                )
            )
        except BaseException:
            stop.set()
            source.stop()
            raise
    problem = None
    merged: Mapping[str, Member] = {}
    contents = [layer.contents for layer in layers if layer.contents is not None]
    if len(contents) == len(layers):
        try:
            merged = merge(contents)
        except ArchiveError as error:
            problem = Problem(
                path="the files of all layers together",
                reason=error.message,
                expected="layers that every engine unpacks to the same files",
            )
    remade = image.media_type != MEDIA_MANIFEST
    return ImageFacts(
        ref=ref,
        store="remade" if remade else "blobs",
        manifest_digest=None if remade else image.manifest_digest,
        config_digest=image.config_digest,
        config=image.config_value,
        layers=layers,
        merged=merged,
        problem=problem,
        listed_as=image.listed_as,
    )


def problem_of(error: ArchiveError) -> Problem:
    place = error.file or "the image"
    if error.key is not None:
        place = f"{place}: {error.key}"
    if error.expected is None:
        return Problem(path=place, reason=error.message, found=error.found)
    return Problem(path=place, reason=error.message, expected=error.expected, found=error.found)


def _read(
    source: ImageSource,
    descriptor: Descriptor,
    declared: Digest,
    other: bool,
    stop: threading.Event,
    kept: Callable[[str], bool],
) -> LayerSeen:
    contents, problem = None, None
    name = f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"
    try:
        contents = read_layer(
            _until(stop, source.stream(descriptor)),
            name,
            hashed=is_ours,
            kept=kept,
            packing=packing_of(descriptor.media_type),
            other=other,
        )
    except ArchiveError as error:
        problem = problem_of(error)
    return LayerSeen(
        digest=descriptor.digest,
        size=descriptor.size,
        declared=declared,
        contents=contents,
        problem=problem,
        name=name,
    )


def _others(image: LayoutImage) -> list[bool]:
    """Which layers the image says are a base's own: see `mllock.check.bases`."""
    count = hinted(image.config_value)
    return [number < count for number in range(len(image.layers))]


def _until(stop: threading.Event, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if stop.is_set():
            raise ArchiveError("not read to its end")
        yield chunk


def carried_once() -> Callable[[str], bool]:
    """Which files of one image are kept in memory: those that it carries about itself, and not as
    often as its layers like. What is not kept is still hashed, and is not what was signed."""
    left = iter(range(MAX_CARRIED))
    return lambda path: path in CARRIED_FILES and next(left, None) is not None


def is_ours(path: str) -> bool:
    return path.startswith((f"{APP}/", f"{CARRIED}/"))


def name_culprits(facts: ImageFacts, source: ImageSource, expected: Sequence[str]) -> ImageFacts:
    """`facts` with the files named in the first layers whose diff_id is not `expected`.

    A layer says itself what its packages' files should be (wheels' RECORD, dpkg's md5sums). That
    proves nothing, but names the file when somebody changed it alone.
    """
    image = source.image(facts.ref)
    found: dict[int, tuple[Difference, ...]] = {}
    for number, wanted in enumerate(expected):
        if number >= len(facts.layers) or len(found) == MAX_NAMED_LAYERS:
            break
        if facts.layers[number].diff_id not in (None, wanted):
            try:
                contents = read_layer(
                    source.stream(image.layers[number]),
                    f"layer {number}",
                    hashed=lambda _: True,
                    kept=is_list,
                    md5=True,
                    packing=packing_of(image.layers[number].media_type),
                    other=_others(image)[number],
                )
            except ArchiveError:
                # It was read well before. It is refuted already, only nameless.
                found[number] = ()
                continue
            found[number] = _culprits(contents)[:MAX_DIFFERENCES]
    return replace(facts, culprits=found)


def is_list(path: str) -> bool:
    return path.endswith(".dist-info/RECORD") or (
        path.startswith(STATUS) and path.endswith(".md5sums")
    )


def culprits_of(
    layers: Mapping[int, LayerContents | None],
) -> dict[int, tuple[Difference, ...]]:
    """The files in layers that are not as expected, of the first few."""
    first = sorted(number for number, layer in layers.items() if layer)[:MAX_NAMED_LAYERS]
    return {number: _first(layers[number]) for number in first}


def _first(layer: LayerContents | None) -> tuple[Difference, ...]:
    return () if layer is None else _culprits(layer)[:MAX_DIFFERENCES]


def _culprits(layer: LayerContents) -> tuple[Difference, ...]:
    return (*_changed_debs(layer), *_changed_wheels(layer))


def _changed_debs(layer: LayerContents) -> Iterator[Difference]:
    """Files that are there and are not what dpkg's md5sums say. Others may be missing rightly:
    the base is made without documentation."""
    for path, member in sorted(layer.members.items()):
        if member.data is None or not path.startswith(STATUS):
            continue
        for name, digest in sorted(_md5sums(member.data).items()):
            # Debian's merged /usr: packages still say /lib for what is in /usr/lib.
            place = name if name in layer.members else f"usr/{name}"
            found = layer.members.get(place)
            if found is not None and found.md5 is not None and found.md5 != digest:
                yield Difference(
                    path=f"/{place}", expected=f"md5:{digest}", found=f"md5:{found.md5}"
                )


def _changed_wheels(layer: LayerContents) -> Iterator[Difference]:
    """What is not as RECORD says: changed, missing, and in site-packages without being listed."""
    listed: dict[str, str] = {}
    sites: set[str] = set()
    for path, member in sorted(layer.members.items()):
        if member.data is not None and not path.startswith(STATUS):
            site = path.rpartition("/")[0].rpartition("/")[0]
            sites.add(f"{site}/")
            listed |= _record(member.data, site) | {path: ""}
    for path in sorted({*listed, *layer.members}):
        there = layer.members.get(path)
        found = None if there is None else there.digest
        if path in listed:
            wanted = listed[path]
            if wanted and wanted != found:
                yield Difference(path=f"/{path}", expected=wanted, found=found or "nothing")
        elif there is not None and there.kind != "folder" and path.startswith(tuple(sites)):
            yield Difference(path=f"/{path}", expected="nothing", found=found or there.kind)


def _record(data: bytes, site: str) -> dict[str, str]:
    """PyPA, recording installed projects: rows of path (from site-packages), digest, size."""
    wanted = {}
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8"), newline="")):
            if len(row) == 3 and row[1].startswith("sha256="):
                path = posixpath.normpath(posixpath.join(site, row[0])).lstrip("/")
                value = row[1].removeprefix("sha256=")
                raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
                wanted[path] = f"sha256:{raw.hex()}"
    except (ValueError, csv.Error):
        # A damaged list names nothing; the layer's diff_id has refuted it already.
        return {}
    return wanted


def _md5sums(data: bytes) -> dict[str, str]:
    """dpkg: "MD5  PATH", a line for each file."""
    wanted = {}
    for line in data.decode("utf-8", "replace").splitlines():
        digest, _, path = line.partition("  ")
        if path:
            wanted[path.strip().removeprefix("./")] = digest
    return wanted
