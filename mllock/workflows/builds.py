"""Declared builds: a wheel out of sources when it is locked, and again where it is lost.

Locking notes what a wheel was made of (the commit, or the archive's sha256) and with which wheels
as tools. From then on the wheel is a wheel like any other: by its sha256, from the cache or a
folder. Only where nobody has it is it built again, from the same sources with the same tools; what
comes then is the locked wheel, byte for byte, or an error. See ADR 0101.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllock.core.digest import from_hex, hex_of
from mllock.core.offline import is_offline, not_asked, not_here
from mllock.errors import ArchiveError, IntegrityError, MllockError
from mllock.lock.indexes import indexes_of
from mllock.lock.ports import PythonRequest, Upgrade
from mllock.lock.types import Build, BuildTool, PythonPackage, Wheel
from mllock.spec.direct import Reference, parse_reference
from mllock.store.own import own_folder
from mllock.workflows.context import Context
from mllock.workflows.links import spec_links

__all__ = ["BuiltWheel", "build_locked", "build_new"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """A wheel in the cache, and how it was made."""

    file: str
    path: Path
    build: Build


def build_new(
    ctx: Context, environment: Mapping[str, Any], name: str, reference: Reference
) -> BuiltWheel:
    """Build the wheel of `reference` as it is now. `environment` is what the spec means.

    Raises ResolutionError, ArchiveError, OfflineError, IntegrityError.
    """
    if is_offline(ctx.environ):
        raise not_asked(f"the place of the sources of {name}")
    return _build(ctx, environment, name, reference, None)


def build_locked(
    ctx: Context, environment: Mapping[str, Any], pin: Build, package: PythonPackage
) -> None:
    """Put the wheel of `package` into the cache: out of a folder of wheels, else built again.

    Raises IntegrityError if the build gives other bytes.
    """
    (wheel,) = package.wheels
    if _from_a_folder(ctx, package):
        return
    if is_offline(ctx.environ):
        raise not_here([wheel.name])
    built = _build(ctx, environment, pin.name, parse_reference(pin.reference), pin)
    found = hex_of(from_hex(wheel.hashes["sha256"])), _digest(built)
    if found[0] != found[1]:
        raise IntegrityError(
            f"the wheel of {pin.name} that was built again is not the one that is locked",
            expected=f"{wheel.name} sha256:{found[0]}",
            found=f"{built.file} sha256:{found[1]}",
            hint="bring the wheel from where it was locked, into a folder that find-links names; "
            f'or lock this one: "mllock lock --upgrade {pin.name}"',
        )


def _digest(built: BuiltWheel) -> str:
    from mllock.core.digest import sha256_of

    return hex_of(sha256_of(built.path.read_bytes()))


def _from_a_folder(ctx: Context, package: PythonPackage) -> bool:
    """No index is asked: the name of what is built here is nobody's there."""
    from mllock.lock.building import host_target
    from mllock.lock.locked import fetch_wheels

    links = spec_links(ctx)
    if not links and not ctx.environ.get("PIP_FIND_LINKS"):
        return False
    try:
        fetch_wheels(
            (package,),
            ctx.cache,
            target=host_target(),
            environ={**ctx.environ, "PIP_NO_INDEX": "1"},
            reporter=ctx.reporter,
            links=lambda: links,
        )
    except MllockError:
        return False
    return True


def _build(
    ctx: Context,
    environment: Mapping[str, Any],
    name: str,
    reference: Reference,
    pin: Build | None,
) -> BuiltWheel:
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    from mllock.lock.building import Tools, build_wheel
    from mllock.lock.sources import get_source

    with ctx.cache.scratch() as folder:
        ctx.reporter.step(f"getting the sources of {name}")
        source = get_source(
            name,
            reference,
            folder / "source",
            pinned=None if pin is None else pin.commit or pin.sha256,
            environ=ctx.environ,
            fetcher=ctx.fetcher,
            reporter=ctx.reporter,
        )
        ctx.reporter.step(f"building a wheel of {name}")
        built = build_wheel(
            name,
            source.folder,
            folder,
            Tools(
                resolve=lambda texts: _resolved(ctx, environment, texts),
                fetch=lambda packages: _fetched(ctx, environment, packages),
            ),
            ctx.reporter,
            pinned=None if pin is None else _packages(pin.tools),
            twice=pin is None,
        )
        try:
            found = str(canonicalize_name(parse_wheel_filename(built.wheel.name)[0]))
        except InvalidWheelFilename as error:
            raise ArchiveError(str(error).lower(), file=built.wheel.name) from None
        if found != name:
            raise ArchiveError(
                "the wheel that was built is of another package",
                file=built.wheel.name,
                expected=name,
                found=found,
            )
        if built.same is False:
            ctx.reporter.warn(
                f"{name}: two builds of the same sources gave different bytes: keep the wheel, or "
                "nobody can make it again"
            )
        file = built.wheel.name
        digest = ctx.cache.put_file(built.wheel, move=True)
    path = ctx.cache.get(digest)
    assert path is not None
    git = reference.kind == "git"
    build = Build(
        name=name,
        reference=str(reference),
        commit=source.revision if git else None,
        sha256=None if git else source.revision,
        tools=tuple(
            BuildTool(name=wheel.name, size=wheel.size, sha256=wheel.hashes["sha256"])
            for package in built.requires
            for wheel in package.wheels
        ),
    )
    return BuiltWheel(file=file, path=path, build=build)


def _resolved(
    ctx: Context, environment: Mapping[str, Any], texts: tuple[str, ...]
) -> tuple[PythonPackage, ...]:
    from mllock.lock.building import host_target
    from mllock.lock.python import resolver_of

    target = host_target()
    resolver = resolver_of(
        environment["resolver"],
        ctx.cache,
        own_folder(ctx.cache.root / "uv"),
        ctx.reporter,
        ctx.environ,
    )
    request = PythonRequest(
        requirements=texts,
        constraints=(),
        python=target.python,
        platform=target.platform,
        glibc=target.glibc,
        pins={},
        upgrade=Upgrade(),
        exclude_newer=environment.get("exclude-newer"),
        indexes=indexes_of(environment),
        find_links=spec_links(ctx),
    )
    return resolver.resolve(request)


def _fetched(
    ctx: Context, environment: Mapping[str, Any], packages: Sequence[PythonPackage]
) -> Mapping[str, Path]:
    from mllock.lock.building import host_target
    from mllock.lock.locked import fetch_wheels

    return fetch_wheels(
        packages,
        ctx.cache,
        target=host_target(),
        environ=ctx.environ,
        reporter=ctx.reporter,
        indexes=indexes_of(environment),
        links=lambda: spec_links(ctx),
    )


def _packages(tools: Sequence[BuildTool]) -> tuple[PythonPackage, ...]:
    from packaging.utils import parse_wheel_filename

    found = []
    for tool in tools:
        name, version, _, _ = parse_wheel_filename(tool.name)
        wheel = Wheel(
            name=tool.name,
            path=f"wheels/{tool.name}",
            size=tool.size,
            hashes={"sha256": tool.sha256},
        )
        found.append(PythonPackage(name=str(name), version=str(version), wheels=(wheel,)))
    return tuple(found)
