"""What a spec means for the lock: the facts that, when they change, make a lock stale.

Comments, layout, order of keys, commands, params, gates, descriptions and the roles and column
names of data are not among them: they choose no bytes of the environment or of the data. Neither
is `debian-mirror`: a mirror is where signed bytes come from, not what they are. Requirements and
constraints files count by their content, as if it stood in the spec.

Forward rule: a key that a later version adds is left out while it has its default, so that an
older lock does not become stale. Absent is left out, because TOML has no null. Specified in
docs/reference/mlproject-toml.md, "What makes a lock stale".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mllock.core.canonical import digest_of
from mllock.core.digest import Digest
from mllock.spec.links import meaning_of_links
from mllock.spec.requirements import Declared
from mllock.spec.types import DataSource, Environment, Spec

__all__ = ["Meaning", "meaning", "package_name"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """Three JSON-able tables, as `[inputs]` of the lock holds them."""

    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    builder: Mapping[str, Any]

    @property
    def digest(self) -> Digest:
        """The spec digest: sha256 over canonical JSON of the three tables."""
        return digest_of(
            {"environment": self.environment, "data": self.data, "builder": self.builder}
        )


def meaning(spec: Spec, declared: Declared) -> Meaning:
    return Meaning(
        environment=_environment(spec.environment, declared),
        data={name: _source(source) for name, source in sorted(spec.data.items())},
        builder={"kind": spec.builder.kind, "layers": spec.builder.layers},
    )


def package_name(text: str) -> str:
    """PEP 503: the normalised name, as locks have it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def _environment(environment: Environment, declared: Declared) -> dict[str, Any]:
    out: dict[str, Any] = {
        "python": environment.python,
        "base": environment.base,
        "dependencies": list(declared.requirements),
        "constraints": list(declared.constraints),
        "system-packages": sorted(set(environment.system_packages)),
        "platforms": sorted(set(environment.platforms)),
        "resolver": environment.resolver,
        "bytecode": environment.bytecode,
        "overlaps": sorted(
            ({"path": item.path, "keep": package_name(item.keep)} for item in environment.overlaps),
            key=lambda item: (item["path"], item["keep"]),
        ),
        "variables": dict(sorted(environment.variables.items())),
        # The order of indexes is their priority.
        "indexes": [
            {
                "name": index.name,
                "url": index.url,
                "packages": sorted({package_name(p) for p in index.packages}),
            }
            for index in environment.indexes
        ],
    }
    if environment.exclude_newer is not None:
        out["exclude-newer"] = environment.exclude_newer
    if environment.builds:
        out["builds"] = sorted({package_name(name) for name in environment.builds})
    if declared.find_links:
        out["find-links"] = meaning_of_links(declared.find_links)
    return out


def _source(source: DataSource) -> dict[str, Any]:
    return {
        "source": source.source,
        "path": source.path or source.source,
        "include": sorted(set(source.include)),
        "exclude": sorted(set(source.exclude)),
    }
