"""`[environment] overlaps` as a lock holds it: which package's file stays where two have one path.

The rules are inputs of the lock: they choose bytes. What they mean for the files of wheels is in
`mllock.image.overlaps`. Pure.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from mllock.core.canonical import digest_of
from mllock.core.globs import compile_globs
from mllock.errors import LockError
from mllock.lock.types import Lock
from mllock.spec.hints import near
from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import package_name
from mllock.spec.types import Overlap

__all__ = ["is_narrowed", "overlaps_of", "refuse_unknown_packages"]


def overlaps_of(lock: Lock) -> tuple[Overlap, ...]:
    """Sorted, with names as packages have them in the lock. Raises LockError."""
    try:
        rules = msgspec.convert(lock.inputs.environment.get("overlaps", ()), tuple[Overlap, ...])
        for rule in rules:
            compile_globs([rule.path])
    except (msgspec.ValidationError, ValueError) as error:
        raise LockError(
            f"cannot be read: {error}",
            file="mlproject.lock",
            key="inputs.environment.overlaps",
            hint='run "mllock lock"',
        ) from None
    return rules


def is_narrowed(lock: Lock) -> bool:
    """Whether `lock` is one platform's part of another (`mllock.lock.platforms.narrowed`), whose
    digest of the inputs it keeps."""
    inputs = lock.inputs
    own = {"environment": inputs.environment, "data": inputs.data, "builder": inputs.builder}
    return digest_of(own) != inputs.digest


def refuse_unknown_packages(loaded: LoadedSpec, packages: Collection[str]) -> None:
    """Raises SpecError at the first rule whose `keep` is none of the locked packages."""
    for index, rule in enumerate(loaded.spec.environment.overlaps):
        if package_name(rule.keep) in packages:
            continue
        guess = near(package_name(rule.keep), packages)
        raise loaded.error(
            "no locked package has this name",
            "environment",
            "overlaps",
            index,
            "keep",
            found=f'"{rule.keep}"',
            hint=f'did you mean "{guess}"?' if guess else "name one that mlproject.lock lists",
        )
