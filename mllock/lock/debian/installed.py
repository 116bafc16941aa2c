"""What a base that is an image has of Debian: its suite, and the packages that dpkg says it has.

Pure: `mllock.image.base_system` finds the files. A package that is there is never upgraded: its
files lie in layers that are not ours to change. What is read here is a base's word about itself; it
decides which packages are put above it, and none of their bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mllock.errors import IntegrityError, ResolutionError
from mllock.lock.debian.index import Available, described
from mllock.lock.debian.suites import SUITES

__all__ = ["installed_packages", "suite_of"]

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]+")
# What the base's own packages depend on is its own affair.
_NOT_READ = ("Pre-Depends", "Depends")
_LINE = re.compile(r"""(?P<key>[A-Z_]+)=(?P<quote>["']?)(?P<value>[^"']*)(?P=quote)""")


def installed_packages(status: bytes, place: str) -> dict[str, Available]:
    """The installed packages of dpkg's status file, or of control files joined by empty lines.

    Raises IntegrityError for what dpkg would not have written.
    """
    found: dict[str, Available] = {}
    for fields in _stanzas(status):
        # Control files of status.d have no Status: they are there only if the package is.
        if fields.get("Status", "install ok installed").split()[-1:] != ["installed"]:
            continue
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if _NAME.fullmatch(name) is None or _VERSION.fullmatch(version) is None:
            raise IntegrityError("a package without name or version", file=place, found=name[:80])
        here = f"{place}: {name}"
        own = {key: value for key, value in fields.items() if key not in _NOT_READ}
        found[name] = described({"Architecture": "", **own}, here)
    return found


def _stanzas(data: bytes) -> Iterator[Mapping[str, str]]:
    for stanza in re.split(r"\n(?:[ \t]*\n)+", data.decode("utf-8", "replace")):
        fields: dict[str, str] = {}
        for line in stanza.splitlines():
            if line[:1] not in (" ", "\t"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def suite_of(os_release: bytes, base: str) -> str:
    """The suite of Debian that os-release(5) names. Raises ResolutionError."""
    values = {
        match["key"]: match["value"]
        for line in os_release.decode("utf-8", "replace").splitlines()
        if (match := _LINE.fullmatch(line.strip()))
    }
    suite = values.get("VERSION_CODENAME", "")
    if values.get("ID") == "debian" and suite in SUITES:
        return suite
    raise ResolutionError(
        "system-packages are Debian packages, and the base is not made of a Debian that is known",
        file="mlproject.toml",
        key="environment.system-packages",
        expected="Debian " + " or ".join(SUITES),
        found=values.get("PRETTY_NAME") or f"{base} has no etc/os-release",
        hint="take a base that has these packages already, and leave system-packages out",
    )
