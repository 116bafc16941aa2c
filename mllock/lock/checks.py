"""What makes a decoded lock valid, beyond its types: order, names, paths, and its own digests.

Pure. Each check raises LockError with the dotted key; the first one that fails speaks. A lock that
passes here is one that `mllock.lock.format.dump_lock` writes back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from mllock.core import safepath
from mllock.core.canonical import digest_of
from mllock.core.platform import KNOWN
from mllock.errors import LockError
from mllock.lock.checks_base import check_base
from mllock.lock.toml import MAX_INTEGER
from mllock.lock.types import Lock, PythonPackage

__all__ = ["check_inputs", "check_lock", "strings"]

# user:password@ in a URL. A reference to the environment (${NAME}) is not a credential.
_CREDENTIALS = re.compile(r"[a-z][a-z0-9+.-]*://(?!(?:\$\{\w+\}:?)+@)[^/\s@]+@", re.IGNORECASE)


def check_lock(lock: Lock, document: dict[str, Any], file: str) -> None:
    """Raises LockError. `document` is the parsed file, for what a record does not keep."""
    check_inputs(lock, file)
    for key, text in strings(document):
        if _CREDENTIALS.match(text):
            raise LockError("a URL with a user name or password in it", file=file, key=key)
    _platforms(lock, file)
    _system(lock, file)
    _python(lock, document, file)
    _data(lock, file)
    _layers(lock, file)


def check_inputs(lock: Lock, file: str) -> None:
    """The kept meaning is plain JSON, and its digest is the one beside it."""
    tables = {
        "environment": lock.inputs.environment,
        "data": lock.inputs.data,
        "builder": lock.inputs.builder,
    }
    for key, value in _leaves(tables, "inputs"):
        plain = isinstance(value, str | bool)
        if not plain and not (isinstance(value, int) and abs(value) <= MAX_INTEGER):
            raise LockError("not a string, integer, boolean, array or table", file=file, key=key)
    expected = digest_of(tables)
    if lock.inputs.digest != expected:
        raise LockError(
            "is not the digest of the inputs below it",
            file=file,
            key="inputs.digest",
            expected=expected,
            found=lock.inputs.digest,
            hint='write the lock again with "mllock lock"',
        )


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a document, with its dotted key."""
    return ((path, item) for path, item in _leaves(value, key) if isinstance(item, str))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{key}[{index}]")
    else:
        yield key, value


def _sorted_unique(names: Iterable[str], key: str, file: str) -> None:
    before: str | None = None
    for name in names:
        if before is not None and name <= before:
            reason = "twice" if name == before else f"not sorted: comes after {before!r}"
            raise LockError(f"{name!r} is {reason}", file=file, key=key)
        before = name


def _safe(path: str, key: str, file: str) -> None:
    reason = safepath.problem(path)
    if reason is not None:
        raise LockError(f"{reason}: {path!r}", file=file, key=key)


def _platforms(lock: Lock, file: str) -> None:
    platforms = lock.inputs.environment.get("platforms")
    if not isinstance(platforms, list) or not platforms or set(map(str, platforms)) - KNOWN.keys():
        raise LockError(
            "not platforms that are known",
            file=file,
            key="inputs.environment.platforms",
            expected=f"an array of {' or '.join(KNOWN)}",
        )


def _system(lock: Lock, file: str) -> None:
    _sorted_unique((package.name for package in lock.system), "system", file)
    for index, package in enumerate(lock.system):
        key = f"system[{index}].filename"
        _safe(package.filename, key, file)
        if not package.filename.endswith(".deb"):
            raise LockError("not the name of a .deb", file=file, key=key, found=package.filename)
    _sorted_unique((index.suite for index in lock.base.indexes), "base.indexes", file)
    check_base(lock, file)
    if not lock.base.interpreter.startswith("/"):
        raise LockError("not an absolute path in the image", file=file, key="base.interpreter")
    _safe(lock.base.interpreter[1:], "base.interpreter", file)


def _python(lock: Lock, document: dict[str, Any], file: str) -> None:
    from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

    _sorted_unique((package.name for package in lock.python.packages), "python.packages", file)
    for index, package in enumerate(lock.python.packages):
        _wheels(package, f"python.packages[{index}].wheels", file)
    try:
        Pylock.from_dict(document["python"])
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise LockError(f"not a PEP 751 document: {error}", file=file, key="python") from None


def _wheels(package: PythonPackage, key: str, file: str) -> None:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    _sorted_unique((wheel.name for wheel in package.wheels), key, file)
    for index, wheel in enumerate(package.wheels):
        here = f"{key}[{index}]"
        try:
            name, version, _, _ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise LockError(str(error).lower(), file=file, key=f"{here}.name") from None
        try:
            same = (name, version) == (package.name, Version(package.version))
        except InvalidVersion:
            same = False
        if not same:
            raise LockError(
                "the wheel is of another package",
                file=file,
                key=f"{here}.name",
                expected=f"{package.name} {package.version}",
                found=f"{name} {version}",
            )
        _safe(wheel.name, f"{here}.name", file)
        if wheel.path != f"wheels/{wheel.name}":
            raise LockError(
                "not where this wheel would be",
                file=file,
                key=f"{here}.path",
                expected=f"wheels/{wheel.name}",
                found=wheel.path,
            )


def _data(lock: Lock, file: str) -> None:
    for name, pin in lock.data.items():
        _safe(pin.source, f"data.{name}.source", file)
        _safe(pin.path, f"data.{name}.path", file)
    for name in set(lock.data) ^ set(lock.inputs.data):
        where = "inputs" if name in lock.data else "data"
        raise LockError(f"no data source {name!r} here", file=file, key=where)


def _layers(lock: Lock, file: str) -> None:
    groups = lock.layers.python
    for index, group in enumerate(groups):
        key = f"layers.python[{index}].packages"
        _sorted_unique(group.packages, key, file)
        if not group.packages:
            raise LockError("an empty layer", file=file, key=key)
    _sorted_unique((group.packages[0] for group in groups), "layers.python", file)
    placed = sorted(name for group in groups for name in group.packages)
    locked = [package.name for package in lock.python.packages]
    if placed != locked:
        raise LockError(
            "does not hold each locked Python package once",
            file=file,
            key="layers.python",
            expected=", ".join(sorted(set(locked) - set(placed))) or "each name once",
            found=", ".join(sorted(set(placed) - set(locked))) or None,
        )
