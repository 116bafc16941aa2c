"""Python packages: chosen by pip-tools or uv; their wheels downloaded by pip, or as uv names them.

Order of `resolve`: a chooser picks versions, the previous pins staying where they can. Where it has
chosen for the image itself, and the index states name, sha256 and size of the wheel for the image's
Python, machine and C library, that is locked. All other wheels are downloaded by pip and measured.
Where the choice was made by this machine's markers, all of them are: their own metadata is walked
with the image's (`mllock.lock.closure`), and what that misses is asked for in another round.
What is locked is fetched elsewhere (`mllock.lock.locked`). See ADR 0004, 0056 and 0103.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.core.digest import Digest, from_hex, hex_of
from mllock.core.ports import Blobs, Reporter
from mllock.errors import ArchiveError, MllockError, OfflineError, ResolutionError
from mllock.lock.chooser import Chooser, Question
from mllock.lock.direct import (
    gather,
    localised,
    references_for,
)
from mllock.lock.download import AGAIN, PINS, asking, by_index, download, why_not
from mllock.lock.extras import NoExtra, told_by_uv, warnings
from mllock.lock.indexes import assigned
from mllock.lock.least import PIN, choose, pins_in
from mllock.lock.links import link_lines
from mllock.lock.offers import Offers, locked_offer
from mllock.lock.pip import Pip, published_before
from mllock.lock.ports import PythonRequest
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage, Wheel
from mllock.lock.yanked import told

if TYPE_CHECKING:
    from mllock.lock.closure import WheelMetadata

__all__ = ["WheelResolver", "resolver_of"]

MAX_ROUNDS = 8
_REQUIREMENTS = "requirements.in"
_CONSTRAINTS = "constraints.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chosen:
    """Versions by normalised name; `offers` and `whole` are as in `mllock.lock.pip.Output`,
    `no_extras` as far as the chooser tells."""

    names: Mapping[str, str]
    offers: Offers
    whole: bool
    no_extras: frozenset[NoExtra]


class WheelResolver:
    """Implements `mllock.lock.ports.PythonResolver`."""

    def __init__(self, chooser: Chooser, pip: Pip, blobs: Blobs, reporter: Reporter) -> None:
        self.name = chooser.name
        self._chooser = chooser
        self._pip = pip
        self._blobs = blobs
        self._reporter = reporter
        self._warned: set[str] = set()

    def version(self) -> str:
        return self._chooser.version()

    def resolve(self, request: PythonRequest) -> tuple[PythonPackage, ...]:
        if not request.requirements:
            return ()
        packages = self._resolve(request)
        for package in packages:
            if (line := told(package.name, package.version, self._pip.yanked)) is not None:
                self._reporter.warn(line)
        return packages

    def _resolve(self, request: PythonRequest) -> tuple[PythonPackage, ...]:
        target = Target(python=request.python, platform=request.platform, glibc=request.glibc)
        self._chooser.check(target)
        with self._blobs.scratch() as folder:
            references = references_for(request.requirements, target)
            files = gather(self._pip, folder, target, references, request.direct)
            pins = {n: v for n, v in _kept(request).items() if n not in files}
            (folder / PINS).write_text("".join(f"{n}=={v}\n" for n, v in sorted(pins.items())))
            (folder / _CONSTRAINTS).write_text("".join(f"{t}\n" for t in request.constraints))
            asked = request.requirements
            known = {item.name: item for item in request.known}
            free = frozenset() if request.upgrade.all else request.upgrade.names
            for _ in range(MAX_ROUNDS):
                if assigned(request.indexes):
                    _wish_again(folder / PINS, pins)
                texts = localised(asked, files)
                chosen = self._chosen(folder, texts, target, request, free)
                # Imported by the chooser uv while uv runs; before, everybody would wait for them.
                from mllock.lock.closure import closure
                from mllock.lock.settled import Asked, settle

                free = frozenset()  # by now they are what they are to be
                # What was missed once is asked for by name, whether it still is needed or not.
                whole = chosen.whole and asked == request.requirements
                asks = Asked(pip=self._pip, folder=folder, target=target, request=request)
                offers = (
                    settle(chosen.names, chosen.offers, known, self._blobs, asks) if whole else {}
                )
                stated = {n: v for n, v in offers.items() if v.size is not None}
                names = {n: v for n, v in chosen.names.items() if n not in stated}
                hashes = {n: offer.sha256 for n, offer in offers.items() if n in names}
                wheels = self._wheels(folder, names, hashes, target, request) | files
                metadata = _metadata(wheels)
                if whole:
                    self._warn(chosen.no_extras, chosen.names)
                    packages = [
                        locked_offer(n, v, stated[n])
                        for n, v in chosen.names.items()
                        if n in stated
                    ]
                    packages += [self._keep(folder, wheels[n], known.get(n)) for n in wheels]
                    return tuple(sorted(packages, key=lambda item: item.name))
                found = closure(request.requirements, metadata, target)
                if not found.missing:
                    self._warn(found.no_extras, chosen.names)
                    return tuple(
                        self._keep(folder, wheels[name], known.get(name))
                        for name in sorted(found.needed)
                    )
                asked = tuple(dict.fromkeys((*asked, *found.missing)))
        raise ResolutionError(
            f"no set of versions fits Python {target.python}, although one fits this machine's",
            found=", ".join(asked[len(request.requirements) :]),
            hint="constrain the versions of the packages that ask for these",
        )

    def versions(self, request: PythonRequest) -> dict[str, str]:
        """Name -> version that `resolve` would choose, without fetching wheels, and so before the
        markers of the image are looked at again."""
        if not request.requirements:
            return {}
        target = Target(python=request.python, platform=request.platform, glibc=request.glibc)
        self._chooser.check(target)
        with self._blobs.scratch() as folder:
            references = references_for(request.requirements, target)
            files = gather(self._pip, folder, target, references, request.direct)
            (folder / PINS).write_text("")
            (folder / _CONSTRAINTS).write_text("".join(f"{t}\n" for t in request.constraints))
            asked = localised(request.requirements, files)
            return dict(self._chosen(folder, asked, target, request, frozenset()).names)

    def _wheels(
        self,
        folder: Path,
        names: Mapping[str, str],
        hashes: Mapping[str, str],
        target: Target,
        request: PythonRequest,
    ) -> dict[str, Path]:
        """The wheels of these versions, by normalised name: from the cache, or downloaded; which
        one is to come, where `hashes` say that."""
        stay = [item for item in request.known if names.get(item.name) == item.version]
        # Bytes that are locked and here, by their digest, need not come again.
        wheels = _cached(stay, self._blobs)
        # A chooser may have fetched some meanwhile.
        there = _by_version(folder / "wheels")
        here = {name: there.get(_pin(name, names[name])) for name in names.keys() - wheels.keys()}
        wheels |= {name: path for name, path in here.items() if path is not None}
        missing = sorted(names.keys() - wheels.keys())
        if missing:
            self._reporter.step(f"fetching {len(missing)} wheels")
            options = ("--no-deps", *published_before(request.exclude_newer))
            lines = {n: f"{n}=={names[n]}" for n in missing}
            exact = [f"{lines[n]} --hash=sha256:{hashes[n]}\n" for n in missing if n in hashes]
            links = request.find_links
            for pins, more in (
                ([f"{lines[n]}\n" for n in missing if n not in hashes], ()),
                (exact, ("--require-hashes",)),
            ):
                if pins:
                    every = (*options, *more)
                    download(self._pip, folder, target, every, request.indexes, links, pins=pins)
        files = _by_version(folder / "wheels")
        # A round before may have left wheels of other versions.
        return wheels | {name: files[_pin(name, names[name])] for name in missing}

    def _chosen(
        self,
        folder: Path,
        asked: tuple[str, ...],
        target: Target,
        request: PythonRequest,
        free: frozenset[str],
    ) -> _Chosen:
        """Versions for what is `asked`; `free` are to move."""
        links = request.find_links
        lines = [*link_lines(links), *asked, f"-c {_CONSTRAINTS}", ""]
        (folder / _REQUIREMENTS).write_text("\n".join(lines))
        pip = asking(self._pip, None, request.indexes, folder, links)
        options = published_before(request.exclude_newer)
        question = Question(
            asked=asked,
            source=_REQUIREMENTS,
            constraints=_CONSTRAINTS,
            pins=PINS,
            target=target,
            before=request.exclude_newer,
            indexes=request.indexes,
            links=links,
        )
        chosen = choose(self._chooser, folder, question, free, self._reporter)
        if chosen.code != 0:
            # pip-tools shows a traceback; pip, asked the same, says what is wrong.
            if not assigned(request.indexes):
                again = pip.download(folder, _REQUIREMENTS, target, (*options, *AGAIN))
                if again.code:
                    raise why_not(again.text, target, folder)
            elif error := self._of_one_index(folder, asked, target, request):
                raise error
            raise self._chooser.explain(chosen.text, target)
        names = pins_in((folder / PINS).read_text())
        said = told_by_uv(chosen.text)
        return _Chosen(names=names, offers=chosen.offers, whole=chosen.whole, no_extras=said)

    def _warn(self, found: Iterable[NoExtra], chosen: Mapping[str, str]) -> None:
        for line in warnings(found, chosen):
            if line not in self._warned:  # each platform is asked for by itself
                self._warned.add(line)
                self._reporter.warn(line)

    def _of_one_index(
        self, folder: Path, asked: Sequence[str], target: Target, request: PythonRequest
    ) -> MllockError | None:
        """What pip has against a part of what is asked, each from where it has to come from, and
        without what it needs, which may have to come from elsewhere."""
        from mllock.lock.pip_words import RequirementError

        options = ("--no-deps", *published_before(request.exclude_newer), *AGAIN)
        for index, texts in by_index(asked, request.indexes).items():
            head = link_lines(request.find_links) if index is None else []
            lines = [*head, *texts, f"-c {_CONSTRAINTS}", ""]
            (folder / _REQUIREMENTS).write_text("\n".join(lines))
            pip = asking(self._pip, index, request.indexes, folder, request.find_links)
            again = pip.download(folder, _REQUIREMENTS, target, options)
            if again.code:
                error = why_not(again.text, target, folder)
                if index is not None:
                    if isinstance(error, RequirementError):
                        error.unknown = None
                    only = f"only the index {index.name} is asked for it"
                    where = f"{only}: see [[environment.indexes]]"
                    login = isinstance(error, OfflineError) and error.hint
                    error.hint = f"{error.hint}; {only}" if login else where
                return error
        return None

    def _keep(self, folder: Path, path: Path, known: PythonPackage | None) -> PythonPackage:
        if known is not None and not path.is_relative_to(folder):
            return known
        name, version = _name_and_version(path)
        size = path.stat().st_size
        hex_digest = hex_of(self._blobs.put_file(path, move=True))
        wheel = Wheel(
            name=path.name, path=f"wheels/{path.name}", size=size, hashes={"sha256": hex_digest}
        )
        return PythonPackage(name=name, version=version, wheels=(wheel,))


def resolver_of(
    name: str, blobs: Blobs, cache: Path | None, reporter: Reporter, environ: Mapping[str, str]
) -> WheelResolver:
    """The resolver that [environment] resolver names; `cache` is a folder of this user's
    own for what it may keep: what is in it decides what is locked (ADR 0140)."""
    pip = Pip(environ=environ, reporter=reporter)
    if name == "uv":
        from mllock.lock.uv import UvChooser

        return WheelResolver(UvChooser(pip, environ, cache, reporter), pip, blobs, reporter)
    from mllock.lock.pip_tools import PipToolsChooser

    return WheelResolver(PipToolsChooser(pip, reporter), pip, blobs, reporter)


def _wish_again(file: Path, wishes: Mapping[str, str]) -> None:
    """Put the wishes for packages that the last round left out back into the pins."""
    found = file.read_text()
    have = pins_in(found)
    more = (f"{n}=={v}\n" for n, v in sorted(wishes.items()) if n not in have)
    file.write_text(found + "".join(more))


def _cached(packages: Sequence[PythonPackage], blobs: Blobs) -> dict[str, Path]:
    """The wheels of `packages`, one each, that are in the cache: verified, by package."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as threads:
        paths = list(threads.map(lambda item: blobs.get(_digest(item.wheels[0])), packages))
    return {item.name: path for item, path in zip(packages, paths, strict=True) if path is not None}


def _digest(wheel: Wheel) -> Digest:
    return from_hex(wheel.hashes["sha256"])


def _kept(request: PythonRequest) -> dict[str, str]:
    """The previous pins that are wishes for this resolution.

    They may come from a lock that was edited: what is not plainly a name and a version is not
    written where pip reads options.
    """
    if request.upgrade.all:
        return {}
    return {
        name: version
        for name, version in request.pins.items()
        if name not in request.upgrade.names and PIN.fullmatch(f"{name}=={version}")
    }


def _metadata(wheels: Mapping[str, Path]) -> dict[str, WheelMetadata]:
    from mllock.lock.closure import read_metadata

    out = {}
    for name, path in wheels.items():
        out[name] = metadata = read_metadata(path, path.name)
        if metadata.name != name:
            raise ArchiveError(
                "the wheel is of another package than its name says",
                file=path.name,
                expected=name,
                found=metadata.name,
            )
    return out


def _name_and_version(wheel: Path) -> tuple[str, str]:
    from packaging.utils import parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(wheel.name)
    return str(name), str(version)


def _by_version(folder: Path) -> dict[tuple[str, str], Path]:
    return {_name_and_version(path): path for path in sorted(folder.glob("*.whl"))}


def _pin(name: str, version: str) -> tuple[str, str]:
    from packaging.version import Version

    return name, str(Version(version))
