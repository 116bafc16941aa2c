"""Making a lock: what has to be resolved again, and the new lock out of the parts. Pure.

A part of the previous lock is kept as it is unless its own inputs changed or an upgrade was asked
for: adding a data source resolves nothing, a new requirement does not touch the Debian packages.
Resolvers and data pinners are called by `mllock.workflows.lock`, between these functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mllock.errors import IntegrityError
from mllock.lock.format import seal
from mllock.lock.layers import assign, python_budget
from mllock.lock.platforms import debs_for, is_for, narrowed, targets_of
from mllock.lock.ports import LockedDebian, SystemResolution, Upgrade
from mllock.lock.target import Target
from mllock.lock.types import (
    Build,
    DataPin,
    Inputs,
    Layers,
    Lock,
    PythonPackage,
    PythonPins,
    Tool,
)
from mllock.spec.meaning import Meaning

__all__ = [
    "assemble",
    "keep_wheels",
    "kept_python",
    "kept_system",
    "locked_debian",
    "pins_of",
    "same_sources",
    "stays",
]

# The inputs of each part, by their keys in [inputs.environment].
_SYSTEM_INPUTS = ("python", "base", "system-packages", "platforms")
_PYTHON_INPUTS = (
    "dependencies",
    "constraints",
    "platforms",
    "resolver",
    "exclude-newer",
    "indexes",
    "find-links",
    "builds",
)
# Of these, what says where wheels come from, and which of them count.
_SOURCES = ("exclude-newer", "indexes", "find-links")
_NO_DIGEST = "sha256:" + "0" * 64


def kept_system(old: Lock | None, meaning: Meaning, upgrade: Upgrade) -> SystemResolution | None:
    """The system part of `old` if it may stay, else None: resolve it."""
    if old is None or upgrade.all or upgrade.names & {item.name for item in old.system}:
        return None
    if not _same(old, meaning, _SYSTEM_INPUTS):
        return None
    return SystemResolution(base=old.base, packages=old.system)


def kept_python(
    old: Lock | None, meaning: Meaning, targets: Sequence[Target], upgrade: Upgrade
) -> tuple[PythonPackage, ...] | None:
    """The Python packages of `old` if they may stay, else None: resolve them."""
    if old is None or upgrade.all or upgrade.names & {item.name for item in old.python.packages}:
        return None
    if not _same(old, meaning, _PYTHON_INPUTS) or targets_of(old) != tuple(targets):
        return None
    return old.python.packages


def same_sources(old: Lock | None, meaning: Meaning) -> bool:
    """Whether the wheels of `old` would still be looked for where they came from, and when."""
    return old is not None and _same(old, meaning, _SOURCES)


def keep_wheels(
    old: Lock | None, packages: Sequence[PythonPackage], target: Target, upgrade: Upgrade
) -> tuple[PythonPackage, ...]:
    """Fresh answers of a resolver, with the wheels of `old` where the version did not move.

    `old` is a whole lock, the answers are those for `target`.

    An index may get another wheel for a version at any time; a pin does not move for that. Raises
    IntegrityError if the same file came with other bytes, unless it was asked to be upgraded.
    """
    before = {item.name: item for item in stays(old, target, upgrade)}
    return tuple(_kept_wheel(before.get(item.name), item) for item in packages)


def stays(old: Lock | None, target: Target, upgrade: Upgrade) -> tuple[PythonPackage, ...]:
    """Packages of `old` for `target` whose wheels stay, if their versions do."""
    if old is None or upgrade.all or target not in targets_of(old):
        return ()
    before = narrowed(old, target.platform).python.packages
    return tuple(item for item in before if item.name not in upgrade.names)


def _kept_wheel(old: PythonPackage | None, new: PythonPackage) -> PythonPackage:
    if old is None or old.version != new.version:
        return new
    known = {wheel.name: wheel.hashes["sha256"] for wheel in old.wheels}
    for wheel in new.wheels:
        found = wheel.hashes["sha256"]
        expected = known.get(wheel.name, found)
        if found != expected:
            raise IntegrityError(
                f"the index serves other bytes for {wheel.name} than those that are locked",
                expected=f"sha256:{expected}",
                found=f"sha256:{found}",
                hint=f'find out why; "mllock lock --upgrade {new.name}" takes the new ones',
            )
    return old


def pins_of(
    old: Lock | None, platform: str | None = None
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Name -> version of the Python packages, and of the Debian packages, of `old`: of `platform`,
    or of all of them, where `old` has nothing for it. `old` may have been edited."""
    if old is None:
        return {}, {}
    python = [item for item in old.python.packages if platform is None or is_for(item, platform)]
    system = old.system if platform is None else debs_for(old.system, platform)
    if not any(item.architecture != "all" for item in system):  # a platform that is new
        python, system = list(old.python.packages), old.system
    return (
        {item.name: item.version for item in python},
        {item.name: item.version for item in system},
    )


def locked_debian(old: Lock | None, platform: str) -> LockedDebian | None:
    """What `old`, a lock that was not edited, has of Debian for `platform`."""
    if old is None or old.base.suite is None:
        return None
    packages = debs_for(old.system, platform)
    return LockedDebian(suite=old.base.suite, indexes=old.base.indexes, packages=packages)


def assemble(
    *,
    meaning: Meaning,
    tool: Tool,
    builder_format: int,
    system: SystemResolution,
    targets: Sequence[Target],
    packages: Sequence[PythonPackage],
    builds: Sequence[Build] = (),
    data: Mapping[str, DataPin],
    previous: Lock | None,
) -> Lock:
    """The lock of these parts, sorted and sealed. `previous` decides layers, nothing else."""
    groups = previous.layers.python if previous is not None else ()
    return seal(
        Lock(
            content_digest=_NO_DIGEST,
            tool=tool,
            inputs=Inputs(
                digest=meaning.digest,
                environment=_plain(meaning.environment),
                data=_plain(meaning.data),
                builder=_plain(meaning.builder),
            ),
            base=system.base,
            system=system.packages,
            python=PythonPins(
                environments=tuple(target.environment for target in targets),
                requires_python=targets[0].requires_python,
                packages=tuple(packages),
            ),
            builds=tuple(builds),
            data=dict(data),
            layers=Layers(
                builder_format=builder_format,
                python=assign(packages, _budget(meaning), groups),
            ),
        )
    )


def _budget(meaning: Meaning) -> int:
    return python_budget(meaning.builder["layers"], bytecode=meaning.environment["bytecode"])


def _same(old: Lock, meaning: Meaning, keys: Sequence[str]) -> bool:
    return all(old.inputs.environment.get(key) == meaning.environment.get(key) for key in keys)


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(table)
    return plain
