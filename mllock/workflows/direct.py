"""Wheels of direct references, while locking: what stays, and what is built anew.

A wheel that is locked stays until its reference changes. What a URL serves, or where a branch
points, may be another thing by now; a pin does not move for that. `--upgrade NAME` asks again. What
is built is built once, for all platforms. A wheel at a URL that is not locked yet is the resolver's
to download: which one fits is a question of the platform.
"""

from __future__ import annotations

from collections.abc import Collection

from mllock.errors import ResolutionError
from mllock.lock.direct import DirectWheel, about, locked_references
from mllock.lock.platforms import narrowed, platforms_of, ranks
from mllock.lock.ports import Upgrade
from mllock.lock.target import Target
from mllock.lock.types import Build, Lock
from mllock.spec.direct import Reference
from mllock.spec.meaning import Meaning
from mllock.workflows.builds import BuiltWheel, build_new
from mllock.workflows.context import Context
from mllock.workflows.environment import locked_wheels

__all__ = ["DirectWheels", "direct_of"]


class DirectWheels:
    """`old` is the previous lock, if it may be kept to."""

    def __init__(self, ctx: Context, means: Meaning, old: Lock | None, upgrade: Upgrade) -> None:
        self._ctx = ctx
        self._environment = means.environment
        self._old = None if upgrade.all else old
        self._upgrade = upgrade
        self._made: dict[str, BuiltWheel] = {}
        self._builds: dict[str, Build] = {}

    @property
    def builds(self) -> tuple[Build, ...]:
        """How the wheels that were handed out, and that were built, were made."""
        return tuple(self._builds.values())

    def wheels(self, target: Target) -> tuple[DirectWheel, ...]:
        """What is at hand for `target`. Raises what fetching and building raise."""
        references = locked_references(self._environment, target)
        kept = self._kept(target, references)
        built = tuple(
            self._built(name, reference, target)
            for name, reference in references.items()
            if reference.kind != "wheel" and name not in kept
        )
        return (*kept.values(), *built)

    def _kept(self, target: Target, references: dict[str, Reference]) -> dict[str, DirectWheel]:
        """Those of the previous lock whose reference is what it was; brought back where the cache
        lost them."""
        old = self._old
        if old is None or target.platform not in platforms_of(old):
            return {}
        before = locked_references(old.inputs.environment, target)
        same = {
            name
            for name, reference in references.items()
            if before.get(name) == reference and name not in self._upgrade.names
        }
        self._builds |= {pin.name: pin for pin in old.builds if pin.name in same}
        part = narrowed(old, target.platform)
        return {wheel.name: wheel for wheel in direct_of(self._ctx, part, same)}

    def _built(self, name: str, reference: Reference, target: Target) -> DirectWheel:
        made = self._made.get(str(reference))
        if made is None:
            try:
                made = build_new(self._ctx, self._environment, name, reference)
            except ResolutionError as error:
                raise about(name, error) if not error.names else error from None
            self._made[str(reference)] = made
        self._builds[name] = made.build
        _fits(name, made.file, target)
        return DirectWheel(name=name, file=made.file, path=made.path)


def direct_of(ctx: Context, lock: Lock, names: Collection[str]) -> tuple[DirectWheel, ...]:
    """The locked wheels of packages that come from URLs; `lock` is for one platform."""
    packages = [item for item in lock.python.packages if item.name in names]
    paths = locked_wheels(ctx, lock)(packages) if packages else {}
    return tuple(
        DirectWheel(name=item.name, file=wheel.name, path=paths[wheel.name])
        for item in packages
        for wheel in item.wheels
    )


def _fits(name: str, file: str, target: Target) -> None:
    """A wheel with compiled code is for the machine and the Python that built it."""
    from packaging.utils import parse_wheel_filename

    known = ranks(target)
    if not any(str(tag) in known for tag in parse_wheel_filename(file)[3]):
        raise ResolutionError(
            f"the wheel of {name} that is built here is not for the image",
            expected=f"Python {target.minor}, {target.platform}, glibc 2.{target.glibc[1]}",
            found=file,
            hint="build it on such a machine, and put it into a folder that find-links names",
        )
