"""What [[environment.indexes]] may say, beyond their types and URLs. Pure.

A package has at most one index, or there would be two places to take it from; and only a resolver
that can keep to it may be told so.
"""

from __future__ import annotations

import re

from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import package_name

__all__ = ["check_indexes"]

# PEP 508: identifier.
_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")


def check_indexes(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    names: set[str] = set()
    owners: dict[str, str] = {}
    for position, index in enumerate(loaded.spec.environment.indexes):
        where = ("environment", "indexes", position)
        if index.url.startswith("file:"):
            raise loaded.error(
                "an index of one machine",
                *(*where, "url"),
                expected="https:// or http://",
                found=f'"{index.url}"',
                hint="a folder of wheels is named in find-links, if it is in the project; or in "
                "pip's settings (PIP_FIND_LINKS)",
            )
        if index.name in names:
            raise loaded.error("named twice", *(*where, "name"), found=f'"{index.name}"')
        names.add(index.name)
        for number, text in enumerate(index.packages):
            place = (*where, "packages", number)
            name = package_name(text)
            if not _NAME.fullmatch(text):
                raise loaded.error(
                    "not the name of a package",
                    *place,
                    found=f'"{text}"',
                    hint='a name alone, as "torch"; versions are for dependencies',
                )
            if name in owners:
                raise loaded.error(
                    "a package has one index",
                    *place,
                    found=f'"{text}", which is in the index {owners[name]} already',
                )
            owners[name] = index.name
        if index.packages and loaded.spec.environment.resolver != "uv":
            raise loaded.error(
                "pip-tools cannot take a package from one index alone",
                *(*where, "packages"),
                hint='write resolver = "uv" in [environment]; or leave out packages, and every '
                "package may come from this index too",
            )
