"""Locked wheels: from the cache, or fetched, and then compared with the lock in all that it says.

Order of trust: the digest in the lock, whatever an index, a URL or a folder has under that name;
then the size beside it, which an index may have stated when it was locked. A wheel is in the cache
only after its digest. Not for choosing (`mllock.lock.python`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mllock.core.digest import from_hex
from mllock.core.offline import is_offline, not_here
from mllock.core.ports import Blobs, Reporter
from mllock.errors import IntegrityError, MllockError
from mllock.lock.direct import fetch_direct
from mllock.lock.download import download
from mllock.lock.indexes import PackageIndex
from mllock.lock.links import local_links
from mllock.lock.local import only_local
from mllock.lock.pip import Pip
from mllock.lock.pip_conf import is_set
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage, Wheel
from mllock.spec.direct import Reference

__all__ = ["fetch_wheels"]


def fetch_wheels(
    packages: Sequence[PythonPackage],
    blobs: Blobs,
    *,
    target: Target,
    environ: Mapping[str, str],
    reporter: Reporter,
    indexes: Sequence[PackageIndex] = (),
    links: Callable[[], Sequence[str]] = tuple,
    references: Mapping[str, Reference] | None = None,
) -> dict[str, Path]:
    """Every wheel of `packages`, by file name: verified bytes, from the cache or fetched again.

    `links` is asked for more places where something is missing; `references` are the URLs of
    packages that have one. A damaged wheel in the cache is reported by the cache, removed, and
    counts as missing. Raises OfflineError, or IntegrityError if an index serves other bytes.
    """
    wanted = {
        wheel.name: from_hex(wheel.hashes["sha256"]) for item in packages for wheel in item.wheels
    }
    with ThreadPoolExecutor() as threads:
        paths = dict(zip(wanted, threads.map(blobs.get, wanted.values()), strict=True))
    missing = [
        (item, wheel) for item in packages for wheel in item.wheels if paths[wheel.name] is None
    ]
    if missing:
        reporter.step(f"fetching {len(missing)} wheels")
        wheels = {item.name: (item.version, wheel.hashes["sha256"]) for item, wheel in missing}
        with blobs.scratch() as folder:
            pip = Pip(environ=environ, reporter=reporter)
            failures = fetch_direct(pip, folder, target, wheels, references or {})
            lines = [
                f"{name}=={version} --hash=sha256:{digest}\n"
                for name, (version, digest) in wheels.items()
                if failures.get(name, name not in (references or {}))
            ]
            # By hash, a wheel may come from anywhere: without an index, from a folder.
            offline = is_offline(environ)
            if offline:
                pip, indexes = only_local(pip, folder), ()
            elif indexes and is_set(pip.settings(folder).get("no-index")):
                indexes = ()
            options = ("--no-deps", "--require-hashes")
            try:
                if lines:
                    more = local_links(links()) if offline else links()
                    download(pip, folder, target, options, indexes, more, pins=lines)
            except MllockError as error:
                if offline:
                    raise not_here([wheel.name for _, wheel in missing]) from error
                raise next(iter(failures.values()), error) from error
            for item, wheel in missing:
                path = _come(folder / "wheels", item, wheel)
                blobs.put_file(path, expected=wanted[wheel.name], move=True)
                paths[wheel.name] = blobs.get(wanted[wheel.name])
    found = {name: path for name, path in paths.items() if path is not None}
    for wheel in (wheel for item in packages for wheel in item.wheels):
        _check_size(wheel, found[wheel.name])
    return found


def _come(folder: Path, package: PythonPackage, wheel: Wheel) -> Path:
    """The file of `wheel`; the same bytes may have another name elsewhere."""
    path = folder / wheel.name
    if not path.exists():
        from packaging.utils import canonicalize_name

        for other in sorted(folder.glob("*.whl")):
            if str(canonicalize_name(other.name.partition("-")[0])) == package.name:
                return other
    return path


def _check_size(wheel: Wheel, path: Path) -> None:
    size = path.stat().st_size
    if size != wheel.size:
        raise IntegrityError(
            "has not the size that is locked, which the index stated",
            file=wheel.name,
            expected=f"{wheel.size} bytes",
            found=f"{size} bytes",
            hint='tell those who run the index; resolver = "pip-tools" measures what comes',
        )
