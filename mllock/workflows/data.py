"""`mllock data`: how the data that is here stands to the lock, and to where it comes from.

`status` and `diff` look by stat and ask nobody (`status` asks sources for their marks if it is
told to); `verify` reads every byte, here and at the sources; `fetch` puts locked remote data where
programs find it. None of them changes the lock. Raises InputError for a name that is not declared,
LockError where there is no lock.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mllock.core.tree import Difference, differences, parse
from mllock.data.pin import Pinner, pin_of, reasons_between, stat_reasons, verify_source
from mllock.errors import DataError, InputError, StaleLockError
from mllock.lock.format import LOCK_NAME, parse_lock, read_bytes
from mllock.lock.types import DataPin, Lock
from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import Meaning, meaning
from mllock.spec.reader import load_spec
from mllock.spec.requirements import declared
from mllock.spec.sources import here, is_remote, shown
from mllock.spec.types import DataSource
from mllock.workflows.context import Context
from mllock.workflows.remote_data import fetch_data, remote_data

__all__ = [
    "DataDiff",
    "DataState",
    "Placed",
    "diff_data",
    "fetch_sources",
    "status_of_data",
    "verify_data",
]

State = Literal["as locked", "changed", "missing", "not here", "not locked"]
Moved = Literal["unchanged", "changed", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataState:
    """One source. `pin` is None if nothing is locked for what the spec means now; `moved` is what
    a remote source says of itself, None if it was not asked."""

    name: str
    source: str
    path: str
    state: State
    pin: DataPin | None = None
    reasons: tuple[str, ...] = ()
    moved: Moved | None = None

    @property
    def is_good(self) -> bool:
        """Whether a run could begin with it, as locked."""
        return self.state in ("as locked", "not here") and self.moved != "changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataDiff:
    """One source, file by file; `unknown` is why that cannot be said, or None."""

    name: str
    differences: tuple[Difference, ...] = ()
    unknown: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """`is_new` is False for data that was there already."""

    name: str
    path: str
    pin: DataPin
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    name: str
    declared: DataSource
    pin: DataPin | None


def status_of_data(
    ctx: Context, names: Sequence[str] = (), *, ask: bool = False
) -> tuple[DataState, ...]:
    """How each source stands, by stat. `ask`: remote sources for their marks."""
    return tuple(
        _asked(ctx, source, _state(ctx, source)) if ask else _state(ctx, source)
        for source in _sources(ctx, names)
    )


def diff_data(ctx: Context, names: Sequence[str] = ()) -> tuple[DataDiff, ...]:
    """What is here against what is locked, file by file. Sources that are not here have none."""
    return tuple(_diff(ctx, source) for source in _sources(ctx, names))


def fetch_sources(
    ctx: Context, names: Sequence[str] = (), *, force: bool = False
) -> tuple[Placed, ...]:
    """Put remote data at its path, as locked. Raises StaleLockError if it is not locked."""
    placed = []
    for source in _sources(ctx, names):
        if not is_remote(source.declared.source):
            if names:
                raise InputError(
                    f"data.{source.name} is a local source: there is nothing to fetch",
                    hint=f"its files are {source.declared.source!r}",
                )
            continue
        pin = _locked(source)
        is_new = fetch_data(ctx, source.name, source.declared, pin, force=force)
        path = here(source.declared)
        placed.append(Placed(name=source.name, path=path, pin=pin, is_new=is_new))
    return tuple(placed)


def verify_data(
    ctx: Context, names: Sequence[str] = (), *, ask: bool = True
) -> tuple[DataState, ...]:
    """Every byte: of what is here, and, with `ask`, of what remote sources have now."""
    return tuple(
        _read(ctx, source, _verified(ctx, source)) if ask else _verified(ctx, source)
        for source in _sources(ctx, names)
    )


def _sources(ctx: Context, names: Sequence[str]) -> Iterator[_Source]:
    loaded = load_spec(ctx.project / "mlproject.toml")
    _known(loaded, names)
    lock = parse_lock(read_bytes(ctx.project / LOCK_NAME), LOCK_NAME)
    means = meaning(loaded.spec, declared(ctx.project, loaded))
    for name, source in sorted(loaded.spec.data.items()):
        if not names or name in names:
            yield _Source(name=name, declared=source, pin=_pin(lock, means, name))


def _known(loaded: LoadedSpec, names: Sequence[str]) -> None:
    for name in names:
        if name not in loaded.spec.data:
            near = difflib.get_close_matches(name, loaded.spec.data, n=1)
            raise InputError(
                f"no data source is named {name!r}",
                file=loaded.path.name,
                expected=", ".join(sorted(loaded.spec.data)) or "none is declared",
                hint=f'did you mean "{near[0]}"?' if near else None,
            )


def _pin(lock: Lock, means: Meaning, name: str) -> DataPin | None:
    if lock.inputs.data.get(name) != means.data[name]:
        return None
    return lock.data.get(name)


def _locked(source: _Source) -> DataPin:
    if source.pin is None:
        raise StaleLockError(
            "this source is not locked as the spec has it",
            file=LOCK_NAME,
            key=f"data.{source.name}",
            hint='lock it: "mllock lock"',
        )
    return source.pin


def _start(source: _Source, state: State, reasons: tuple[str, ...] = ()) -> DataState:
    return DataState(
        name=source.name,
        source=shown(source.declared.source)
        if is_remote(source.declared.source)
        else source.declared.source,
        path=source.declared.path or source.declared.source,
        state=state,
        pin=source.pin,
        reasons=reasons,
    )


def _is_here(ctx: Context, source: _Source) -> bool:
    return os.path.lexists(ctx.project / here(source.declared))


def _absent(source: _Source) -> DataState:
    return _start(source, "not here" if is_remote(source.declared.source) else "missing")


def _state(ctx: Context, source: _Source) -> DataState:
    if source.pin is None:
        return _start(source, "not locked")
    if not _is_here(ctx, source):
        return _absent(source)
    try:
        reasons = stat_reasons(
            ctx.project, source.name, source.declared, source.pin, ctx.state, remote=True
        )
    except DataError as error:
        reasons = (f"data.{source.name}: {error.message}",)
    reasons = tuple(map(_bare, reasons))
    return _start(source, "changed" if reasons else "as locked", reasons)


def _verified(ctx: Context, source: _Source) -> DataState:
    if source.pin is None:
        return _start(source, "not locked")
    if not _is_here(ctx, source):
        return _absent(source)
    try:
        ctx.reporter.step(f"reading data.{source.name}")
        verify_source(ctx.project, source.name, source.declared, source.pin)
    except (StaleLockError, DataError) as error:
        return _start(source, "changed", (error.message,))
    return _start(source, "as locked")


def _asked(ctx: Context, source: _Source, state: DataState) -> DataState:
    """With what the source says of itself."""
    pin = source.pin
    if pin is None or not is_remote(pin.source):
        return state
    mark = remote_data(ctx).look(source.name, source.declared)
    moved: Moved = "unknown"
    if mark.is_strong and pin.etag is not None:
        same = (mark.etag, mark.version) == (pin.etag, pin.version)
        moved = "unchanged" if same else "changed"
    elif mark.size is not None and mark.size != pin.size:
        moved = "changed"
    return replace(state, moved=moved)


def _read(ctx: Context, source: _Source, state: DataState) -> DataState:
    """With what the bytes at the source are."""
    pin = source.pin
    if pin is None or not is_remote(pin.source):
        return state
    data = remote_data(ctx)
    found = data.fetch(source.name, source.declared, by_content=True, keep=False).manifest
    now = pin_of(source.name, source.declared, found)
    why = reasons_between(source.name, now, pin, found, "the source")
    reasons = (*state.reasons, *map(_bare, why))
    return replace(state, moved="changed" if why else "unchanged", reasons=reasons)


def _bare(reason: str) -> str:
    """Without the name of the source."""
    return reason.partition(": ")[2]


def _diff(ctx: Context, source: _Source) -> DataDiff:
    pin = _locked(source)
    if not _is_here(ctx, source):
        return DataDiff(name=source.name, unknown=f"{here(source.declared)!r} is not here")
    found = parse(Pinner(ctx.project, ctx.state).manifest(source.name, source.declared))
    if found.digest == pin.tree:
        return DataDiff(name=source.name)
    locked = remote_data(ctx).manifest(pin)
    if locked is None:
        now = pin_of(source.name, source.declared, found)
        why = _bare(reasons_between(source.name, now, pin, found)[0])
        return DataDiff(
            name=source.name, unknown=f"{why}; this machine does not know which files are locked"
        )
    return DataDiff(name=source.name, differences=differences(locked, found))
