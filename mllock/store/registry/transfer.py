"""Many blobs to a registry side by side, with progress; the first failure stops the others."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from mllock.core.ports import Reporter
from mllock.store.registry.client import Registry
from mllock.store.registry.parallel import run_all
from mllock.store.registry.upload import BlobSource, push_blob

__all__ = ["Pushed", "push_blobs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """What became of the blobs: how many, and the bytes that had to be sent."""

    there: int
    mounted: int
    uploaded: int
    sent: int


def push_blobs(
    registry: Registry,
    sources: Iterable[BlobSource],
    reporter: Reporter,
    text: str,
    mount_from: str | None = None,
) -> Pushed:
    """Make the registry have all of `sources`. Raises the first failure in their order."""
    unique = {source.digest: source for source in sources}
    total = sum(source.size for source in unique.values())
    with reporter.progress(text, total) as advance:
        tasks = [
            functools.partial(push_blob, registry, source, mount_from=mount_from, advance=advance)
            for source in unique.values()
        ]
        outcomes = dict(zip(unique, run_all(registry, tasks), strict=True))
    counted = list(outcomes.values())
    return Pushed(
        there=counted.count("there"),
        mounted=counted.count("mounted"),
        uploaded=counted.count("uploaded"),
        sent=sum(unique[d].size for d, outcome in outcomes.items() if outcome == "uploaded"),
    )
