"""Packages indexes: stanzas found fast, read when asked for.

An index has 60,000 stanzas, and a lock needs about a hundred: names and Provides are found by
searching bytes, everything else is read on demand. Pure; the bytes were verified before
(`mllock.lock.debian.release`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from debian.debian_support import Version

from mllock.errors import IntegrityError

__all__ = ["Available", "Index", "Provided", "Relation", "Universe", "parse_relations"]

_NAME = rb"[a-z0-9][a-z0-9+.-]*"
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
    """One package that an index offers. Groups of relations: all of any."""

    name: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str
    depends: tuple[tuple[Relation, ...], ...] = ()
    against: tuple[Relation, ...] = ()
    provides: tuple[Provided, ...] = ()


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
    """One Packages file, as bytes."""

    def __init__(self, data: bytes, place: str) -> None:
        self.place = place
        self._stanzas: dict[str, list[bytes]] = {}
        self._providers: dict[str, list[bytes]] = {}
        for stanza in data.split(b"\n\n"):
            if stanza.startswith(b"Package: "):
                name = stanza[9 : stanza.find(b"\n")].strip().decode()
                self._stanzas.setdefault(name, []).append(stanza)
                at = stanza.find(b"\nProvides: ")
                if at >= 0:
                    end = stanza.find(b"\n", at + 1)
                    field = stanza[at + 11 : end if end >= 0 else None]
                    # Names in brackets are versions; a Provides has no other parentheses.
                    for provided in re.findall(rb"(?:^|,)\s*(" + _NAME + rb")", field):
                        self._providers.setdefault(provided.decode(), []).append(stanza)
            elif stanza.strip():
                raise IntegrityError("a stanza does not begin with Package", file=place)

    def named(self, name: str) -> list[Available]:
        return [self._read(stanza) for stanza in self._stanzas.get(name, ())]

    def providing(self, name: str) -> list[Available]:
        return [self._read(stanza) for stanza in self._providers.get(name, ())]

    def names(self) -> Iterable[str]:
        return self._stanzas.keys()

    def _read(self, stanza: bytes) -> Available:
        fields: dict[str, str] = {}
        for line in stanza.decode("utf-8", "replace").splitlines():
            if line[:1] not in (" ", "\t"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        name = fields["Package"]
        place = f"{self.place}: {name}"
        try:
            version, architecture = fields["Version"], fields["Architecture"]
            filename, size, sha256 = fields["Filename"], fields["Size"], fields["SHA256"]
        except KeyError as error:
            raise IntegrityError(f"no {error.args[0]}", file=place) from error
        if not _FILENAME.fullmatch(filename) or ".." in filename.split("/"):
            raise IntegrityError(f"unusable Filename {filename!r}", file=place)
        if not re.fullmatch(r"[0-9]{1,12}", size) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise IntegrityError("unreadable Size or SHA256", file=place)
        depends = [fields.get("Pre-Depends", ""), fields.get("Depends", "")]
        against = [fields.get("Conflicts", ""), fields.get("Breaks", "")]
        provides = parse_relations(fields.get("Provides", ""), place)
        return Available(
            name=name,
            version=version,
            architecture=architecture,
            filename=filename,
            size=int(size),
            sha256=sha256,
            depends=tuple(group for text in depends for group in parse_relations(text, place)),
            against=tuple(
                relation
                for text in against
                for group in parse_relations(text, place)
                for relation in group
            ),
            provides=tuple(Provided(group[0].name, group[0].version) for group in provides),
        )


class Universe:
    """All indexes of a suite: the suite, its updates and its security fixes."""

    def __init__(self, indexes: Iterable[Index], architecture: str) -> None:
        self._indexes = tuple(indexes)
        self.architecture = architecture
        self._known: dict[str, tuple[Available, ...]] = {}

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

    def _sorted(self, found: Iterable[Available]) -> tuple[Available, ...]:
        unique: dict[tuple[str, str], Available] = {}
        for available in found:
            if available.architecture in ("all", self.architecture):
                # The same package in two pockets; if its bytes differ, the first pocket decides.
                unique.setdefault((available.name, available.version), available)
        return tuple(
            sorted(unique.values(), key=lambda available: Version(available.version), reverse=True)
        )
