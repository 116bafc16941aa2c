"""Finding the host's Python of the minor version that the lock asks for.

The host runtime runs the host's interpreter with the locked packages: that is one reason why its
environment claim is "unproven". Raises SurroundingsError.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mllock import processes
from mllock.errors import SurroundingsError

__all__ = ["HostPython", "find_python"]

_ASK = """
import os, sys
sys.stdout.write(os.path.realpath(sys.executable) + "\\n")
sys.stdout.write(".".join(map(str, sys.version_info[:3])) + "\\n")
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostPython:
    """An interpreter outside of any virtual environment; `version` is full ("3.11.2")."""

    path: Path
    version: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


def find_python(minor: str, environ: Mapping[str, str]) -> HostPython:
    """The interpreter that runs mllock if it is a `minor` ("3.11"), else one on PATH."""
    if minor == f"{sys.version_info[0]}.{sys.version_info[1]}":
        version = ".".join(str(part) for part in sys.version_info[:3])
        return HostPython(path=Path(os.path.realpath(sys.executable)), version=version)
    found = shutil.which(f"python{minor}", path=environ.get("PATH", os.defpath))
    if found is not None:
        answer = processes.run([found, "-I", "-c", _ASK], timeout=60)
        lines = os.fsdecode(answer.output).splitlines()
        if answer.code == 0 and len(lines) == 2:
            path, version = lines
            if version.startswith(f"{minor}."):
                return HostPython(path=Path(path), version=version)
    raise SurroundingsError(
        f"no Python {minor} on this machine",
        expected=f"python{minor} on PATH, for the runtime host",
        hint=f"install python{minor}",
    )
