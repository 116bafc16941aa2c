"""Where images go beside the layout: read from `--output`, then done, one after the other.

The layout is always written, because signed statements lie in it and its layers are links into the
cache; `oci:DIR` says where. What else is asked for is made from the same images: a layout that is
written and an engine that refuses leave a layout that is right. See ADR 0019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.errors import InputError, NotAvailableError
from mllock.image.types import Image
from mllock.workflows.context import Context
from mllock.workflows.engine import engine_if_any, engine_of

__all__ = ["EXPECTED", "Outputs", "Sent", "read_outputs", "send"]

EXPECTED = "oci:DIR or docker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """`layout` None is the project's own; `docker` None is "where an engine answers"."""

    layout: Path | None = None
    docker: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """`names` of the images at `place`, in the order of the images."""

    place: str
    names: tuple[str, ...]


def read_outputs(texts: Sequence[str]) -> Outputs:
    """The values of `--output`. Raises InputError, NotAvailableError."""
    if not texts:
        return Outputs()
    layout: Path | None = None
    docker = False
    for text in texts:
        prefix, _, rest = text.partition(":")
        if text == "docker":
            docker = True
        elif prefix == "oci" and rest and layout is None:
            layout = Path(rest).absolute()
        elif prefix == "oci" and rest:
            raise InputError("two layouts are asked for", key=f"--output {text}", hint="name one")
        elif prefix == "registry":
            raise NotAvailableError(
                "not available in this version", key=f"--output {text}", hint="use oci:DIR"
            )
        else:
            raise InputError("not an output", key=f"--output {text}", expected=EXPECTED)
    return Outputs(layout=layout, docker=docker)


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

        names = []
        for image in images:
            names.append(f"{project}:{image.kind}")
            load_image(ctx, engine, image, (names[-1],))
        return (Sent(place="docker", names=tuple(names)),)
