"""Data sources between spec, lock, cache and project: what `lock` pins, and what a run gets.

A remote source is asked when it is new, when the spec changed what it means, and when somebody asks
for it (`--upgrade`, `--fresh`, `--data`): as with packages and base images, a pin stays otherwise,
and `lock` needs no network. What is asked may leave out files whose marks did not change, but for
`--data`, which goes by content. Local sources are looked at every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mllock.core.tree import TreeManifest
from mllock.data.pin import Pinner, pin_of
from mllock.errors import IntegrityError
from mllock.lock.ports import Upgrade
from mllock.lock.types import DataPin, Lock
from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import Meaning
from mllock.spec.sources import is_remote
from mllock.spec.types import DataSource
from mllock.workflows.context import Context
from mllock.workflows.vendored_data import vendored_tree

if TYPE_CHECKING:  # slow to import, and nothing is asked where pins stay
    from mllock.store.remote.fetch import Fetched, RemoteData

__all__ = ["bring_remote", "data_pins", "fetch_data", "remote_data", "remote_pin"]


def remote_data(ctx: Context) -> RemoteData:
    from mllock.store.remote.connect import opener
    from mllock.store.remote.fetch import RemoteData

    return RemoteData(ctx.cache, ctx.reporter, opener(ctx.environ, ctx.reporter))


def data_pins(
    ctx: Context,
    loaded: LoadedSpec,
    means: Meaning,
    previous: Lock | None,
    upgrade: Upgrade,
    *,
    by_content: bool = False,
    dry_run: bool = False,
) -> dict[str, DataPin]:
    """The `[data]` of a new lock; local sources first: a missing file needs no network to be
    found. `previous` is a lock whose pins may stay. With `dry_run`, missing data is what a vendored
    folder has of it, and nothing is written to the project."""
    pinner = Pinner(ctx.project, ctx.state, by_content=by_content, learn=not dry_run)
    sources = sorted(loaded.spec.data.items(), key=lambda item: (is_remote(item[1].source), item))
    pins = {}
    for name, source in sources:
        if not is_remote(source.source):
            before = previous and previous.data.get(name)
            tree = vendored_tree(ctx, source, before) if dry_run and before else None
            pins[name] = pinner.pin(name, source) if tree is None else pin_of(name, source, tree)
            if before != pins[name] and not dry_run:
                # What "mllock data diff" compares with.
                ctx.cache.put_bytes(pinner.manifest(name, source))
            continue
        old = None
        if previous is not None and previous.inputs.data.get(name) == means.data[name]:
            old = previous.data.get(name)
        asked = by_content or upgrade.all or f"data.{name}" in upgrade.names
        if old is not None and not asked:
            pins[name] = old
        else:
            found = remote_data(ctx).fetch(name, source, by_content=by_content)
            pins[name] = remote_pin(name, source, found)
    return pins


def remote_pin(name: str, source: DataSource, found: Fetched) -> DataPin:
    import msgspec

    pin = pin_of(name, source, found.manifest)
    return msgspec.structs.replace(pin, etag=found.mark.etag, version=found.mark.version)


def bring_remote(ctx: Context, sources: Mapping[str, DataSource], lock: Lock) -> None:
    """Before a run: remote sources that are not where the program finds them. By stat; a run
    verifies by content after this."""
    for name, source in sources.items():
        if is_remote(source.source) and not _is_there(ctx, name, source, lock.data[name]):
            fetch_data(ctx, name, source, lock.data[name])


def fetch_data(
    ctx: Context, name: str, source: DataSource, pin: DataPin, *, force: bool = False
) -> bool:
    """The locked tree at the `path` of a remote source; False if it is there already."""
    from mllock.store.remote.place import place

    data = remote_data(ctx)
    for attempt in range(2):
        manifest: TreeManifest = data.bring(name, source, pin)
        try:
            return place(ctx.cache, ctx.project, name, source, manifest, force=force)
        except IntegrityError:
            if attempt:
                raise
    raise AssertionError


def _is_there(ctx: Context, name: str, source: DataSource, pin: DataPin) -> bool:
    from mllock.errors import DataError

    try:
        return Pinner(ctx.project, ctx.state).pin(name, source).tree == pin.tree
    except DataError:
        return False
