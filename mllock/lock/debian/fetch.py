"""Getting .debs into the blob store: from the cache if they are there, else from the mirrors, else
from a snapshot archive.

A cached .deb is hashed when it is asked for (`Blobs.get`), so a damaged one is fetched again. The
lock has no URL: a package is found by its file name under every mirror that is configured, then
under every snapshot archive, and believed by its sha256. With everything in the cache, or with a
snapshot archive, no mirror has to be configured at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mllock.core.digest import from_hex
from mllock.core.offline import is_offline
from mllock.core.ports import Blobs, Fetcher, Want
from mllock.errors import IntegrityError
from mllock.lock.debian.mirror import APT, SNAPSHOT, Archive, find_archives, find_snapshots
from mllock.lock.types import DebianPackage

__all__ = ["fetch_debs"]

_LISTED = (
    "the mirror lists it and does not have it: use another one, or set"
    f" {SNAPSHOT} to an archive that has it"
)


def fetch_debs(
    packages: Sequence[DebianPackage],
    *,
    suite: str,
    mirror: str | None,
    environ: Mapping[str, str],
    fetcher: Fetcher,
    blobs: Blobs,
    apt: Path = APT,
    listed: bool = False,
) -> dict[str, Path]:
    """The verified files of `packages`, by `DebianPackage.filename`. `listed`: the mirror's own
    index has them now.

    Raises InputError (no mirror is configured), OfflineError or IntegrityError.
    """
    found = {package.filename: blobs.get(from_hex(package.sha256)) for package in packages}
    missing = [package for package in packages if found[package.filename] is None]
    if missing:
        snapshots = find_snapshots(environ)
        # Offline it is no mistake that there is none: none would be asked.
        needed = not snapshots and not is_offline(environ)
        archives = find_archives(suite, mirror, environ, apt, needed=needed)
        fetcher.fetch([_want(package, archives, snapshots, listed=listed) for package in missing])
        for package in missing:
            found[package.filename] = blobs.get(from_hex(package.sha256))
    result: dict[str, Path] = {}
    for package in packages:
        path = found[package.filename]
        if path is None:
            raise IntegrityError("fetched, and not in the cache any more", file=package.filename)
        result[package.filename] = path
    return result


def _want(
    package: DebianPackage,
    archives: Sequence[Archive],
    snapshots: Sequence[str],
    *,
    listed: bool,
) -> Want:
    urls = [archive.at(package.filename) for archive in _likely(package, archives)]
    urls += [f"{url}/{package.filename}" for url in snapshots]
    return Want(
        name=f"{package.name} {package.version}",
        urls=tuple(dict.fromkeys(urls)),
        size=package.size,
        digest=from_hex(package.sha256),
        gone=_LISTED if listed else _dropped(package.name, more=bool(snapshots)),
    )


def _dropped(name: str, *, more: bool) -> str:
    which = "another archive" if more else "an archive"
    return (
        f"mirrors drop what has a successor: set {SNAPSHOT} to {which}"
        f' that still has it, or take the successor with "mllock lock --upgrade {name}"'
    )


def _likely(package: DebianPackage, archives: Sequence[Archive]) -> Sequence[Archive]:
    # The security archive keeps its packages under pool/updates, the others under pool/main.
    security = package.filename.startswith("pool/updates/")
    return sorted(archives, key=lambda archive: archive.suite.endswith("-security") != security)
