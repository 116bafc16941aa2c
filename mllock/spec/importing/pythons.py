"""Which Python is meant: a version or a range in the words of pip, Poetry, conda and tags.

Of a range, the version of the default base is taken where it fits, else the nearest that does.
"""

from __future__ import annotations

import re

__all__ = ["DEFAULT", "KNOWN", "linux_environment", "marker_holds", "minor_of"]

DEFAULT = "3.11"  # of debian:bookworm
KNOWN = tuple(f"3.{minor}" for minor in range(8, 15))


def minor_of(text: str) -> str | None:
    """The minor version ("3.11") that `text` names or allows, or None."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    from mllock.spec.importing.poetry_ranges import specifier

    plain = text.strip().removeprefix("python-").removeprefix("cpython-").strip()
    exact = re.fullmatch(r"(?:==?)?\s*(3\.[0-9]{1,2})(?:\.[0-9]+|\.\*)*", plain)
    if exact is not None:
        return exact[1]
    if re.fullmatch(r"(?:==?)?\s*3(?:\.\*)?", plain):
        return DEFAULT
    ranges = specifier(plain)
    if ranges is None:
        return None
    try:
        allowed = SpecifierSet(ranges)
    except InvalidSpecifier:
        return None
    # ">3.10" does not mean 3.10.1, ">=3.10.4" means a 3.10 as well.
    fits = [minor for minor in KNOWN if any(f"{minor}.{patch}" in allowed for patch in (20, 9, 0))]
    return min(fits, key=lambda minor: abs(_number(minor) - _number(DEFAULT)), default=None)


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])


def marker_holds(marker: str, python: str | None) -> bool:
    """Whether a PEP 508 marker holds in an image of Linux; one that cannot be read does."""
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison
    from packaging.markers import UndefinedEnvironmentName as UndefinedName

    try:
        return Marker(marker).evaluate({**linux_environment(python), "extra": ""})
    except (InvalidMarker, UndefinedComparison, UndefinedName):
        return True


def linux_environment(python: str | None, machine: str = "x86_64") -> dict[str, str]:
    """What the markers of PEP 508 ask of an image of Linux."""
    minor = python or DEFAULT
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{minor}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{minor}.0",
        "python_version": minor,
        "sys_platform": "linux",
    }
