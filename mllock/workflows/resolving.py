"""The parts of a lock that are resolved: base and system packages, Python packages.

Imported when a part of the previous lock may not stay: resolvers take longer to import than a lock
that is current takes to be seen to be so. `mllock.workflows.lock` says when each is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mllock.core.offline import is_offline
from mllock.errors import ResolutionError
from mllock.lock.direct import references_for
from mllock.lock.imported import moved_pins
from mllock.lock.indexes import indexes_of, slips
from mllock.lock.make import keep_wheels, locked_debian, pins_of, same_sources, stays
from mllock.lock.platforms import merge_python, merge_system
from mllock.lock.ports import (
    PythonRequest,
    PythonResolver,
    SystemRequest,
    SystemResolution,
    SystemResolver,
    Upgrade,
)
from mllock.lock.target import Target
from mllock.lock.together import Wishes, different_versions, resolve_together
from mllock.lock.types import Build, PythonPackage
from mllock.spec.direct import DIRECT
from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import Meaning, meaning
from mllock.spec.requirements import Declared
from mllock.store.own import own_folder
from mllock.workflows.context import Context
from mllock.workflows.links import absolute_links
from mllock.workflows.previous import Previous

__all__ = ["python_resolver", "resolve_python", "resolve_system"]


def resolve_system(
    ctx: Context,
    loaded: LoadedSpec,
    previous: Previous,
    upgrade: Upgrade,
    resolver: SystemResolver | None,
) -> SystemResolution:
    environment = loaded.spec.environment
    _refuse_foreign(loaded)
    resolver = resolver or _system_resolver(ctx, environment.base)
    pinned = None if previous.parts is None else previous.parts.base
    if pinned is not None and not all(map(pinned.on, environment.platforms)):
        pinned = None  # the images of all platforms are those of one moment
    return merge_system(
        {
            platform: resolver.resolve(
                SystemRequest(
                    base=environment.base,
                    python=environment.python,
                    packages=environment.system_packages,
                    platform=platform,
                    mirror=environment.debian_mirror,
                    pins=pins_of(previous.pins, platform)[1],
                    upgrade=upgrade,
                    previous=pinned,
                    locked=locked_debian(previous.parts, platform),
                )
            )
            for platform in sorted(set(environment.platforms))
        }
    )


def _system_resolver(ctx: Context, base: str) -> SystemResolver:
    if base.startswith("debian:"):
        from mllock.lock.debian import DebianResolver

        return DebianResolver(ctx.fetcher, ctx.cache, ctx.environ, ctx.reporter)
    from mllock.image.base_resolve import ImageBaseResolver

    return ImageBaseResolver(ctx.project, ctx.cache, ctx.fetcher, ctx.environ, ctx.reporter)


def _refuse_foreign(loaded: LoadedSpec) -> None:
    """Before minutes are spent on a base that the Python packages cannot be resolved for."""
    environment = loaded.spec.environment
    if environment.resolver != "pip-tools":
        return
    from mllock.lock.pip_tools import foreign

    for platform in sorted(set(environment.platforms)):
        error = foreign(platform, environment.python)
        if error is not None:
            error.file = loaded.path.name
            # The default stands nowhere.
            error.key = "environment.resolver"
            error.line = loaded.place(error.key)
            raise error


def python_resolver(
    ctx: Context, loaded: LoadedSpec, previous: Previous, means: Meaning
) -> PythonResolver:
    from mllock.lock.python import resolver_of

    name, cache, reporter = loaded.spec.environment.resolver, ctx.cache, ctx.reporter

    def make(environ: Mapping[str, str]) -> PythonResolver:
        return resolver_of(name, cache, own_folder(cache.root / "uv"), reporter, environ)

    if not is_offline(ctx.environ):
        return make(ctx.environ)
    from mllock.lock.local import LocalResolver
    from mllock.lock.pip import Pip

    known = previous.parts if same_sources(previous.parts, means) else None
    return LocalResolver(make, Pip(environ=ctx.environ, reporter=reporter), cache, known)


def resolve_python(
    ctx: Context,
    loaded: LoadedSpec,
    wanted: Declared,
    targets: Sequence[Target],
    previous: Previous,
    upgrade: Upgrade,
    resolver: PythonResolver,
) -> tuple[tuple[PythonPackage, ...], tuple[Build, ...]]:
    _refuse_foreign(loaded)
    count = len(wanted.requirements)
    what = f"resolving {count} requirement{'s' if count != 1 else ''}"
    # A wheel that stays must be one that could come again.
    means = meaning(loaded.spec, wanted)
    stay = previous.parts if same_sources(previous.parts, means) else None

    direct = None
    if any(DIRECT in text for text in wanted.requirements):
        from mllock.workflows.direct import DirectWheels

        direct = DirectWheels(ctx, means, previous.parts, upgrade)

    def resolve(target: Target, wishes: Wishes) -> tuple[PythonPackage, ...]:
        ctx.reporter.step(what if len(targets) == 1 else f"{what} for {target.platform}")
        # What comes from a URL was kept, or is asked for anew.
        free = upgrade.names | references_for(wanted.requirements, target).keys()
        try:
            request = PythonRequest(
                requirements=wanted.requirements,
                constraints=wanted.constraints,
                python=target.python,
                platform=target.platform,
                glibc=target.glibc,
                pins=wishes.pins,
                upgrade=wishes.upgrade,
                exclude_newer=loaded.spec.environment.exclude_newer,
                indexes=indexes_of(means.environment),
                known=stays(stay, target, Upgrade(all=upgrade.all, names=free)),
                find_links=absolute_links(ctx.project, wanted.find_links),
                direct=() if direct is None else direct.wheels(target),
            )
            packages = resolver.resolve(request)
        except ResolutionError as error:
            from mllock.lock.blame import blame

            blame(error, loaded, wanted, pins_of(previous.shown)[0])
            raise
        return keep_wheels(stay, packages, target, Upgrade(all=upgrade.all, names=free))

    pins = {t.platform: previous.imported or pins_of(previous.pins, t.platform)[0] for t in targets}
    found = resolve_together(targets, pins, upgrade, resolve)
    for line in different_versions(found):
        ctx.reporter.warn(line)
    merged = merge_python(found)
    for line in () if upgrade.all else moved_pins(previous.imported, merged):
        ctx.reporter.warn(line)
    names = {package.name for package in merged}
    for line in slips(indexes_of(means.environment), names):
        ctx.reporter.warn(line)
    builds = () if direct is None else direct.builds
    return merged, tuple(build for build in builds if build.name in names)
