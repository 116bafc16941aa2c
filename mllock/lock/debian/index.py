"""Packages indexes: stanzas found fast, read when asked for.

An index has 60,000 stanzas, and a lock needs about a hundred: names and Provides are found by
searching bytes, everything else is read on demand. Pure; the bytes were verified before
(`mllock.lock.debian.release`).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from debian.debian_support import Version

from mllock.errors import IntegrityError

__all__ = [
    "Available",
    "Index",
    "Offers",
    "Provided",
    "Relation",
    "Universe",
    "described",
    "parse_relations",
    "read_available",
    "stanza_fields",
]

_PACKAGE = b"Package: "
# It begins with what is in every match: an expression that does not is ten times as slow.
_STANZA = re.compile(rb"\n\nPackage: ([^\n]*)")
_HEAD = re.compile(rb"Package: ([^\n]*)")
_PROVIDES = re.compile(rb"\nProvides: ([^\n]*)")
_PROVIDED = re.compile(rb"(?:^|,)\s*([a-z0-9][a-z0-9+.-]*)")
# Debian Policy 7.1; architecture and build-profile restrictions are for source packages only.
_RELATION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::(?P<arch>[a-z0-9-]+))?"
    r"(?:\s*\(\s*(?P<op><<|<=|=|>=|>>)\s*(?P<version>[A-Za-z0-9.+:~-]+)\s*\))?"
)
# Policy 5.6.15 lets a file name be any path; the archives use these characters only.
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.:~_/-]*\.deb")


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative of a dependency: name, and optionally architecture and version."""

    name: str
    arch: str | None = None
    op: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        name = f"{self.name}:{self.arch}" if self.arch else self.name
        return f"{name} ({self.op} {self.version})" if self.op else name

    def allows(self, version: str) -> bool:
        """Whether a package of this version satisfies the version part."""
        if self.op is None or self.version is None:
            return True
        ours, theirs = Version(version), Version(self.version)
        return bool(
            {
                "<<": ours < theirs,
                "<=": ours <= theirs,
                "=": ours == theirs,
                ">=": ours >= theirs,
                ">>": ours > theirs,
            }[self.op]
        )


@dataclass(frozen=True, slots=True)
class Provided:
    name: str
    version: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Available:
    """One package that an index offers. Groups of relations: all of any. `allowed` is Multi-Arch's
    "allowed": whoever depends on NAME:any may take it from any architecture."""

    name: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str
    depends: tuple[tuple[Relation, ...], ...] = ()
    against: tuple[Relation, ...] = ()
    provides: tuple[Provided, ...] = ()
    allowed: bool = False


def parse_relations(text: str, place: str) -> tuple[tuple[Relation, ...], ...]:
    """Read a relationship field. Raises IntegrityError for what Policy 7.1 does not allow."""
    groups = []
    for group in text.split(","):
        if not group.strip():
            continue
        alternatives = []
        for alternative in group.split("|"):
            match = _RELATION.fullmatch(alternative.strip())
            if match is None:
                raise IntegrityError(f"unreadable relation {alternative.strip()!r}", file=place)
            alternatives.append(Relation(*match.group("name", "arch", "op", "version")))
        groups.append(tuple(alternatives))
    return tuple(groups)


class Index:
    """One Packages file, as bytes. Archives write Package first: apt-ftparchive(1), dak."""

    def __init__(self, data: bytes, place: str) -> None:
        if data.strip() and not data.startswith(_PACKAGE):
            raise IntegrityError("the index does not begin with Package", file=place)
        self.place = place
        self._data = data
        # Where the stanzas begin, and which are of one name: offsets, because slices cost 0.2 s.
        self._starts: list[int] = []
        self._first: dict[bytes, int] = {}
        self._more: dict[bytes, list[int]] = {}
        for match in itertools.chain([_HEAD.match(data)], _STANZA.finditer(data)):
            if match is None:  # nothing in it
                break
            at = match.start(1) - len(_PACKAGE)
            self._starts.append(at)
            if self._first.setdefault(match[1], at) != at:
                self._more.setdefault(match[1], []).append(at)

    def named(self, name: str) -> list[Available]:
        key = name.encode()
        if key not in self._first:
            return []
        return [self._read(at) for at in (self._first[key], *self._more.get(key, ()))]

    def providing(self, name: str) -> list[Available]:
        return [self._read(at) for at in self._providers.get(name.encode(), ())]

    def names(self) -> Iterable[str]:
        return (name.decode() for name in self._first)

    @functools.cached_property
    def _providers(self) -> Mapping[bytes, Sequence[int]]:
        """Where the packages begin that provide a name."""
        found: dict[bytes, list[int]] = {}
        for match in _PROVIDES.finditer(self._data):
            at = self._starts[bisect.bisect(self._starts, match.start()) - 1]
            # Names in brackets are versions; a Provides has no other parentheses.
            for name in _PROVIDED.findall(match[1]):
                found.setdefault(name, []).append(at)
        return found

    def _read(self, at: int) -> Available:
        end = self._data.find(b"\n\n", at)
        stanza = self._data[at : end if end >= 0 else None]
        return read_available(stanza_fields(stanza), self.place)


def stanza_fields(stanza: bytes) -> dict[str, str]:
    """The fields of one stanza by name, each with its first line."""
    fields: dict[str, str] = {}
    for line in stanza.decode("utf-8", "replace").splitlines():
        if line[:1] not in (" ", "\t"):
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def read_available(fields: Mapping[str, str], place: str) -> Available:
    """The package of a stanza of an index. Raises IntegrityError for what cannot be used."""
    place = f"{place}: {fields['Package']}"
    try:
        package = described(fields, place)
        filename, size, sha256 = fields["Filename"], fields["Size"], fields["SHA256"]
    except KeyError as error:
        raise IntegrityError(f"no {error.args[0]}", file=place) from error
    if not _FILENAME.fullmatch(filename) or ".." in filename.split("/"):
        raise IntegrityError(f"unusable Filename {filename!r}", file=place)
    if not re.fullmatch(r"[0-9]{1,12}", size) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise IntegrityError("unreadable Size or SHA256", file=place)
    return replace(package, filename=filename, size=int(size), sha256=sha256)


def described(fields: Mapping[str, str], place: str) -> Available:
    """A package as its control fields have it, without its file.

    Raises KeyError for a field that must be there, IntegrityError for one that cannot be read.
    """

    def groups(*names: str) -> tuple[tuple[Relation, ...], ...]:
        texts = [fields.get(name, "") for name in names]
        return tuple(group for text in texts for group in parse_relations(text, place))

    return Available(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        filename="",
        size=0,
        sha256="",
        depends=groups("Pre-Depends", "Depends"),
        against=tuple(itertools.chain.from_iterable(groups("Conflicts", "Breaks"))),
        provides=tuple(Provided(of[0].name, of[0].version) for of in groups("Provides")),
        allowed=fields.get("Multi-Arch") == "allowed",
    )


class Offers(Protocol):
    """Packages by their own name and by what they provide."""

    def named(self, name: str) -> list[Available]: ...

    def providing(self, name: str) -> list[Available]: ...

    def names(self) -> Iterable[str]: ...


class Universe:
    """All indexes of a suite: the suite, its updates and its security fixes."""

    def __init__(self, indexes: Iterable[Offers], architecture: str) -> None:
        self._indexes = tuple(indexes)
        self.architecture = architecture
        self._known: dict[str, tuple[Available, ...]] = {}

    def with_more(self, offers: Offers) -> Universe:
        """The same, and `offers` where no index has the version."""
        return Universe((*self._indexes, offers), self.architecture)

    def versions(self, name: str) -> tuple[Available, ...]:
        """Every offer of `name` for this architecture, highest version first."""
        if name not in self._known:
            self._known[name] = self._sorted(
                available for index in self._indexes for available in index.named(name)
            )
        return self._known[name]

    def providers(self, name: str) -> tuple[Available, ...]:
        """Packages that provide `name`, by name, highest version first."""
        found = self._sorted(
            available for index in self._indexes for available in index.providing(name)
        )
        return tuple(sorted(found, key=lambda available: available.name))

    def names(self) -> frozenset[str]:
        return frozenset(name for index in self._indexes for name in index.names())

    def meets(self, available: Available, relation: Relation) -> bool:
        """Whether a package is what a relation asks for, by itself or by what it provides."""
        if relation.arch == "any":
            # Multi-Arch: any architecture will do only if the package says so itself.
            if not available.allowed:
                return False
        elif relation.arch not in (None, self.architecture):
            return False
        if available.name == relation.name:
            return relation.allows(available.version)
        for provided in available.provides:
            if provided.name != relation.name:
                continue
            # Policy 7.5: a versioned relation is met by a versioned Provides only.
            if relation.op is None or (provided.version and relation.allows(provided.version)):
                return True
        return False

    def _sorted(self, found: Iterable[Available]) -> tuple[Available, ...]:
        unique: dict[tuple[str, str], Available] = {}
        for available in found:
            if available.architecture in ("all", self.architecture):
                # The same package in two pockets; if its bytes differ, the first pocket decides.
                unique.setdefault((available.name, available.version), available)
        return tuple(
            sorted(unique.values(), key=lambda available: Version(available.version), reverse=True)
        )
