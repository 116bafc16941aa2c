"""Explanations of a build as lines and as JSON; sizes as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.image.types import Layer
    from mllock.workflows.explain import Explanation

__all__ = ["explanation_document", "explanation_lines", "size_text", "total_line"]

_SHORT = 12


def size_text(size: int) -> str:
    if size < 1_000_000:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB"


def total_line(layers: Sequence[Layer]) -> str:
    """The size of an image: of its layers as they travel, and unpacked."""
    size, unpacked = sum(x.size for x in layers), sum(x.unpacked for x in layers)
    return f"{size_text(size)} compressed, {size_text(unpacked)} unpacked"


def explanation_lines(explanation: Explanation) -> list[str]:
    """Layers bottom up, below each one why it is not the one of last time."""
    lines = [f"  since the last build: {_since(explanation)}"]
    lines += [f"    {change}" for change in explanation.changes]
    width = max((len(x.layer.kind) for x in explanation.layers), default=0)
    for explained in explanation.layers:
        layer = explained.layer
        digest = layer.digest.partition(":")[2][:_SHORT]
        lines.append(
            f"  {size_text(layer.size):>9} {size_text(layer.unpacked):>9}  {digest}  "
            f"{explained.state:<6}  {layer.kind:<{width}}  {layer.title}"
        )
        lines += [f"{'':24}{change}" for change in explained.changes]
    return lines


def _since(explanation: Explanation) -> str:
    if explanation.first:
        return "this is the first"
    if explanation.same:
        return "nothing changed"
    changed = sum(1 for explained in explanation.layers if explained.changes)
    return f"{changed} of {len(explanation.layers)} layers changed"


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    return {
        "kind": explanation.kind,
        "platform": explanation.platform,
        "first": explanation.first,
        "changes": list(explanation.changes),
        "layers": [
            {
                "kind": explained.layer.kind,
                "title": explained.layer.title,
                "digest": explained.layer.digest,
                "size": explained.layer.size,
                "unpacked": explained.layer.unpacked,
                "state": explained.state,
                "changes": list(explained.changes),
            }
            for explained in explanation.layers
        ],
    }
