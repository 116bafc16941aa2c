"""Where Debian packages come from: the spec, the environment, or this machine's apt sources.

The first of these that is set decides alone. A mirror is only a place to fetch from: what it
serves is believed because of signatures and hashes, so none of it is written to the lock.
Credentials in a URL are used for fetching and are never shown (`Archive.shown`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from mllock.errors import InputError
from mllock.lock.debian.suites import SUITES

__all__ = [
    "APT",
    "MIRROR",
    "SNAPSHOT",
    "Archive",
    "find_archives",
    "find_snapshots",
    "without_credentials",
]

APT = Path("/etc/apt")
MIRROR = "MLLOCK_DEBIAN_MIRROR"
SNAPSHOT = "MLLOCK_DEBIAN_SNAPSHOT"
_POCKETS = ("", "-updates", "-security")


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """One suite of one mirror. `suite` includes the pocket, e.g. "bookworm-security"."""

    url: str
    suite: str
    required: bool = True

    @property
    def shown(self) -> str:
        return without_credentials(self.url)

    def at(self, path: str) -> str:
        return f"{self.url}/{path}"


def without_credentials(url: str) -> str:
    """`url` without user, password, query and fragment."""
    parts = _split(url)
    if parts is None:
        return re.sub(r"//.*@", "//", url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket that is not closed, a port that is no number
        return None


def find_archives(
    suite: str,
    mirror: str | None,
    environ: Mapping[str, str],
    apt: Path = APT,
    *,
    needed: bool = True,
) -> tuple[Archive, ...]:
    """The archives for `suite`, the suite itself first. Raises InputError if there are none, and
    one is `needed`."""
    if mirror:
        return _declared(suite, mirror, "environment.debian-mirror", environ)
    if environ.get(MIRROR, "").strip():
        return _declared(suite, environ[MIRROR], MIRROR, environ)
    found = tuple(_from_apt(suite, apt))
    if needed and not any(archive.suite == suite for archive in found):
        raise InputError(
            f"no Debian mirror for {suite}: neither debian-mirror, {MIRROR} nor this machine's"
            " apt sources name one",
            hint=f"set {MIRROR} to the URLs of a mirror and of its security archive, e.g."
            ' "http://mirror.example.org/debian http://mirror.example.org/debian-security"',
        )
    return found


def _resolved(url: str, environ: Mapping[str, str], key: str) -> str:
    """`url` with ${NAME} in the place of user and password taken from the environment."""
    head, at, tail = url.partition("@")

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise InputError(f"{match[1]} is not set in the environment", key=key)
        return quote(environ[match[1]], safe="")

    return re.sub(r"\$\{(\w+)\}", value, head) + at + tail if at else url


def find_snapshots(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs of archives that keep what mirrors drop: folders that hold pool/. No index of theirs
    is ever read."""
    return tuple(url for url, _ in _urls(environ.get(SNAPSHOT, ""), SNAPSHOT, environ))


def _urls(value: str, key: str, environ: Mapping[str, str]) -> Iterator[tuple[str, SplitResult]]:
    for word in value.split():
        url = _resolved(word.rstrip("/"), environ, key)
        parts = _split(url)
        known = parts is not None and parts.scheme in ("http", "https", "file")
        if parts is None or not known or not (parts.netloc or parts.path):
            raise InputError(
                f"not the URL of a Debian {'snapshot archive' if key == SNAPSHOT else 'mirror'}",
                key=key,
                expected="http, https or file URLs, separated by spaces",
                found=without_credentials(word),
            )
        yield url, parts


def _declared(suite: str, value: str, key: str, environ: Mapping[str, str]) -> tuple[Archive, ...]:
    found: list[Archive] = []
    for url, parts in _urls(value, key, environ):
        if parts.path.endswith("debian-security"):
            found.append(Archive(url=url, suite=f"{suite}-security"))
        else:
            found.append(Archive(url=url, suite=suite))
            found.append(Archive(url=url, suite=f"{suite}-updates", required=False))
    if not any(archive.suite == suite for archive in found):
        raise InputError(
            f"no mirror of {suite} itself, only of its security archive",
            key=key,
            hint="add the URL of a mirror before it",
        )
    return _ordered(suite, found)


def _from_apt(suite: str, apt: Path) -> tuple[Archive, ...]:
    entries = tuple(_entries(apt))
    found = [
        Archive(url=url, suite=f"{suite}{pocket}")
        for url, named in entries
        for pocket in _POCKETS
        if named == f"{suite}{pocket}"
    ]
    if not found:
        # A mirror of one release mirrors the others too; the signature decides what it is.
        found = [
            Archive(url=url, suite=f"{suite}{pocket}", required=not pocket)
            for url, named in entries
            for other in SUITES
            for pocket in _POCKETS
            if named == f"{other}{pocket}"
        ]
    return _ordered(suite, found)


def _ordered(suite: str, archives: Iterable[Archive]) -> tuple[Archive, ...]:
    order = {f"{suite}{pocket}": number for number, pocket in enumerate(_POCKETS)}
    return tuple(sorted(dict.fromkeys(archives), key=lambda archive: order[archive.suite]))


def _entries(apt: Path) -> Iterator[tuple[str, str]]:
    """(URL, suite) of every enabled entry that offers binaries of the component main."""
    lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for path in lists:
        if not path.is_file():
            continue
        try:
            text = path.read_text("utf-8", "replace")
        except PermissionError:
            # apt's own files may be private, e.g. when they hold credentials.
            continue
        if path.suffix == ".list":
            yield from _one_line(text)
        elif path.suffix == ".sources":
            yield from _deb822(text)


def _one_line(text: str) -> Iterator[tuple[str, str]]:
    # sources.list(5): deb [ option=value ] uri suite component...
    for line in text.splitlines():
        match = re.fullmatch(
            r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.partition("#")[0]
        )
        if match is None:
            continue
        options, url, suite, components = match.groups()
        signed = re.search(r"signed-by=(\S+)", options or "", re.IGNORECASE)
        if "main" in components.split() and _ours(url, signed.group(1) if signed else ""):
            yield url.rstrip("/"), suite


def _deb822(text: str) -> Iterator[tuple[str, str]]:
    for stanza in re.split(r"\n(?:[ \t]*\n)+", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and last:
                fields[last] += " " + line.strip()
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if fields.get("enabled", "yes").lower() in (
            "no",
            "false",
            "0",
            "off",
            "without",
            "disable",
        ):
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        if "main" not in fields.get("components", "").split():
            continue
        for url in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                if _ours(url, fields.get("signed-by", "")):
                    yield url.rstrip("/"), suite


def _ours(url: str, signed_by: str) -> bool:
    # An archive of somebody else's may use Debian's suite names; its own keyring gives it away.
    named = [word for word in signed_by.split() if word.startswith("/")]
    theirs = bool(named) and not any("debian-archive" in word for word in named)
    parts = _split(url)
    return parts is not None and parts.scheme in ("http", "https", "file") and not theirs
