"""What of a source's list is taken, and the tree that comes of it. Pure.

Names come from outside: those that the patterns select must be safe to write, and no two in each
other's way; the others do not matter. Raises DataError.
"""

from __future__ import annotations

from collections.abc import Iterable

from mllock.core import safepath
from mllock.core.globs import compile_globs
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.data.remote import Listing
from mllock.data.walk import shown as printable
from mllock.errors import DataError
from mllock.spec.sources import shown
from mllock.spec.types import DataSource

__all__ = ["place_of", "selected", "tree_of", "unchanged"]

_SPEC = "mlproject.toml"


def place_of(source: DataSource, path: str) -> str:
    """How messages name a file of a source."""
    root = shown(source.source)
    return root if path == SINGLE else f"{root.rstrip('/')}/{printable(path)}"


def selected(listing: Listing, name: str, source: DataSource) -> Listing:
    """The files that include and exclude select."""
    if listing.kind == "file":
        return listing
    wanted = compile_globs(source.include, source.exclude)
    files = tuple(file for file in listing.files if wanted(file.path))
    if not files:
        raise DataError(
            f"no file of {shown(source.source)} is selected",
            file=_SPEC,
            key=f"data.{name}.include",
            hint="correct the patterns of include and exclude",
        )
    for file in files:
        reason = safepath.problem(file.path)
        if reason is not None:
            raise DataError(
                f"a name that is not portable: {reason}",
                file=place_of(source, file.path),
                hint="rename it there, or exclude it",
            )
    return Listing(kind=listing.kind, files=files)


def tree_of(entries: Iterable[Entry], source: DataSource) -> TreeManifest:
    try:
        return TreeManifest.of(entries)
    except ValueError as error:
        raise DataError(
            printable(str(error)), file=shown(source.source), hint="rename it there, or exclude it"
        ) from error


def unchanged(before: Listing, after: Listing, source: DataSource) -> None:
    """What was listed first is still what is listed: not files of two moments."""
    then = {file.path: file.mark for file in before.files}
    now = {file.path: file.mark for file in after.files}
    for path in sorted({*then, *now}):
        one, other = then.get(path), now.get(path)
        if one is None or other is None or not one.is_of(other):
            raise DataError(
                "changed while it was fetched",
                file=place_of(source, path),
                hint="wait until nothing writes to it, then run the same command again",
            )
