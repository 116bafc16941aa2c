"""Where images go beside the layout: read from `--output`, then loaded into the engine.

The layout is always written, because signed statements lie in it and its layers are links into the
cache; `oci:DIR` says where. What else is asked for is made from the same images: a layout that is
written and an engine that refuses leave a layout that is right. See ADR 0019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.errors import EngineError, InputError
from mllock.image.types import Image
from mllock.store.registry.reference import Reference, parse_reference
from mllock.workflows.context import Context
from mllock.workflows.engine import engine_if_any, engine_of

if TYPE_CHECKING:  # who has none waits for nothing of it
    from mllock.engine.ports import Engine

__all__ = ["EXPECTED", "Outputs", "Sent", "read_outputs", "send"]

EXPECTED = "oci:DIR, docker or registry:HOST/REPO[:TAG]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """`layout` None is the project's own; `docker` None is "where an engine answers". `mount_from`
    is a repository of `registry` whose layers may be used there."""

    layout: Path | None = None
    docker: bool | None = None
    registry: Reference | None = None
    mount_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """`names` of the images at `place`, in the order of the images; `lines` say so."""

    place: str
    names: tuple[str, ...]
    lines: tuple[str, ...]


def read_outputs(texts: Sequence[str], mount_from: str | None = None) -> Outputs:
    """The values of `--output`, and that of `--mount-from`. Raises InputError."""
    layout: Path | None = None
    registry: Reference | None = None
    for text in texts:
        prefix, _, rest = text.partition(":")
        if prefix == "oci" and rest:
            _once(layout, text)
            layout = Path(rest).absolute()
        elif prefix == "registry" and rest:
            _once(registry, text)
            registry = parse_reference(rest)
        elif text != "docker":
            raise InputError("not an output", key=f"--output {text}", expected=EXPECTED)
    if mount_from is not None:
        if registry is None:
            raise InputError("--mount-from is about --output registry:HOST/REPO")
        mount_from = parse_reference(f"{registry.host}/{mount_from}").repository
    return Outputs(
        layout=layout,
        docker=("docker" in texts) if texts else None,
        registry=registry,
        mount_from=mount_from,
    )


def _once(before: object, text: str) -> None:
    if before is not None:
        raise InputError("two of this kind are asked for", key=f"--output {text}", hint="name one")


def send(ctx: Context, outputs: Outputs, project: str, images: Sequence[Image]) -> tuple[Sent, ...]:
    """Bring `images` of the project to all outputs beside the layout."""
    if outputs.docker is False:
        return ()
    find = engine_of if outputs.docker else engine_if_any
    with find(ctx) as engine:
        if engine is None:
            ctx.reporter.detail("no container engine answers: the layout is all")
            return ()
        from mllock.workflows.load import load_image

        mine = [image for image in images if image.platform == engine.info.platform]
        if not mine:
            return _none(ctx, engine, images, asked=bool(outputs.docker))
        names = []
        for image in mine:
            names.append(f"{project}:{image.kind}")
            load_image(ctx, engine, image, (names[-1],))
        only = f", for {engine.info.platform} only" if len(mine) < len(images) else ""
        said = f"loaded into docker: {', '.join(names)}{only}"
        return (Sent(place="docker", names=tuple(names), lines=(said,)),)


def _none(
    ctx: Context, engine: Engine, images: Sequence[Image], *, asked: bool
) -> tuple[Sent, ...]:
    """No image is for the engine: an error if it was asked for by name."""
    there = " or ".join(dict.fromkeys(image.platform for image in images))
    if asked:
        raise EngineError(
            f"the engine at {engine.info.endpoint} is for other images; the layout is written",
            expected=there,
            found=engine.info.platform,
            hint="name another engine with DOCKER_HOST, or leave out --output docker",
        )
    ctx.reporter.note(f"not loaded into docker: it is for {engine.info.platform}, not {there}")
    return ()
