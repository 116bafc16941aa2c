"""What is judged is what is signed: data and kept files held still around the gates.

The programs of an evaluation run one after another, and each can reach what its user can: the data
of a source that was judged before it, or what is kept of that. Order: a look at every test source
before the first program (`mllock.workflows.inputs.look_at_data`), then after the last one another
look, and again by content everything that is not as it was then, and what is kept; then the gates;
then a look that finds nothing touched since. Raises VoidRunError and ProgramError.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mllock.core.digest import Digest
from mllock.data.touched import Look, Looks, touched
from mllock.errors import InputError, MllockError, VoidRunError
from mllock.gates.evaluation import Evaluated
from mllock.lock.types import Lock
from mllock.spec.sources import here
from mllock.spec.types import DataSource
from mllock.store.regular import hash_regular
from mllock.train.outputs import MAX_PREDICTIONS
from mllock.workflows.context import Context
from mllock.workflows.inputs import look_at_data, refuse_meddling, verify_data

__all__ = ["unchanged"]

_HINT = "nothing may write to declared data until an evaluation has ended; evaluate again"
LOG, METRICS = "log.txt", "metrics.json"


@contextlib.contextmanager
def unchanged(
    ctx: Context,
    lock: Lock,
    tests: Mapping[str, DataSource],
    before: Mapping[str, Looks],
    kept: Path,
    sources: Mapping[str, Evaluated],
) -> Iterator[None]:
    """Around what reads the data of `tests` and what is in `kept`: a folder for each of `sources`.

    `before` is how the data looked before the first program ran.
    """
    data = _look(ctx, tests)
    for name, source in tests.items():
        if touched(before[name], data[name]) is not None:
            _verify(ctx, lock, name, source)
    refuse_meddling(kept, set(sources))
    files = {name: _look_at_kept(kept / name, one) for name, one in sources.items()}
    for name, one in sources.items():
        for file, digest in _signed(one).items():
            _hash(kept / name, file, digest)
    try:
        yield
    except MllockError as error:
        # What was read may make no sense because it was changed.
        try:
            _still(ctx, tests, data, kept, sources, files)
        except MllockError as changed:
            raise changed from error
        raise
    _still(ctx, tests, data, kept, sources, files)


def _still(
    ctx: Context,
    tests: Mapping[str, DataSource],
    data: Mapping[str, Looks],
    kept: Path,
    sources: Mapping[str, Evaluated],
    files: Mapping[str, Looks],
) -> None:
    after = _look(ctx, tests)
    for name, source in tests.items():
        path = touched(data[name], after[name])
        if path is not None:
            raise VoidRunError(
                "data changed while the gates read it",
                file=f"{here(source)}/{path}" if path else here(source),
                key=f"data.{name}",
                hint=_HINT,
            )
    for name, one in sources.items():
        path = touched(files[name], _look_at_kept(kept / name, one))
        if path is not None:
            raise _another(kept / name, path)


def _look(ctx: Context, tests: Mapping[str, DataSource]) -> dict[str, Looks]:
    try:
        return look_at_data(ctx, tests)
    except InputError as error:  # gone, or not to be read any more
        raise _changed(error) from error


def _verify(ctx: Context, lock: Lock, name: str, source: DataSource) -> None:
    try:
        verify_data(ctx, {name: source}, lock)
    except InputError as error:
        raise _changed(error) from error


def _changed(error: InputError) -> VoidRunError:
    return VoidRunError(
        f"data changed before it was judged: {error.message}",
        file=error.file,
        key=error.key,
        expected=error.expected,
        found=error.found,
        hint=_HINT,
    )


def _signed(one: Evaluated) -> dict[str, Digest]:
    """What the statement will name, by the names of files."""
    found = {METRICS: one.metrics_digest}
    if one.predictions is not None and one.predictions_digest is not None:
        found[one.predictions.name] = one.predictions_digest
    return found


def _look_at_kept(folder: Path, one: Evaluated) -> Looks:
    refuse_meddling(folder, {LOG, *_signed(one)})
    try:
        return {file: Look.of(os.lstat(folder / file)) for file in _signed(one)}
    except OSError as error:
        raise _another(folder, str(error.filename)) from error


def _hash(folder: Path, file: str, expected: Digest) -> None:
    try:
        found = hash_regular(folder / file, max_bytes=MAX_PREDICTIONS)
    except (OSError, InputError) as error:
        raise _another(folder, file) from error
    if found != expected:
        raise _another(folder, file, expected=expected, found=found)


def _another(
    folder: Path, file: str, *, expected: str | None = None, found: str | None = None
) -> VoidRunError:
    return VoidRunError(
        "what an evaluation wrote was changed before it was judged",
        file=f"evaluation/{folder.name}/{Path(file).name}",
        expected=expected,
        found=found,
        hint="write and remove files only in the folder that the program runs in; evaluate again",
    )
