"""Known vulnerabilities of Debian packages, by the data of Debian's security tracker.

The data is one JSON document: source package, vulnerability, release, state there. Vulnerable is
what is open in the release, and what was mended in a later version than the locked one; what Debian
calls unimportant is not, nor what it has not determined. Reading it is pure; nothing in it is
believed beyond its words. Raises SurroundingsError for a document that is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from mllock.audit.types import Vulnerability
from mllock.errors import SurroundingsError

__all__ = ["MAX_TRACKER", "VARIABLE", "SourcePackage", "debian_vulnerabilities", "source_of"]

VARIABLE = "MLLOCK_DEBIAN_TRACKER"
# It is 70 MB today.
MAX_TRACKER = 1 << 30
_SOURCE = re.compile(
    r"^Source:[ \t]*(?P<name>[^\s(]+)(?:[ \t]*\((?P<version>[^)]+)\))?", re.MULTILINE
)
_REBUILT = re.compile(r"\+b[0-9]+\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePackage:
    """A source package, and the locked packages that were built from it."""

    name: str
    version: str
    binaries: tuple[str, ...]


class _Release(msgspec.Struct, frozen=True):
    status: str
    fixed_version: str | None = None
    urgency: str | None = None


class _Issue(msgspec.Struct, frozen=True):
    releases: dict[str, _Release] = {}
    description: str = ""


def source_of(name: str, version: str, filename: str, control: str | None) -> tuple[str, str]:
    """Source package and version of a package: from its control file, else from the name of its
    folder in the pool and its own version, without that of a rebuild.

    Debian Policy 5.6.1: `Source` is left out where both are the package's own.
    """
    plain = _REBUILT.sub("", version)
    if control is None:
        folder = filename.split("/")[-2:-1]
        return (folder[0] if folder else name), plain
    match = _SOURCE.search(control)
    if match is None:
        return name, plain
    return match["name"], match["version"] or plain


def debian_vulnerabilities(
    data: bytes, suite: str, packages: Iterable[SourcePackage]
) -> tuple[Vulnerability, ...]:
    """What `data`, the tracker's document, says about `packages` in `suite` ("bookworm")."""
    try:
        sources = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        found = []
        for package in packages:
            raw = sources.get(package.name)
            if raw is not None:
                issues = msgspec.json.decode(raw, type=dict[str, _Issue])
                found += list(_of_package(package, issues, suite))
    except (msgspec.DecodeError, ValueError) as error:  # versions that are none, too
        raise _no_tracker(str(error)) from error
    # An empty document, or one of another distribution, would know of nothing.
    if f'"{suite}"'.encode() not in data:
        raise _no_tracker(f"nothing about {suite}")
    return tuple(found)


def _no_tracker(found: str) -> SurroundingsError:
    return SurroundingsError(
        "not the data of Debian's security tracker",
        key=VARIABLE,
        expected="the JSON document that the tracker publishes",
        found=found[:200],
    )


def _of_package(
    package: SourcePackage, issues: Mapping[str, _Issue], suite: str
) -> Iterable[Vulnerability]:
    from debian.debian_support import NativeVersion

    for name, issue in sorted(issues.items()):
        here = issue.releases.get(suite)
        if here is None or here.urgency == "unimportant":
            continue
        fixed = None
        if here.status == "resolved":
            fixed = here.fixed_version
            # "0": never vulnerable in this release.
            if not fixed or NativeVersion(package.version) >= NativeVersion(fixed):
                continue
        elif here.status != "open":
            continue
        yield Vulnerability(
            kind="debian",
            package=package.name,
            version=package.version,
            id=name,
            fixed=fixed,
            summary=" ".join(issue.description.split())[:300],
            urgency=here.urgency,
            binaries=package.binaries,
        )
