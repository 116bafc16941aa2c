"""Whether it is certain that no engine answers, without the `docker` package.

To import that package takes longer than a build after a change of one line. Where nothing says
where an engine is, and nothing is in the usual place, there is none to connect to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["USUAL", "is_absent"]

USUAL = "unix:///var/run/docker.sock"
_NAMED = ("DOCKER_HOST", "DOCKER_CONTEXT")


def is_absent(environ: Mapping[str, str], usual: str = USUAL) -> bool:
    """Nobody named an engine or a docker context, and the usual socket is not there."""
    if any(environ.get(name) for name in _NAMED) or os.path.lexists(usual.removeprefix("unix://")):
        return False
    home = Path(environ.get("HOME") or Path.home())
    folder = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    # The context that the docker command uses is written in one of them.
    return not any(map(os.path.lexists, (folder / "config.json", home / ".dockercfg")))
