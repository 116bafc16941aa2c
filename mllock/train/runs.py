"""Run folders: `.mllock/runs/ID/`, what is in one, and finding them again.

A run is staged in `.mllock/tmp/` and appears under its ID by one rename, good or failed, so that a
reader never sees half of one. A run is good if and only if its bundle is there and reads; a failed
one keeps logs and `failed.json`, never a record or a model. Files are read here by form only:
whether a signature is to be believed is `mllock.attest.policy`'s. Raises RunError.
"""

from __future__ import annotations

import datetime as dt
import difflib
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
from mllock.errors import RunError
from mllock.store import atomic
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

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9]{4}")
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
    """An ID like `20261123-081501-k3f9` for an aware `now`: IDs sort as the runs started."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(4))
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
        return self._read("record.sigstore.json")

    def bundle(self) -> Bundle:
        return read_bundle(self.bundle_bytes(), name=self._name("record.sigstore.json"))

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
    def is_good(self) -> bool:
        """The bundle is there and reads, and so do the record and the manifest that it names."""
        try:
            self.model_manifest()
        except RunError:
            return False
        return True

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
        path = self.path / name
        try:
            if path.is_symlink() or not path.is_file():
                raise RunError("no such file in the run", file=self._name(name))
            if path.stat().st_size > MAX_FILE:
                raise RunError("the file is too large", file=self._name(name))
            return path.read_bytes()
        except OSError as error:
            raise RunError(
                f"cannot read: {(error.strerror or str(error)).lower()}", file=self._name(name)
            ) from error


def list_runs(runs_dir: Path) -> tuple[RunFolder, ...]:
    """All runs, good and failed, newest first. Folders with other names are not runs."""
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
    """The newest good run, of the lock with this content digest if one is given."""
    for folder in list_runs(runs_dir):
        if not folder.is_good:
            continue
        if lock_content is None or folder.record().lock_content == lock_content:
            return folder
    return None


def publish_run(staged: Path, runs_dir: Path, run_id: str) -> RunFolder:
    """Make the staged folder the run `run_id`, whole and on the disk."""
    final = runs_dir / run_id
    if not atomic.publish_folder(staged, final):
        raise RunError("a run of this name is there already", file=str(final))
    return RunFolder(final)
