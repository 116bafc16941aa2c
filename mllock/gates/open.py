"""From a data source of the spec to a table: where it is, which files, in which format.

    open_table(name, source, project) -> Table

Files are those that the data source selects, as `lock` and `train` see them; links lead to what is
there anyway. The format is what the ending says, and is checked by the first bytes. In a folder of
tables, names that begin with "_" or "." (markers and checksums of the tools that write such
folders) are no data. Raises InputError if polars is missing, DataError for everything else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mllock.core.tree import SINGLE, TreeManifest
from mllock.data.pin import locate
from mllock.data.scan import kind_of_root, labeller, scan, walk_of
from mllock.errors import DataError, InputError
from mllock.gates.arrays import ArraysPart
from mllock.gates.csv import CsvPart
from mllock.gates.folders import FilesPart
from mllock.gates.json_lines import JsonLinesPart
from mllock.gates.parts import Part, PartsTable
from mllock.gates.tables import Table, TableKind
from mllock.gates.typed import TypedPart
from mllock.spec.sources import here
from mllock.spec.types import DataSource

__all__ = ["need_polars", "open_file", "open_table"]

_Maker = Callable[[Path, str, str], Part]


def _csv(separator: str, packed: bool) -> _Maker:
    return lambda path, file, shown: CsvPart(
        path, file=file, shown=shown, separator=separator, packed=packed
    )


def _json(path: Path, file: str, shown: str) -> Part:
    return JsonLinesPart(path, file=file, shown=shown)


def _arrays(path: Path, file: str, shown: str) -> Part:
    return ArraysPart(path, file=file, shown=shown)


def _parquet(path: Path, file: str, shown: str) -> Part:
    return TypedPart(path, file=file, shown=shown, kind="Parquet")


def _arrow(path: Path, file: str, shown: str) -> Part:
    return TypedPart(path, file=file, shown=shown, kind="Arrow")


# Ending -> format, what its values are, its reader. The longer endings first.
_FORMATS: Mapping[str, tuple[str, TableKind, _Maker]] = MappingProxyType(
    {
        ".csv.gz": ("CSV", "text", _csv(",", packed=True)),
        ".tsv.gz": ("TSV", "text", _csv("\t", packed=True)),
        ".csv": ("CSV", "text", _csv(",", packed=False)),
        ".tsv": ("TSV", "text", _csv("\t", packed=False)),
        ".parquet": ("Parquet", "typed", _parquet),
        ".jsonl": ("JSON lines", "typed", _json),
        ".ndjson": ("JSON lines", "typed", _json),
        ".arrow": ("Arrow", "typed", _arrow),
        ".feather": ("Arrow", "typed", _arrow),
        ".npy": ("NumPy", "typed", _arrays),
        ".npz": ("NumPy", "typed", _arrays),
    }
)


def open_table(
    name: str, source: DataSource, project: Path, *, manifest: TreeManifest | None = None
) -> Table:
    """The source `name`. `manifest`, if it is known, saves hashing a folder of files again."""
    need_polars()
    root = locate(project, name, source)
    shown = here(source)
    if kind_of_root(root, labeller(shown)) == "file":
        return open_file(name, root, shown=shown)
    paths = _paths(root, source, shown, manifest)
    data = [path for path in paths if not path.rpartition("/")[2].startswith(("_", "."))]
    endings = {path: _ending(path) for path in data}
    if not any(endings.values()):
        found = manifest or scan(root, include=source.include, exclude=source.exclude, name=shown)
        return PartsTable(name, "files", [FilesPart(found, shown=shown)], shown=shown)
    by_format: dict[str, str] = {}
    for path, ending in endings.items():
        by_format.setdefault(_FORMATS[ending][0] if ending else "no table", path)
    if len(by_format) > 1:
        (one, first), (other, second) = sorted(by_format.items())[:2]
        raise DataError(
            "a folder of two formats",
            file=shown,
            found=f"{first} ({one}), {second} ({other})",
            hint="select one of them with include, or make them two sources",
        )
    parts = [_part(root / path, path, f"{shown}/{path}", endings[path]) for path in data]
    return PartsTable(name, _FORMATS[endings[data[0]]][1], parts, shown=shown)


def open_file(name: str, path: Path, *, shown: str) -> Table:
    """One file, wherever it is: predictions, or a source that is a file."""
    need_polars()
    ending = _ending(path.name)
    if not ending:
        raise DataError(
            "not a table", file=shown, expected=f"a folder, or a file that ends with {_listed()}"
        )
    return PartsTable(name, _FORMATS[ending][1], [_part(path, "", shown, ending)], shown=shown)


def need_polars() -> None:
    """Raises InputError with the cure if it, or NumPy, is not installed."""
    try:
        import numpy  # noqa: F401, ICN001
        import polars  # noqa: F401, ICN001
    except ImportError as error:
        raise InputError(
            f"gates need {error.name or 'polars'}, which is not installed",
            hint='pip install "mllock[gates]"',
        ) from None


def _part(path: Path, file: str, shown: str, ending: str) -> Part:
    return _FORMATS[ending][2](path, file, shown)


def _paths(
    root: Path, source: DataSource, shown: str, manifest: TreeManifest | None
) -> Sequence[str]:
    """The files, in the order of a tree manifest."""
    if manifest is not None:
        paths = [entry.path for entry in manifest.entries if entry.digest is not None]
    else:
        walk = walk_of(root, source.include, source.exclude, labeller(shown))
        paths = sorted(walk.paths())
    if not paths or paths == [SINGLE]:
        raise DataError("no file is selected", file=shown, hint="put files there, or select them")
    return paths


@functools.cache
def _ending(path: str) -> str:
    """The ending that names a format, or ""."""
    lower = path.lower()
    return next((ending for ending in _FORMATS if lower.endswith(ending)), "")


def _listed() -> str:
    *most, last = _FORMATS
    return f"{', '.join(most)} or {last}"
