"""What wheels are for: the image's interpreter, platform and C library, not this machine's.

Pure. `Target` answers in the words of pip (platform tags), of PEP 508 (markers) and of PEP 751
(`environments`). The C library's version is that of the base's `libc6`, or what was read in a base
image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mllock.core.platform import KNOWN
from mllock.errors import ResolutionError
from mllock.lock.types import Base, DebianPackage, Lock

__all__ = ["Target", "base_glibc", "glibc_of", "target_of"]

# PEP 600: the oldest glibc that each architecture's manylinux starts at, and the old names.
_OLDEST = {"x86_64": 5, "aarch64": 17}
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_GLIBC = re.compile(r"(?:\d+:)?2\.(\d+)\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """`python` is a full version ("3.11.2"), `platform` an OCI platform, `glibc` (major, minor)."""

    python: str
    platform: str
    glibc: tuple[int, int]

    @property
    def minor(self) -> str:
        return ".".join(self.python.split(".")[:2])

    @property
    def machine(self) -> str:
        return KNOWN[self.platform].machine

    @property
    def platform_tags(self) -> tuple[str, ...]:
        """Best first: the newest C library that the base has, down to the oldest, then local."""
        tags = []
        for minor in range(self.glibc[1], _OLDEST[self.machine] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.machine}")
        return (*tags, f"linux_{self.machine}")

    @property
    def environment(self) -> str:
        """The PEP 508 marker that PEP 751 asks for."""
        return (
            "implementation_name == 'cpython' and "
            f"platform_machine == '{self.machine}' and sys_platform == 'linux'"
        )

    @property
    def requires_python(self) -> str:
        return f"=={self.minor}.*"

    def markers(self, extra: str = "") -> Mapping[str, str]:
        """Every variable of PEP 508; release and version of the kernel are nobody's promise."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.minor,
            "sys_platform": "linux",
            "extra": extra,
        }


def glibc_of(packages: Iterable[DebianPackage]) -> tuple[int, int]:
    """The version of the C library among `packages`. Raises ResolutionError."""
    for package in packages:
        if package.name == "libc6" and (match := _GLIBC.match(package.version)):
            return 2, int(match[1])
    raise ResolutionError("the base has no libc6: which wheels would run on it cannot be said")


def base_glibc(base: Base, packages: Iterable[DebianPackage], platform: str) -> tuple[int, int]:
    """The version of the C library of a base, or of the packages that it is assembled from.

    Raises ResolutionError.
    """
    image = base.on(platform)
    if image is None:
        return glibc_of(packages)
    major, _, minor = image.glibc.partition(".")
    return int(major), int(minor)


def target_of(lock: Lock) -> Target:
    """What the wheels of a lock for one platform are for (`mllock.lock.platforms.narrowed`).

    Raises ResolutionError.
    """
    platform = lock.inputs.environment["platforms"][0]
    return Target(
        python=lock.base.python,
        platform=platform,
        glibc=base_glibc(lock.base, lock.system, platform),
    )
