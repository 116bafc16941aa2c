"""Pinning data sources: what `lock` writes, and whether what is here still is what it says.

Order of trust: `verify_source` hashes always and is what `train` and `build` use. `Pinner` and
`stat_reasons` may take digests from memory for what looks as it did when it was hashed
(`mllock.data.remembered`); every other file is hashed. So `stat_reasons` reads no
data unless something changed, or unless the cache is gone. A source is inside of the project,
also after links are followed; a remote one is what was put at its `path`, and the lock is about the
URL: `stat_reasons` says nothing of it. Raises DataError with file mlproject.toml and the key.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mllock.core.digest import Digest
from mllock.core.tree import SINGLE, TreeManifest, parse
from mllock.data.remembered import Facts, Remembered
from mllock.data.scan import scan
from mllock.data.walk import shown
from mllock.errors import DataError, StaleLockError
from mllock.lock.types import DataPin
from mllock.spec.sources import here, is_remote
from mllock.spec.types import DataSource

__all__ = ["Pinner", "locate", "pin_of", "reasons_between", "stat_reasons", "verify_source"]

_SPEC = "mlproject.toml"
# More files than this are not tried one by one, only all together.
MAX_FLIPS = 200


class Pinner:
    """Implements `mllock.lock.ports.DataPinner`, with a stat cache in `state_dir`, which
    `by_content` leaves aside, and which is read only without `learn`."""

    def __init__(
        self, project: Path, state_dir: Path, *, by_content: bool = False, learn: bool = True
    ) -> None:
        self._project = project
        self._state_dir = state_dir
        self._by_content = by_content
        self._learns = learn
        self._seen: dict[str, bytes] = {}

    def pin(self, name: str, source: DataSource) -> DataPin:
        root = locate(self._project, name, source)
        if self._by_content:
            manifest = _scan(root, source)
            self._seen[name] = manifest.text()
            return pin_of(name, source, manifest)
        facts = self._remembered().facts(root, source)
        if facts.text is not None:
            self._seen[name] = facts.text
        return pin_of(name, source, facts)

    def manifest(self, name: str, source: DataSource) -> bytes:
        """The tree of what is here, or was when `pin` looked at it file by file, as its text."""
        if name in self._seen:
            return self._seen[name]
        root = locate(self._project, name, source)
        if self._by_content:
            return _scan(root, source).text()
        return self._remembered().text(root, source)

    def _remembered(self) -> Remembered:
        return Remembered(self._project, self._state_dir, learn=self._learns)


def verify_source(project: Path, name: str, source: DataSource, pin: DataPin) -> TreeManifest:
    """Hash the source. Raises StaleLockError if it is not what `pin` says."""
    root = locate(project, name, source)
    manifest = _scan(root, source)
    found = pin_of(name, source, manifest)
    reasons = reasons_between(name, found, pin, manifest)
    if reasons:
        raise StaleLockError(
            reasons[0].removeprefix(f"data.{name}: "),
            file="mlproject.lock",
            key=f"data.{name}",
            expected=_facts(pin),
            found=_facts(found),
            hint='bring the data back, or pin what is there now with "mllock lock"'
            if not is_remote(source.source)
            else f'put back what is locked: "mllock data fetch --force {name}"',
        )
    return manifest


def _scan(root: Path, source: DataSource) -> TreeManifest:
    return scan(root, include=source.include, exclude=source.exclude, name=here(source))


def stat_reasons(
    project: Path,
    name: str,
    source: DataSource,
    pin: DataPin,
    state_dir: Path,
    *,
    remote: bool = False,
) -> tuple[str, ...]:
    """Why the source is not what `pin` says, as far as stat can tell; empty if it is. `remote`:
    also of what is here of a remote source."""
    if is_remote(source.source) and not remote:
        return ()
    root = locate(project, name, source)
    remembered = Remembered(project, state_dir)
    tree = remembered.facts(root, source)
    found = pin_of(name, source, tree)
    if found.tree == pin.tree and found.kind == pin.kind:
        return ()
    text = tree.text or remembered.text(root, source)
    return reasons_between(name, found, pin, parse(text))


def locate(project: Path, name: str, source: DataSource) -> Path:
    """Where the source is, links followed. Raises DataError if it is missing or outside."""
    remote = is_remote(source.source)
    key = f"data.{name}.{'path' if remote else 'source'}"
    inside = os.path.realpath(project)
    place = here(source)
    path = os.path.realpath(os.path.join(inside, place))
    if os.path.isabs(place) or not path.startswith(inside + os.sep):
        what = "is the project itself" if path == inside else "is outside of the project"
        raise DataError(
            f"{place!r} {what}",
            file=_SPEC,
            key=key,
            hint="put the data, or a copy of it, in a folder of the project",
        )
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"no such file or folder: {place!r}",
            file=_SPEC,
            key=key,
            hint=f'fetch it: "mllock data fetch {name}"'
            if remote
            else "put the data there, or correct the path",
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(
            f"{place!r} cannot be read: {reason}",
            file=_SPEC,
            key=key,
            hint="check the owner and the permissions of it and of its folder",
        ) from error
    return Path(path)


def pin_of(name: str, source: DataSource, tree: TreeManifest | Facts) -> DataPin:
    """What a lock says of a source that holds `tree`. Raises DataError if it holds no file."""
    if not tree.files:
        default = source.include == ("**/*",) and not source.exclude
        raise DataError(
            f"{here(source)!r} holds no file"
            if default
            else f"no file of {here(source)!r} is selected",
            file=_SPEC,
            key=f"data.{name}.{'source' if default else 'include'}",
            hint="put the data there, or correct the path"
            if default
            else "correct the patterns of include and exclude",
        )
    return DataPin(
        source=source.source,
        path=source.path or source.source,
        kind="file" if tree.is_single_file else "folder",
        files=tree.files,
        size=tree.size,
        tree=tree.digest,
    )


def reasons_between(
    name: str, found: DataPin, pin: DataPin, manifest: TreeManifest, what: str | None = None
) -> tuple[str, ...]:
    """Why `found`, the pin of `manifest`, is not `pin`; empty if it is. `what` is what to call it;
    default: where it is in the project."""
    place = found.path if is_remote(found.source) else found.source
    what = f"data.{name}: {what or repr(place)}"
    if found.tree == pin.tree and found.kind == pin.kind:
        return ()
    if found.kind != pin.kind:
        return (f"{what} is a {found.kind} now, a {pin.kind} is locked",)
    if found.files != pin.files:
        return (f"{what} has {_files(found.files)} now, {pin.files} locked",)
    if found.size != pin.size:
        return (f"{what} has {found.size} bytes now, {pin.size} locked",)
    bits = _exec_bits(manifest, Digest(pin.tree))
    if bits is not None:
        return (f"{what} has the bytes that are locked, but {bits}",)
    return (f"{what} has the size that is locked, but other names or bytes",)


def _exec_bits(manifest: TreeManifest, locked: Digest) -> str | None:
    """Which exec bits, set or cleared, make the tree the locked one: of one file, or of all."""
    files = [entry for entry in manifest.entries if entry.digest is not None]
    for kind, word in (("x", "without"), ("f", "with")):
        others = [entry for entry in files if entry.kind != kind]
        some = [[entry] for entry in others] if len(files) <= MAX_FLIPS else []
        for flipped in (*some, others):
            paths = {entry.path for entry in flipped}
            entries = [
                msgspec.structs.replace(e, kind=kind) if e.path in paths else e
                for e in manifest.entries
            ]
            if TreeManifest(tuple(entries)).digest == locked:
                (first, *more) = flipped
                which = "" if first.path == SINGLE else f" of {shown(first.path)!r}"
                which = f" of {_files(len(flipped))}" if more else which
                return f"{word} the exec bit{which}"
    return None


def _facts(pin: DataPin) -> str:
    return f"{_files(pin.files)}, {pin.size} bytes, {pin.tree}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
