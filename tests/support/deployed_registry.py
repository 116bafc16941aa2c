"""Images of a world in a registry, and what check says of them there."""

from __future__ import annotations

import dataclasses

from mllock.store.layout_reader import open_layout
from mllock.store.registry.images import graph_of, push_graphs
from mllock.store.registry.reference import parse_reference
from mllock.workflows.check import check_target
from mllock.workflows.publish import build_to_registry
from support.oci_push import opened
from support.reporter import Recorder

PROVEN = {
    "signature": "proven",
    "lineage": "proven",
    "model": "proven",
    "environment": "unproven",
    "code": "proven",
    "configuration": "proven",
    "behaviour": "not asked",
    "release": "not asked",
}


def context(world, environ=None):
    ctx = world.context()
    return dataclasses.replace(ctx, environ=ctx.environ | (environ or {}))


def deploy(world, host, *kinds, run=None, environ=None):
    done = build_to_registry(
        context(world, environ), kinds or ("serve",), parse_reference(f"{host}/wine:v1"), run
    )
    return done.built.images[0].image


def check(world, host, ref=":v1", environ=None, **options):
    return check_target(context(world, environ), f"registry:{host}/wine{ref}", **options)


def push_layout(world, host, tag="v1", ref="serve"):
    """The layout as it is now, whatever was done to it."""
    layout = open_layout(world.oci)
    image = layout.image(ref)
    with opened(f"{host}/wine") as client:
        graph = graph_of(layout, image)
        push_graphs(client, (graph,), {tag: graph.digest}, Recorder())
    return image
