"""Which files are code, and their tree manifest.

In this order: the files that git tracks (or, without git or with nothing tracked, all files), or
the files that match the patterns; less what .mllockignore names; less what is never code: data
sources, outputs of the commands, probes (who serves need not know what will be asked),
mlproject.toml and mlproject.lock (a description or a gate that changes is not another program),
folders of tools, virtual environments, vendored folders, and without patterns `.env` files (they
hold secrets). Always hashed by content. Raises DataError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.core import safepath
from mllock.core.globs import compile_globs, ignore_rules
from mllock.core.tree import Entry, TreeManifest
from mllock.core.vendor import ANY_MARK, SUMS
from mllock.data.git import Repository
from mllock.data.hashing import hash_files
from mllock.data.scan import labeller, valid_manifest
from mllock.data.walk import Walk, link_entry, shown
from mllock.errors import DataError
from mllock.spec.types import Spec

__all__ = ["SelectedCode", "select_code"]

IGNORE_FILE = ".mllockignore"

_SPEC = "mlproject.toml"
_NEVER_FILES = frozenset({_SPEC, "mlproject.lock", "mlproject.audit.toml", IGNORE_FILE})
_NEVER_FOLDERS = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".mllock",
        ".venv",
        "__pycache__",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedCode:
    """`commit` is None outside of git; `dirty` says that the files are not those of the commit."""

    manifest: TreeManifest
    commit: str | None
    dirty: bool | None


def select_code(
    project: Path, spec: Spec, patterns: Sequence[str] | None, *, key: str = "train.code"
) -> SelectedCode:
    """Select and hash. `key` is where messages say that `patterns` stand."""
    wanted = _Rules(project, spec)
    repository = Repository.of(project, decides=patterns is None)
    tracked = frozenset(repository.tracked()) if repository is not None else frozenset()
    label = labeller("code")
    chosen = _chosen(wanted, patterns, key)
    if patterns is None and tracked:
        entries = list(_listed(project, filter(chosen, sorted(tracked))))
    else:
        walk = Walk(
            project,
            label=_as_is,
            wanted=chosen,
            skip=wanted.no_folder,
            everything=False,
        )
        entries = hash_files(project, walk.paths(), _as_is)
        entries += walk.entries
        walk.verify()
    _not_nothing(entries, patterns, key, wanted.outputs)
    manifest = valid_manifest(entries, label)
    _no_whiteouts(manifest)
    if repository is None:
        return SelectedCode(manifest=manifest, commit=None, dirty=None)
    commit = repository.commit()
    dirty = commit is None or _is_dirty(repository, tracked, manifest, chosen)
    return SelectedCode(manifest=manifest, commit=commit, dirty=dirty)


class _Rules:
    """What is never code in this project."""

    def __init__(self, project: Path, spec: Spec) -> None:
        self._project = project
        self.outputs = {path: what for what, path in _outputs(spec)}
        self._ignored = _read_ignore_file(project)
        self._vendored: dict[str, bool] = {}

    def file(self, path: str) -> bool:
        """Whether the file or link at `path` may be code."""
        if path in _NEVER_FILES or path in self.outputs or path.endswith(".pyc"):
            return False
        parts = path.split("/")[:-1]
        if not _NEVER_FOLDERS.isdisjoint(parts):
            return False
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        if not self.outputs.keys().isdisjoint(folders) or self._ignored(path):
            return False
        return not any(map(self._is_vendored, folders))

    def no_folder(self, path: str) -> bool:
        """Whether nothing below the folder can be code."""
        return (
            path.rpartition("/")[2] in _NEVER_FOLDERS
            or path in self.outputs
            or (self._project / path / "pyvenv.cfg").exists()
            or self._is_vendored(path)
        )

    def _is_vendored(self, path: str) -> bool:
        """Whether "mllock vendor" made the folder: inputs of the lock, and no code."""
        if path not in self._vendored:
            self._vendored[path] = _begins(self._project / path / SUMS, ANY_MARK.encode())
        return self._vendored[path]


def _outputs(spec: Spec) -> Iterator[tuple[str, str]]:
    """Data sources, what the commands write, and the probes: (key, path)."""
    for name, source in spec.data.items():
        if source.path is not None:
            yield f"data.{name}.path", os.path.normpath(source.path)
        yield f"data.{name}.source", os.path.normpath(source.source)
    if spec.train is not None:
        yield "train.model", os.path.normpath(spec.train.model)
        if spec.train.metrics is not None:
            yield "train.metrics", os.path.normpath(spec.train.metrics)
    if spec.evaluate is not None:
        yield "evaluate.metrics", os.path.normpath(spec.evaluate.metrics)
        if spec.evaluate.predictions is not None:
            yield "evaluate.predictions", os.path.normpath(spec.evaluate.predictions)
    if spec.serve is not None and spec.serve.probes is not None:
        yield "serve.probes", os.path.normpath(spec.serve.probes)


def _begins(path: Path, mark: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and file.read(len(mark)) == mark


def _read_ignore_file(project: Path) -> Callable[[str], bool]:
    try:
        # A FIFO is not waited for, a device not read without end.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(project / IGNORE_FILE, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DataError("not a regular file", file=IGNORE_FILE)
        with open(descriptor, "rb") as file:
            lines = file.read().decode("utf-8").split("\n")
    except FileNotFoundError:
        return ignore_rules(())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("cannot be read as UTF-8 text", file=IGNORE_FILE) from error
    try:
        return ignore_rules(lines)
    except ValueError as error:
        raise DataError(str(error), file=IGNORE_FILE) from None


def _chosen(wanted: _Rules, patterns: Sequence[str] | None, key: str) -> Callable[[str], bool]:
    if patterns is None:
        return lambda path: wanted.file(path) and not _secret(path)
    try:
        matches = compile_globs(patterns)
    except ValueError as error:
        raise DataError(str(error), file=_SPEC, key=key) from None
    return lambda path: matches(path) and wanted.file(path)


def _listed(project: Path, paths: Iterable[str]) -> Iterator[Entry]:
    """Entries of the files that git lists and that are there."""
    regular = []
    inside = os.path.realpath(project)
    for path in paths:
        _check_name(path)
        folder = os.path.join(inside, os.path.dirname(path)).rstrip("/")
        if os.path.realpath(folder) != folder:
            continue  # a link where git knows a folder: for git the file is gone
        try:
            mode = os.lstat(project / path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISREG(mode):
            regular.append(path)
        elif stat.S_ISLNK(mode):
            yield link_entry(path, os.readlink(project / path), _as_is)
        elif stat.S_ISDIR(mode):
            raise DataError(
                "a submodule that is not checked out",
                file=path,
                hint="run `git submodule update --init`, or name it in .mllockignore",
            )
        else:
            raise DataError("not a file", file=path, hint="remove it")
    yield from hash_files(project, regular, _as_is)


def _check_name(path: str) -> None:
    reason = safepath.problem(path)
    if reason is not None:
        raise DataError(
            f"a name that is not portable: {reason}",
            file=shown(path),
            hint="rename it, or name it in .mllockignore",
        )


def _no_whiteouts(manifest: TreeManifest) -> None:
    """Code becomes a layer of an image."""
    path = safepath.whiteout(entry.path for entry in manifest.entries)
    if path is not None:
        raise DataError(
            'a name that begins with ".wh.": in an image it would remove another file',
            file=shown(path),
            hint="rename it, or name it in .mllockignore",
        )


def _not_nothing(
    entries: Sequence[Entry],
    patterns: Sequence[str] | None,
    key: str,
    outputs: Mapping[str, str],
) -> None:
    """Every pattern matches something."""
    for pattern in patterns or ():
        matches = compile_globs((pattern,))
        if not any(matches(entry.path) for entry in entries):
            for path, what in outputs.items():
                if matches(path):
                    raise DataError(
                        f"pattern {pattern!r} matches {path!r}, which is {what} and never code",
                        file=_SPEC,
                        key=key,
                        hint="give code, data and outputs paths of their own",
                    )
            raise DataError(
                f"pattern {pattern!r} matches no file that can be code",
                file=_SPEC,
                key=key,
                hint="patterns are relative to the project: `**/*.py` is all Python files, "
                "`src` is everything in src",
            )
    if not entries:
        raise DataError(
            "the project holds no code",
            file=_SPEC,
            key=key,
            hint="put the program beside mlproject.toml, or list its files in train.code",
        )


def _is_dirty(
    repository: Repository,
    tracked: frozenset[str],
    manifest: TreeManifest,
    chosen: Callable[[str], bool],
) -> bool:
    changed = repository.changed()
    paths = {entry.path for entry in manifest.entries}
    # What was removed is in no manifest.
    return not paths <= tracked or any(path in paths or chosen(path) for path in changed)


def _secret(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name == ".env" or name.startswith(".env.")


def _as_is(path: str) -> str:
    return path or "."
