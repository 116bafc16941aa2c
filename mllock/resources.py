"""Files that travel with mllock: schemas and templates.

In a wheel they lie inside of the package; in a checkout, beside it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["resource"]


def resource(*parts: str) -> Path:
    """The file or folder `parts`, e.g. `resource("schemas", "mlproject.schema.json")`."""
    inside = Path(__file__).parent.joinpath(*parts)
    if inside.exists():
        return inside
    beside = Path(__file__).parents[1].joinpath(*parts)
    if beside.exists():
        return beside
    raise FileNotFoundError("/".join(parts))
