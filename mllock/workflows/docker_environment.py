"""`[builder] kind = "docker"`: an environment whose Python packages the engine installs.

Base and system packages are mllock's own layers, loaded into the engine as an image; above it the
engine runs the Dockerfile's environment stage, without network, from verified files; its one new
layer is read back, looked through and kept in the cache by its diff_id. From then on it is a layer
like others: train and serve images are laid above it by mllock, and the engine is not needed to
build them. What pip writes has times in it, so the layer cannot be made again: it is found again,
in this order: the one that the run to be served was trained in; the cache; one that another trusted
run of this lock was trained in (in the cache, a layout, an image of the engine); only then is it
built. See ADR 0066.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mllock.attest.policy import load_policy
from mllock.check.document import document_of
from mllock.core.digest import Digest, sha256_of
from mllock.core.platform import KNOWN
from mllock.engine.ports import Engine
from mllock.engine.types import EngineImage
from mllock.errors import EngineError, IntegrityError, MllockError
from mllock.image.build import Packages, layer_pool, layers_below_python
from mllock.image.config import assemble
from mllock.image.dockerfile import render
from mllock.image.environment import image_variables
from mllock.image.gzip import GzipSink
from mllock.image.layers import find_layer, keep_layer
from mllock.image.read import gunzip, read_layer
from mllock.image.types import Image, ImageConfig, ImagePlan, Layer
from mllock.lock.types import Lock
from mllock.processes import held_interrupts
from mllock.spec.loaded import LoadedSpec
from mllock.store import atomic
from mllock.store.layout_reader import open_layout
from mllock.store.other_json import packing_of
from mllock.train.runs import RunFolder, list_runs
from mllock.workflows.context import Context
from mllock.workflows.docker_context import (
    PIP,
    environment_plan,
    install_nodes,
    refuse_for_docker,
    tar_of,
    text_node,
)
from mllock.workflows.engine import engine_if_any
from mllock.workflows.load import load_image

__all__ = ["docker_layers"]

NOTE = (
    "pinned, not bit-identical: base, system packages and every wheel are those of the lock, by "
    "sha256; the layer of the Python packages is of one build, and no other build gives its digest"
)
LABEL = "mllock.build"
STAGE = "environment"
_VENV = "opt/venv"
_CHUNK = 1024 * 1024
_GZIP = b"\x1f\x8b"


def docker_layers(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    packages: Packages,
    platform: str,
    run: RunFolder | None = None,
) -> tuple[Layer, ...]:
    """Base, system and Python layers, bottom up, blobs in the cache: those that `run` was trained
    in, if one is given, it is trusted and they are to be found. Raises SpecError, EngineError, and
    what fetching raises."""
    refuse_for_docker(loaded, lock)
    below = layers_below_python(lock, packages, ctx.cache, ctx.reporter)
    beneath = tuple(layer.diff_id for layer in below)
    key = _key(loaded, lock, beneath)
    title = f"{_count(len(lock.python.packages))}, installed by pip"
    found = None if run is None else _trained_in(ctx, [run], lock, beneath, title)
    if found is None:
        found = find_layer(ctx.cache, "python", title, key)
    if found is None:
        found = _trained_in(ctx, list_runs(ctx.runs), lock, beneath, title)
    if found is None:
        found = _built(ctx, loaded, lock, below, title, platform)
    keep_layer(ctx.cache, key, found)
    keep_layer(ctx.cache, _own_key(found.diff_id), found)
    ctx.reporter.note(NOTE)
    return (*below, found)


def _count(number: int) -> str:
    return f"{number} package{'' if number == 1 else 's'}"


def _key(loaded: LoadedSpec, lock: Lock, beneath: Sequence[Digest]) -> dict[str, Any]:
    """All that is decided about the layer; its bytes depend on more."""
    plan = replace(environment_plan(loaded, lock, "base"), project="any")
    return {
        "docker": sha256_of(render(plan).encode()),
        "below": list(beneath),
        "wheels": [
            [package.name, package.version, *(wheel.hashes["sha256"] for wheel in package.wheels)]
            for package in (PIP, *lock.python.packages)
        ],
    }


def _own_key(diff_id: Digest) -> dict[str, Any]:
    return {"docker": "a layer", "diff-id": diff_id}


# Building it


def _built(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    below: Sequence[Layer],
    title: str,
    platform: str,
) -> Layer:
    with engine_if_any(ctx) as engine:
        if engine is None:
            raise EngineError(
                '[builder] kind = "docker" needs a container engine, and none answers',
                file=loaded.path.name,
                key="builder.kind",
                hint='start one, or name it with DOCKER_HOST; or write kind = "native", which '
                "needs none",
            )
        _refuse_platform(engine, platform)
        name = loaded.spec.project.name
        mark = secrets.token_hex(8)
        ground, tag = f"{name}:below-{mark}", f"{name}:{STAGE}-{mark}"
        built: EngineImage | None = None
        try:
            load_image(ctx, engine, _ground(lock, below, platform), (ground,))
            plan = environment_plan(loaded, lock, ground)
            text = _with_label(render(plan), mark)
            nodes = (text_node("Dockerfile", text), *install_nodes(ctx, lock))
            number = _count(len(lock.python.packages))
            ctx.reporter.step(f"installing {number} in {engine.info.name}, by its own builder")
            with contextlib.closing(engine.build(tar_of(nodes), tag, STAGE)) as lines:
                for line in lines:
                    ctx.reporter.detail(line)
            built = engine.image(tag)
            if built is None:
                raise EngineError("the container engine built an image and does not have it")
            layer = _layer_above(ctx, engine, built, below, title)
            _called(engine, built.id, f"{name}:{STAGE}")
        finally:
            with held_interrupts(), contextlib.suppress(EngineError):
                keep = None if built is None else built.id
                engine.untag(tag)
                engine.untag(ground)
                engine.remove_built(f"{LABEL}={mark}", keep)
        return layer


def _refuse_platform(engine: Engine, platform: str) -> None:
    info, wanted = engine.info, KNOWN[platform]
    if (info.os, info.architecture) != (wanted.os, wanted.architecture):
        raise EngineError(
            f"the engine at {info.endpoint} cannot install packages for another platform",
            expected=platform,
            found=f"{info.os}/{info.architecture}",
            hint='name one with DOCKER_HOST that can; or write kind = "native" in [builder], which '
            "builds for any platform",
        )


def _called(engine: Engine, image: Digest, tag: str) -> None:
    """Keep the layers there, for train and serve images to be loaded above; not those of before."""
    before = engine.image(tag)
    engine.tag(image, tag)
    if before is not None and before.id != image:
        with contextlib.suppress(EngineError):  # images stand on it, or containers run it
            engine.untag(before.id)


def _with_label(text: str, mark: str) -> bytes:
    """The label is set first in the stage that all others stand on."""
    return text.replace(" AS base\n", f' AS base\nLABEL {LABEL}="{mark}"\n', 1).encode()


def _ground(lock: Lock, below: Sequence[Layer], platform: str) -> Image:
    """Base and system packages as an image of their own."""
    variables = image_variables({}, lock.base.on(platform))
    config = ImageConfig(command=(), variables=variables, user="", workdir="/")
    return assemble(ImagePlan(kind="train", platform=platform, layers=tuple(below), config=config))


def _layer_above(
    ctx: Context, engine: Engine, image: EngineImage, below: Sequence[Layer], title: str
) -> Layer:
    """The one layer of `image` above those. Raises EngineError, IntegrityError."""
    wanted = tuple(layer.diff_id for layer in below)
    if image.diff_ids[: len(wanted)] != wanted or len(image.diff_ids) != len(wanted) + 1:
        raise IntegrityError(
            "the container engine built other layers than the Dockerfile says",
            expected=f"{', '.join(wanted)} and one more",
            found=", ".join(image.diff_ids),
        )
    return _saved_layer(ctx, engine, image.id, image.diff_ids[-1], title)


# Reading it back


def _saved_layer(ctx: Context, engine: Engine, image: Digest, diff_id: Digest, title: str) -> Layer:
    """The layer `diff_id` out of what the engine writes of the image."""
    from mllock.image.read_tar import Source
    from mllock.image.stream_tar import stream_members

    with ctx.cache.scratch() as folder, engine.save(image) as chunks:
        source = Source(chunks)
        for member in stream_members(source):
            pieces = (bytes(piece) for piece in source.pieces(member.size))
            if member.kind != "file" or member.path.endswith(".json"):
                for _ in pieces:
                    pass
                continue
            place = folder / "layer"
            if _spooled(pieces, place) == diff_id:
                for _ in source.drain():
                    # The connection is the engine's: what it has begun to send is taken.
                    pass
                return _kept(ctx, _plain(place), diff_id, title)
    raise IntegrityError(
        "the container engine does not write a layer that it says the image has",
        expected=diff_id,
        found="other layers",
    )


def _spooled(pieces: Iterator[bytes], place: Path) -> str:
    """Write a part to the disk; the digest of the tar in it."""
    hasher = hashlib.sha256()
    try:
        with open(place, "wb") as file:
            file.writelines(pieces)
    except OSError as error:
        raise atomic.cannot_write(place, error) from error
    try:
        for piece in _plain(place):
            hasher.update(piece)
    except MllockError:
        return ""
    return f"sha256:{hasher.hexdigest()}"


def _plain(place: Path) -> Iterator[bytes]:
    with open(place, "rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        chunks = iter(lambda: file.read(_CHUNK), b"")
        yield from gunzip(chunks) if packed else chunks


def _kept(ctx: Context, tar: Iterator[bytes], diff_id: Digest, title: str) -> Layer:
    """The layer in the cache, looked through: it has the virtual environment and nothing else."""
    with layer_pool() as pool, ctx.cache.writer() as blob:
        sink = GzipSink(blob, pool)
        for piece in tar:
            sink.write(piece)
        written = sink.finish()
        digest = blob.commit()
    layer = Layer(
        kind="python",
        title=title,
        digest=digest,
        diff_id=written.diff_id,
        size=written.size,
        unpacked=written.unpacked,
    )
    if layer.diff_id != diff_id:
        raise IntegrityError("a layer changed while it was read", expected=diff_id)
    _look_through(ctx, layer)
    return layer


def _look_through(ctx: Context, layer: Layer) -> None:
    path = ctx.cache.get(layer.digest)
    if path is None:
        raise IntegrityError("a layer is gone from the cache", found=layer.digest)
    with open(path, "rb") as file:
        chunks = iter(lambda: file.read(_CHUNK), b"")
        packing = packing_of(layer.media_type)
        contents = read_layer(chunks, "the layer of the packages", packing=packing, other=True)
    foreign = [
        *(p for p in contents.members if p not in ("opt", _VENV) and not p.startswith(f"{_VENV}/")),
        *contents.whiteouts,
        *contents.opaques,
    ]
    if foreign:
        raise IntegrityError(
            "installing the packages changed more than the virtual environment",
            expected=f"/{_VENV}",
            found=", ".join(f"/{path}" for path in sorted(foreign)[:5]),
        )


# Finding it again


def _trained_in(
    ctx: Context, runs: Iterable[RunFolder], lock: Lock, beneath: Sequence[Digest], title: str
) -> Layer | None:
    """The layer that a trusted one of `runs` was trained in, if it is still somewhere."""
    for diff_ids in dict.fromkeys(_of_runs(ctx, runs, lock)):
        if diff_ids[:-1] != beneath:
            continue
        known = find_layer(ctx.cache, "python", title, _own_key(diff_ids[-1]))
        if known is not None:
            return known
        found = _in_layout(ctx, diff_ids[-1], title) or _in_engine(ctx, diff_ids, title)
        if found is not None:
            ctx.reporter.note("the layer of the Python packages is the one that was trained in")
            return found
    return None


def _of_runs(ctx: Context, runs: Iterable[RunFolder], lock: Lock) -> Iterator[tuple[Digest, ...]]:
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    for run in runs:
        if run.has_failed or run.damage() is not None:
            continue
        record = run.record()
        document = document_of(record)
        if document is None or record.lock_content != lock.content_digest:
            continue
        if policy.decide(record.project, run.bundle()).trusted:
            yield tuple(Digest(diff_id) for diff_id in document.diff_ids)


def _in_layout(ctx: Context, diff_id: Digest, title: str) -> Layer | None:
    folder = ctx.state / "oci"
    if not folder.is_dir():
        return None
    try:
        layout = open_layout(folder)
        for ref in layout.refs:
            image = layout.image(ref)
            declared: Mapping[str, Any] = image.config_value["rootfs"]
            for descriptor, found in zip(image.layers, declared["diff_ids"], strict=True):
                if found == diff_id and packing_of(descriptor.media_type) == "gzip":
                    return _kept(ctx, gunzip(layout.stream(descriptor)), diff_id, title)
    except MllockError as error:
        # The layer may be elsewhere; a layout that cannot be read is said when it is written.
        ctx.reporter.detail(f"{folder}: {error.message}")
    return None


def _in_engine(ctx: Context, diff_ids: tuple[Digest, ...], title: str) -> Layer | None:
    with engine_if_any(ctx) as engine:
        if engine is None:
            return None
        for image in engine.images():
            if image.diff_ids[: len(diff_ids)] == diff_ids:
                return _saved_layer(ctx, engine, image.id, diff_ids[-1], title)
    return None
