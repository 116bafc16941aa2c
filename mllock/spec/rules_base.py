"""What `[environment] base` may be: "debian:SUITE", "oci:DIR", or the reference of an image.

Only what can be said without looking: whether the folder or the image is there, and what Python it
has, is found out when it is locked. Which registry is asked must not depend on a default, so a
reference names it.
"""

from __future__ import annotations

import re

from mllock.core import safepath
from mllock.spec.loaded import LoadedSpec

__all__ = ["check_base"]

# The Python of each Debian suite that a base can be assembled from.
SUITES = {"debian:bullseye": "3.9", "debian:bookworm": "3.11", "debian:trixie": "3.13"}

_EXPECTED = '"debian:SUITE", e.g. "debian:bookworm", "HOST/REPO:TAG" of an image, or "oci:DIR"'
_DEBIAN, _OCI = "debian:", "oci:"


def check_base(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    environment = loaded.spec.environment
    base = environment.base
    found = f'"{base}"'
    where = ("environment", "base")
    if base.startswith(_OCI):
        problem = safepath.problem(base.removeprefix(_OCI))
        if problem is not None:
            raise loaded.error(
                f"not a folder of the project: {problem}",
                *where,
                expected='"oci:DIR", an OCI layout, relative to the project',
                found=found,
            )
        return
    if "@" in base and "/" in base.rpartition("@")[2]:  # not repeated: it may hold a password
        raise loaded.error(
            "user and password in the base",
            *where,
            expected='"HOST/REPO:TAG" or "HOST/REPO@sha256:..."',
            hint='leave them out, and log in with "docker login HOST"',
        )
    prefix = re.match(r"[a-z+]+://|registry:|image:", base)
    if prefix is not None:
        raise loaded.error(
            "not a base",
            *where,
            found=found,
            expected=_EXPECTED,
            hint=f'write "{base.removeprefix(prefix[0])}"',
        )
    wrong = base.startswith(_DEBIAN) and not re.fullmatch(r"debian:[a-z][a-z0-9-]*", base)
    if wrong or re.fullmatch(r"[A-Za-z0-9][\w.:/@-]*", base) is None:
        raise loaded.error("not a base", *where, found=found, expected=_EXPECTED)
    if not base.startswith(_DEBIAN):
        host, slash, _ = base.partition("/")
        if not slash or not (set(host) & set(".:") or host == "localhost"):
            raise loaded.error(
                "the registry of the base is missing",
                *where,
                expected=_EXPECTED,
                found=found,
                hint=f'write it before the name, e.g. "registry.example.org/{base}"',
            )
    has = SUITES.get(base)
    if has is not None and has != environment.python:
        others = [f'"{name}"' for name, version in SUITES.items() if version == environment.python]
        others.append(f'an image, e.g. "registry.example.org/python:{environment.python}-slim"')
        raise loaded.error(
            f"{base} has Python {has}",
            "environment",
            "python",
            expected=f'"{has}"',
            found=f'"{environment.python}"',
            hint=f"bases that have {environment.python}: {', '.join(others)}",
        )
