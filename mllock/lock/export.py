"""The Python part of a lock in the forms that pip and uv read: pylock.toml, requirements.txt.

Pure: a lock in, bytes out, the same for the same lock. No URL and no path of a machine is in them,
as there is none in the lock. A pylock.toml has to say where each wheel is (PEP 751: `path` or
`url`, or no installer takes it), so it says `wheels/NAME`, beside itself; a requirements.txt does
not, and installers look in the index that they are set to, for exactly these hashes. See ADR 0073.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mllock.errors import InputError
from mllock.lock.direct import locked_references
from mllock.lock.platforms import platforms_of
from mllock.lock.target import target_of
from mllock.lock.toml import write
from mllock.lock.types import Lock
from mllock.spec.direct import DIRECT

__all__ = ["pylock_of", "requirements_of"]


def pylock_of(lock: Lock) -> bytes:
    """A pylock.toml (PEP 751) for every platform of `lock`; `packaging.pylock` reads it.

    Its paths are relative to it: `wheels/` has to be beside it.
    """
    document: dict[str, Any] = msgspec.to_builtins(lock.python)
    header = (
        f"The Python packages of a mlproject.lock, for {_targets(lock)}.\n"
        "Made by: mllock export pylock. The wheels are in wheels/, beside this file. Install with\n"
        "  pip install -r pylock.toml    or    uv pip sync pylock.toml"
    )
    return write(document, tables=(("packages",),), header=header).encode()


def requirements_of(lock: Lock) -> bytes:
    """A requirements.txt with a hash for each line, of a lock that is narrowed to one platform.

    Raises InputError for a wheel that was built: no index has it.
    """
    lines = [
        f"# The Python packages of a mlproject.lock, for {_targets(lock)}.",
        "# Made by: mllock export requirements. Install with",
        "#   pip install --require-hashes -r requirements.txt    or    "
        "uv pip sync --require-hashes requirements.txt",
    ]
    references = locked_references(lock.inputs.environment, target_of(lock))
    for package in lock.python.packages:
        (wheel,) = package.wheels
        reference = references.get(package.name)
        if reference is not None and reference.kind != "wheel":
            raise InputError(
                f"{package.name} was built from sources: no index has its wheel",
                found=str(reference),
                hint="take the wheels along: mllock export pylock --wheels -o DIR/pylock.toml",
            )
        place = f"=={package.version}" if reference is None else f"{DIRECT}{reference.url}"
        lines.append(f"{package.name}{place} \\")
        lines.append(f"    --hash=sha256:{wheel.hashes['sha256']}")
    return ("\n".join(lines) + "\n").encode()


def _targets(lock: Lock) -> str:
    minor = ".".join(lock.base.python.split(".")[:2])
    return f"Python {minor} on {' and '.join(platforms_of(lock))}"
