"""Run folders: `.mllock/runs/ID/`, what is in one, and finding them again.

A run is staged in `.mllock/tmp/` and appears under its ID by one rename, good or failed, so that a
reader never sees half of one. A run is one of three: failed (it keeps logs and `failed.json`, never
a record or a model), damaged (something that its record names is not there as it says), or good.
A damaged run is never passed over for an older one: it may be the one that is meant. All commands
have one order, that of the IDs. Files are read here by form only: whether a signature is to be
believed is `mllock.attest.policy`'s. Raises RunError.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import posixpath
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mllock.attest.bundle import Bundle, read_bundle
from mllock.core import canonical, tree
from mllock.core.digest import Digest, sha256_of
from mllock.core.tree import TreeManifest
from mllock.errors import InputError, RunError
from mllock.store import atomic
from mllock.store.regular import open_regular
from mllock.train.record import Record, read_record

__all__ = [
    "Failure",
    "FailureKind",
    "RunFolder",
    "is_run_id",
    "list_runs",
    "new_run_id",
    "newest_good",
    "open_run",
    "publish_run",
]

# In the order of ASCII, so that IDs sort as these numbers do.
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TICKS = 16  # names for each of the 100,000 moments of a second; 36**4 are enough for all
_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9]{4}")
BUNDLE = "record.sigstore.json"
MAX_FILE = 256 * 1024 * 1024


FailureKind = Literal["program", "output", "probes", "void", "interrupted"]


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """`failed.json`: why a run is not good. `kind` is for programs, `reason` for people."""

    run: str
    kind: FailureKind
    reason: str
    exit_code: int | None = None
    started: str | None = None
    finished: str | None = None
    params: dict[str, str | int | float | bool] = {}


def new_run_id(now: dt.datetime) -> str:
    """An ID like `20261123-081501-k3f9` for an aware `now`: IDs sort as the runs started.

    The four letters are the part of the second, in steps of 10 microseconds, with a little chance:
    two machines may share a folder. In runs of before they are all chance.
    """
    number = now.microsecond // 10 * _TICKS + secrets.randbelow(_TICKS)
    letters = ""
    for _ in range(4):
        number, digit = divmod(number, len(_DIGITS))
        letters = _DIGITS[digit] + letters
    return f"{now.astimezone(dt.UTC):%Y%m%d-%H%M%S}-{letters}"


def is_run_id(text: str) -> bool:
    return _RUN_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk. Nothing is cached: every method reads the file again."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def bundle_bytes(self) -> bytes:
        """`record.sigstore.json` as it is: what goes into the record layer."""
        return self._read(BUNDLE)

    def bundle(self) -> Bundle:
        return read_bundle(self.bundle_bytes(), name=self._name(BUNDLE))

    def record(self) -> Record:
        """The record inside of the bundle, its signature not checked.

        Raises RunError if `record.json` beside it is something else.
        """
        payload = self.bundle().payload
        if self._read("record.json") != payload:
            raise RunError(
                "not what the bundle beside it has signed", file=self._name("record.json")
            )
        record = read_record(payload, name=self._name("record.json"))
        if record.run_id != self.id:
            raise RunError(
                "the record of another run",
                file=self._name("record.json"),
                expected=self.id,
                found=record.run_id,
            )
        return record

    def model_manifest(self) -> TreeManifest:
        """`model.manifest`, which must be the one that the record names."""
        data = self._read("model.manifest")
        name = self._name("model.manifest")
        expected = self.record().model
        if sha256_of(data) != expected:
            raise RunError(
                "not the manifest that the record names",
                file=name,
                expected=expected,
                found=sha256_of(data),
            )
        try:
            return tree.parse(data)
        except ValueError as error:
            raise RunError(f"not a tree manifest: {error}", file=name) from None

    def model_path(self) -> Path:
        """The model's bytes: the folder `model`, or for a single file `model/NAME`.

        Scanning this path gives the tree digest that the record names.
        """
        record = self.record()
        if self.model_manifest().is_single_file:
            return self.path / "model" / posixpath.basename(record.model_path)
        return self.path / "model"

    def lock_bytes(self) -> bytes:
        """The copy of mlproject.lock that this run was trained from: the one the record names."""
        data = self._read("mlproject.lock")
        expected = self.record().lock
        if sha256_of(data) != expected:
            raise RunError(
                "not the lock that the record names",
                file=self._name("mlproject.lock"),
                expected=expected,
                found=sha256_of(data),
            )
        return data

    def metrics(self) -> dict[str, float]:
        """Empty where the spec declares none. The digest is checked against the record."""
        return self._byproduct("metrics.json")

    def failure(self) -> Failure | None:
        """Why this run is not good, or None if nothing says so."""
        try:
            return msgspec.json.decode(self._read("failed.json"), type=Failure)
        except RunError:
            return None
        except ValueError as error:
            raise RunError(
                f"cannot read why the run failed: {error}", file=self._name("failed.json")
            ) from None

    @property
    def has_failed(self) -> bool:
        """It says that it failed, and there is no record that says otherwise."""
        there = [os.path.lexists(self.path / name) for name in ("failed.json", BUNDLE)]
        return there == [True, False]

    @property
    def is_good(self) -> bool:
        return not self.has_failed and self.damage() is None

    def damage(self) -> RunError | None:
        """What is wrong with a run that has not failed, before its model is read; None if nothing
        is. What is to be served, shown or compared is there, as the record says."""
        try:
            self.model_manifest()
            self.lock_bytes()
            self.metrics()
        except RunError as error:
            return error
        if os.path.lexists(self.path / "failed.json"):
            return RunError("has a record, and says that it failed", file=self._name("failed.json"))
        return None

    def _byproduct(self, name: str) -> dict[str, float]:
        expected = self.record().byproducts.get(name)
        if expected is None:
            return {}
        data = self._read(name)
        if sha256_of(data) != expected:
            raise RunError(
                "not the bytes that the record names",
                file=self._name(name),
                expected=expected,
                found=sha256_of(data),
            )
        value = canonical.loads(data)
        assert isinstance(value, dict)  # the record names it: it was checked before it was signed
        return value

    def _name(self, name: str) -> str:
        return f"{self.id}/{name}"

    def _read(self, name: str) -> bytes:
        try:
            with open_regular(self.path / name, follow=False) as file:
                fits = os.fstat(file.fileno()).st_size <= MAX_FILE
                data = file.read(MAX_FILE) if fits else b""
        except (FileNotFoundError, NotADirectoryError, InputError):
            raise RunError("no such file in the run", file=self._name(name)) from None
        except OSError as error:
            raise RunError(
                f"cannot read: {(error.strerror or str(error)).lower()}", file=self._name(name)
            ) from error
        if not fits:
            raise RunError("the file is too large", file=self._name(name))
        return data


def list_runs(runs_dir: Path) -> tuple[RunFolder, ...]:
    """All runs, whatever became of them, newest first. Folders with other names are not runs."""
    try:
        names = [path for path in runs_dir.iterdir() if is_run_id(path.name) and path.is_dir()]
    except FileNotFoundError:
        return ()
    return tuple(RunFolder(path) for path in sorted(names, key=lambda p: p.name, reverse=True))


def open_run(runs_dir: Path, run: str) -> RunFolder:
    """The run whose ID is `run` or, if only one does, starts with it."""
    folders = list_runs(runs_dir)
    found = [folder for folder in folders if folder.id == run]
    found = found or [folder for folder in folders if run and folder.id.startswith(run)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(folder.id for folder in found[:5])
        raise RunError(f'more than one run starts with "{run}"', found=ids)
    near = difflib.get_close_matches(run, [folder.id for folder in folders], n=1, cutoff=0.5)
    if near:
        hint = f'did you mean "{near[0]}"?'
    elif folders:
        hint = 'see "mllock runs"'
    else:
        hint = 'make one with "mllock train"'
    raise RunError(f'no run "{run}"', hint=hint)


def newest_good(runs_dir: Path, lock_content: Digest | None) -> RunFolder | None:
    """The newest good run, of the lock with this content digest if one is given.

    Raises RunError for a newer one that is damaged, if it may be of this lock.
    """
    for folder in list_runs(runs_dir):
        if folder.has_failed or _of_another(folder, lock_content):
            continue
        problem = folder.damage()
        if problem is None:
            return folder
        raise RunError(
            f"the run is damaged, and no older one stands in for it: {problem.message}",
            file=problem.file,
            expected=problem.expected,
            found=problem.found,
            hint=f'bring the file back, name another run (see "mllock runs"), or remove the folder '
            f".mllock/runs/{folder.id}",
        )
    return None


def _of_another(folder: RunFolder, lock_content: Digest | None) -> bool:
    """Whether the record says that it is of another lock; one that cannot be read says nothing."""
    try:
        return lock_content is not None and folder.record().lock_content != lock_content
    except RunError:
        return False


def publish_run(staged: Path, runs_dir: Path, run_id: str) -> RunFolder:
    """Make the staged folder the run `run_id`, whole and on the disk."""
    final = runs_dir / run_id
    if not atomic.publish_folder(staged, final):
        raise RunError("a run of this name is there already", file=str(final))
    return RunFolder(final)
