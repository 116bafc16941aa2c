"""References to a registry: HOST[:PORT]/REPO[:TAG|@DIGEST]. Pure.

The host is always written: which registry is asked must not depend on a default. A tag and a digest
together are refused, because only one of them could be meant. The grammar is that of OCI
distribution-spec 1.1. Law: `parse_reference(str(r)) == r`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mllock.core.digest import Digest, is_digest
from mllock.errors import InputError

__all__ = ["Reference", "is_tag", "parse_reference"]

# RFC 1123 names, IPv4, or IPv6 in brackets.
_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_MAX_REPOSITORY = 255
_FORM = "HOST[:PORT]/REPO[:TAG|@DIGEST]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A repository of a registry, and at most one of `tag` and `digest`."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        if self.digest is not None:
            return f"{self.name}@{self.digest}"
        return self.name if self.tag is None else f"{self.name}:{self.tag}"

    @property
    def name(self) -> str:
        """HOST/REPO."""
        return f"{self.host}/{self.repository}"

    def tagged(self, tag: str) -> Reference:
        return replace(self, tag=tag, digest=None)


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def parse_reference(text: str) -> Reference:
    """Read a reference. Raises InputError that says what is wrong with it."""
    if "/" in text.rpartition("@")[2] and "@" in text:  # not repeated: it may hold a password
        raise InputError(
            "user and password in the name of an image or registry",
            expected=_FORM,
            hint='leave them out, and log in with "docker login HOST"',
        )
    host, slash, rest = text.partition("/")
    match = _HOST.fullmatch(host.lower())
    if not slash or match is None or int(match["port"] or 1) not in range(1, 65536):
        raise _wrong(text, "the host of the registry is missing or malformed")
    if host.lower() != "localhost" and not set(host) & set(".:"):
        raise _wrong(
            text,
            "the host of the registry is missing",
            hint=f'write the registry before it: "example.org/{text}"',
        )
    name, at, digest = rest.partition("@")
    repository, colon, tag = name.partition(":")
    if at and colon:
        raise _wrong(text, "a tag and a digest", hint="give one of them")
    if at and not is_digest(digest):
        raise _wrong(text, "not a sha256 digest", found=digest)
    if colon and not is_tag(tag):
        raise _wrong(text, "not a tag", found=tag)
    if len(repository) > _MAX_REPOSITORY or _REPOSITORY.fullmatch(repository) is None:
        hint = "names of repositories are lower case" if repository.lower() != repository else None
        raise _wrong(text, "not a name of a repository", found=repository, hint=hint)
    return Reference(
        host=host.lower(),
        repository=repository,
        tag=tag if colon else None,
        digest=Digest(digest) if at else None,
    )


def _wrong(
    text: str, message: str, *, found: str | None = None, hint: str | None = None
) -> InputError:
    expected = _FORM if found is None else None
    return InputError(message, file=text, expected=expected, found=found, hint=hint)
