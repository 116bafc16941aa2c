"""`[environment] builds`: whose sources may be built, which runs their code. Pure.

Only what the list names is built, and it names nothing else: a line that does nothing would hide
that its package now comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from mllock.spec.direct import reference_in
from mllock.spec.loaded import LoadedSpec

__all__ = ["check_builds"]


def check_builds(loaded: LoadedSpec, requirements: Iterable[str]) -> None:
    """`requirements` are canonical. Raises SpecError."""
    from mllock.spec.meaning import package_name  # which reads requirements

    environment = loaded.spec.environment
    listed = {package_name(name): index for index, name in enumerate(environment.builds)}
    sources = {}
    for text in sorted(requirements):
        named = reference_in(text)
        if named is not None and named[1].kind != "wheel":
            sources[named[0]] = named[1]
    for name, reference in sources.items():
        if name not in listed:
            raise loaded.error(
                f"{name} is not a wheel: to build one of its sources runs their code",
                *_place(loaded, name),
                found=str(reference),
                hint=f'write builds = ["{name}"] in [environment], if you trust them; or put a '
                "wheel of it into a folder that find-links names",
            )
    for name, index in listed.items():
        if name not in sources:
            raise loaded.error(
                "no requirement names sources of this package",
                "environment",
                "builds",
                index,
                expected=f'e.g. "{name} @ git+https://...@REVISION" in dependencies',
                found=f'"{environment.builds[index]}"',
            )


def _place(loaded: LoadedSpec, name: str) -> tuple[str | int, ...]:
    from mllock.spec.requirements import parts_of

    for index, text in enumerate(loaded.spec.environment.dependencies):
        if parts_of(text)[0] == name:
            return ("environment", "dependencies", index)
    return ("environment", "requirements")
