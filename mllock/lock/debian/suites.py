"""What is known about Debian suites: their Python, the keys that sign them, the seeds of the base.

Data only. The reason for every seed and every dependency that is left out is beside it and in
docs/reference/debian-base.md; changing any of them changes the base of new locks, never of old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mllock.errors import NotAvailableError, ResolutionError

__all__ = ["LEFT_OUT", "SUITES", "Keyring", "Suite", "find_suite", "packaged_keys", "seeds"]

Keyring = Callable[[str], tuple[bytes, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """One release of Debian; `python` is the minor version that it ships."""

    name: str
    python: str
    keys: tuple[str, ...]


def _suite(name: str, python: str) -> Suite:
    kinds = ("automatic", "security-automatic", "stable")
    keys = tuple(f"debian-archive-{name}-{kind}.asc" for kind in kinds)
    return Suite(name=name, python=python, keys=keys)


SUITES = {
    "bullseye": _suite("bullseye", "3.9"),
    "bookworm": _suite("bookworm", "3.11"),
    "trixie": _suite("trixie", "3.13"),
}

# A shell, the small tools that scripts expect, certificates, time zones, and what manylinux
# wheels may expect of a system (PEP 600: libstdc++, libgcc; libz and libexpat come with Python).
_SEEDS = (
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "libstdc++6",
    "mawk",
    "media-types",
    "netbase",
    "openssl",
    "sed",
    "tar",
    "tzdata",
)

# Packages that others depend on for their maintainer scripts only, which are never run. Asking
# for one of them by name in system-packages installs it.
LEFT_OUT = {
    "adduser": "makes accounts in maintainer scripts: they are made without it",
    "cdebconf": "an implementation of debconf-2.0",
    "debconf": "asks questions in maintainer scripts",
    "debconf-2.0": "asks questions in maintainer scripts",
    "dpkg": "the package manager: nothing is installed in an image",
    "init-system-helpers": "starts services in maintainer scripts",
    "install-info": "indexes info pages in maintainer scripts",
    "libdebconfclient0": "used by update-passwd, which asks debconf",
    "passwd": "makes accounts in maintainer scripts: they are made without it",
    "ucf": "asks about changed configuration files in maintainer scripts",
}


def seeds(python: str) -> tuple[str, ...]:
    """The packages whose closure is the base with this Python, e.g. "3.11"."""
    return tuple(sorted((*_SEEDS, f"python{python}")))


def find_suite(base: str, python: str) -> Suite:
    """The suite of "debian:SUITE". Raises ResolutionError if its Python is not `python`."""
    kind, _, name = base.partition(":")
    if kind != "debian" or not name:
        raise NotAvailableError(f'base "{base}" is not available in this version')
    if name not in SUITES:
        raise ResolutionError(
            f'unknown Debian suite "{name}"',
            key="environment.base",
            expected=" or ".join(f'"debian:{known}"' for known in SUITES),
        )
    suite = SUITES[name]
    if suite.python != python:
        having = [known.name for known in SUITES.values() if known.python == python]
        hint = f'set python = "{suite.python}"'
        if having:
            hint += f', or base = "debian:{having[0]}"'
        raise ResolutionError(
            f"{base} has Python {suite.python}, not {python}",
            key="environment.python",
            hint=hint
            + " (bases and their Python: "
            + ", ".join(f"{known.name} {known.python}" for known in SUITES.values())
            + ")",
        )
    return suite


def packaged_keys(suite: str) -> tuple[bytes, ...]:
    """The archive keys of `suite` (without pocket), as they travel in our wheel."""
    folder = Path(__file__).parents[2] / "keys"
    return tuple((folder / name).read_bytes() for name in SUITES[suite].keys)
