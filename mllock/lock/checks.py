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
from mllock.errors import LockError, ResolutionError
from mllock.lock.checks_base import check_base
from mllock.lock.platforms import (
    debs_for,
    is_for,
    markers,
    pick,
    platforms_of,
    ranks,
    targets_of,
)
from mllock.lock.toml import MAX_INTEGER
from mllock.lock.types import DataPin, DebianPackage, Lock, PythonPackage
from mllock.spec.direct import parse_reference
from mllock.spec.sources import is_remote, problem, shown

__all__ = ["check_inputs", "check_lock", "order_of_debs", "strings"]

# user:password@ in a URL. A reference to the environment (${NAME}) is not a credential.
# Neither is the user of ssh, which a URL cannot hold a password for.
_CREDENTIALS = re.compile(
    r"\b(?!ssh://[\w.-]+@)[a-z][a-z0-9]*://(?!(?:\$\{\w+\}:?)+@)[^/\s@]+@", re.IGNORECASE
)


def check_lock(lock: Lock, document: dict[str, Any], file: str) -> None:
    """Raises LockError. `document` is the parsed file, for what a record does not keep."""
    check_inputs(lock, file)
    for key, text in strings(document):
        if _CREDENTIALS.search(text):
            raise LockError("a URL with a user name or password in it", file=file, key=key)
    _platforms(lock, file)
    _system(lock, file)
    _python(lock, document, file)
    _builds(lock, file)
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
    listed = platforms if isinstance(platforms, list) else []
    known = bool(listed) and not set(map(str, listed)) - KNOWN.keys()
    if not known or listed != sorted(set(listed)):
        raise LockError(
            "not platforms that are known",
            file=file,
            key="inputs.environment.platforms",
            expected=f"a sorted array of {' or '.join(KNOWN)}",
        )


def order_of_debs(deb: DebianPackage) -> tuple[str, str, str, tuple[str, ...]]:
    """By what `[[system]]` is sorted; in a lock for one platform the name decides."""
    return deb.name, deb.architecture, deb.version, deb.platforms


def _system(lock: Lock, file: str) -> None:
    if len(platforms_of(lock)) == 1:
        _sorted_unique((package.name for package in lock.system), "system", file)
    elif list(lock.system) != sorted(lock.system, key=order_of_debs):
        raise LockError("not sorted", file=file, key="system")
    _deb_platforms(lock, file)
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


def _deb_platforms(lock: Lock, file: str) -> None:
    """Each platform has each name once, and what is said of platforms could not be left out."""
    known = platforms_of(lock)
    several = len(known) > 1
    for index, deb in enumerate(lock.system):
        if deb.platforms:
            key = f"system[{index}].platforms"
            _sorted_unique(deb.platforms, key, file)
            if deb.architecture != "all" or not set(deb.platforms) < set(known):
                raise LockError(
                    "only for a package of architecture all that not all platforms have",
                    file=file,
                    key=key,
                    found=", ".join(deb.platforms),
                )
        elif several and deb.architecture not in _architectures(known):
            raise LockError(
                "an architecture that is of no platform of this lock",
                file=file,
                key=f"system[{index}].architecture",
                expected=" or ".join(_architectures(known)),
                found=deb.architecture,
            )
    for platform in known if several else ():
        _once((deb.name for deb in debs_for(lock.system, platform)), platform, "system", file)


def _architectures(platforms: Iterable[str]) -> tuple[str, ...]:
    return ("all", *(KNOWN[name].debian for name in platforms))


def _once(names: Iterable[str], platform: str, key: str, file: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise LockError(f"{name!r} is there twice for {platform}", file=file, key=key)
        seen.add(name)


def _python(lock: Lock, document: dict[str, Any], file: str) -> None:
    from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

    key = "python.packages"
    if len(platforms_of(lock)) == 1:
        _sorted_unique((package.name for package in lock.python.packages), key, file)
    else:
        names = [(package.name, package.version) for package in lock.python.packages]
        if names != sorted(set(names)):
            raise LockError("not sorted, or one package twice", file=file, key=key)
    for index, package in enumerate(lock.python.packages):
        _wheels(package, f"{key}[{index}].wheels", file)
    _package_platforms(lock, file)
    try:
        Pylock.from_dict(document["python"])
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise LockError(f"not a PEP 751 document: {error}", file=file, key="python") from None


def _package_platforms(lock: Lock, file: str) -> None:
    """Each platform has each name once, and for it one wheel; no wheel is for none of them."""
    key, platforms = "python.packages", platforms_of(lock)
    allowed = markers(platforms)
    for index, package in enumerate(lock.python.packages):
        if package.marker is not None and package.marker not in allowed:
            raise LockError(
                "not a marker of some of the platforms, and not of all",
                file=file,
                key=f"{key}[{index}].marker",
                expected=" or ".join(f'"{text}"' for text in sorted(allowed)) or "none",
                found=package.marker,
            )
    if len(platforms) == 1:
        return
    try:
        targets = targets_of(lock)
    except ResolutionError as error:
        raise LockError(error.message, file=file, key="system") from None
    unused = {wheel.name for package in lock.python.packages for wheel in package.wheels}
    for target in targets:
        rank = ranks(target)
        mine = [item for item in lock.python.packages if is_for(item, target.platform)]
        _once((item.name for item in mine), target.platform, key, file)
        for package in mine:
            wheel = pick(package.wheels, rank)
            if wheel is None:
                raise LockError(
                    f"no wheel of {package.name} is for {target.platform}", file=file, key=key
                )
            unused.discard(wheel.name)
    for name in sorted(unused):
        raise LockError(f"the wheel {name} is for no platform of this lock", file=file, key=key)


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


def _builds(lock: Lock, file: str) -> None:
    _sorted_unique((build.name for build in lock.builds), "builds", file)
    names = {package.name for package in lock.python.packages}
    for index, build in enumerate(lock.builds):
        key = f"builds[{index}]"
        if build.name not in names:
            raise LockError(f"{build.name!r} is no locked package", file=file, key=f"{key}.name")
        if (build.commit is None) == (build.sha256 is None):
            raise LockError("needs either commit or sha256", file=file, key=key)
        _sorted_unique((tool.name for tool in build.tools), f"{key}.tools", file)
        for number, tool in enumerate(build.tools):
            here = f"{key}.tools[{number}].name"
            _safe(tool.name, here, file)
            if not tool.name.endswith(".whl"):
                raise LockError("not the name of a wheel", file=file, key=here, found=tool.name)
        _reference(build.reference, f"{key}.reference", file)


def _reference(text: str, key: str, file: str) -> None:
    try:
        parse_reference(text)
    except ValueError as error:
        raise LockError(str(error), file=file, key=key) from None


def _data(lock: Lock, file: str) -> None:
    for name, pin in lock.data.items():
        _source(pin, f"data.{name}.source", file)
        _safe(pin.path, f"data.{name}.path", file)
    for name in set(lock.data) ^ set(lock.inputs.data):
        where = "inputs" if name in lock.data else "data"
        raise LockError(f"no data source {name!r} here", file=file, key=where)


def _source(pin: DataPin, key: str, file: str) -> None:
    if not is_remote(pin.source):
        _safe(pin.source, key, file)
        if pin.etag is not None or pin.version is not None:
            raise LockError("hints of a server about a local source", file=file, key=key)
        return
    wrong = problem(pin.source)
    if wrong is not None:
        raise LockError(wrong.message, file=file, key=key, found=shown(pin.source))


def _layers(lock: Lock, file: str) -> None:
    groups = lock.layers.python
    for index, group in enumerate(groups):
        key = f"layers.python[{index}].packages"
        _sorted_unique(group.packages, key, file)
        if not group.packages:
            raise LockError("an empty layer", file=file, key=key)
    placed = sorted(name for group in groups for name in group.packages)
    locked = sorted({package.name for package in lock.python.packages})
    if placed != locked:
        raise LockError(
            "does not hold each locked Python package once",
            file=file,
            key="layers.python",
            expected=", ".join(sorted(set(locked) - set(placed))) or "each name once",
            found=", ".join(sorted(set(placed) - set(locked))) or None,
        )
