"""`mllock check` of what a container engine holds: an image, or a container.

The name is resolved to an id once, and only the id is used from then on. An image is read from what
the engine writes of it; a container from the export of its merged tree, held against the listings
of the layers that are signed. Nothing of the target is executed, nothing goes through the disk; a
container that changes while it is read is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mllock.attest.image_statement import ImageStatement
from mllock.check.claims_image import claim_of
from mllock.check.document import Document, document_of
from mllock.check.evidence import ContainerFacts, ImageFacts, Problem
from mllock.check.image import carried_once, culprits_of, is_list, is_ours
from mllock.check.listings import Listings, everything
from mllock.check.live import mounts_of
from mllock.check.live_lists import ENGINE_FILES
from mllock.check.mountinfo import kernel_mounts
from mllock.check.saved import list_layers, read_saved
from mllock.check.targets import Target
from mllock.check.tree import compare_tree, is_below, is_of_engine, read_export
from mllock.check.types import Difference
from mllock.core.digest import Digest
from mllock.engine.ports import Engine
from mllock.engine.types import Container, EngineImage
from mllock.errors import ArchiveError, EngineError, InputError
from mllock.image.read import WHITEOUT, Member, merge
from mllock.image.read_tar import Source
from mllock.image.stream_tar import stream_members
from mllock.train.record import Record
from mllock.workflows.context import Context

__all__ = [
    "carried_record",
    "find_container",
    "find_image",
    "listings_of",
    "name_culprits",
    "read_container",
    "read_image",
]

CARRIED = "opt/mllock/"
_ABOVE = ("app", "opt/mllock")
RECORD = "record.sigstore.json"
MAX_RECORD = 16 * 1024 * 1024
# tar-split refuses to put a layer together whose files are not those that were loaded.
_CHANGED = re.compile(r'file integrity checksum failed for "(?P<path>[^"]+)"')
_GONE = re.compile(r"open \S*/(?:diff|merged)/(?P<path>[^:]+): no such file or directory")


def find_image(engine: Engine | None, target: Target) -> EngineImage:
    """Raises InputError if there is none of this name."""
    assert target.ref is not None
    image = None if engine is None else engine.image(target.ref)
    if image is not None:
        return image
    what = "no image of this name in the container engine"
    if engine is None:
        what = "no container engine that could have an image of this name"
    raise InputError(
        f"no such file or folder, and {what}" if target.guessed else what,
        file=target.text,
        hint="path:DIR for a model folder, oci:DIR for an image layout"
        if target.guessed
        else 'see "docker images"',
    )


def find_container(engine: Engine, target: Target) -> Container:
    """Raises InputError if there is none of this name."""
    assert target.ref is not None
    container = engine.container(target.ref)
    if container is None:
        raise InputError(
            "no container of this name in the container engine",
            file=target.text,
            hint='see "docker ps --all"',
        )
    return container


def read_image(engine: Engine, image: Digest, ref: str) -> ImageFacts:
    """The image with this id, every layer read. Raises EngineError."""
    try:
        with engine.save(image) as chunks:
            return read_saved(
                chunks,
                ref,
                image,
                is_manifest=engine.info.image_is_manifest,
                hashed=is_ours,
                kept=carried_once(),
            )
    except EngineError as error:
        problem = _refusal(error)
        if problem is None:
            raise
        return ImageFacts(ref=ref, store="engine", config_digest=image, problem=problem)


def _refusal(error: EngineError) -> Problem | None:
    """What the engine itself found to be wrong with its files, if that is why it failed."""
    found = _CHANGED.search(error.message) or _GONE.search(error.message)
    if found is None:
        return None
    return Problem(
        path=f"/{found['path']}",
        reason="the engine finds that its own copy was changed",
        expected="the bytes that were loaded",
        found="other bytes",
    )


def name_culprits(
    facts: ImageFacts,
    engine: Engine,
    image: Digest,
    document: Document | None,
    statement: ImageStatement | None,
) -> ImageFacts:
    """`facts` with files named in layers that are not as they were signed, by a second reading.
    `document` is the environment that it should have."""
    wanted = () if document is None else document.diff_ids
    signed = len(wanted) if statement is None else len(statement.layers)
    if not facts.readable:
        above = {
            layer.problem.path: number
            for number, layer in enumerate(facts.layers)
            if layer.problem is not None and number >= signed
        }
        return replace(facts, culprits=_above(engine, image, above)) if above else facts
    pairs = enumerate(zip(facts.layers, wanted, strict=False))
    wrong = [number for number, (layer, diff_id) in pairs if layer.diff_id != diff_id]
    if not wrong:
        return facts
    with engine.save(image) as chunks:
        again = read_saved(
            chunks,
            facts.ref,
            image,
            is_manifest=engine.info.image_is_manifest,
            hashed=everything,
            kept=is_list,
            md5=True,
        )
    layers = {n: again.layers[n].contents for n in wrong if n < len(again.layers)}
    return replace(facts, culprits=culprits_of(layers))


def _above(
    engine: Engine, image: Digest, above: Mapping[str, int]
) -> dict[int, tuple[Difference, ...]]:
    """What is in layers on top of the signed ones, as `docker commit` puts them there."""
    with engine.save(image) as chunks:
        listed = list_layers(chunks, above)
    return {
        above[name]: tuple(
            Difference(
                path=f"/{path.replace(f'/{WHITEOUT}', '/')}",
                expected="nothing above the layers that were signed",
                found=f"a {'whiteout' if f'/{WHITEOUT}' in path else kind} in layer "
                f"{above[name] + 1}",
            )
            for path, kind in sorted(members.items())
            if kind != "folder"
        )
        for name, members in listed.items()
    }


def carried_record(engine: Engine, container: str) -> dict[str, bytes]:
    """The record that a container carries, to find out which one it should be held against."""
    archive = engine.archive(container, f"/{CARRIED}{RECORD}")
    if archive is None:
        return {}
    with archive as chunks:
        source = Source(chunks)
        try:
            for member in stream_members(source):
                if member.kind == "file" and member.size <= MAX_RECORD:
                    return {RECORD: b"".join(bytes(p) for p in source.pieces(member.size))}
                break
        except ArchiveError:
            # As good as none: the export is read strictly later.
            return {}
    return {}


def listings_of(ctx: Context) -> Listings:
    return Listings(
        ctx.cache.folder("listings"),
        layouts=(ctx.state / "oci",),
        entries=ctx.cache.folder("layers"),
        blobs=ctx.cache,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """The files that should be there: `whole` if of all layers of the image."""

    tree: Mapping[str, Member]
    whole: bool
    missing: Mapping[str, str]


def read_container(
    ctx: Context,
    engine: Engine,
    container: Container,
    record: Record | None,
    statement: ImageStatement | None,
) -> ContainerFacts:
    """All of the container. Raises EngineError, also if it changed while it was read."""
    wanted = _wanted(listings_of(ctx), engine, container, record, statement)
    try:
        with engine.export(container.id) as chunks:
            found = read_export(chunks, wanted.tree)
    except ArchiveError as error:
        # An engine that archives a file while it shrinks goes on with a stream that does not fit.
        raise EngineError(
            f"the files of the container cannot be read: {error.message}",
            found=container.name,
            hint=f'if it writes much, "docker pause {container.name}" while it is checked',
        ) from error
    mounts = [mount.target for mount in mounts_of(container.raw, wanted.tree, found.members)]
    differences = compare_tree(wanted.tree, found, mounts)
    if wanted.missing:
        # Nobody knows what should be there. The claims of signed manifests are decided all the
        # same; the others say that they could not be.
        differences = {}
    elif not wanted.whole:
        # Code, model and record lie above what is known path by path.
        differences = {p: d for p, d in differences.items() if not is_below(p, _ABOVE)}
    touched = _touched(engine, container, wanted.tree, differences)
    kernel = None if engine.info.remote else kernel_mounts(container.state.pid, container.id)
    _same(container, engine.container(container.id))
    size = sum(
        member.size
        for path, member in wanted.tree.items()
        if not is_of_engine(path, found.members.get(path))
    )
    complete = wanted.whole and not wanted.missing and not differences
    return ContainerFacts(
        id=container.id,
        name=container.name,
        image=container.image,
        image_is_manifest=engine.info.image_is_manifest,
        raw=container.raw,
        expected=wanted.tree,
        whole=wanted.whole,
        missing=wanted.missing,
        merged=found.members,
        differences=differences,
        touched=touched,
        scratch=found.scratch,
        kernel=kernel,
        hashed=found.hashed,
        size=size if complete else found.hashed,
        problem=found.problem,
    )


def _wanted(
    listings: Listings,
    engine: Engine,
    container: Container,
    record: Record | None,
    statement: ImageStatement | None,
) -> _Wanted:
    document = None if record is None else document_of(record)
    signed: Sequence[str] = () if document is None else document.diff_ids
    if statement is not None:
        signed = [layer.diff_id for layer in statement.layers]
    diff_ids = [Digest(diff_id) for diff_id in signed]
    layers = listings.find(diff_ids)
    missing: dict[str, str] = {}
    if any(diff_id not in layers for diff_id in diff_ids):
        saved = _saved(engine, container.image)
        for layer in saved.layers:
            if layer.contents is not None and layer.contents.diff_id in diff_ids:
                listings.keep(layer.contents)
                layers[layer.contents.diff_id] = layer.contents
        for number, diff_id in enumerate(diff_ids):
            if diff_id not in layers:
                missing[diff_id] = _instead(saved, number, record)
    tree = merge([layers[diff_id] for diff_id in diff_ids if diff_id in layers])
    return _Wanted(tree=tree, whole=statement is not None, missing=missing)


def _saved(engine: Engine, image: Digest) -> ImageFacts:
    if engine.image(image) is None:
        return ImageFacts(ref=image, store="engine")
    try:
        with engine.save(image) as chunks:
            return read_saved(
                chunks,
                image,
                image,
                is_manifest=engine.info.image_is_manifest,
                hashed=everything,
                kept=lambda _: False,
            )
    except EngineError as error:
        problem = _refusal(error)
        if problem is None:
            raise
        return ImageFacts(ref=image, store="engine", problem=problem)


def _instead(saved: ImageFacts, number: int, record: Record | None) -> str:
    """What the engine has where a layer should be; empty if it has nothing to say."""
    if saved.problem is not None:
        path = saved.problem.path.removeprefix("/")
        if record is not None and claim_of(path, record.model_path) != "environment":
            return ""
        return f"{saved.problem.path}: {saved.problem.reason}"
    if not saved.layers:
        return ""
    if number >= len(saved.layers):
        return "nothing"
    layer = saved.layers[number]
    return layer.diff_id or (layer.problem.reason if layer.problem else "nothing")


def _touched(
    engine: Engine,
    container: Container,
    tree: Mapping[str, Member],
    differences: Mapping[str, Difference],
) -> tuple[str, ...]:
    """Files that were written to, by the engine's own list, and are right nevertheless.

    Engines compare size and time: who puts these back as well is not listed.
    """
    changed = sorted(change.path.lstrip("/") for change in engine.changes(container.id))
    return tuple(
        path
        for path in changed
        if path in tree
        and tree[path].kind != "folder"
        and path not in differences
        and path not in ENGINE_FILES
    )


def _same(before: Container, after: Container | None) -> None:
    """Identity before and after: what was read is one container in one state."""
    if after is None or _identity(before) != _identity(after):
        raise EngineError(
            "the container was changed, started or removed while it was read",
            found=before.name,
            hint="run the same command again",
        )


def _identity(container: Container) -> list[object]:
    raw = container.raw
    keys = ("Id", "Image", "Config", "HostConfig", "RestartCount")
    # Engines list mounts in no order.
    mounts = sorted(str(mount) for mount in raw.get("Mounts") or ())
    return [container.state.started, mounts, *(raw.get(key) for key in keys)]
