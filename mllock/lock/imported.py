"""Versions to begin with: what `mllock init --from` found in the lock of another tool.

`.mllock/pins.txt` holds `name==version` lines. They are wishes for the first lock, as the pins of
a previous lock are for the next (ADR 0016): what the spec asks for goes before them. Once there is
a mlproject.lock the file is not read any more. See ADR 0071.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mllock.errors import LockError
from mllock.lock.types import PythonPackage

__all__ = ["PINS_FILE", "moved_pins", "read_pins"]

PINS_FILE = "pins.txt"
MAX_PINS_FILE = 4 * 1024 * 1024

_PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([A-Za-z0-9.!+_-]+)")


def read_pins(state: Path) -> Mapping[str, str]:
    """Name -> version of the pins file in `.mllock`; empty if there is none. Raises LockError."""
    path = state / PINS_FILE
    name = f"{state.name}/{PINS_FILE}"
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_PINS_FILE + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LockError(f"cannot be read: {reason}", file=name) from error
    if len(data) > MAX_PINS_FILE:
        raise LockError(f"more than {MAX_PINS_FILE} bytes of pins", file=name)
    pins: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _PIN.fullmatch(text)
        if match is None or match[1] in pins:
            raise LockError(
                "not a pin" if match is None else "pinned twice",
                file=name,
                line=number,
                expected='one "name==version" for each package',
                found=text[:80],
                hint="correct the line, or remove the file to begin with the newest versions",
            )
        pins[match[1]] = match[2]
    return pins


def moved_pins(pins: Mapping[str, str], packages: Iterable[PythonPackage]) -> tuple[str, ...]:
    """One line for each package whose locked version is not the one that was imported."""
    from packaging.version import InvalidVersion, Version

    out = []
    for package in packages:
        pin = pins.get(package.name)
        try:
            same = pin is None or Version(pin) == Version(package.version)
        except InvalidVersion:
            same = False
        if not same:
            out.append(f"{package.name}: {package.version} is locked, {pin} was imported")
    return tuple(sorted(set(out)))
