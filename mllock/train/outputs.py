"""What a program must leave behind: a model that is safe to ship, metrics that are numbers.

The model is moved out of the work folder before it is hashed, so that nothing that still knows its
old place changes it. Only what is in the run's own folders is taken: through a link it would be
moved away from its owner. Raises ProgramError that names file and key.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from mllock.core import canonical, safepath
from mllock.core.digest import Digest
from mllock.core.tree import TreeManifest
from mllock.data.scan import scan
from mllock.data.walk import shown
from mllock.errors import DataError, ProgramError
from mllock.store import atomic
from mllock.store.regular import hash_regular

__all__ = ["Metrics", "evidence_bytes", "read_metrics", "take_model", "take_predictions"]

MAX_METRICS = 1024 * 1024
# A hundred million rows and more; of a sparse file without end nothing is kept.
MAX_PREDICTIONS = 64 * 1024**3
# What every reader of a record reads, less what is in one beside the files of the model.
MAX_EVIDENCE = canonical.MAX_BYTES - 8 * 1024 * 1024
# A file in model.sig without its name, which is longer than in the record.
FILE_BYTES = 120


Table = Literal["train", "evaluate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """`data` is the file as the program wrote it."""

    data: bytes
    values: Mapping[str, float]


def take_model(work: Path, declared: str, folder: Path) -> TreeManifest:
    """Move the model to `folder` (a single file: into it) and answer what it is."""
    source = work / declared
    hint = f"the program must write it to {declared}, relative to the folder that it runs in"
    _refuse_links(work, declared, "train.model")
    try:
        mode = source.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ProgramError(
            "the program ended well and wrote no model",
            file="mlproject.toml",
            key="train.model",
            expected=f"a file or folder {declared}",
            hint=hint,
        ) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ProgramError("the model is neither a file nor a folder", file=declared, hint=hint)
    try:
        if stat.S_ISREG(mode):
            folder.mkdir()
            target = folder / posixpath.basename(declared)
        else:
            target = folder
        os.rename(source, target)
        os.chmod(target, 0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error
    try:
        manifest = scan(target, name="model")
    except DataError as error:
        raise ProgramError(
            f"the model cannot be shipped: {error.message}",
            file=error.file,
            expected=error.expected,
            found=error.found,
            hint=error.hint or "write regular files only into the model",
        ) from error
    removal = safepath.whiteout(entry.path for entry in manifest.entries)
    if removal is not None:
        raise ProgramError(
            'the model cannot be shipped: a name that begins with ".wh." would remove another file '
            "of the image",
            file=f"model/{removal}",
            hint="let the program write it under another name",
        )
    if evidence_bytes(manifest) > MAX_EVIDENCE:
        raise ProgramError(
            "the model cannot be shipped: its record would be larger than what is read of one",
            file=declared,
            expected=f"evidence of at most {MAX_EVIDENCE} bytes",
            found=f"{manifest.files} files, evidence of {evidence_bytes(manifest)} bytes",
            hint="let the program pack them into fewer files",
        )
    if manifest.files == 0:
        raise ProgramError(
            "the program ended well and wrote an empty model", file=declared, hint=hint
        )
    return manifest


def evidence_bytes(manifest: TreeManifest) -> int:
    """About how large the largest of record, model.sig and manifest is; the first two are JSON in
    the base64 of a bundle, with a line for each file."""
    lines = sum(
        len(json.dumps(entry.path)) + FILE_BYTES
        for entry in manifest.entries
        if entry.digest is not None
    )
    return max(len(manifest.text()), lines * 4 // 3)


def read_metrics(work: Path, declared: str | None, table: Table = "train") -> Metrics | None:
    """The metrics that `table` declares: one JSON object of finite numbers. None if it declares
    none."""
    if declared is None:
        return None
    path = work / declared
    _refuse_links(work, declared, f"{table}.metrics")
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ProgramError("the metrics are not a regular file", file=declared)
        with open(path, "rb") as file:
            data = file.read(MAX_METRICS + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ProgramError(
            "the program ended well and wrote no metrics",
            file="mlproject.toml",
            key=f"{table}.metrics",
            expected=f"a JSON file {declared}",
            hint='write it, or remove "metrics" from [train]' if table == "train" else None,
        ) from None
    try:
        value = canonical.loads(data, max_bytes=MAX_METRICS)
    except ValueError as error:
        raise ProgramError(
            f"the metrics are not JSON: {error}",
            file=declared,
            expected='one object of numbers, e.g. {"accuracy": 0.93}',
        ) from None
    if not isinstance(value, dict):
        raise ProgramError(
            "the metrics are not an object",
            file=declared,
            expected='one object of numbers, e.g. {"accuracy": 0.93}',
            found=_found(value),
        )
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ProgramError(
                f'the metric "{key}" is not a number',
                file=declared,
                expected="a number",
                found=_found(number),
            )
    return Metrics(data=data, values=value)


def take_predictions(work: Path, declared: str, target: Path) -> Digest:
    """Move the predictions that [evaluate] declares to `target`, and answer their sha256."""
    source = work / declared
    _refuse_links(work, declared, "evaluate.predictions")
    try:
        is_file = stat.S_ISREG(source.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise ProgramError(
            "the program ended well and wrote no predictions",
            file="mlproject.toml",
            key="evaluate.predictions",
            expected=f"a file {declared}",
            hint='write it, or remove "predictions" from [evaluate]',
        ) from None
    if not is_file:
        raise ProgramError("the predictions are not a regular file", file=declared)
    try:
        os.rename(source, target)
        os.chmod(target, 0o644)
    except OSError as error:
        raise atomic.cannot_write(target, error) from error
    return hash_regular(target, max_bytes=MAX_PREDICTIONS)


def _refuse_links(work: Path, declared: str, key: str) -> None:
    """Every folder on the way to an output is a real one of the run."""
    what = key.rpartition(".")[2]
    for parent in reversed(PurePosixPath(declared).parents):
        if os.path.islink(work / parent):
            raise ProgramError(
                f"the {what} would be taken from outside of the run: {parent} is a link",
                file="mlproject.toml",
                key=key,
                expected=f"{parent} to be a folder that the program makes",
                found=f"a link to {shown(os.readlink(work / parent))}",
                hint=f"make the folder {parent} and write the {what} into it",
            )


def _found(value: object) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "true or false"}.get(
        type(value), "null" if value is None else "a number"
    )
