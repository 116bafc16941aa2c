"""Places below `.mllock` in which something is replaced or removed: in the project, wherever links
lead. A repository may bring a link; what it leads to may be another project's, and what is written
here would be lost there. Not for places that the user names, nor where names are always new.
"""

from __future__ import annotations

import os
from pathlib import Path

from mllock.errors import InputError
from mllock.workflows.context import Context

__all__ = ["refuse_led_out"]


def refuse_led_out(ctx: Context, place: Path, hint: str = "remove the link") -> None:
    """Raises InputError if a link leads `place`, which is below `.mllock`, out of the project."""
    project = os.path.realpath(ctx.project)
    real = os.path.realpath(place)
    if not real.startswith(project.rstrip(os.sep) + os.sep):
        raise InputError(
            "a link leads it out of the project, and what lies there would be replaced",
            file=str(place),
            found=real,
            hint=hint,
        )
