"""Many blobs to a registry side by side, with progress; the first failure stops the others."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from mllock.core.ports import Reporter
from mllock.store.registry.client import Registry
from mllock.store.registry.upload import BlobSource, push_blob
from mllock.store.registry.wire import StoppedError

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
    with (
        reporter.progress(text, total) as advance,
        ThreadPoolExecutor(registry.limits.threads, "mllock-push") as pool,
    ):
        futures = {
            digest: pool.submit(push_blob, registry, source, mount_from=mount_from, advance=advance)
            for digest, source in unique.items()
        }
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
            failed = any(f.done() and f.exception() is not None for f in futures.values())
        except BaseException:
            failed = True
            raise
        finally:
            # After Ctrl-C or a failure the others end at their next piece.
            if failed:
                registry.wire.stop.set()
                for future in futures.values():
                    future.cancel()
    for future in futures.values():
        failure = None if future.cancelled() else future.exception()
        if failure is not None and not isinstance(failure, StoppedError):
            raise failure
    outcomes = {digest: future.result() for digest, future in futures.items()}
    counted = list(outcomes.values())
    return Pushed(
        there=counted.count("there"),
        mounted=counted.count("mounted"),
        uploaded=counted.count("uploaded"),
        sent=sum(unique[d].size for d, outcome in outcomes.items() if outcome == "uploaded"),
    )
