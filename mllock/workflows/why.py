"""`mllock why NAME`: which requirement brought a locked package in.

From the lock and the files that it pins, which are fetched where the cache does not have them; for
the line of the spec, from the spec. The lock may be stale: that is said, and it is explained as it
is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mllock.errors import InputError
from mllock.lock.compare import stale_reasons
from mllock.lock.format import LOCK_NAME, read_lock
from mllock.lock.near_names import locked_as
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.target import target_of
from mllock.lock.types import Lock
from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import meaning, package_name
from mllock.spec.reader import load_spec
from mllock.spec.requirements import declared, places_of
from mllock.workflows.context import Context
from mllock.workflows.environment import locked_wheels, packages_of

__all__ = ["Chain", "Locked", "why"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """`steps` from what is asked for to the package; `file` and `line` say where the first step
    stands, if it stands anywhere."""

    steps: tuple[str, ...]
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """One locked version, and why it is there; `platforms` are empty for all that the lock has."""

    kind: str
    name: str
    version: str
    platforms: tuple[str, ...]
    chains: tuple[Chain, ...]


def why(ctx: Context, name: str) -> tuple[Locked, ...]:
    """Raises InputError if nothing of that name is locked."""
    loaded = load_spec(ctx.project / "mlproject.toml")
    lock = read_lock(ctx.project / LOCK_NAME)
    if stale_reasons(lock, meaning(loaded.spec, declared(ctx.project, loaded))):
        ctx.reporter.warn(f"{LOCK_NAME} is stale: this is why it has what it has")
    platforms = platforms_of(lock)
    found: list[Locked] = []
    for platform in platforms:
        part = narrowed(lock, platform)
        for item in (*_python(ctx, loaded, part, name), *_debian(ctx, loaded, part, name)):
            same = [n for n, other in enumerate(found) if replace(other, platforms=()) == item]
            if same:
                before = found[same[0]]
                found[same[0]] = replace(before, platforms=(*before.platforms, platform))
            else:
                found.append(replace(item, platforms=(platform,)))
    if not found:
        raise _unknown(lock, name)
    return tuple(
        replace(item, platforms=() if len(item.platforms) == len(platforms) else item.platforms)
        for item in found
    )


def _python(ctx: Context, loaded: LoadedSpec, lock: Lock, name: str) -> Iterator[Locked]:
    from mllock.lock.closure import read_metadata
    from mllock.lock.why import python_chains

    normal = package_name(name)
    for package in lock.python.packages:
        if package.name != normal:
            continue
        files = locked_wheels(ctx, lock)(lock.python.packages)
        wheels = {
            item.name: read_metadata(files[item.wheels[0].name], item.wheels[0].name)
            for item in lock.python.packages
        }
        places = places_of(ctx.project, loaded)
        chains = []
        for text in lock.inputs.environment["dependencies"]:
            file, line = places.get(text, (None, None))
            chains += [
                Chain(steps=(text, *steps[1:]), file=file, line=line)
                for steps in python_chains((text,), wheels, target_of(lock), normal)
            ]
        yield Locked(
            kind="python",
            name=normal,
            version=package.version,
            platforms=(),
            chains=tuple(sorted(chains, key=lambda item: (len(item.steps), item.steps))),
        )


def _debian(ctx: Context, loaded: LoadedSpec, lock: Lock, name: str) -> Iterator[Locked]:
    from mllock.lock.debian.deb import open_deb
    from mllock.lock.debian.suites import seeds
    from mllock.lock.why import debian_chains

    plain, _, architecture = name.partition(":")
    for package in lock.system:
        if package.name != plain or architecture not in ("", package.architecture):
            continue
        files = packages_of(ctx, loaded, lock).debs(lock.system)
        controls = {
            item.name: open_deb(files[item.filename], item.filename).control["control"]
            for item in lock.system
        }
        chains = [
            Chain(steps=steps, file=loaded.path.name, line=_line(loaded, steps[0]))
            for asked in lock.inputs.environment["system-packages"]
            for steps in debian_chains([(asked,)], controls, plain)
        ]
        if lock.base.kind == "debian":
            base = f"{lock.base.kind}:{lock.base.suite}"
            minor = lock.inputs.environment["python"]
            roots = [(base, seed) for seed in seeds(minor) if seed in controls]
            below = debian_chains(roots, controls, plain)
            line = loaded.place("environment.base") or loaded.place("environment")
            # The base has few seeds that people know: the nearest one is enough.
            chains += [
                Chain(steps=steps, file=loaded.path.name, line=line)
                for steps in sorted(below, key=lambda item: (len(item), item))[:1]
            ]
        yield Locked(
            kind="system",
            name=plain,
            version=package.version,
            platforms=(),
            chains=tuple(chains),
        )


def _line(loaded: LoadedSpec, asked: str) -> int | None:
    for index, text in enumerate(loaded.spec.environment.system_packages):
        if text == asked:
            return loaded.place(f"environment.system-packages[{index}]")
    return None


def _unknown(lock: Lock, name: str) -> InputError:
    names = {item.name for item in lock.python.packages} | {item.name for item in lock.system}
    near = locked_as(name, names)
    return InputError(
        f"nothing is locked under the name {name!r}",
        file=LOCK_NAME,
        hint=f'did you mean "{near}"?' if near else "it lists what is",
    )
