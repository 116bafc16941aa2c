"""The SystemResolver for Debian: mirrors -> signed indexes -> packages -> what their scripts do.

The effects of this room are here and in `mllock.lock.debian.fetch`; reading signatures, solving
and judging scripts are pure. Indexes are kept in the blob store uncompressed, under the digest
that the signed Release lists, so that a second resolve downloads only the InRelease files.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import lzma
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from debian.debian_support import Version

from mllock.core.digest import from_hex
from mllock.core.platform import KNOWN
from mllock.core.ports import Blobs, Fetcher, Reporter, Want
from mllock.errors import IntegrityError, OfflineError, ResolutionError
from mllock.lock.debian.deb import identify, open_deb
from mllock.lock.debian.fetch import fetch_debs
from mllock.lock.debian.index import Available, Index, Universe
from mllock.lock.debian.kept import keep, refuse_other_bytes
from mllock.lock.debian.mirror import APT, MIRROR, Archive, find_archives
from mllock.lock.debian.release import MAX_INRELEASE, Listed, Release, read_release
from mllock.lock.debian.script_table import notes
from mllock.lock.debian.scripts import examine
from mllock.lock.debian.solve import Solution, solve
from mllock.lock.debian.suites import LEFT_OUT, Keyring, find_suite, packaged_keys, seeds
from mllock.lock.ports import LockedDebian, SystemRequest, SystemResolution
from mllock.lock.types import Base, DebianPackage, ReleaseIndex

__all__ = ["DebianResolver"]

# The index of main is 50 MB today.
_MAX_INDEX = 1 << 30


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class DebianResolver:
    """Implements `mllock.lock.ports.SystemResolver`."""

    def __init__(
        self,
        fetcher: Fetcher,
        blobs: Blobs,
        environ: Mapping[str, str],
        reporter: Reporter,
        *,
        keyring: Keyring = packaged_keys,
        now: Callable[[], dt.datetime] = _now,
        apt: Path = APT,
    ) -> None:
        self._fetcher = fetcher
        self._blobs = blobs
        self._environ = environ
        self._reporter = reporter
        self._keyring = keyring
        self._now = now
        self._apt = apt
        self._told = False

    def resolve(self, request: SystemRequest) -> SystemResolution:
        """Choose, fetch and examine the packages. See `SystemResolver` for what it raises."""
        minor = ".".join(request.python.split(".")[:2])
        suite = find_suite(request.base, minor)
        architecture = KNOWN[request.platform].debian
        indexes, solution = self._solved(request, suite.name, architecture, seeds(minor), {})
        packages = _packages(solution)
        self._examined(request, suite.name, packages, solution)
        base = Base(
            kind="debian",
            suite=suite.name,
            python=_python_version(packages, minor),
            interpreter=f"/usr/bin/python{minor}",
            indexes=indexes,
        )
        return SystemResolution(base=base, packages=packages)

    def above(
        self, request: SystemRequest, suite: str, installed: Mapping[str, Available]
    ) -> tuple[tuple[ReleaseIndex, ...], tuple[DebianPackage, ...]]:
        """What `request.packages` need above a base of `suite` that has `installed` already."""
        architecture = KNOWN[request.platform].debian
        indexes, solution = self._solved(request, suite, architecture, (), installed)
        packages = tuple(_package(available, "system") for available in solution.system)
        self._examined(request, suite, packages, solution)
        return indexes, packages

    def newest(
        self, locked: LockedDebian, platform: str, mirror: str | None
    ) -> dict[str, tuple[str, str]]:
        """What the archive has of the names that are locked: name -> version and suite, the highest
        version first. Verified as in a lock; nothing is fetched but indexes."""
        architecture = KNOWN[platform].debian
        archives = find_archives(locked.suite, mirror, self._environ, self._apt)
        _, offers = self._open(locked.suite, archives, architecture, _seen(locked.indexes))
        found: dict[str, tuple[str, str]] = {}
        for suite, index in offers:
            only = Universe((index,), architecture)
            for name in {package.name for package in locked.packages}:
                for offer in only.versions(name)[:1]:
                    known = found.get(name)
                    if known is None or Version(known[0]) < Version(offer.version):
                        found[name] = (offer.version, suite)
        return found

    def _solved(
        self,
        request: SystemRequest,
        suite: str,
        architecture: str,
        needed: tuple[str, ...],
        installed: Mapping[str, Available],
    ) -> tuple[tuple[ReleaseIndex, ...], Solution]:
        archives = find_archives(suite, request.mirror, self._environ, self._apt)
        self._reporter.step(f"reading the indexes of debian {suite}")
        security = f"{suite}-security"
        if not self._told and not any(archive.suite == security for archive in archives):
            self._told = True  # once, and not for each platform
            self._reporter.warn(
                f"no security archive of {suite} is named: Debian's security updates are left out;"
                f" add its URL to debian-mirror or {MIRROR}"
            )
        before = request.locked if request.locked and request.locked.suite == suite else None
        seen = _seen(before.indexes if before else ())
        releases, offers = self._open(suite, archives, architecture, seen)
        universe = Universe((index for _, index in offers), architecture)
        pins = {
            name: version
            for name, version in request.pins.items()
            if not request.upgrade.all and name not in request.upgrade.names
        }
        locked = before.packages if before else ()
        kept = keep(locked, pins, universe, lambda wanted: self._fetched(request, suite, wanted))
        solution = solve(
            universe.with_more(kept),
            seeds=needed,
            asked=request.packages,
            pins=pins,
            left_out=LEFT_OUT,
            installed=installed,
        )
        refuse_other_bytes(locked, pins, solution)
        kept.tell(solution, universe, self._reporter)
        indexes = tuple(
            ReleaseIndex(
                suite=release.suite,
                inrelease=release.digest,
                date=release.date,
                signed_by=release.signed_by,
            )
            for release in releases
        )
        return indexes, solution

    def _examined(
        self,
        request: SystemRequest,
        suite: str,
        packages: tuple[DebianPackage, ...],
        solution: Solution,
    ) -> None:
        """Fetch the packages; refuse those whose scripts do what nobody will do."""
        self._reporter.step(f"fetching and examining {len(packages)} debian packages")
        debs = self._fetched(request, suite, packages, listed=True)
        for package in packages:
            deb = open_deb(debs[package.filename], package.filename)
            identify(deb, package.name, package.version, package.architecture)
            examine(deb, package.name, package.version, solution.chain(package.name))
        for note in notes(package.name for package in packages):
            self._reporter.note(f"{note}, because no maintainer script is run")

    def _fetched(
        self,
        request: SystemRequest,
        suite: str,
        packages: Sequence[DebianPackage],
        *,
        listed: bool = False,
    ) -> Mapping[str, Path]:
        return fetch_debs(
            packages,
            suite=suite,
            mirror=request.mirror,
            environ=self._environ,
            fetcher=self._fetcher,
            blobs=self._blobs,
            apt=self._apt,
            listed=listed,
        )

    def _open(
        self,
        suite: str,
        archives: tuple[Archive, ...],
        architecture: str,
        seen: Mapping[str, str],
    ) -> tuple[tuple[Release, ...], tuple[tuple[str, Index], ...]]:
        """The releases, and each index with its suite, in the order of `archives`."""
        keys = self._keyring(suite)
        with ThreadPoolExecutor(max_workers=len(archives)) as pool:
            opened = list(pool.map(lambda archive: self._release(archive, keys, seen), archives))
            listed = [
                (archive, release)
                for archive, release in zip(archives, opened, strict=True)
                if release
            ]
            # Two mirrors of one suite may serve one release: its index is read once.
            unique: dict[str, tuple[Archive, Release, Listed]] = {}
            for archive, release in listed:
                packages = self._listed(archive, release, architecture)
                unique.setdefault(packages.sha256, (archive, release, packages))
            indexes = list(pool.map(lambda item: self._index(*item), unique.values()))
        releases = {release.digest: release for _, release in listed}
        order = sorted(releases.values(), key=lambda release: (release.suite, release.digest))
        suites = (archive.suite for archive, _, _ in unique.values())
        return tuple(order), tuple(zip(suites, indexes, strict=True))

    def _release(
        self, archive: Archive, keys: tuple[bytes, ...], seen: Mapping[str, str]
    ) -> Release | None:
        path = f"dists/{archive.suite}/InRelease"
        place = f"{archive.shown}/{path}"
        try:
            data = self._fetcher.read(archive.at(path), max_bytes=MAX_INRELEASE)
        except FileNotFoundError as error:
            if not archive.required:
                return None
            raise OfflineError(
                "the mirror does not have this suite",
                file=place,
                hint="is the URL right? it is the folder that holds dists/ and pool/",
            ) from error
        return read_release(
            data,
            suite=archive.suite,
            place=place,
            keys=keys,
            now=self._now(),
            seen=seen.get(archive.suite),
        )

    def _listed(self, archive: Archive, release: Release, architecture: str) -> Listed:
        path = f"main/binary-{architecture}/Packages"
        listed = release.files.get(path)
        if listed is None or f"{path}.xz" not in release.files:
            raise ResolutionError(
                f"the archive has no packages for {architecture}",
                file=f"{archive.shown}/dists/{archive.suite}/InRelease",
            )
        return listed

    def _index(self, archive: Archive, release: Release, plain: Listed) -> Index:
        place = f"{archive.shown}/dists/{archive.suite}/{plain.path}"
        kept = self._blobs.get(from_hex(plain.sha256))
        if kept is not None:
            return Index(kept.read_bytes(), place)
        packed = release.files[f"{plain.path}.xz"]
        folder = f"dists/{archive.suite}/"
        names = [folder + packed.path]
        if release.by_hash:
            parent = packed.path.rpartition("/")[0]
            names.insert(0, f"{folder}{parent}/by-hash/SHA256/{packed.sha256}")
        digest = from_hex(packed.sha256)
        self._fetcher.fetch(
            [
                Want(
                    name=f"{archive.suite} {packed.path}",
                    urls=tuple(archive.at(name) for name in names),
                    size=packed.size,
                    digest=digest,
                )
            ]
        )
        path = self._blobs.get(digest)
        if path is None:
            raise IntegrityError("fetched, and not in the cache any more", file=place)
        data = _unpack(path.read_bytes(), plain, place)
        self._blobs.put_bytes(data)
        return Index(data, place)


def _seen(indexes: Sequence[ReleaseIndex]) -> dict[str, str]:
    """Suite -> date; of several mirrors that do not go with each other, the one that is behind."""
    seen: dict[str, str] = {}
    for index in indexes:
        seen[index.suite] = min(index.date, seen.get(index.suite, index.date))
    return seen


def _unpack(packed: bytes, plain: Listed, place: str) -> bytes:
    if plain.size > _MAX_INDEX:
        raise IntegrityError(f"an index of {plain.size} bytes", file=place)
    xz = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        data = xz.decompress(packed, plain.size + 1)
    except lzma.LZMAError as error:
        raise IntegrityError(f"damaged index: {error}", file=place) from error
    if len(data) != plain.size or hashlib.sha256(data).hexdigest() != plain.sha256:
        raise IntegrityError("the index is not the one that the signed Release lists", file=place)
    return data


def _packages(solution: Solution) -> tuple[DebianPackage, ...]:
    layers = ((solution.base, "base"), (solution.system, "system"))
    found = [_package(available, layer) for packages, layer in layers for available in packages]
    return tuple(sorted(found, key=lambda package: package.name))


def _package(available: Available, layer: str) -> DebianPackage:
    return DebianPackage(
        name=available.name,
        version=available.version,
        architecture=available.architecture,
        filename=available.filename,
        size=available.size,
        sha256=available.sha256,
        layer="base" if layer == "base" else "system",
    )


def _python_version(packages: tuple[DebianPackage, ...], minor: str) -> str:
    for package in packages:
        if package.name == f"python{minor}":
            # [epoch:]upstream-revision; upstream may be e.g. 3.11.2+dfsg.
            match = re.match(r"(?:[0-9]+:)?([0-9]+\.[0-9]+\.[0-9]+)", package.version)
            if match:
                return match.group(1)
    raise ResolutionError(f"the base has no python{minor}")
