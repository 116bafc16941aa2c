"""Whether this machine's C library is one that the locked wheels can run with.

The lock chooses wheels for the C library of the base, and a program on the host runs with the
host's. A wheel says in its name which glibc it needs at least (PEP 600: manylinux_2_28). One that
needs a newer one installs well, and fails where it is imported, with a message about a symbol.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from mllock.errors import SurroundingsError
from mllock.lock.types import PythonPackage

__all__ = ["needed_glibc", "refuse_newer_glibc"]

_TAG = re.compile(r"manylinux_(\d{1,3})_(\d{1,3})_\w+")
# PEP 599, 571, 513: the names before PEP 600.
_LEGACY = {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}
_VERSION = re.compile(r"glibc (\d+)\.(\d+)")
_SHOWN = 5


def needed_glibc(wheel: str) -> tuple[int, int] | None:
    """The oldest glibc that a wheel of this file name runs with; None if it asks for none."""
    needs = []
    for tag in wheel.removesuffix(".whl").rpartition("-")[2].split("."):
        match = _TAG.fullmatch(tag)
        if match is not None:
            needs.append((int(match[1]), int(match[2])))
        elif (old := _LEGACY.get(tag.partition("_")[0])) is not None:
            needs.append(old)
        else:
            return None  # any, linux_x86_64, musllinux: nothing is said of glibc
    return min(needs)


def refuse_newer_glibc(packages: Iterable[PythonPackage]) -> None:
    """`packages` are those of a lock for this machine's platform. Raises SurroundingsError."""
    here = _host_glibc()
    older = []
    for package in packages:
        needs = [needed_glibc(wheel.name) for wheel in package.wheels]
        need = min((need for need in needs if need is not None), default=None)
        if need is not None and None not in needs and (here is None or need > here):
            older.append((need, f"{package.name} {package.version}"))
    if not older:
        return
    (major, minor), _ = max(older)
    names = sorted({name for _, name in older})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise SurroundingsError(
        "locked wheels need a newer C library than this machine has",
        expected=f"glibc {major}.{minor} or newer, for {', '.join(names[:_SHOWN])}{more}",
        found="no glibc" if here is None else f"glibc {here[0]}.{here[1]}",
        hint="run in a container (mllock train --runtime docker), or on a newer system; or lock "
        "for an older base: wheels are chosen for the C library of [environment] base",
    )


def _host_glibc() -> tuple[int, int] | None:
    """confstr(3): what the C library says of itself; musl says nothing."""
    try:
        match = _VERSION.match(os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (ValueError, OSError):
        match = None
    return None if match is None else (int(match[1]), int(match[2]))
