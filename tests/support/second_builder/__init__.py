"""A second implementation of docs/reference/builder-format.md, to see whether the page suffices.

Written from that page alone, with Python's standard library and libdeflate: nothing of mllock is
imported, and nothing here is clever. It believes its input (what is refused is mllock's to test),
takes base and system layers as bytes, and answers the layers, config and manifest of both images.
"""

from support.second_builder.images import Project, images, serve_layers
from support.second_builder.layers import Layer, Member, given, layer, sha256
from support.second_builder.wheels import Wheel, bytecode

__all__ = [
    "Layer",
    "Member",
    "Project",
    "Wheel",
    "bytecode",
    "given",
    "images",
    "layer",
    "serve_layers",
    "sha256",
]
